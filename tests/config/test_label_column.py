"""competition.labels that stand in a column of a table: read where it is there, and waited for where not."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Digits
from data_fixtures import write_csv
from projects import competition, pipeline, softvote, write_digits, write_pipeline

from softvote.errors import UserError
from softvote.stages import open_run

IN_A_COLUMN = competition(labels={"file": "train.csv", "column": "label"})


def test_the_classes_are_those_of_the_column(tmp_path: Path) -> None:
    write_pipeline(tmp_path, pipeline(competition=IN_A_COLUMN))
    folder = tmp_path / "input" / "digits"
    folder.mkdir(parents=True)
    write_csv(folder / "train.csv", ["id", "label"], [["a", "w_2"], ["b", "new_whale"], ["c", "w_2"]])
    assert open_run(tmp_path, "tiny").pipeline.competition.classes == ["new_whale", "w_2"]
    write_csv(folder / "train.csv", ["id", "label"], [["a", "10"], ["b", "9"], ["c", "10"]])
    assert open_run(tmp_path, "tiny").pipeline.competition.classes == ["9", "10"]


def test_they_train_as_if_they_had_been_listed(tmp_path: Path, digits: Digits) -> None:
    write_digits(tmp_path, digits, 120, 20)
    for name, labels in (("listed", [str(k) for k in range(10)]), ("column", IN_A_COLUMN["labels"])):
        write_pipeline(tmp_path, pipeline(competition=competition(labels=labels)), name)
        assert softvote(tmp_path, "folds", name) == 0
    listed, column = (tmp_path / "models" / name for name in ("listed", "column"))
    for file in ("folds.csv", "folds.json"):
        assert (listed / file).read_text() == (column / file).read_text()


def test_before_the_files_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pipeline(tmp_path, pipeline(competition=IN_A_COLUMN))
    found = open_run(tmp_path, "tiny").pipeline.competition
    assert found.name == "digits" and not found.knows_classes
    with pytest.raises(
        UserError, match=r"input/digits/train\.csv: is missing, .* `data path/to/digits\.zip`"
    ):
        _ = found.classes
    for stage in ("check", "folds"):
        assert softvote(tmp_path, stage, "tiny") == 1
        told = capsys.readouterr().err
        assert "digits" in told and "make data" in told


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ([["id", "breed"], ["a", "pug"]], "no column 'label'"),
        ([["id", "label"], ["a", "pug"], ["b", "pug"]], "column label holds 1 label;"),
        ([["id", "label"], ["a", ""], ["b", "pug"]], "column label holds 1 label;"),
    ],
)
def test_a_table_that_does_not_say_them(
    tmp_path: Path, table: list[list[str]], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pipeline(tmp_path, pipeline(competition=IN_A_COLUMN))
    (tmp_path / "input" / "digits").mkdir(parents=True)
    write_csv(tmp_path / "input" / "digits" / "train.csv", table[0], table[1:])
    assert softvote(tmp_path, "folds", "tiny") == 1
    told = capsys.readouterr().err
    assert "train.csv" in told and problem in told
