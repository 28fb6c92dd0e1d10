"""The predictor of a trained fold, from its folder alone."""

from __future__ import annotations

from safetensors.torch import load_file, save
from torch import Tensor, nn

from softvote import models
from softvote.compute.device import find_device
from softvote.compute.precision import ComputeConfig
from softvote.config.recipe import Member
from softvote.data.normalisation import Normalisation
from softvote.errors import UserError
from softvote.inference.network import create_network
from softvote.inference.predictor import Predictor
from softvote.inference.record import ExecutionRecord, TrainingRecord, find_weights_machine
from softvote.storage.files import atomic_write, remove_if_exists
from softvote.storage.fingerprints import sha256_of
from softvote.storage.paths import FoldFolder
from softvote.storage.snapshot import is_intact


def load_predictor(folder: FoldFolder) -> Predictor:
    """The predictor of a trained fold, from the recipe and the weights in its folder.

    Raises:
        UserError: the folder holds no finished training, or weights that do not fit the recipe.
    """
    record = read_training(folder)
    member = Member.model_validate(record.member)
    network = create_network(member, record.task, record.image, with_weights=False, calibration=record.head)
    weights = _load_recorded(folder, record)
    try:
        models.load_strict(network.model, weights)
    except UserError as error:
        raise _unusable(folder, error) from None
    ran = record.execution
    compute_config = ComputeConfig(find_device(), ran.precision, ran.memory_format).to_predict()
    normalisation = Normalisation(tuple(record.mean), tuple(record.std), member.normalise)
    compute_config.to_device(network.model)
    return Predictor(network, normalisation, compute_config, member.tta, member.view)


def save_predictor(
    folder: FoldFolder, predictor: Predictor, member: Member, classes: list[str], image: tuple[int, int, int]
) -> None:
    """Write what `load_predictor` reads; the recipe comes last, so that it marks the weights whole.

    Args:
        classes: names of the columns of its probabilities.
        image: channels, height and width.

    Raises:
        UserError: the folder holds a training of a pipeline, or cannot be written.
    """
    standing = TrainingRecord.read(folder.recipe)
    if standing is not None and standing.inputs:
        raise UserError.at(folder.path, "holds a training of a pipeline", "name another folder")
    network, normalisation = predictor.network, predictor.normalisation
    remove_if_exists(folder.recipe)
    save_weights(folder, network.model)
    TrainingRecord(
        member=member.model_dump(mode="json"),
        classes=classes,
        hidden_digits=network.task.hidden_digits,
        addend=network.task.addend,
        **network.task.kind_fields,
        image=image,
        mean=list(normalisation.mean),
        std=list(normalisation.std),
        head=network.head.calibration(),
        execution=ExecutionRecord(**predictor.compute_config.to_json()),
        weights_sha256=sha256_of(folder.weights),
    ).write(folder.recipe)


def save_weights(folder: FoldFolder, model: nn.Module) -> None:
    """Write a network's state, whole or not at all."""
    # Cloned, because tied weights share memory and the format refuses that.
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    with atomic_write(folder.weights) as temporary:
        temporary.write_bytes(save(weights))


def read_training(folder: FoldFolder) -> TrainingRecord:
    """The record of a trained fold.

    Raises:
        UserError: the folder holds no finished training.
    """
    record = TrainingRecord.read(folder.recipe)
    if record is None:
        raise UserError.at(folder.path, "holds no finished training", "run the train stage")
    return record


def load_weights(folder: FoldFolder) -> dict[str, Tensor]:
    """The state of a trained fold's network.

    Raises:
        UserError: the folder holds no finished training, or weights other than were written.
    """
    return _load_recorded(folder, read_training(folder))


def _load_recorded(folder: FoldFolder, record: TrainingRecord) -> dict[str, Tensor]:
    if place := find_weights_machine(folder, record):
        raise UserError.at(
            folder.weights,
            f"stayed on {place}, only its probabilities are here",
            f"delete {folder.path} and run the train stage to have it here",
        )
    try:
        if not is_intact(folder.weights, record.weights_sha256):
            raise ValueError("not the file that was written")
        return load_file(folder.weights)
    except Exception as error:  # whatever the file holds, the remedy is the same
        raise _unusable(folder, error) from None


def _unusable(folder: FoldFolder, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError.at(
        folder.weights, f"cannot be used ({reason})", f"delete {folder.path} and run the train stage"
    )
