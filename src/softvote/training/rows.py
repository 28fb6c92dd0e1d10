"""The rows a training sees."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from softvote.compute.device import free_device_memory, to_device
from softvote.compute.draws import Rows
from softvote.data.pixels import Pixels, bytes_of, gather_rows, iterate_pixels, select_rows
from softvote.data.split import ImageSplit
from softvote.training.glyphs import Glyphs

_MOST_OF_A_DEVICE = 0.25  # of its free memory may hold images, where several trainings share it


_APART = 1 << 32  # between the numbers of a row and of its next time in an epoch; more than there are rows


def lie_on_device(images: int, free: int) -> bool:
    """Whether so many bytes of images are brought to an accelerator as a whole, which has so many free."""
    return images <= free * _MOST_OF_A_DEVICE


@dataclass(frozen=True)
class SoftTargets:
    """What a teacher says of rows.

    Attributes:
        probabilities: float32 (n, K), of the values that an image can show.
        labelled: bool (n,), whether a row has a label too.
    """

    probabilities: Tensor
    labelled: Tensor

    def take(self, which: Tensor) -> SoftTargets:
        """Those of some rows, by position, int64 (B,) on the device."""
        return SoftTargets(self.probabilities[which], self.labelled[which])

    def flip(self) -> SoftTargets:
        """Those of the rows in reverse."""
        return SoftTargets(self.probabilities.flip(0), self.labelled.flip(0))

    def to(self, device: str) -> SoftTargets:
        """The same on a device."""
        return SoftTargets(self.probabilities.to(device), self.labelled.to(device))


@dataclass(frozen=True)
class Split:
    """The rows one training sees.

    Attributes:
        images: uint8 (n, C, H, W); where a frozen backbone has seen them, its features float32 (n, F).
        image_labels: int64 (n,), what each image shows: its class, less the addend where one comes along; of
            tags (n, K), of several targets (n, T).
        rows: int64 (n,), row numbers in the train file; augmentation is drawn by them, on the device
            where they lie.
        digits: int64 (n, S), the hidden digits; -1 throughout a row where they are not known.
        glyphs: single digits from which images are composed that are fed in place of the rows' own.
        resampled: whether a position may come several times, as `draw_balanced` gives it.
        soft: what a teacher says of each row; the labels of rows that have none are then what it finds most
            probable.
    """

    images: Tensor
    image_labels: Tensor
    rows: Rows
    digits: Tensor | None = None
    glyphs: Glyphs | None = None
    resampled: bool = False
    soft: SoftTargets | None = None

    @staticmethod
    def of(images: ImageSplit, rows: NDArray[np.int64]) -> StoredSplit:
        """Labelled images by their row numbers, int64 (n,); no image is copied."""
        labels = torch.from_numpy(images.image_labels[rows])
        return StoredSplit(torch.from_numpy(rows), labels, rows, pixels=images.images)

    @property
    def shape(self) -> tuple[int, ...]:
        """n, C, H, W of the images."""
        return tuple(self.images.shape)

    @property
    def size(self) -> tuple[int, int]:
        """H, W of the images."""
        height, width = self.shape[2:]
        return height, width

    @property
    def known_labels(self) -> Tensor:
        """Labels as `image_labels`, of the rows that have one."""
        return self.image_labels if self.soft is None else self.image_labels[self.soft.labelled]

    @property
    def selected(self) -> Tensor | Pixels:
        """The images of these rows, in their order."""
        return self.images

    def select(self, which: NDArray[np.int64]) -> Split:
        """Some of the rows, by position, int64 (n,), to be taken from in turn."""
        return self.take(which)

    def read(self, which: Rows) -> Split:
        """A batch, where it takes no waiting for the device to have it; see `take`."""
        return self.take(which)

    def take(self, which: Rows) -> Split:
        """A batch of the rows, by position, int64 (B,) of the processor or on the device.

        Of resampled rows, each time that one comes it has another row number, so that it is augmented anew.
        """
        times: Rows | int = 0
        if self.resampled:
            which, times = which % len(self.rows), which // len(self.rows)
        chosen = (
            which if isinstance(which, Tensor) else to_device(torch.from_numpy(which), self.images.device)
        )
        rows = self.rows[chosen] if isinstance(self.rows, Tensor) else self.rows[which]
        if self.resampled:
            rows = rows + times * _APART
        digits = None if self.digits is None else self.digits[chosen]
        soft = self.soft and self.soft.take(chosen)
        return Split(self.images[chosen], self.image_labels[chosen], rows, digits, soft=soft)

    def flip_targets(self) -> Split:
        """The same images with what the rows in reverse show."""
        digits = None if self.digits is None else self.digits.flip(0)
        soft = self.soft and self.soft.flip()
        return replace(self, image_labels=self.image_labels.flip(0), digits=digits, soft=soft)

    def to(self, device: str) -> Split:
        """The same rows on a device; on one that computes apart from the processor, their numbers too."""
        digits = None if self.digits is None else self.digits.to(device)
        rows = torch.as_tensor(self.rows).to(device) if device == "cuda" else self.rows
        images, labels = (to_device(each, torch.device(device)) for each in (self.images, self.image_labels))
        return Split(images, labels, rows, digits, soft=self.soft and self.soft.to(device))


@dataclass(frozen=True)
class StoredSplit(Split):
    """Rows whose images stay where they are stored, until a batch of them is taken.

    Attributes:
        images: int64 (n,), where the image of each row stands in `pixels`.
        pixels: the images of these rows, and perhaps of others.
        device: where batches are taken to.
    """

    pixels: Pixels = field(kw_only=True)
    device: str = field(kw_only=True, default="cpu")

    @property
    def shape(self) -> tuple[int, ...]:
        """n, C, H, W of the images."""
        return (len(self.images), *self.pixels.shape[1:])

    @property
    def selected(self) -> Pixels:
        """The images of these rows, in their order."""
        return select_rows(self.pixels, self.images.numpy())

    def select(self, which: NDArray[np.int64]) -> StoredSplit:
        """Some of the rows, by position, int64 (n,); no image is copied."""
        some = super().take(which)
        return StoredSplit(
            some.images, some.image_labels, some.rows, some.digits, soft=some.soft,
            pixels=self.pixels, device=self.device,
        )  # fmt: skip

    def read(self, which: Rows) -> Split:
        """A batch in the memory of the processor, from which `Split.to` takes it to a device."""
        batch = super().take(which)
        return replace(batch, images=torch.from_numpy(gather_rows(self.pixels, batch.images.numpy())))

    def take(self, which: Rows) -> Split:
        """A batch of the rows on the device, by position, int64 (B,) of the processor."""
        batch = self.read(which)
        return batch if self.device == "cpu" else batch.to(self.device)

    def to(self, device: str) -> Split:
        """The same rows for a device: their images all on it where there is room, else in batches."""
        if device == "cpu" or not lie_on_device(bytes_of(self.pixels), free_device_memory(device)):
            return replace(self, device=device)
        images = torch.empty(self.shape, dtype=torch.uint8, device=device)
        start = 0
        for part in iterate_pixels(self.selected):
            images[start : start + len(part)] = torch.from_numpy(part)
            start += len(part)
        rest = Split(images[:0], self.image_labels, self.rows, self.digits, soft=self.soft)
        return replace(rest.to(device), images=images)
