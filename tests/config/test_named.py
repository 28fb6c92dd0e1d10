"""Metrics, forms and decisions keep their names where defaults are left out."""

from __future__ import annotations

import pytest
from data_fixtures import competition_of

from softvote.config.competition import Competition
from softvote.data.forms import FORMS
from softvote.ensembling.decisions import DECISIONS
from softvote.metrics import METRICS


@pytest.mark.parametrize("registry", [METRICS, FORMS, DECISIONS], ids=["metric", "form", "decision"])
def test_each_is_told_from_the_others(registry: dict[str, type]) -> None:
    dumps = {
        name: kind.model_construct(name=name).model_dump(exclude_defaults=True)
        for name, kind in registry.items()
    }
    assert all(dump["name"] == name for name, dump in dumps.items())


@pytest.mark.parametrize("key", ["metric", "form"])
def test_a_competition_with_another_is_another(key: str) -> None:
    """What lies in the cache and what was trained depends on it."""
    values = {"metric": ["log_loss", "roc_auc"], "form": ["label", "columns"]}[key]
    first, second = (competition_of({"format": "pixel_csv"}, **{key: value}) for value in values)

    def dump(competition: Competition) -> dict[str, object]:
        return competition.model_dump(include={key}, exclude_defaults=True)

    assert dump(first) != dump(second)
