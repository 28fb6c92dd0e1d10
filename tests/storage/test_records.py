"""softvote.storage.records: one class per JSON file, and damage that counts as missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from softvote.data.folds import FoldsRecord
from softvote.ensembling.records import ScoreRecord, VoteRecord
from softvote.export.record import ProgramRecord
from softvote.inference.record import TrainingRecord
from softvote.storage.records import JsonRecord

TRAINING = {
    "key": "abc",
    "member": {"model": "cnn", "later": 1},
    "classes": ["a", "b"],
    "image": [1, 8, 8],
    "mean": [77.70314458020050],
    "std": [95.6],
    "head": {"width": 0.5, "rows": 600},
    "execution": {"device": "cpu", "precision": "bf16", "memory_format": "contiguous", "probe": {}},
    "seconds": 8.09,
    "identity": {"fold": 0, "addend": None},
}
SCORE = {"value": 0.5, "standard_error": float("nan"), "rows": 1, "percent": False}
PROGRAM = {"key": "abc", "classes": ["a"], "image": {"channels": 1, "height": 8, "width": 8}, "addend": False}

RECORDS: list[tuple[type[JsonRecord], dict[str, object], list[str]]] = [
    (TrainingRecord, TRAINING, ["member", "classes", "image", "mean", "std", "execution"]),
    (ScoreRecord, {"key": "abc", "log_loss": SCORE, "content": ["1", "2"]}, []),
    (VoteRecord, {"rule": "mean", "space": "logit", "weights": {"b": 0.25, "a": 0.75}},
     ["rule", "space", "weights"]),
    (FoldsRecord, {"data": "d", "rows": 9, "count": 3, "near_identical": 4.0, "seed": 0, "sha256": "s"},
     ["data", "rows", "count", "near_identical", "seed", "sha256"]),
    (ProgramRecord, PROGRAM, ["classes", "image", "addend"]),
]  # fmt: skip

each = pytest.mark.parametrize(("kind", "content", "needed"), RECORDS)


@each
def test_what_is_read_is_written_to_the_same_bytes(
    tmp_path: Path, kind: type[JsonRecord], content: dict[str, object], needed: list[str]
) -> None:
    """Keys that this version does not know are kept, and those that were not there stay out."""
    path, again = tmp_path / "a.json", tmp_path / "b.json"
    path.write_text(json.dumps(content | {"of_another_version": [1]}, indent=2) + "\n")
    record = kind.read(path)
    assert record is not None
    record.write(again)
    assert again.read_bytes() == path.read_bytes()


@each
def test_what_lacks_a_key_counts_as_missing(
    tmp_path: Path, kind: type[JsonRecord], content: dict[str, object], needed: list[str]
) -> None:
    path = tmp_path / "a.json"
    for name in content:
        path.write_text(json.dumps({key: value for key, value in content.items() if key != name}))
        assert (kind.read(path) is None) == (name in needed), name


@each
@pytest.mark.parametrize("text", [None, "", "{", "[]", "null", '"text"'])
def test_what_is_damaged_counts_as_missing(
    tmp_path: Path, kind: type[JsonRecord], content: dict[str, object], needed: list[str], text: str | None
) -> None:
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    record = kind.read(path)
    assert record is None or (kind is ScoreRecord and record == ScoreRecord())


def test_a_field_that_is_given_goes_under_its_key(tmp_path: Path) -> None:
    ScoreRecord(fingerprint="abc", checksums=["1", "2"]).write(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == {"key": "abc", "content": ["1", "2"]}
