"""softvote.stages: what results and pictures say, in words that cannot be read twice."""

from __future__ import annotations

from pathlib import Path

from softvote.config.recipe import Member
from softvote.stages.augmentation import _in_words
from softvote.stages.folds import FoldsResult


def test_every_count_of_folds_has_separators_of_thousands() -> None:
    table = Path("folds.csv")
    made = FoldsResult(table, True, rows=42_000, folds=5, twins=3_660, parted=3_600)
    assert "42,000 rows" in str(made) and "3,660 near-identical" in str(made) and "3,600 images" in str(made)


def test_a_heading_names_no_mixing_as_a_transform() -> None:
    augment = {"albumentations": ["HorizontalFlip", {"Blur": {"p": 0.2}}], "rotate": 10}
    member = Member.model_validate({"model": "cnn", "augment": augment, "cutmix": 1.0})
    words = _in_words(member)
    assert "," not in words and "albumentations HorizontalFlip+Blur" in words and words.endswith(" cutmix 1")
