"""From images to probabilities, with a network in hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from softvote.compute.precision import ComputeConfig
from softvote.config.views import TestTime, View
from softvote.data.normalisation import Normalisation
from softvote.data.pixels import Pixels
from softvote.data.split import ImageSplit
from softvote.errors import Problem, UserError
from softvote.heads.digits import DIGITS
from softvote.inference.network import Network
from softvote.inference.tta import create_views
from softvote.inference.views import apply_view

_PIXELS_PER_BATCH = 1 << 19  # bounds the memory of a forward pass, whatever the image size


PredictFn = Callable[[NDArray[np.uint8], NDArray[np.int64] | None], NDArray[np.float32]]
"""(images uint8 (N, C, H, W), addends int64 (N,) or None) -> what is wanted of them, float32 (N, ...)."""


@dataclass(frozen=True)
class Predictor:
    """A trained network with all it needs to turn raw images into probabilities."""

    network: Network
    normalisation: Normalisation
    compute_config: ComputeConfig
    tta: TestTime = field(default_factory=TestTime)
    view: View | None = None

    def probabilities(self, images: Pixels, addends: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Predict.

        Args:
            images: uint8 (N, C, H, W), read a part at a time.
            addends: int64 (N,), where the task has them.

        Returns:
            float32 (N, K), rows that sum to 1; the mean over the views of test-time augmentation.
        """
        return self._in_batches(self.of_batch, images, addends)

    def outputs(self, images: Pixels, addends: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """What the network gives for the images as they are, float32 (N, num_outputs)."""
        return self._in_batches(self._outputs, images, addends)

    def attention(self, images: Pixels) -> NDArray[np.float32] | None:
        """Where the network looks for each digit, float32 (N, S, columns); None where it cannot say."""
        look = getattr(self.network.model, "attention", None)
        if look is None:
            return None
        return self._in_batches(lambda batch, _: look(self._prepare(batch)).float(), images, None)

    def digits(self, images: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What a network that finds digits reads, and where.

        Returns:
            float32 (N, S, 10), probabilities of the digits; float32 (N, S), the columns around which it finds
            them, in pixels.

        Raises:
            UserError: it does not say where it looks.
        """
        looks, outputs = self.attention(images), torch.from_numpy(self.outputs(images))
        if looks is None:
            raise UserError(Problem("", "its network does not say where it looks", "use a network of slots"))
        columns = (np.arange(looks.shape[2], dtype=np.float32) + 0.5) * (
            images.shape[3] / looks.shape[2]
        ) - 0.5
        probabilities = functional.softmax(outputs.view(len(images), -1, DIGITS), dim=2)
        return probabilities.numpy(), looks @ columns

    def out_of_fold(self, data: ImageSplit) -> NDArray[np.float32]:
        """Probabilities of rows the network was not trained on, for scoring.

        What the head measures on such rows is measured on every other row for the rows between, so no
        row has a part in its own probabilities.

        Args:
            data: N images with labels.

        Returns:
            float32 (N, K), as `probabilities` gives them.
        """
        if not self.network.head.needs_calibration:
            return self.probabilities(data.images, data.addends)
        found = np.zeros((len(data), self.network.task.num_classes), np.float32)
        for half, other in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
            fitted, scored = self._uncalibrated(), data.take(half)  # all that is left for a single row
            if len(found[other]):
                fitted = self.calibrate(data.take(other))
            found[half] = fitted.probabilities(scored.images, scored.addends)
        return found

    def _uncalibrated(self) -> Predictor:
        return replace(self, network=replace(self.network, head=self.network.head.uncalibrated()))

    def calibrate(self, data: ImageSplit) -> Predictor:
        """Fit the head on rows that the network was not trained on: images with labels."""
        shown = data.known_labels if self.network.takes_addend else data.image_labels
        outputs = torch.from_numpy(self.outputs(data.images, data.addends))
        head = self.network.head.calibrate(outputs, torch.from_numpy(shown))
        return replace(self, network=replace(self.network, head=head))

    @torch.inference_mode()
    def _in_batches(
        self,
        function: Callable[[Tensor, Tensor | None], Tensor],
        images: Pixels,
        addends: NDArray[np.int64] | None,
    ) -> NDArray[np.float32]:
        self.network.model.eval()
        device = self.compute_config.device

        def run(images: NDArray[np.uint8], addends: NDArray[np.int64] | None) -> NDArray[np.float32]:
            given = None if addends is None else torch.from_numpy(addends).to(device)
            found: NDArray[np.float32] = function(torch.from_numpy(images).to(device), given).cpu().numpy()
            return found

        return in_batches(run, images, addends)

    def of_batch(self, images: Tensor, addends: Tensor | None) -> Tensor:
        """Probabilities of one batch, by tensors alone, so that it can be traced.

        Args:
            images: uint8 (B, C, H, W), on the network's device.
            addends: int64 (B,), where the task has them.

        Returns:
            float32 (B, K), as `probabilities` gives them.
        """
        views = create_views(images, self.tta)
        each = [self.network.probabilities(self._outputs(view, addends), addends) for view in views]
        return torch.stack(each).mean(0)

    def _outputs(self, images: Tensor, addends: Tensor | None) -> Tensor:
        prepared = self._prepare(images)  # before what would round it
        with self.compute_config.autocast():
            outputs = self.network.outputs(prepared, addends).float()
        if self.compute_config.precision == "fp16" and not torch.isfinite(outputs).all():
            with self.compute_config.in_full().autocast():  # beyond 65,504
                outputs = self.network.outputs(prepared, addends).float()
        return outputs

    def _prepare(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> float32 as the network sees it, normalised and in its memory format."""
        return self.compute_config.to_memory_format(self.normalisation(apply_view(self.view, images.float())))


def in_batches(function: PredictFn, images: Pixels, addends: NDArray[np.int64] | None) -> NDArray[np.float32]:
    """A function of images, a part of them at a time, so that its memory is bounded.

    Args:
        images: uint8 (N, C, H, W).
        addends: int64 (N,); None where there are none.

    Returns:
        float32 (N, K).
    """
    if not len(images):  # only from what one image gives is it known of what shape nothing is
        blank = np.zeros((1, *images.shape[1:]), np.uint8)
        return function(blank, None if addends is None else np.zeros(1, np.int64))[:0]
    size = rows_per_batch(images.shape[1:])
    slices = [slice(start, start + size) for start in range(0, len(images), size)]
    return np.concatenate([function(images[part], _some(addends, part)) for part in slices])


def rows_per_batch(shape: tuple[int, ...]) -> int:
    """How many images (C, H, W) are predicted at once."""
    return max(1, _PIXELS_PER_BATCH // math.prod(shape))


def _some(addends: NDArray[np.int64] | None, which: slice) -> NDArray[np.int64] | None:
    return None if addends is None else addends[which]
