"""Train one network on arrays, and look on: a callback that draws the loss and stops at an accuracy.

scikit-learn's handwritten digits (8 x 8), one network of 871,530 parameters, seed 0. Takes some seconds:

    python examples/train_with_callback.py
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

import softvote as sv


class LossCurve(sv.Callback):
    """Print a bar per epoch as long as the loss, and stop when training is accurate enough."""

    def __init__(self, enough: float) -> None:
        self.enough = enough

    def on_epoch(self, state) -> None:
        row = state.log[-1]
        bar = "#" * round(20 * min(row["loss"], 2))
        print(f"epoch {row['epoch']:2}  loss {row['loss']:.3f}  accuracy {row['accuracy']:.2%}  {bar}")
        if row["accuracy"] >= self.enough:
            print(f"accurate enough after epoch {row['epoch']}")
            state.stop()


def main() -> None:
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[:, None]  # (N, C, H, W)
    data = sv.ImageData(sv.ImageSplit(images, digits.target), classes=list("0123456789"))
    folds = sv.make_folds(data, n_folds=5)

    member = sv.Member(model="cnn", epochs=8, batch_size=64, augment={"rotate": 10, "shift": 0.7})
    fitted = sv.fit(member, data, rows=folds != 0, seed=0, callbacks=[LossCurve(enough=0.995)])

    held_out = folds == 0
    right = fitted.predict(images[held_out]) == digits.target[held_out]
    print(f"held-out fold: {right.mean():.2%} of {len(right)} digits")


if __name__ == "__main__":
    main()
