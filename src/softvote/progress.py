"""Progress of long work: a bar for people at a terminal, a line now and then for log files."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

_SECONDS_A_LINE = 10.0


class TrainingProgress:
    """Shows one training.

    Args:
        label: which training, such as "cnn fold 0".
        epochs: how many there are.
        images: how many an epoch feeds.
    """

    def __init__(self, label: str, epochs: int, images: int) -> None:
        self.label, self.epochs, self.images = label, epochs, images
        self.started = self.told = time.perf_counter()
        self.bar: Any = tqdm(
            total=epochs * images, desc=label, unit="img", unit_scale=True, leave=False,
            disable=not sys.stderr.isatty(), dynamic_ncols=True,
        )  # fmt: skip

    @property
    def wants_figures(self) -> bool:
        """Whether somebody looks at figures within an epoch; fetching them stops an accelerator."""
        return not self.bar.disable

    def batch_ended(self, images: int, figures: str | None) -> None:
        """Move on by some images; `figures` replaces what the bar says of loss and accuracy."""
        if figures is not None:
            self.bar.set_postfix_str(figures, refresh=False)
        self.bar.update(images)

    def epoch_ended(self, epoch: int, loss: float, accuracy: float, images_per_second: float) -> None:
        """Without a terminal, say every ten seconds and at the end how the epoch went and what is left."""
        now = time.perf_counter()
        last = epoch + 1 == self.epochs
        if not self.bar.disable or (now - self.told < _SECONDS_A_LINE and not last):
            return
        self.told, spent = now, now - self.started
        left = spent / (epoch + 1) * (self.epochs - epoch - 1)
        print(
            f"{self.label}: epoch {epoch + 1}/{self.epochs}  loss {loss:.4f}  accuracy {accuracy:.2%}  "
            f"{images_per_second:,.0f} images/s  {int(left) // 60}:{int(left) % 60:02d} left",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()
