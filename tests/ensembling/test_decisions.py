"""softvote.ensembling.decisions: every decision, and when a fitted one is taken."""

from __future__ import annotations

import dataclasses
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scorers import label_space, scorer_of

from softvote.config.entries import Predicted
from softvote.ensembling.decisions import DECISIONS, Decision, resolve_decision
from softvote.ensembling.records import DecisionRecord
from softvote.ensembling.scorer import FittedDecision, Scorer
from softvote.errors import UserError
from softvote.metrics import METRICS, Metric
from softvote.task import LabelSpace, TaskKind

KINDS: tuple[TaskKind, ...] = ("classes", "ordered", "tags", "targets")


def metric_of(makes: Predicted, kind: TaskKind) -> Metric:
    """The first metric of the registry that scores what a decision makes."""
    return next(
        found(name=name)
        for name, found in METRICS.items()
        if kind in found.kinds and found(name=name).predicted == makes and not found.argmax_is_best
    )


def spaces_of(decision: type[Decision]) -> list[LabelSpace]:
    """Two classes, which every decision on classes knows, five tags, targets of two and three labels."""
    return [label_space(5 if kind in ("tags", "targets") else 2, kind) for kind in decision.kinds]


CASES = [
    pytest.param(kind(name=name), space, id=f"{name}-{space.task.kind}")
    for name, kind in DECISIONS.items()
    for space in spaces_of(kind)
]


