from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_fixtures import competition_of

from softvote.data.csv_table import open_table
from softvote.data.label_cells import LabelledRows, read_labels
from softvote.errors import ErrorCollector

TAGS = ["haze", "primary", "road"]
TRUTH = np.array([[1, 1, 0], [0, 0, 1], [0, 1, 0]])

# The same labels in each form: text of train.csv, keys of competition.files.
TAG_TABLES: dict[str, tuple[str, dict[str, Any]]] = {
    "columns": ("id,haze,road,primary\na,1,0,1\nb,0,1,0\nc,0,0,1\n", {}),
    "columns of fractions and words": ("id,haze,primary,road\na,1.0,True,0\nb,0.0,no,YES\nc,0,1,0\n", {}),
    "list": ("id,tags\na,haze primary\nb,road\nc,primary\n", {"label": "tags", "label_cells": "list"}),
    "list with bars": (
        "id,tags\na,primary|haze\nb,road\nc, primary |\n",
        {"label": "tags", "label_cells": "list", "separator": "|"},
    ),
    "rows": (
        "id,Label\na_haze,1\na_primary,1\na_road,0\nb_road,1\nb_haze,0\nb_primary,0\nc_primary,1\nc_haze,0\nc_road,0\n",
        {"label": "Label", "label_cells": "rows"},
    ),
    "renamed": (
        "id,tags\na,Haze primary\nb,roads\nc,primary\n",
        {"label": "tags", "label_cells": "list", "rename": {"Haze": "haze", "roads": "road"}},
    ),
}


def read(
    folder: Path, text: str, files: dict[str, Any], **facts: Any
) -> tuple[LabelledRows | None, list[str]]:
    """What is read of a table, and the problems, without the folder's path."""
    path = folder / "train.csv"
    path.write_text(text, encoding="utf-8")
    competition = competition_of({"format": "image_folder"} | files, **facts)
    problems = ErrorCollector()
    table = open_table(path, problems)
    assert table
    rows = read_labels(table, "id", competition, problems)
    return rows, [str(problem).replace(f"{folder}/", "") for problem in problems._problems]


def read_well(folder: Path, text: str, files: dict[str, Any], **facts: Any) -> LabelledRows:
    rows, problems = read(folder, text, files, **facts)
    assert rows and problems == []
    return rows


@pytest.mark.parametrize("case", TAG_TABLES)
def test_tags_in_every_form(case: str, tmp_path: Path) -> None:
    text, files = TAG_TABLES[case]
    rows = read_well(tmp_path, text, files, labels=None, tags=TAGS)
    assert rows.ids == ["a", "b", "c"] and rows.labels.dtype == np.int64
    assert np.array_equal(rows.labels, TRUTH)


def test_one_hot_columns_are_classes(tmp_path: Path) -> None:
    text = "id,rust,scab\na,0,1\nb,1,0\n"
    rows = read_well(tmp_path, text, {"label_cells": "columns"}, labels=["rust", "scab"])
    assert rows.labels.tolist() == [1, 0]


def test_one_hot_rows_without_or_with_two_ones(tmp_path: Path) -> None:
    text = "id,rust,scab\na,0,0\nb,1,1\nc,0,1\n"
    _, problems = read(tmp_path, text, {"label_cells": "columns"}, labels=["rust", "scab"])
    assert [line.partition(";")[0] for line in problems] == [
        "train.csv, row 2, column id: no column of a class holds 1",
        "train.csv, row 3, column id: 2 of the columns of classes hold 1",
    ]


def test_targets_have_a_column_each(tmp_path: Path) -> None:
    targets = {"root": {"first": 0, "last": 2}, "vowel": ["x", "y"]}
    text = "id,vowel,root\na,y,2\nb,x,0\n"
    rows = read_well(tmp_path, text, {}, labels=None, targets=targets)
    assert rows.labels.tolist() == [[2, 1], [0, 0]]
    _, problems = read(tmp_path, text.replace("y,2", "z,2"), {}, labels=None, targets=targets)
    assert problems == [
        "train.csv, row 2, column vowel: 'z' is not a class; fix it or competition.labels: known: x, y"
    ]


def test_targets_have_a_row_each_and_names_with_underlines(tmp_path: Path) -> None:
    targets = {"root": {"first": 0, "last": 2}, "sub_root": ["x", "y"]}
    text = "id,label\nT_0_sub_root,y\nT_0_root,2\n"
    rows = read_well(tmp_path, text, {"label_cells": "rows"}, labels=None, targets=targets)
    assert rows.ids == ["T_0"] and rows.labels.tolist() == [[2, 1]]


