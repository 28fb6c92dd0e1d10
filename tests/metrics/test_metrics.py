"""Every metric of the registry: scikit-learn's values, quick resamples, directions and standard errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics as reference

from softvote.config.schema import ConfigError
from softvote.ensembling.scorer import Scorer
from softvote.errors import UserError
from softvote.metrics import METRICS, Metric, parse_metric
from softvote.metrics.evaluation import Bootstrap, Proportion, RowMean
from softvote.task import LabelSpace, Task, TaskKind

SIZES = {"classes": 4, "ordered": 5, "tags": 3, "targets": 5}

# What each metric is tried with beyond what it is by default.
FURTHER = [
    ("log_loss", {"weights": {"a": 3.0}}),
    ("f1", {"average": "micro"}),
    ("f1", {"average": "samples"}),
    ("f1", {"average": "binary"}),
    ("f_beta", {"average": "samples", "beta": 2}),
    ("f_beta", {"average": "binary", "beta": 0.5, "positive": "a"}),
    ("partial_roc_auc", {"above_tpr": 0.3}),
    ("map_at_k", {"k": 1}),
    ("top_k_error", {"k": 1}),
    ("macro_recall", {"weights": {"first": 2.0}}),
]


def space_of(kind: TaskKind, columns: int | None = None) -> LabelSpace:
    """A small task; several targets have two and three labels."""
    size = columns or SIZES[kind]
    names = tuple("abcdefghij"[:size])
    if kind == "targets":
        targets = (("first", ("a", "b")), ("second", ("c", "d", "e")))
        return LabelSpace(Task(5, kind=kind, target_sizes=(2, 3)), names, targets)
    return LabelSpace(Task(size, kind=kind), names)


def labels_of(space: LabelSpace, rows: int, random: np.random.Generator) -> np.ndarray:
    task = space.task
    if task.kind == "tags":
        return random.integers(0, 2, (rows, task.num_classes))
    if task.kind == "targets":
        return np.stack([random.integers(0, size, rows) for size in task.target_sizes], axis=1)
    return random.integers(0, task.num_classes, rows)


def probabilities_of(space: LabelSpace, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Somewhat right, in steps of a tenth, so that rows tie."""
    columns = truth_columns(space, labels)
    mass = np.round(columns + random.random(columns.shape) * 1.5, 1) + 0.1
    if space.task.kind == "tags":
        return (mass / 3).astype(np.float32)
    for block in space.task.blocks:
        mass[:, block] /= mass[:, block].sum(axis=1, keepdims=True)
    return mass.astype(np.float32)


def truth_columns(space: LabelSpace, labels: np.ndarray) -> np.ndarray:
    """1 in the columns that are true, (N, K)."""
    if space.task.kind == "tags":
        return labels.astype(float)
    several = labels if labels.ndim == 2 else labels[:, None]
    parts = [np.eye(block.stop - block.start)[several[:, t]] for t, block in enumerate(space.task.blocks)]
    return np.concatenate(parts, axis=1)


def decide_plainly(metric: Metric, space: LabelSpace, probabilities: np.ndarray) -> np.ndarray:
    """What the metric needs, decided plainly."""
    if metric.predicted == "probabilities":
        return probabilities
    if metric.predicted == "top_k":
        return np.argsort(-probabilities, axis=1, kind="stable")[:, : metric.model_dump()["k"]]
    if space.task.kind == "tags":
        return (probabilities > 0.5).astype(np.int64)
    best = [probabilities[:, block].argmax(axis=1) for block in space.task.blocks]
    return np.stack(best, axis=1) if space.task.kind == "targets" else best[0]


def fits(metric: Metric, space: LabelSpace) -> bool:
    if space.task.kind not in metric.kinds:
        return False
    if metric.model_dump().get("k", 0) >= space.task.num_classes:
        return False  # whoever may name every class is always right
    try:
        metric.check(space)
    except ConfigError:
        return False
    return True


CASES = [
    pytest.param(metric, space, id=f"{metric}-{space.task.kind}{space.task.num_classes}")
    for metric in [
        *(kind() for kind in METRICS.values()),
        *(METRICS[name].model_validate({"name": name} | more) for name, more in FURTHER),
    ]
    for space in [*map(space_of, SIZES), space_of("classes", 2)]  # type: ignore[arg-type]
    if fits(metric, space)
]

