"""softvote.tracking.submission: nothing that the competition would refuse gets into submissions/."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from softvote.data.forms import FORMS, SubmissionTemplate
from softvote.errors import UserError
from softvote.storage.paths import Workspace
from softvote.task import LabelSpace, Task
from softvote.tracking.submission import (
    SubmissionFormat,
    check_submission,
    submission_text,
    write_submission_file,
)

CLASSES = [str(label) for label in range(10)]


def labels_of(
    classes: list[str], ids: tuple[str, ...] = ("1", "2", "3"), header: tuple[str, str] = ("ImageId", "Label")
) -> SubmissionFormat:
    """A submission of labels."""
    template = SubmissionTemplate(header, list(ids), list(ids))
    return SubmissionFormat(
        FORMS["label"](name="label"), template, LabelSpace(Task(len(classes)), tuple(classes))
    )


DIGITS = labels_of(CLASSES)


def check(text: str | Path, classes: list[str] = CLASSES) -> None:
    check_submission(text, labels_of(classes), "sub.csv")


def test_text_is_the_plain_csv_of_the_competition() -> None:
    text = submission_text(DIGITS, np.array([7, 0, 9]))
    assert text == "ImageId,Label\n1,7\n2,0\n3,9\n"
    check(text)


def test_ids_and_classes_with_commas_and_quotes_survive() -> None:
    wanted = labels_of(["cat, small", "dog"], ("a,b", 'say "x"', "two\nlines"), ("the id", "label"))
    text = submission_text(wanted, np.array([1, 0, 1]))
    check_submission(text, wanted, "sub.csv")


def test_labels_must_be_one_an_id() -> None:
    with pytest.raises(ValueError):
        submission_text(DIGITS, np.array([7, 0]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["sub.csv: is empty"]),
        ("Id,Label\n1,7\n2,0\n3,9\n", ["sub.csv, row 1: the header is 'Id,Label', not 'ImageId,Label'"]),
        (
            "1,7\n2,0\n3,9\n",
            ["row 1: the header is '1,7'", "2 rows under the header, not 3", "id '1' is missing"],
        ),
        ("\ufeffImageId,Label\n1,7\n2,0\n3,9\n", ["row 1: the header is '\\ufeffImageId"]),
        ("ImageId,Label\n", ["0 rows under the header, not 3"]),
        ("ImageId,Label\n1,7\n2,0\n", ["2 rows under the header", "column ImageId: id '3' is missing"]),
        (
            "ImageId,Label\n1,7\n2,0\n3,9\n4,1\n",
            ["4 rows", "row 5, column ImageId: id '4' is not in the sample"],
        ),
        (
            "ImageId,Label\n1,7\n1,0\n3,9\n",
            ["row 3, column ImageId: id '1' is already in row 2", "'2' is missing"],
        ),
        ("ImageId,Label\n1,7\n3,0\n2,9\n", ["row 3, column ImageId: id '3' stands where", "has '2'"]),
        ("ImageId,Label\n1,7\n2,\n3,9\n", ["row 3, column Label: the label is empty"]),
        ("ImageId,Label\n1,7\n2,4.0\n3,9\n", ["row 3, column Label: label '4.0' is not an integer"]),
        ("ImageId,Label\n1,7\n2,nan\n3,9\n", ["row 3, column Label: label 'nan' is not an integer"]),
        ("ImageId,Label\n1,7\n2,0\n3,10\n", ["row 4, column Label: label '10' is not one of 0..9"]),
        ("ImageId,Label\n1,7\n2,0\n3, 9\n", ["row 4, column Label: label ' 9' is not an integer"]),
        ("ImageId,Label\n1,7\n2\n3,9\n", ["row 3: 1 column, not 2"]),
        ("ImageId,Label\n1,7\n2,0,1\n3,9\n", ["row 3: 3 columns, not 2"]),
        ("ImageId,Label\n1,7\n2,0\n3,9\n\n", ["row 5: 0 columns, not 2"]),
        ('ImageId,Label\n1,7\n2,"0\n3,9\n', ["is not CSV"]),
    ],
)
def test_each_mistake_is_named_with_its_place(text: str, expected: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        check(text)
    for part in expected:
        assert part in str(caught.value)


def test_a_mistake_is_told_once() -> None:
    with pytest.raises(UserError) as caught:
        check("ImageId,Label\n1,7\n3,0\n2,9\n")
    assert len(str(caught.value).splitlines()) == 1


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        check("Id,Label\n1,x\n2,\n5,11\n")
    assert len(str(caught.value).splitlines()) == 6


def test_a_class_name_close_to_a_known_one_is_suggested() -> None:
    with pytest.raises(UserError, match="did you mean 'horse'"):
        check("ImageId,Label\n1,hors\n2,cat\n3,cat\n", ["cat", "horse"])


def test_a_file_is_read_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "sub.csv"
    with pytest.raises(UserError, match="cannot be read"):
        check(path)
    path.write_bytes(b"ImageId,Label\r\n1,7\r\n2,0\r\n3,9\r\n")
    check(path)
    path.write_bytes(b"ImageId,Label\n1,\xff\n")
    with pytest.raises(UserError, match="is not CSV in UTF-8"):
        check(path)


def test_the_content_names_the_file(tmp_path: Path) -> None:
    text = submission_text(DIGITS, np.array([7, 0, 9]))
    path = write_submission_file(Workspace(tmp_path), "mnist", text, DIGITS)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path == tmp_path / "submissions" / f"mnist-{digest[:8]}.csv"
    assert path.read_bytes() == text.encode()
    assert write_submission_file(Workspace(tmp_path), "mnist", text, DIGITS) == path
    other = submission_text(DIGITS, np.array([7, 0, 8]))
    assert write_submission_file(Workspace(tmp_path), "mnist", other, DIGITS) != path
    assert len(list(path.parent.iterdir())) == 2


def test_a_bad_submission_is_not_written(tmp_path: Path) -> None:
    text = "ImageId,Label\n1,7\n2,0\n3,10\n"
    with pytest.raises(UserError, match=r"mnist-[0-9a-f]{8}\.csv, row 4"):
        write_submission_file(Workspace(tmp_path), "mnist", text, DIGITS)
    assert list(tmp_path.rglob("*.csv")) == []
