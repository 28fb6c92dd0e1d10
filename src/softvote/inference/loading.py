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
from softvote.storage.files import atomic_write, read_json, remove_if_exists, write_json
from softvote.storage.fingerprints import sha256_of
from softvote.storage.paths import FoldFolder
from softvote.task import Task


def load_predictor(folder: FoldFolder) -> Predictor:
    """The predictor of a trained fold, from the recipe and the weights in its folder.

    Raises:
        UserError: the folder holds no finished training, or weights that do not fit the recipe.
    """
    recipe = read_json(folder.recipe)
    if not recipe:
        raise UserError(f"{folder.path}: holds no finished training; run the train stage")
    member, image = Member.model_validate(recipe["member"]), tuple(recipe["image"])
    task = Task(len(recipe["classes"]), recipe.get("hidden_digits"), recipe.get("addend", False))
    network = create_network(member, task, image, with_weights=False, facts=recipe.get("head"))
    weights = load_weights(folder)
    try:
        models.load_strict(network.model, weights)
    except UserError as error:
        raise _unusable(folder, error) from None
    ran = recipe["execution"]
    compute_config = ComputeConfig(find_device(), ran["precision"], ran["memory_format"])
    normalisation = Normalisation(tuple(recipe["mean"]), tuple(recipe["std"]), member.normalise)
    compute_config.to_device(network.model)
    return Predictor(network, normalisation, compute_config, member.tta.shift, member.view)


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
    if "identity" in read_json(folder.recipe):
        raise UserError(f"{folder.path}: holds a training of a pipeline; name another folder")
    network, normalisation = predictor.network, predictor.normalisation
    remove_if_exists(folder.recipe)
    save_weights(folder, network.model)
    recipe = {
        "member": member.model_dump(mode="json"),
        "classes": classes,
        "hidden_digits": network.task.hidden_digits,
        "addend": network.task.addend,
        "image": image,
        "mean": normalisation.mean,
        "std": normalisation.std,
        "head": network.head.facts(),
        "execution": predictor.compute_config.facts(),
        "weights_sha256": sha256_of(folder.weights),
    }
    write_json(folder.recipe, recipe)


def save_weights(folder: FoldFolder, model: nn.Module) -> None:
    """Write a network's state, whole or not at all."""
    # Cloned, because tied weights share memory and the format refuses that.
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    with atomic_write(folder.weights) as temporary:
        temporary.write_bytes(save(weights))


def load_weights(folder: FoldFolder) -> dict[str, Tensor]:
    """The state of a trained fold's network.

    Raises:
        UserError: the folder holds no finished training, or weights other than were written.
    """
    if place := folder.weights_left_on():
        raise UserError(
            f"{folder.weights}: stayed on {place}, only its probabilities are here; "
            f"delete {folder.path} and run the train stage to have it here"
        )
    try:
        if sha256_of(folder.weights) != read_json(folder.recipe).get("weights_sha256"):
            raise ValueError("not the file that was written")
        return load_file(folder.weights)
    except Exception as error:  # whatever the file holds, the remedy is the same
        raise _unusable(folder, error) from None


def _unusable(folder: FoldFolder, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(
        f"{folder.weights}: cannot be used ({reason}); delete {folder.path} and run the train stage"
    )