# The kinds of task differ little in what follows from draws, which is dear.
FIRST = {str(case.values[0]): case.id for case in reversed(CASES)}.values()
FEW = [
    pytest.param(*case.values, id=case.id, marks=() if case.id in FIRST else pytest.mark.slow)
    for case in CASES
]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_tried(name: str) -> None:
    assert any(case.values[0].name == name for case in CASES)
    assert METRICS[name]().name == name


@pytest.mark.parametrize(("metric", "space"), FEW)
def test_a_resample_scores_what_its_rows_score_one_by_one(metric: Metric, space: LabelSpace) -> None:
    random = np.random.default_rng(1)
    labels = labels_of(space, 60, random)
    predictions = decide_plainly(metric, space, probabilities_of(space, labels, random))
    weights = random.multinomial(60, np.full(60, 1 / 60), size=7)
    found = metric.resample(predictions, labels, space, weights.astype(np.float32))
    copies = [np.repeat(np.arange(60), each) for each in weights]
    expected = [metric.value(predictions[rows], labels[rows], space) for rows in copies]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    weighted = [metric.value(predictions, labels, space, each) for each in weights]
    np.testing.assert_allclose(weighted, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("above_tpr", [0.3, 0.8])
def test_a_curve_may_cross_the_rate_among_rows_that_tie(above_tpr: float) -> None:
    metric = METRICS["partial_roc_auc"].model_validate({"name": "partial_roc_auc", "above_tpr": above_tpr})
    random, space = np.random.default_rng(0), space_of("classes", 2)
    labels, second = random.integers(0, 2, 60), random.integers(1, 4, 60) / 4
    probabilities = np.stack([1 - second, second], axis=1).astype(np.float32)
    (found,) = metric.resample(probabilities, labels, space, np.ones((1, 60), np.float32))
    assert found == pytest.approx(metric.value(probabilities, labels, space), rel=1e-5)


@pytest.mark.parametrize(("metric", "space"), CASES)
def test_the_truth_is_best_and_its_opposite_worse(metric: Metric, space: LabelSpace) -> None:
    random = np.random.default_rng(2)
    labels = labels_of(space, 80, random)
    labels[:2] = [[1] * labels.shape[1], [0] * labels.shape[1]] if labels.ndim == 2 else [0, 1]
    truth = truth_columns(space, labels).astype(np.float32)
    for block in space.task.blocks:
        truth[:, block] /= truth[:, block].sum(axis=1, keepdims=True)
    best = metric.evaluate(decide_plainly(metric, space, truth), labels, space)
    ideal = metric.highest if metric.greater_is_better else metric.lowest
    if metric.name == "partial_roc_auc":
        ideal = 1 - metric.model_dump()["above_tpr"]
    if metric.model_dump().get("average") == "samples":
        ideal = float(labels.any(axis=1).mean())  # scikit-learn gives an image without tags nothing
    assert best.score.value == pytest.approx(ideal, abs=1e-5)
    worse = metric.evaluate(decide_plainly(metric, space, np.roll(truth, 1, axis=0)), labels, space)
    assert metric.lowest <= worse.score.value <= metric.highest
    assert worse.worth < best.worth
    assert worse.minus(best).verdict == "worse"
    assert best.minus(worse).verdict == "better"
    assert best.minus(best).verdict == "noise"


@pytest.mark.parametrize(("metric", "space"), FEW)
def test_the_standard_error_is_the_spread_over_other_samples(metric: Metric, space: LabelSpace) -> None:
    random = np.random.default_rng(8)
    values, errors, differences, of_differences = [], [], [], []
    for _ in range(20):
        labels = labels_of(space, 200, random)
        first, second = (
            metric.evaluate(
                decide_plainly(metric, space, probabilities_of(space, labels, random)), labels, space
            )
            for _ in range(2)
        )
        values += [first.score.value]
        errors += [first.score.standard_error]
        differences += [first.minus(second).value]
        of_differences += [first.minus(second).standard_error]
        assert first.minus(first).standard_error <= 0.5 * first.score.standard_error  # paired
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.6)
    assert np.mean(of_differences) == pytest.approx(np.std(differences), rel=0.6)


