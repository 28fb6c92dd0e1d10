"""softvote.data.corrections: labels that a file puts right, and files that do not fit the rows."""

from __future__ import annotations

import data_fixtures as data
import numpy as np
import pytest
from conftest import Digits

from softvote.config.competition import Competition
from softvote.data.dataset import Dataset, read_dataset
from softvote.errors import UserError
from softvote.storage.paths import Workspace


@pytest.fixture
def plain(workspace: Workspace, digits: Digits) -> Competition:
    return data.write_competition(workspace.input("digits"), "pixel_csv", digits)


def correct(workspace: Workspace, plain: Competition, *lines: str) -> Dataset:
    text = "\n".join(["row,label,corrected,sure", *lines, ""])
    (workspace.input("digits") / "fix.csv").write_text(text)
    return read_dataset(plain.model_copy(update={"corrections": "fix.csv"}), workspace)


def test_named_labels_are_others_and_the_data_too(workspace: Workspace, plain: Competition) -> None:
    given = read_dataset(plain, workspace)
    label = int(given.train_labels[3])
    found = correct(workspace, plain, f"3,{label},{(label + 1) % 10},0.9")
    assert found.train_labels[3] == (label + 1) % 10
    assert np.flatnonzero(found.train_labels != given.train_labels).tolist() == [3]
    assert found.train_fingerprint != given.train_fingerprint
    assert read_dataset(plain, workspace).train_fingerprint == given.train_fingerprint


def test_all_problems_of_a_file_are_told_together(workspace: Workspace, plain: Competition) -> None:
    with pytest.raises(UserError) as error:
        correct(workspace, plain, "1000,1,2,", "x,1,2,", "4,1,11,", "5,1,2,", "5,1,2,")
    told = str(error.value)
    assert "row 2, column row: '1000' is not a row in 0..29" in told and "'x' is not a row" in told
    assert "'11' is not a class" in told and "row 5 is already in line 5" in told


def test_a_file_of_other_rows_is_found_out(workspace: Workspace, plain: Competition) -> None:
    label = int(read_dataset(plain, workspace).train_labels[0])
    with pytest.raises(UserError, match=f"but the row's is {label}; take the file of these training rows"):
        correct(workspace, plain, f"0,{(label + 1) % 10},{label},")


def test_a_column_that_is_missing(workspace: Workspace, plain: Competition) -> None:
    (workspace.input("digits") / "fix.csv").write_text("row,label\n1,2\n")
    with pytest.raises(UserError, match="no column 'corrected'"):
        read_dataset(plain.model_copy(update={"corrections": "fix.csv"}), workspace)


def test_a_file_that_is_missing(workspace: Workspace, plain: Competition) -> None:
    with pytest.raises(UserError, match=r"fix\.csv: is missing"):
        read_dataset(plain.model_copy(update={"corrections": "fix.csv"}), workspace)
