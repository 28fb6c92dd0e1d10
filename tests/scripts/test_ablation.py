"""scripts/ablation.py: differences are paired, and rows of one group count as one."""

from __future__ import annotations

import numpy as np
import pytest
from programs import load

from softvote.ensembling.predictions import Predictions
from softvote.errors import UserError

ablation = load("ablation")


def member(rows: list[int], guesses: list[int]) -> Predictions:
    return Predictions(np.array(rows), np.eye(3, dtype=np.float32)[guesses], np.zeros((0, 3), np.float32))


def test_members_are_compared_on_the_rows_that_both_named() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2])
    found = ablation.compare(
        "b", member([1, 2, 3, 5], [1, 2, 1, 2]), member([0, 1, 2, 3], [0, 0, 2, 0]), labels, np.arange(6)
    )
    # Of rows 1, 2, 3 the one has 1 and 2 right, the other 2 and 3.
    assert (found.rows, found.groups) == (3, 3)
    assert found.accuracy == pytest.approx(200 / 3)
    assert found.difference == pytest.approx(0)
    assert found.difference_error == pytest.approx(100 * np.std([1, 0, -1], ddof=1) / np.sqrt(3))


def test_rows_of_a_group_count_as_one() -> None:
    values = np.array([0.0, 1, 1, 0, 1])
    alone = ablation.standard_error(values, np.arange(5))
    assert alone == pytest.approx(values.std(ddof=1) / np.sqrt(5))
    fourfold, groups = values.repeat(4), np.arange(5).repeat(4)
    assert ablation.standard_error(fourfold, groups) == pytest.approx(alone)
    assert ablation.standard_error(fourfold, np.arange(20)) < 0.6 * alone


def test_members_without_a_common_row_are_refused() -> None:
    with pytest.raises(UserError, match="none of the reference's"):
        ablation.compare("b", member([1], [1]), member([0], [0]), np.array([0, 1]), np.arange(2))