@pytest.mark.parametrize(("metric", "space"), CASES)
def test_rows_of_a_group_count_as_one_draw(metric: Metric, space: LabelSpace) -> None:
    """Every row ten times over: nothing was learnt, so the error stays what it was of the rows once."""
    random = np.random.default_rng(4)
    labels = labels_of(space, 100, random)
    predictions = decide_plainly(metric, space, probabilities_of(space, labels, random))
    once = metric.evaluate(predictions, labels, space).score
    ten = (np.repeat(each, 10, axis=0) for each in (predictions, labels, np.arange(100)))
    grouped = metric.evaluate(next(ten), next(ten), space, next(ten))
    assert isinstance(grouped, Bootstrap)
    assert grouped.score.value == pytest.approx(once.value, rel=1e-5, abs=1e-6)
    assert grouped.score.standard_error == pytest.approx(once.standard_error, rel=0.35)


def test_errors_that_need_no_resamples_take_none() -> None:
    space, random = space_of("classes"), np.random.default_rng(5)
    labels = labels_of(space, 50, random)
    probabilities = probabilities_of(space, labels, random)
    assert isinstance(METRICS["accuracy"]().evaluate(labels, labels, space), Proportion)
    assert isinstance(METRICS["log_loss"]().evaluate(probabilities, labels, space), RowMean)


@pytest.mark.parametrize("name", [name for name, kind in METRICS.items() if kind.needs == "ranking"])
def test_a_long_ranking_is_resampled_by_its_quantiles(name: str) -> None:
    space, random = space_of("classes", 2), np.random.default_rng(9)
    labels = (random.random(9000) < 0.02).astype(int)
    second = 1 / (1 + np.exp(-random.normal(labels * 2.0)))
    probabilities = np.stack([1 - second, second], axis=1)
    weights = random.multinomial(9000, np.full(9000, 1 / 9000), size=3)
    metric = METRICS[name]()
    found = metric.resample(probabilities, labels, space, weights.astype(np.float32))
    expected = [metric.value(probabilities, labels, space, each) for each in weights]
    assert np.ptp(expected) > 0.003
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_values_are_those_of_scikit_learn() -> None:
    """Of what is not itself computed by scikit-learn here."""
    space, random = space_of("classes"), np.random.default_rng(6)
    labels = labels_of(space, 200, random)
    probabilities = probabilities_of(space, labels, random)

    def value(name: str, predictions: Any, of: LabelSpace = space, truth: Any = labels, **more: Any) -> float:
        return METRICS[name].model_validate({"name": name} | more).value(predictions, truth, of)

    expected = reference.log_loss(labels, probabilities, labels=range(4))
    assert value("log_loss", probabilities) == pytest.approx(expected, rel=1e-5)
    heavy = np.where(labels == 0, 3.0, 1.0)
    expected = reference.log_loss(labels, probabilities, labels=range(4), sample_weight=heavy)
    assert value("log_loss", probabilities, weights={"a": 3}) == pytest.approx(expected, rel=1e-5)
    named = probabilities.argmax(axis=1)
    assert value("accuracy", named) == reference.accuracy_score(labels, named)
    expected = reference.balanced_accuracy_score(labels, named)
    assert value("balanced_accuracy", named) == pytest.approx(expected)
    two = np.argsort(-probabilities, axis=1)[:, :2]
    expected = 1 - reference.top_k_accuracy_score(labels, probabilities, k=2)
    assert value("top_k_error", two, k=2) == pytest.approx(expected, abs=0.02)  # ties fall otherwise there
    expected = reference.label_ranking_average_precision_score(np.eye(4)[labels], -two_places(two, 4))
    assert value("map_at_k", np.argsort(two_places(two, 4), axis=1), k=4) == pytest.approx(expected)
    tags = space_of("tags")
    marks = labels_of(tags, 200, random)
    chances = probabilities_of(tags, marks, random)
    expected = reference.fbeta_score(marks, chances > 0.5, beta=2, average="samples", zero_division=0)
    decisions = (chances > 0.5).astype(int)
    assert value("f_beta", decisions, tags, marks, average="samples") == pytest.approx(expected)
    columns = [reference.log_loss(marks[:, tag], chances[:, tag], labels=[0, 1]) for tag in range(3)]
    expected = np.average(columns, weights=[3, 1, 1])
    assert value("log_loss", chances, tags, marks, weights={"a": 3}) == pytest.approx(expected, rel=1e-5)


def two_places(two: np.ndarray, columns: int) -> np.ndarray:
    """Places (N, K) 0.. of all classes, the two best first."""
    places = np.empty((len(two), columns))
    for row, (first, second) in enumerate(two):
        rest = [column for column in range(columns) if column not in (first, second)]
        places[row, [first, second, *rest]] = range(columns)
    return places


