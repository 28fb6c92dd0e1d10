"""Hold expected scores against known answers: what a submission was to score, and what it scored.

    python scripts/expected_trial.py input/digit-recognizer/train.csv trial --rows 2000 --seed 2

takes so many labelled digits to learn from and others as test rows, trains six small members on five folds,
submits each of them and their vote in the folder `trial`, and prints the comparison with the answers: cross-
validation, expected score, score of the test rows. Nothing is trained twice when it is run again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from softvote.shell import run_program
from softvote.stages import ensemble, folds, leaderboard, open_run, submit, train
from softvote.storage.files import write_text

AUGMENT = {"rotate": 10, "scale": 0.1, "shift": 2}
MEMBERS = {
    "basic_cnn": {"model": "basic_cnn", "epochs": 3},
    "basic_plain": {"model": "basic_cnn", "epochs": 5, "augment": dict.fromkeys(AUGMENT, 0)},
    "cnn": {"model": "cnn", "epochs": 4},
    "resnet5": {"model": "resnet5", "epochs": 3},
    "stn_cnn": {"model": "stn_cnn", "epochs": 3},
    "repeated": {"model": "basic_cnn", "epochs": 3, "repeats": 2},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parsed = _parser().parse_args(arguments)
    return run_program("expected_trial", lambda: run_trial(parsed))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path, help="labelled digits, such as Digit Recognizer's train.csv")
    parser.add_argument("folder", type=Path, help="where competitions, models and the ledger go")
    parser.add_argument("--rows", type=int, default=8000, help="training rows (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw of rows (%(default)s)")
    parser.add_argument("--test", type=int, default=20_000, help="test rows (%(default)s)")
    parser.add_argument("--set", nargs="*", default=[], help="override, such as members.cnn=null")
    return parser


def run_trial(parsed: argparse.Namespace) -> None:
    """Make a competition, submit every voter, and print how each did."""
    name = f"digits-{parsed.rows}"
    digits = pd.read_csv(parsed.train)
    order = np.random.default_rng(parsed.seed).permutation(len(digits))
    train_rows, test_rows = np.split(order[: parsed.rows + parsed.test], [parsed.rows])
    write_competition(parsed.folder, name, digits.iloc[train_rows], digits.iloc[test_rows])
    run = open_run(parsed.folder, name, parsed.set)
    print(folds.run(run), train.run(run), ensemble.run(run), sep="\n", flush=True)
    for voter in [*run.pipeline.members, None]:
        submit.run(run, voter)
    print(leaderboard.run(parsed.folder, fetch=False))


def write_competition(root: Path, name: str, train: pd.DataFrame, test: pd.DataFrame) -> None:
    """Write a competition of labelled digits and others to be named, with its pipeline."""
    answers = pd.DataFrame({"ImageId": range(1, len(test) + 1), "Label": test["label"].to_numpy()})
    tables = {
        "train.csv": train,
        "test.csv": test.drop(columns="label"),
        "solution.csv": answers,
        "sample_submission.csv": answers.assign(Label=0),
    }
    for file, table in tables.items():
        write_text(root / "input" / name / file, table.to_csv(index=False))
    pipeline = {
        "competition": {
            "name": name,
            "files": {"format": "pixel_csv"},
            "image": {"height": 28, "width": 28},
            "labels": {"first": 0, "last": 9},
            "solution": "solution.csv",
        },
        "defaults": {
            "batch_size": 64,
            "optimizer": {"name": "adamw", "lr": 0.002, "weight_decay": 0.01},
            "schedule": {"name": "one_cycle", "warmup": 0.2},
            "augment": AUGMENT,
        },
        "members": MEMBERS,
    }
    write_text(root / "pipelines" / f"{name}.yaml", yaml.safe_dump(pipeline, sort_keys=False))


if __name__ == "__main__":
    sys.exit(main())
