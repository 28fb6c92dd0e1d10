"""Training a classifier on features that never change."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from softvote.compute.draws import Rows
from softvote.compute.precision import ComputeConfig
from softvote.config.recipe import Member
from softvote.data.normalisation import Normalisation
from softvote.inference.network import Network
from softvote.models.layers import FeaturesThenClassifier
from softvote.training.learner import Learner
from softvote.training.rows import Split


class FrozenBackboneLearner(Learner):
    """The classifier of a network whose features never change: they are computed once."""

    def __init__(
        self,
        member: Member,
        network: Network,
        whole: FeaturesThenClassifier,
        compute_config: ComputeConfig,
        normalisation: Normalisation,
        seed: int,
    ) -> None:
        self.whole = whole
        thawed = member.model_copy(update={"freeze": False})  # of the classifier nothing is frozen
        super().__init__(
            thawed, replace(network, model=whole.classifier), compute_config, normalisation, seed
        )

    @property
    def predictor(self) -> nn.Module:
        """The whole network, with the classifier that predicts."""
        classifier = super().predictor
        if self.whole.classifier is classifier:
            return self.whole
        # Before the end the one that is trained stays in its place.
        shown = copy.copy(self.whole)
        shown._modules = self.whole._modules | {"classifier": classifier}
        return shown

    def prepare(self, data: Split) -> Split:
        """The rows with features float32 (n, F) in place of the images, on the device."""
        return super().prepare(self._features(data))

    def finish(self) -> None:
        """Put the classifier that predicts into the network."""
        super().finish()
        self.whole.classifier = super().predictor

    @torch.no_grad()
    def _features(self, data: Split) -> Split:
        self.whole.features.eval()
        parts = []
        for which in np.array_split(np.arange(len(data.rows)), math.ceil(len(data.rows) / 256)):
            images = self._identity(data.take(which).images.to(self.compute_config.device))
            with self.compute_config.autocast():
                parts.append(self.whole.features(self.compute_config.to_memory_format(images)).float())
        return Split(torch.cat(parts), data.image_labels, data.rows, data.digits, soft=data.soft)

    def _batch(self, epoch: int, images: Tensor, rows: Rows) -> Tensor:
        return images

    def _identity(self, images: Tensor) -> Tensor:
        return super()._identity(images) if images.ndim == 4 else images
