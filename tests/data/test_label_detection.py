from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from data_fixtures import write_csv

from softvote.data.csv_table import read_table, table_of
from softvote.data.label_detection import (
    DetectedLabels,
    detect_groups,
    detect_labels,
    labels_of,
    spelling_notes,
)
from softvote.data.readers.detection import Candidate, is_for
from softvote.errors import UserError


def detect(
    folder: Path, sample: list[list[object]], columns: dict[str, list[str]], **more: Any
) -> DetectedLabels:
    """The labels of a table of these columns, the first of which names images."""
    write_csv(folder / "sample_submission.csv", [str(name) for name in sample[0]], sample[1:])
    candidate = Candidate(folder, "digits", "sample_submission.csv", None)
    return detect_labels(table_of(folder / "train.csv", columns), next(iter(columns)), candidate, **more)


IDS = ["a", "b", "c", "d"]

# Header and a row of the sample, columns beside the id, what is found.
CASES: dict[str, tuple[list[list[object]], dict[str, list[str]], dict[str, Any], dict[str, Any]]] = {
    "the sample's name": (
        [["id", "target"], ["x", 0]], {"label": list("abab"), "target": list("0101")},
        {"label": "target"}, {"labels": {"first": 0, "last": 1}},
    ),
    "the id is called image and the label Id": (
        [["Image", "Id"], ["x", "w b c d e"]], {"Id": ["w", "v", "v", "new_whale"]},
        {"label": "Id"}, {"labels": ["new_whale", "v", "w"]},
    ),
    "a column per class in the sample": (
        [["id", "pug", "beagle", "corgi"], ["x", 1, 0, 0]], {"breed": ["beagle", "pug", "pug", "beagle"]},
        {"label": "breed"}, {"labels": ["pug", "beagle", "corgi"]},
    ),
    "whole numbers as fractions": (
        [["id", "label"], ["x", 0]], {"label": ["0.0", "2.0", "1.0", "1.0"]},
        {"label": "label", "rename": {"0.0": "0", "1.0": "1", "2.0": "2"}},
        {"labels": {"first": 0, "last": 2}},
    ),
    "one-hot": (
        [["id", "rust", "scab"], ["x", 1, 0]], {"scab": list("0110"), "rust": list("1001")},
        {"label_cells": "columns"}, {"labels": ["rust", "scab"]},
    ),
    "tags in columns": (
        [["id", "ETT - Normal", "CVC"], ["x", 1, 0]], {"CVC": list("0110"), "ETT - Normal": list("1101")},
        {}, {"tags": ["ETT - Normal", "CVC"]},
    ),
    "tags in a list": (
        [["image", "labels"], ["x", "healthy"]],
        {"labels": ["healthy", "scab rust", "scab", "rust scab complex"]},
        {"label": "labels", "label_cells": "list"}, {"tags": ["complex", "healthy", "rust", "scab"]},
    ),
    "numbers in a list": (
        [["Id", "Predicted"], ["x", 0]], {"Target": ["16 0", "2 0", "16", "10 2"]},
        {"label": "Target", "label_cells": "list"}, {"tags": ["0", "2", "10", "16"]},
    ),
    "bars in a list": (
        [["Id", "tags"], ["x", 0]], {"tags": ["a|b", "b|c", "c", "a"]},
        {"label": "tags", "label_cells": "list", "separator": "|"}, {"tags": ["a", "b", "c"]},
    ),
    "names of two words are not list": (
        [["file", "species"], ["x", "Sugar beet"]],
        {"species": ["Common Chickweed", "Common wheat", "Fat Hen", "Sugar beet"]},
        {"label": "species"}, {"labels": ["Common Chickweed", "Common wheat", "Fat Hen", "Sugar beet"]},
    ),
    "targets": (
        [["row_id", "target"], ["x_root", 0], ["x_vowel", 0]], {"root": list("0120"), "vowel": list("3344")},
        {}, {"targets": {"root": {"first": 0, "last": 2}, "vowel": {"first": 3, "last": 4}}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_labels_are_found(case: str, tmp_path: Path) -> None:
    sample, columns, files, competition = CASES[case]
    found = detect(tmp_path, sample, {"id": IDS} | columns)
    assert (found.files, found.competition) == (files, competition)
    assert found.notes


def test_a_row_for_each_tag(tmp_path: Path) -> None:
    columns = {"ID": ["ID_1_any", "ID_1_sub_dural", "ID_2_any", "ID_2_sub_dural"], "Label": list("0110")}
    found = detect(tmp_path, [["ID", "Label"], ["ID_9_any", 0.5]], columns, is_rows=True)
    assert found.files == {"label": "Label", "label_cells": "rows"}


def test_several_columns_and_none_with_a_usual_name(tmp_path: Path) -> None:
    columns = {"id": IDS, "what": list("0101"), "else": list("0101")}
    with pytest.raises(
        UserError, match=r"no column looks like the label .*any of what, else; write the pipeline"
    ):
        detect(tmp_path, [["id", "answer"], ["x", 0]], columns)


def test_a_saved_row_index_is_no_label(tmp_path: Path) -> None:
    columns = {"id": IDS, "Unnamed: 0": list("0123"), "what": list("0101")}
    assert detect(tmp_path, [["id", "answer"], ["x", 0]], columns).files == {"label": "what"}


def test_empty_labels_are_no_class(tmp_path: Path) -> None:
    columns = {"id": IDS, "label": ["0", "", "1", ""]}
    with pytest.raises(UserError) as error:
        detect(tmp_path, [["id", "label"], ["x", 0]], columns)
    assert str(error.value).replace(f"{tmp_path}/", "").splitlines() == [
        f"train.csv, row {row}, column label: is empty; write the label, or drop the row" for row in (3, 5)
    ]


def test_two_spellings_of_a_class_are_told() -> None:
    labels = ["Cat", "cat", "cat", "Fat Hen", "fat_hen", "dog"]
    assert spelling_notes(labels, "train") == [
        "train: 'Cat' (1) and 'cat' (2) are treated as different classes; if they are one, write "
        "files.rename",
        "train: 'Fat Hen' (1) and 'fat_hen' (1) are treated as different classes; if they are one, write "
        "files.rename",
    ]
    assert spelling_notes(["a", "b"], "train") == []


def test_labels_that_are_all_one() -> None:
    with pytest.raises(UserError, match=r"train\.csv, column y: the train labels are all '3'"):
        labels_of(["3", "3"], "train.csv, column y")


def test_what_may_stand_for_no_label_is_told() -> None:
    [note] = spelling_notes(["a", "NaN", "NaN", "b"], "train")
    assert note.startswith("train: 'NaN' (2) is read as a class; ")


def test_a_nul_character_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(b"id,label\na,x\nb,\0\n")
    with pytest.raises(UserError, match=r"train\.csv, row 3: holds a NUL character"):
        read_table(path)


@pytest.mark.parametrize(
    ("columns", "ids", "folds", "groups"),
    [
        ({"PatientID": list("aabb"), "sex": list("mfmf")}, IDS, {"group": "PatientID"}, {}),
        ({"site": list("aabb"), "patient_id": list("aabc")}, IDS, {"group": "patient_id"}, {}),
        ({"subject": list("aabb")}, IDS, {"group": "subject"}, {}),
        ({"patient_id": list("abcd")}, IDS, {}, {}),
        ({"impatient": list("aabb")}, IDS, {}, {}),
        ({"patient_id": list("aabb"), "fold": list("0120")}, IDS, {"count": 3, "column": "fold"}, {}),
        ({"fold": ["x", "y", "z", "z"]}, IDS, {}, {}),
        (
            {}, ["10_left", "10_right", "12_left", "12_right"],
            {"group": "patient"}, {"patient": "^(.+)_(?:left|right)$"},
        ),
    ],
)  # fmt: skip
def test_columns_that_look_like_groups_or_folds(
    columns: dict[str, list[str]],
    ids: list[str],
    folds: dict[str, Any],
    groups: dict[str, str],
    tmp_path: Path,
) -> None:
    table = table_of(tmp_path / "train.csv", {"id": ids} | columns)
    found = detect_groups(table, ["id"], ids)
    assert found[:2] == (folds, groups)
    repeated = [name for name, values in columns.items() if 1 < len(set(values)) < len(values)]
    assert len(found[2]) == bool(folds or repeated), "what nothing reads, and may be a group, is told"
    assert folds or all(f"{name} (" in found[2][0] for name in repeated)


@pytest.mark.parametrize(
    ("name", "split", "expected"),
    [
        ("test1", "test", True), ("stage_2_test", "test", True), ("myTest.csv", "test", True),
        ("my-contest.csv", "test", False), ("latest", "test", False), ("trainLabels.csv", "train", True),
        ("constrained", "train", False), ("jpeg/train", "train", True),
    ],
)  # fmt: skip
def test_names_of_splits(name: str, split: str, expected: bool) -> None:
    assert is_for(split, name) == expected


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_are_named(separator: str, tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text(f"id{separator}label\n1{separator}2\n")
    with pytest.raises(UserError, match=r"row 1: separates columns with .*; save the file with commas"):
        read_table(path)
