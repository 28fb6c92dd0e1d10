"""Training one network on the rows of its folds: a fixed schedule, and the last epoch counts.

Images lie on the device as uint8 where it has room for all, else batches of them are brought there; they are
augmented and normalised there.
Every random choice of an epoch is seeded by that epoch, so any epoch can be run again alone. Between
any two steps the whole state can be written down, and the training gone on from there to the same bits.
A frozen backbone without augmentation sees every image once; its features are then what is fed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softvote import machine, models
from softvote.compute.autotune import choose_compute_config
from softvote.compute.device import for_training
from softvote.compute.precision import ComputeConfig
from softvote.config.recipe import Member
from softvote.data.normalisation import Normalisation
from softvote.errors import UserError
from softvote.inference.network import Network, create_network
from softvote.inference.views import is_random
from softvote.models.layers import FeaturesThenClassifier
from softvote.seeds import derive_seed
from softvote.storage.cache import Cache, memory_cache
from softvote.task import Task
from softvote.training.balance import class_weights
from softvote.training.callbacks import Callback
from softvote.training.data_parallel import Alone
from softvote.training.frozen import FrozenBackboneLearner
from softvote.training.glyphs import Glyphs
from softvote.training.learner import Learner
from softvote.training.rows import Split
from softvote.training.trainer import Trainer


@dataclass(frozen=True)
class TrainedNetwork:
    """What a training leaves: the network that predicts, how it ran, and a log row per epoch."""

    images_per_epoch: int
    network: Network
    normalisation: Normalisation
    compute_config: ComputeConfig
    log: list[dict[str, Any]]


@dataclass(frozen=True)
class TrainingSpec:
    """Which training it is; with the same rows, it gives the same weights.

    Attributes:
        member: network and recipe.
        task: what is to be named.
        seed: on a CPU, equal seeds, threads and precision give equal weights.
        label: what messages call it, such as "cnn fold 0".
        start: weights of the network that the member's `init_from` names.
        classes: the names of the columns, by which a recipe may give weights.
        weights_folder: where files of published weights are looked for before the hub is asked.
        with_weights: False leaves out the published weights that a member may start from.
    """

    member: Member
    task: Task
    seed: int
    label: str
    start: dict[str, Tensor] | None = None
    classes: Sequence[str] = ()
    weights_folder: Path | None = None
    with_weights: bool = True


def train(
    spec: TrainingSpec,
    data: Split,
    callbacks: Sequence[Callback] = (),
    resume: dict[str, Any] | None = None,
    cache: Cache = memory_cache,
    group: Alone | None = None,
) -> TrainedNetwork:
    """Train a member's network.

    Args:
        spec: which training it is.
        data: the rows of the training folds.
        callbacks: told of every step and epoch, in their order; nothing is shown or written without them.
        resume: what `TrainingState.state_dict` gave in a training that was stopped; it goes on from there.
        cache: keeps what was found fastest on this machine; if omitted, this process does.
        group: the processes that train it together, each calling this; callbacks, `resume` and the choice of
            precision are those of the first. If omitted, this one trains alone.

    Raises:
        UserError: no such network, weights that do not fit, a loss that is not a number, or a finding that
            cannot be written; and what a callback raises.
    """
    torch.set_flush_denormal(True)
    machine.keep_freed_memory()
    member, seed, group = spec.member, spec.seed, group or Alone()
    if group.size > 1 and data.glyphs is not None:
        what = "glyphs_from composes images for one device alone"
        raise UserError.at(spec.label, what, "set engine.devices_per_training=1 for it")
    resume = group.agree(resume)
    fed, watched = _hold_out(member, data, seed)
    network = _create_network(spec, fed)
    compute_config = _choose(member, network, data.shape, resume, cache, group)
    network = replace(network, model=group.prepare(network.model))
    compute_config.to_device(network.model)
    normalisation = network.normalisation(fed.selected, member.normalise)
    create = _create_learner if data.glyphs is None else _composing(data.glyphs, data.size)
    learner = create(member, network, compute_config, normalisation, seed)
    if group.size > 1:
        learner.join(group)
    with for_training(compute_config.device):
        state = Trainer(learner, spec.label, callbacks).run(fed, watched, resume)
    trained = replace(network, model=learner.predictor)
    return TrainedNetwork(len(fed.rows), trained, normalisation, compute_config, state.log)


def _choose(
    member: Member,
    network: Network,
    images: tuple[int, ...],
    resume: dict[str, Any] | None,
    cache: Cache,
    group: Alone,
) -> ComputeConfig:
    """How the network runs: as it did, or as the first process finds best."""
    if resume:
        return ComputeConfig(**resume["execution"])
    own = ComputeConfig("", "", "")  # of a process that is not asked
    return group.agree(own if group.rank else compute_config_for(member, network, images, cache))


def _create_network(spec: TrainingSpec, fed: Split) -> Network:
    """The network before its first step."""
    _, channels, height, width = fed.shape
    weights = class_weights(spec.member.class_weights, spec.task, spec.classes, fed.known_labels.numpy())
    torch.manual_seed(derive_seed(spec.seed, "weights"))
    shape = (channels, height, width)
    network = create_network(
        spec.member, spec.task, shape, with_weights=spec.with_weights,
        class_weights=weights, weights_folder=spec.weights_folder,
    )  # fmt: skip
    if spec.start is not None:
        try:
            models.load_backbone(network.model, spec.start)
        except UserError as error:
            raise error.within(spec.label) from None
    return network


def compute_config_for(
    member: Member, network: Network, images: tuple[int, ...], cache: Cache
) -> ComputeConfig:
    """How a member's network runs in training.

    Args:
        images: (n, C, H, W), the shape of all training images.
        cache: keeps what was found fastest on this machine.
    """
    count, channels, height, width = images
    shape = (min(member.images_at_once, count), channels, height, width)
    named = member.model_dump(mode="json", include={"model", "model_args"})
    return choose_compute_config(network.model, shape, member.precision, member.memory_format, named, cache)


def _composing(glyphs: Glyphs, size: tuple[int, int]) -> Callable[..., Learner]:
    """What creates a learner of images of the same size, composed of glyphs."""
    from softvote.training.recomposition import CompositionLearner  # which few recipes need

    return functools.partial(CompositionLearner, glyphs, size)


def _create_learner(
    member: Member, network: Network, compute_config: ComputeConfig, normalisation: Normalisation, seed: int
) -> Learner:
    changing = member.augment is not None or member.mixup or member.cutmix or is_random(member.view)
    same_each_time = member.freeze and not changing
    if same_each_time and isinstance(network.model, FeaturesThenClassifier):
        return FrozenBackboneLearner(member, network, network.model, compute_config, normalisation, seed)
    return Learner(member, network, compute_config, normalisation, seed)


def _hold_out(member: Member, data: Split, seed: int) -> tuple[Split, Split | None]:
    """The rows to feed, and those a plateau watches; both are of the training folds."""
    proportion = member.schedule.held_out_proportion
    if not proportion:
        return data, None
    order = np.random.default_rng(derive_seed(seed, "held out")).permutation(len(data.rows))
    watched = max(1, round(proportion * len(order)))
    return data.select(np.sort(order[watched:])), data.select(np.sort(order[:watched]))
