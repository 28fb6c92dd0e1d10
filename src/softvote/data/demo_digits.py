"""The demo's competition: scikit-learn's bundled handwritten digits in the form of a Kaggle competition.

The 1,797 digits (Alpaydin and Kaynak 1998) are 8 x 8 with 17 grey levels, brought to 0..255; a third of
each class, drawn with a fixed seed, is the test set.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from softvote.storage.files import write_text

_SEED = 2026


def write_demo_digits(folder: Path) -> tuple[int, int]:
    """Write train.csv, test.csv, sample_submission.csv and solution.csv.

    Returns:
        Rows of the training and of the test set.

    Raises:
        UserError: a file cannot be written.
    """
    digits = load_digits()
    pixels = np.round(digits.data * (255 / 16)).astype(np.uint8)
    train, test = train_test_split(
        np.arange(len(pixels)), test_size=1 / 3, random_state=_SEED, stratify=digits.target
    )
    columns = [f"pixel{i}" for i in range(pixels.shape[1])]
    labelled = pd.DataFrame(pixels[train], columns=columns)
    labelled.insert(0, "label", digits.target[train])
    ids = np.arange(1, len(test) + 1)
    tables = {
        "train.csv": labelled,
        "test.csv": pd.DataFrame(pixels[test], columns=columns),
        "sample_submission.csv": pd.DataFrame({"ImageId": ids, "Label": 0}),
        "solution.csv": pd.DataFrame({"ImageId": ids, "Label": digits.target[test]}),
    }
    for name, table in tables.items():
        write_text(folder / name, table.to_csv(index=False, lineterminator="\n"))
    return len(train), len(test)
