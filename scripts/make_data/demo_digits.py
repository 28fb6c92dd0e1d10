"""Bring scikit-learn's bundled handwritten digits into the form of a Kaggle competition.

    python scripts/make_data/demo_digits.py tour/kaggle/softvote-tour

writes train.csv, test.csv, sample_submission.csv and solution.csv there, as `softvote demo` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from softvote.data.demo_digits import write_demo_digits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the four files go")
    folder = parser.parse_args().folder
    train, test = write_demo_digits(folder)
    print(f"wrote {train:,} training and {test:,} test digits to {folder}")


if __name__ == "__main__":
    main()
