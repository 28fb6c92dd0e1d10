"""softvote.data.corrections: labels that a file puts right, and files that do not fit the rows."""

from __future__ import annotations

from pathlib import Path

import data_fixtures as data
import numpy as np
import pytest
from conftest import Digits
from kinds import KINDS

from softvote.config.competition import Competition
from softvote.data.corrections import correct_labels
from softvote.data.dataset import Dataset, read_dataset
from softvote.errors import UserError
from softvote.storage.paths import Workspace
from softvote.task import TaskKind


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
    label = int(read_dataset(plain, workspace).train_labels[7])
    other = (label + 1) % 10
    with pytest.raises(UserError) as error:
        correct(
            workspace, plain,
            "1000,1,2,", "x,1,2,", "4,1,11,", "5,1,2,", "5,1,2,", f"{'9' * 30},1,2,",
            f"7,{other},{label},", "8,z,1,",
        )  # fmt: skip
    told = str(error.value)
    assert "row 2, column row: '1000' is not a row in 0..29" in told and "'x' is not a row" in told
    assert f"row 8, column label: label {other}, but the row's is {label}; take the file of" in told
    assert [
        line.partition("; ")[0].partition("fix.csv, ")[2] for line in told.splitlines() if "row 9" in line
    ] == ["row 9, column label: 'z' is not a class"]
    assert "'11' is not a class" in told and "row 5 is already in line 5" in told


def test_impossible_sums_are_told_with_the_rest(tmp_path: Path) -> None:
    facts = {"labels": {"first": 0, "last": 18}, "hidden_digits": 1, "addend": True}
    competition = data.competition_of({"format": "pixel_csv", "addend": "addend"}, **facts)
    (tmp_path / "fix.csv").write_text("row,label,corrected\nx,1,2\n0,9,3\n1,12,2\n")
    with pytest.raises(UserError) as error:
        correct_labels(np.array([9, 11]), np.array([2, 5]), competition, tmp_path / "fix.csv")
    told = [line.partition("fix.csv, ")[2] for line in str(error.value).splitlines()]
    assert told == [
        "row 2, column row: 'x' is not a row in 0..1; count training rows from 0",
        "row 4, column label: label 12, but the row's is 11; take the file of these training rows",
        "row 4, column corrected: label 2 less addend 5 is -3, and hidden digits give 0..9; fix one of them",
    ]


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


# ---------------------------------------------------------------- of several tags or targets


SEVERAL: dict[TaskKind, tuple[str, list[str]]] = {
    "tags": ("tag", ["1,large,0,1", "3,even,1,0", "3,loop,0,1"]),
    "targets": ("target", ["1,size,0,2", "3,parity,odd,even", "3,size,1,0"]),
}


def write_several(folder: Path, kind: TaskKind, lines: list[str]) -> Path:
    path = folder / "fix.csv"
    path.write_text("\n".join([f"row,{SEVERAL[kind][0]},label,corrected", *lines, ""]))
    return path


def competition_of_kind(kind: TaskKind) -> Competition:
    return data.competition_of({"format": "pixel_csv"}, **{"labels": None} | KINDS[kind].facts)


@pytest.mark.parametrize("kind", SEVERAL)
def test_each_tag_or_target_is_corrected_by_itself(kind: TaskKind, tmp_path: Path) -> None:
    last = [1, 0, 0] if kind == "tags" else [1, 1]
    given = np.array([*np.zeros((3, len(last)), np.int64), last])
    path = write_several(tmp_path, kind, SEVERAL[kind][1])
    wanted = given.copy()
    found = correct_labels(given, None, competition_of_kind(kind), path)
    assert np.array_equal(given, wanted)
    if kind == "tags":
        wanted[1, 1], wanted[3, 0], wanted[3, 2] = 1, 0, 1
    else:
        wanted[1, 1], wanted[3, 0], wanted[3, 1] = 2, 0, 0
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize(
    ("kind", "line", "told"),
    [
        ("tags", "0,lrge,0,1", "column tag: 'lrge' is not a tag; did you mean 'large'?"),
        ("tags", "0,even,0,x", "column corrected: 'x' is neither 0 nor 1"),
        ("tags", "0,even,1,0", "label 1, but the row's is 0; take the file of these training rows"),
        ("targets", "0,size,0,3", "column corrected: '3' is not a class"),
        ("targets", "0,parity,odd,even", "label odd, but the row's is even"),
        ("targets", "0,size,0,1\n0,size,0,2", "row 0 is already in line 2"),
    ],
)
def test_what_is_wrong_with_corrections_of_several(
    kind: TaskKind, line: str, told: str, tmp_path: Path
) -> None:
    given = np.zeros((4, *KINDS[kind].task.label_shape), np.int64)
    with pytest.raises(UserError) as error:
        correct_labels(given, None, competition_of_kind(kind), write_several(tmp_path, kind, [line]))
    assert told in str(error.value)
