"""Training a classifier on features that never change."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from softvote.compute.draws import Rows
from softvote.compute.precision import Execution
from softvote.config.recipe import Member
from softvote.data.normalisation import Normalisation
from softvote.inference.network import Network
from softvote.models.layers import FeaturesThenClassifier
from softvote.training.checkpoint import Checkpoints
from softvote.training.rows import TrainingRows
from softvote.training.trainer import Training


class FeatureTraining(Training):
    """The training of a classifier on features that never change: they are computed once."""

    def __init__(
        self,
        member: Member,
        network: Network,
        whole: FeaturesThenClassifier,
        execution: Execution,
        normalisation: Normalisation,
        seed: int,
    ) -> None:
        self.whole = whole
        thawed = member.model_copy(update={"freeze": False})  # of the classifier nothing is frozen
        super().__init__(thawed, replace(network, model=whole.classifier), execution, normalisation, seed)

    @property
    def predictor(self) -> nn.Module:
        """The whole network, once run with the classifier that was trained."""
        return self.whole

    def run(
        self,
        data: TrainingRows,
        watched: TrainingRows | None,
        label: str,
        checkpoints: Checkpoints | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        """Compute the features, then all epochs, and put the classifier that predicts into the network."""
        watched = None if watched is None else self._features(watched)
        super().run(self._features(data), watched, label, checkpoints, state)
        self.whole.classifier = super().predictor

    @torch.no_grad()
    def _features(self, data: TrainingRows) -> TrainingRows:
        """The rows with features float32 (n, F) in place of the images."""
        self.whole.features.eval()
        parts = []
        for which in np.array_split(np.arange(len(data.rows)), math.ceil(len(data.rows) / 256)):
            images = self._as_they_are(data.images[which].to(self.execution.device))
            with self.execution.autocast():
                parts.append(self.whole.features(self.execution.lay_out(images)).float())
        return replace(data, images=torch.cat(parts))

    def _batch(self, epoch: int, images: Tensor, rows: Rows) -> Tensor:
        return images

    def _as_they_are(self, images: Tensor) -> Tensor:
        return super()._as_they_are(images) if images.ndim == 4 else images
