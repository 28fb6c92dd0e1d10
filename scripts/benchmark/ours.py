"""A training of softvote, as its command does it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmark.cases import Case
from benchmark.inputs import Images
from softvote.inference.predictor import Predictor
from softvote.training.callbacks import Callback
from softvote.training.rows import Split
from softvote.training.train import TrainingSpec, train


def train_ours(
    case: Case, images: Images, epochs: int, seed: int, callbacks: Sequence[Callback] = ()
) -> Predictor:
    """A training as the train stage does it, without its files."""
    plain = min(case.member.no_aug_epochs, epochs - 1)
    member = case.member.model_copy(update={"epochs": epochs, "no_aug_epochs": plain})
    pixels, values = torch.from_numpy(images.pixels), torch.from_numpy(images.values)
    rows = Split(pixels, values, np.arange(len(values)))
    spec = TrainingSpec(member, case.competition.task, seed, f"{case.network}, ours, seed {seed}")
    trained = train(spec, rows, callbacks)
    return Predictor(trained.network, trained.normalisation, trained.compute_config)


def as_the_command_does() -> AbstractContextManager[Any]:
    """The environment in which `softvote train` starts; see softvote.cli.main."""
    return mock.patch.dict(os.environ, {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive")})
