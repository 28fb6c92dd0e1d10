"""scripts/expected_trial.py: submits every voter and prints what it scored beside what was expected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Digits
from programs import load

from softvote.storage.paths import Workspace
from softvote.tracking.ledger import read_ledger

expected_trial = load("expected_trial")


def write_digits(path: Path, digits: Digits) -> None:
    """The first of scikit-learn's digits, enlarged to 28 x 28."""
    images, labels = digits
    large = np.pad(np.kron(images[:130], np.ones((1, 3, 3), np.uint8)), ((0, 0), (2, 2), (2, 2)))
    table = pd.DataFrame(large.reshape(130, -1)).add_prefix("pixel")
    table.insert(0, "label", labels[:130])
    table.to_csv(path, index=False)


@pytest.mark.slow
def test_every_voter_is_held_against_what_was_expected(
    tmp_path: Path, digits: Digits, capsys: pytest.CaptureFixture[str]
) -> None:
    write_digits(tmp_path / "train.csv", digits)
    few = ["members.cnn=null", "members.resnet5=null", "members.stn_cnn=null", "members.basic_plain=null"]
    small = ["folds.count=2", "members.repeated.epochs=1", "members.basic_cnn.epochs=1"]
    words = [str(tmp_path / "train.csv"), str(tmp_path / "trial"), "--rows", "90", "--test", "40"]
    assert expected_trial.main([*words, "--set", *few, *small]) == 0
    entries = read_ledger(Workspace(tmp_path / "trial").ledger)
    assert [entry.ensemble.split(":")[0] for entry in entries] == ["basic_cnn", "repeated", "vote"]
    assert all(entry.expected and entry.solution and entry.test_rows == 40 for entry in entries)
    assert "solution - expected" in capsys.readouterr().out


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert expected_trial.main([str(tmp_path / "none.csv"), str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("expected_trial: ") and len(error.splitlines()) == 1