def some_rows(space: LabelSpace, rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities float32 (N, K) that lean away from rare labels, and labels as the task has them."""
    random = np.random.default_rng(3)
    task = space.task
    if task.kind == "tags":
        truth = random.random((rows, task.num_classes)) < 0.15
        lean = random.normal(truth * 1.5 - 2.5)
        return (1 / (1 + np.exp(-lean))).astype(np.float32), truth.astype(np.int64)
    parts, labels = [], []
    for block in task.blocks:
        size = block.stop - block.start
        label = random.choice(size, rows, p=np.arange(size, 0, -1) / np.arange(size, 0, -1).sum())
        lean = random.normal(np.eye(size)[label] - np.arange(size) * 0.5)
        parts += [np.exp(lean) / np.exp(lean).sum(axis=1, keepdims=True)]
        labels += [label]
    found = np.stack(labels, axis=1) if task.kind == "targets" else labels[0]
    return np.concatenate(parts, axis=1).astype(np.float32), found


@pytest.mark.parametrize(("decision", "space"), CASES)
def test_what_is_decided_is_what_the_metric_takes(decision: Decision, space: LabelSpace) -> None:
    metric = metric_of(decision.makes, space.task.kind)
    probabilities, labels = some_rows(space)
    resolved = decision.for_metric(metric)
    fitted = resolved.fit(probabilities, labels, space, metric)
    assert bool(fitted) == resolved.needs_fit
    decided = resolved.decide(probabilities, space, fitted)
    assert len(decided) == len(labels)
    if resolved.makes == "labels":
        assert decided.shape == labels.shape and decided.dtype == np.int64
    assert np.isfinite(metric.evaluate(decided, labels, space).score.value)
    assert resolved.describe(space, fitted)


@pytest.mark.parametrize(("decision", "space"), [case for case in CASES if case.values[0].needs_fit])
def test_what_is_fitted_is_no_worse_where_it_was_fitted_and_repeats(
    decision: Decision, space: LabelSpace
) -> None:
    metric = metric_of(decision.makes, space.task.kind)
    probabilities, labels = some_rows(space)
    fitted = decision.fit(probabilities, labels, space, metric)
    plain = metric.value(decision.unfitted.decide(probabilities, space), labels, space)
    assert metric.value(decision.decide(probabilities, space, fitted), labels, space) >= plain
    assert decision.fit(probabilities, labels, space, metric) == fitted


@pytest.mark.parametrize(("decision", "space"), CASES)
def test_a_decision_is_kept_and_read_back(decision: Decision, space: LabelSpace, tmp_path: Path) -> None:
    kept = FittedDecision(decision, (0.25, 0.5) if decision.needs_fit else ())
    kept.record().write(tmp_path / "decision.json")
    record = DecisionRecord.read(tmp_path / "decision.json")
    assert record is not None and FittedDecision.of_record(record) == kept


@pytest.mark.parametrize(
    ("metric", "kind", "columns", "more", "expected"),
    [
        ("accuracy", "classes", 10, {}, "argmax"),
        ("accuracy", "ordered", 5, {}, "argmax"),
        ("accuracy", "tags", 3, {}, "threshold"),
        ("accuracy", "targets", 5, {}, "argmax"),
        ("quadratic_weighted_kappa", "ordered", 5, {}, "cut_points"),
        ("quadratic_weighted_kappa", "classes", 5, {}, "argmax"),
        ("f_beta", "tags", 3, {"average": "samples"}, "thresholds"),
        ("f1", "classes", 2, {"average": "binary"}, "thresholds"),
        ("f1", "classes", 5, {}, "argmax"),
        ("macro_recall", "targets", 5, {}, "argmax"),
        ("log_loss", "classes", 5, {}, "probabilities"),
        ("roc_auc", "tags", 3, {}, "probabilities"),
        ("map_at_k", "classes", 9, {"k": 3}, "top_k"),
    ],
)
def test_auto_takes_what_the_metric_asks_for(
    metric: str, kind: TaskKind, columns: int, more: dict[str, Any], expected: str
) -> None:
    assert scorer_of(columns, metric, kind, **more).decision.name == expected


@pytest.mark.parametrize(("name", "kind"), list(product(METRICS, KINDS)))
def test_auto_has_a_decision_for_every_metric_and_task(name: str, kind: TaskKind) -> None:
    metric = METRICS[name](name=name)
    if kind in metric.kinds:
        decision = resolve_decision(None, metric, label_space(5, kind))
        assert decision.makes == metric.predicted and kind in decision.kinds


def test_top_k_are_the_most_probable_in_order() -> None:
    scorer = scorer_of(4, "map_at_k", k=3)
    decided = scorer.decision.decide(
        np.array([[0.1, 0.3, 0.2, 0.4], [0.25, 0.25, 0.25, 0.25]], np.float32), scorer.space
    )
    np.testing.assert_array_equal(decided, [[3, 1, 2], [0, 1, 2]])
    many = scorer_of(3, "map_at_k", k=5)
    assert many.decision.decide(np.full((1, 3), 1 / 3, np.float32), many.space).shape == (1, 3)


def test_of_equally_probable_classes_the_first_stands_first() -> None:
    scorer, steps = scorer_of(8, "map_at_k", k=3), np.random.default_rng(0).integers(1, 4, (200, 8))
    probabilities = (steps / steps.sum(axis=1, keepdims=True)).astype(np.float32)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ends = np.take_along_axis(steps, order[:, 2:4], axis=1)
    clear = ends[:, 0] > ends[:, 1]  # who is among the three
    assert clear.sum() > 20
    decided = scorer.decision.decide(probabilities, scorer.space)
    np.testing.assert_array_equal(decided[clear], order[clear, :3])


def test_log_loss_is_never_sent_a_certainty() -> None:
    scorer = scorer_of(2, "log_loss")
    decided = scorer.decision.decide(np.array([[0, 1], [1, 0]], np.float32), scorer.space)
    assert 0 < decided.min() < 1e-6 and 1 - 1e-6 < decided.max() < 1
    by_rank = scorer_of(2, "roc_auc")
    assert by_rank.decision.decide(np.array([[0, 1]], np.float32), by_rank.space).tolist() == [[0, 1]]


def test_an_image_may_be_given_at_least_one_tag() -> None:
    space, low = label_space(3, "tags"), np.array([[0.1, 0.3, 0.2], [0.9, 0.1, 0.6]], np.float32)
    assert DECISIONS["threshold"](name="threshold").decide(low, space).tolist() == [[0, 0, 0], [1, 0, 1]]
    at_least = DECISIONS["threshold"].model_validate({"name": "threshold", "at_least_one": True})
    assert at_least.decide(low, space).tolist() == [[0, 1, 0], [1, 0, 1]]
    each = DECISIONS["thresholds"].model_validate({"name": "thresholds", "at_least_one": True})
    assert each.decide(low, space, (0.05, 0.4, 0.3)).tolist() == [[1, 0, 0], [1, 0, 1]]


@pytest.mark.parametrize(("name", "fitted"), [("threshold", ()), ("thresholds", (0.3,))])
def test_of_two_classes_the_second_is_named_above_its_threshold(name: str, fitted: tuple[float]) -> None:
    found = DECISIONS[name].model_validate({"name": name} | ({} if fitted else {"at": 0.3}))
    probabilities = np.array([[0.75, 0.25], [0.65, 0.35], [0.1, 0.9]], np.float32)
    assert found.decide(probabilities, label_space(2), fitted).tolist() == [0, 1, 1]


def test_thresholds_of_each_tag_are_found() -> None:
    """The best cut of each tag is where its probabilities were shifted to."""
    random = np.random.default_rng(0)
    space, shifts = label_space(3, "tags"), np.array([0.2, 0.5, 0.8])
    chance = random.random((4000, 3))
    labels = (chance > 0.5).astype(np.int64)
    probabilities = np.where(chance > 0.5, shifts + (1 - shifts) * (2 * chance - 1), shifts * 2 * chance)
    metric = METRICS["f1"](name="f1")
    fitted = DECISIONS["thresholds"](name="thresholds").fit(
        probabilities.astype(np.float32), labels, space, metric
    )
    np.testing.assert_allclose(fitted, shifts, atol=0.03)


def test_cut_points_find_where_grades_were_cut() -> None:
    random = np.random.default_rng(1)
    space = label_space(4, "ordered")
    place = random.random(4000) * 3
    low = np.floor(place).astype(int)
    probabilities = np.zeros((4000, 4), np.float32)
    probabilities[np.arange(4000), low] = 1 - (place - low)
    probabilities[np.arange(4000), np.minimum(low + 1, 3)] += place - low
    labels = np.searchsorted([0.3, 1.7, 2.2], place)
    metric = METRICS["quadratic_weighted_kappa"](name="quadratic_weighted_kappa")
    cuts = DECISIONS["cut_points"](name="cut_points")
    fitted = cuts.fit(probabilities, labels, space, metric)
    np.testing.assert_allclose(fitted, [0.3, 1.7, 2.2], atol=0.02)
    assert metric.value(cuts.decide(probabilities, space, fitted), labels, space) > 0.99


# ---------------------------------------------------------------- when a fitted one is taken


def leaning(gain: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of two tags, whose best thresholds are at 0.2 or, without a gain, at 0.5."""
    random = np.random.default_rng(5)
    labels = (random.random((600, 2)) < 0.3).astype(np.int64)
    lean = random.normal(labels * 2.0 - 1.0)
    probabilities = 1 / (1 + np.exp(-lean * 3))
    return (probabilities * 0.4 if gain else probabilities).astype(np.float32), labels, np.arange(600) % 3


def test_a_fitted_decision_is_taken_where_it_is_better_and_shown_with_and_without() -> None:
    probabilities, labels, folds = leaning(gain=True)
    decided = scorer_of(2, "f1", "tags").decide(probabilities, labels, folds)
    assert decided.decision.decision.name == "thresholds" and len(decided.decision.fitted) == 2
    assert decided.without is not None and decided.gain is not None
    assert decided.evaluation.score.value > decided.without.score.value + 0.2
    assert decided.gain.verdict == "better"


def test_without_a_gain_nothing_is_fitted_unless_somebody_asks() -> None:
    probabilities, labels, folds = leaning(gain=False)
    by_itself = scorer_of(2, "f1", "tags").decide(probabilities, labels, folds)
    assert by_itself.decision.decision.name == "threshold" and by_itself.passed_over is not None
    wanted = DECISIONS["thresholds"](name="thresholds")
    asked = scorer_of(2, "f1", "tags", wanted).decide(probabilities, labels, folds)
    assert asked.decision.decision.name == "thresholds" and asked.without is not None


def test_a_fold_is_decided_by_what_the_other_folds_say() -> None:
    """Labels of a fold change nothing about how the fold is decided, but what it scores."""
    probabilities, labels, folds = leaning(gain=True)
    seen: list[int] = []

    class Watching(DECISIONS["thresholds"]):  # type: ignore[misc,name-defined]
        def fit(self, probabilities: Any, labels: Any, space: Any, metric: Any) -> list[float]:
            seen.append(len(labels))
            return [float(len(labels)), 0.0]

        def decide(self, probabilities: Any, space: Any, fitted: Any = ()) -> Any:
            seen.append(-len(probabilities))
            return (probabilities > 0.2).astype(np.int64)

    scorer = dataclasses.replace(scorer_of(2, "f1", "tags"), decision=Watching(name="thresholds"))
    scorer.decide(probabilities, labels, folds)
    assert seen == [400] * 3 + [-200] * 3 + [600]


def test_one_fold_cannot_be_fitted() -> None:
    probabilities, labels, folds = leaning(gain=True)
    decided = scorer_of(2, "f1", "tags").decide(probabilities, labels, folds * 0)
    assert decided.decision.decision.name == "threshold" and decided.without is None
    wanted: Scorer = scorer_of(2, "f1", "tags", DECISIONS["thresholds"](name="thresholds"))
    with pytest.raises(UserError, match="decision: 'thresholds' is fitted and needs two trained folds"):
        wanted.decide(probabilities, labels, folds * 0)


@pytest.mark.parametrize("average", ["macro", "micro", "samples"])
def test_thresholds_are_worth_what_deciding_by_them_scores(average: str) -> None:
    """The search looks sums up; what it finds must be what the metric says of the decision."""
    probabilities, labels = some_rows(space := label_space(4, "tags"))
    metric = METRICS["f_beta"].model_validate({"name": "f_beta", "average": average})
    thresholds = DECISIONS["thresholds"](name="thresholds")
    worths = thresholds._worths(probabilities, labels, space, metric)  # type: ignore[attr-defined]
    choices = np.random.default_rng(0).random((20, 4))
    choices[:5, 1:] = 0.3  # as a search does: one by one
    expected = [
        metric.value(thresholds.decide(probabilities, space, cuts), labels, space) for cuts in choices
    ]
    np.testing.assert_allclose(worths(choices), expected, rtol=1e-6)
    np.testing.assert_allclose(worths(choices[:5]), expected[:5], rtol=1e-6)