def test_the_partial_area_is_the_one_of_the_competition() -> None:
    """ISIC 2024's definition, by the trapezoids between the curve and the line at the rate."""
    space, random = space_of("classes", 2), np.random.default_rng(7)
    labels = labels_of(space, 500, random)
    probabilities = probabilities_of(space, labels, random)
    false, true, _ = reference.roc_curve(labels, probabilities[:, 1])
    fine = np.linspace(0, 1, 200_001)
    above = np.maximum(np.interp(fine, false, true) - 0.8, 0)
    found = METRICS["partial_roc_auc"]().value(probabilities, labels, space)
    assert found == pytest.approx(np.trapezoid(above, fine), abs=1e-4)


def test_a_column_of_one_kind_is_left_out_and_none_is_an_error() -> None:
    space = space_of("tags")
    labels = np.array([[0, 1, 0], [1, 1, 0], [0, 1, 0]])
    probabilities = np.array([[0.1, 0.5, 0.5], [0.9, 0.5, 0.5], [0.2, 0.5, 0.5]], np.float32)
    assert METRICS["roc_auc"]().value(probabilities, labels, space) == 1.0
    with pytest.raises(UserError, match="right and wrong among"):
        METRICS["roc_auc"]().value(probabilities, labels * 0, space)


@pytest.mark.parametrize(
    ("name", "more", "kind", "said"),
    [
        ("log_loss", {"weights": {"z": 2}}, "classes", "no label 'z'"),
        ("macro_recall", {"weights": {"frist": 2}}, "targets", "did you mean 'first'"),
        ("f1", {"average": "binary"}, "classes", "two classes"),
        ("f1", {"average": "samples"}, "classes", "is for tags"),
        ("partial_roc_auc", {}, "classes", "two classes"),
        ("partial_roc_auc", {"above_tpr": 1}, "classes", "not a rate"),
    ],
)
def test_what_does_not_go_with_the_labels_is_refused(
    name: str, more: dict[str, Any], kind: TaskKind, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        METRICS[name].model_validate({"name": name} | more).check(space_of(kind))


def test_a_metric_is_told_by_what_was_said_of_it() -> None:
    assert str(METRICS["accuracy"]()) == "accuracy"
    f3 = METRICS["f_beta"].model_validate({"name": "f_beta", "average": "samples", "beta": 3})
    assert str(f3) == "f_beta {average: samples, beta: 3.0}"
    assert f3.title == "samples F3"


@pytest.mark.parametrize("metric", {str(case.values[0]): case.values[0] for case in CASES}.values(), ids=str)
def test_the_words_of_a_metric_lead_back_to_it(metric: Metric) -> None:
    assert parse_metric(str(metric)) == metric
    assert parse_metric("something {of: tomorrow}").title == "something"


@pytest.mark.parametrize("name", ["log_loss", "roc_auc", "accuracy"])
def test_rounding_is_no_difference(name: str) -> None:
    """The mean of two equal members differs from them by how float32 rounds."""
    random, space = np.random.default_rng(1), space_of("classes", 3)
    labels = labels_of(space, 300, random)
    member = random.dirichlet([1, 1, 1], 300).astype(np.float32)
    member[np.arange(300), labels] += 0.4
    member /= member.sum(axis=1, keepdims=True)
    mean = (
        (member.astype(np.float64) / 2) * 2 / (member.astype(np.float64).sum(axis=1, keepdims=True))
    ).astype(np.float32)
    scorer = Scorer.create(METRICS[name](name=name), space)
    assert not np.array_equal(mean, member)
    assert scorer.evaluate(mean, labels).minus(scorer.evaluate(member, labels)).verdict == "noise"


def test_one_group_tells_no_standard_error() -> None:
    random, space = np.random.default_rng(2), space_of("classes")
    labels = labels_of(space, 40, random)
    metric = METRICS["roc_auc"](name="roc_auc")
    found = metric.evaluate(probabilities_of(space, labels, random), labels, space, np.zeros(40, np.int64))
    assert np.isnan(found.score.standard_error)


@pytest.mark.parametrize(("name", "expected"), [("map_at_k", 0.5), ("top_k_error", 0.5)])
def test_classes_beyond_the_most_that_are_asked_for_count_for_nothing(name: str, expected: float) -> None:
    metric = METRICS[name].model_validate({"name": name, "k": 1})
    told = np.array([[0, 1, 2], [0, 1, 2]])
    assert metric.value(told, np.array([0, 1]), space_of("classes")) == expected