def test_a_row_that_stands_twice_may_say_the_same(tmp_path: Path) -> None:
    text, files = TAG_TABLES["rows"]
    assert np.array_equal(
        read_well(tmp_path, text + "a_haze,1\n", files, labels=None, tags=TAGS).labels, TRUTH
    )
    _, problems = read(tmp_path, text + "a_haze,0\n", files, labels=None, tags=TAGS)
    assert problems == [
        "train.csv, row 11, column Label: 'a_haze' appears above with another label; drop one"
    ]


def test_rows_that_lack_or_name_nothing(tmp_path: Path) -> None:
    text, files = TAG_TABLES["rows"]
    _, problems = read(tmp_path, text.replace("b_road,1\n", "b_snow,1\n"), files, labels=None, tags=TAGS)
    assert [line.partition(";")[0] for line in problems] == [
        "train.csv, row 5, column id: 'b_snow' does not end in _ and one of haze, primary, road",
        "train.csv, row 6, column id: image 'b' has no row for road",
    ]


EMPTY: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "column": ("id,label\na,\n", {}, {}, "row 2, column label: is empty; fix it"),
    "columns": (
        "id,haze,primary,road\na,1,,0\n", {}, {"labels": None, "tags": TAGS},
        "row 2, column primary: is empty; write 0 or 1",
    ),
    "list": (
        "id,tags\na,\n", {"label": "tags", "label_cells": "list"}, {"labels": None, "tags": TAGS},
        "row 2, column tags: is empty; if no tag is right, write files.no_tags: ''",
    ),
    "no row for it": (
        "id,label\na,\n", {"label_cells": "columns"}, {"labels": ["rust", "scab"]}, "row 1: no column 'rust'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EMPTY)
def test_an_empty_cell_is_named(case: str, tmp_path: Path) -> None:
    text, files, facts, expected = EMPTY[case]
    _, problems = read(tmp_path, text, files, **facts)
    assert problems[0].startswith(f"train.csv, {expected}")


def test_what_means_that_no_tag_is_right(tmp_path: Path) -> None:
    files = {"label": "tags", "label_cells": "list", "no_tags": ""}
    rows = read_well(tmp_path, "id,tags\na,\nb,haze\n", files, labels=None, tags=TAGS)
    assert rows.labels.tolist() == [[0, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("cell", "what"), [("0.5", "'0.5' is neither 0 nor 1"), ("2", "'2' is neither 0 nor 1")]
)
def test_a_column_of_something_else(cell: str, what: str, tmp_path: Path) -> None:
    _, problems = read(tmp_path, f"id,haze,primary,road\na,{cell},0,0\n", {}, labels=None, tags=TAGS)
    assert problems == [f"train.csv, row 2, column haze: {what}; fix it"]


def test_an_unknown_tag_is_named(tmp_path: Path) -> None:
    files = {"label": "tags", "label_cells": "list"}
    _, problems = read(tmp_path, "id,tags\na,haze fog\n", files, labels=None, tags=TAGS)
    assert problems == [
        "train.csv, row 2, column tags: 'fog' is not one of competition.tags; "
        "fix it, the tags or files.separator"
    ]


def test_groups_are_the_other_columns_and_what_ids_tell(tmp_path: Path) -> None:
    text = "id,label,patient\n10_left,1,p\n10_right,2,p\n12_left,3,q\n"
    rows = read_well(tmp_path, text, {"groups": {"eyes": "([0-9]+)_"}})
    assert {name: column.tolist() for name, column in rows.groups.items()} == {
        "patient": ["p", "p", "q"], "eyes": ["10", "10", "12"],
    }  # fmt: skip
    _, problems = read(tmp_path, text, {"groups": {"eyes": "(10)_"}})
    assert problems == [
        "train.csv, row 4, column id: '12_left' does not fit files.groups.eyes ((10)_); fix one"
    ]


def test_groups_of_a_table_with_a_row_for_each_tag(tmp_path: Path) -> None:
    text = "id,label,patient\na_x,1,p\na_y,0,p\nb_y,0,q\nb_x,0,q\n"
    rows = read_well(tmp_path, text, {"label_cells": "rows"}, labels=None, tags=["x", "y"])
    assert rows.groups["patient"].tolist() == ["p", "q"]
