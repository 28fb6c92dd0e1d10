"""softvote.reporting.report: the sections of tags, of several targets and of labels that are numbers."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Digits
from data_fixtures import write_csv
from kinds import KINDS
from numpy.typing import NDArray
from report_data import (
    TRAIN,
    build_section,
    column_of,
    data_of_kind,
    make_data,
    make_dataset,
    make_probabilities,
    make_tag_probabilities,
    tables_of,
)
from sklearn.metrics import average_precision_score, f1_score, fbeta_score

from softvote.data.corrections import correct_labels
from softvote.ensembling.scorer import FittedDecision, Scorer
from softvote.reporting.report.blocks import Attachment, Block, Chart, DataTable, Gallery, Paragraph
from softvote.reporting.report.page import SECTIONS
from softvote.reporting.report.section import ReportData
from softvote.reporting.report.sections import attention
from softvote.storage.paths import FoldFolder
from softvote.task import TaskKind

TAGS = ["even", "large", "loop"]


def tag_labels(digits: Digits) -> NDArray[np.int64]:
    return KINDS["tags"].labels(digits[1][:TRAIN])


def tag_data(digits: Digits, members: dict[str, NDArray[np.float32]], **more: Any) -> ReportData:
    """Tags of digits; `metric` of the competition among the rest."""
    metric = more.pop("metric", {"name": "f1", "average": "macro"})
    facts = {"labels": None, "solution": None, "metric": metric} | KINDS["tags"].facts
    dataset = more.pop("dataset", None) or make_dataset(digits, tag_labels(digits))
    return make_data(digits, members, dataset=dataset, competition=facts, **more)


def fit_decisions(data: ReportData) -> dict[str, FittedDecision]:
    """What the stages keep beside each voter."""
    scorer = data.row_scorer
    return {
        name: FittedDecision(
            scorer.decision, tuple(scorer.decision.fit(oof, data.labels, scorer.space, scorer.metric))
        )
        for name, oof in data.voters.items()
    }


def row_of(table: DataTable, name: str) -> dict[str, str]:
    cells = next(row for row in table.cells if row[0].text == name)
    return dict(zip(table.header, (cell.text for cell in cells), strict=True))


def text_of(blocks: list[Block]) -> str:
    return "\n".join(block.text for block in blocks if isinstance(block, Paragraph))


def value(text: str) -> float:
    return float(text.split()[0].rstrip("%"))


# ---------------------------------------------------------------- tags


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_each_tag_is_scored_as_scikit_learn_has_it(digits: Digits, beta: float) -> None:
    labels = tag_labels(digits)
    oof = make_tag_probabilities(labels, 1)
    metric = {"name": "f1"} if beta == 1 else {"name": "f_beta", "beta": 2}
    data = tag_data(digits, {"a": oof}, metric=metric)
    table = tables_of(build_section("tags", data))[0]
    answers = (oof > 0.5).astype(int)
    for tag, name in enumerate(TAGS):
        found = row_of(table, name)
        wanted = fbeta_score(labels[:, tag], answers[:, tag], beta=beta)
        assert value(found[f"F{beta:g}"]) == pytest.approx(100 * wanted, abs=0.006)
        average = average_precision_score(labels[:, tag], oof[:, tag])
        assert value(found["average precision"]) == pytest.approx(100 * average, abs=0.006)
        assert int(found["missed"]) == int((labels[:, tag] > answers[:, tag]).sum())
        assert int(found["wrongly named"]) == int((labels[:, tag] < answers[:, tag]).sum())
        assert found["threshold"] == "0.5"
    scores = [value(text) for text in column_of(table, f"F{beta:g}")]
    assert scores == sorted(scores)


def test_the_error_of_a_tag_is_about_what_other_rows_would_change(digits: Digits) -> None:
    random = np.random.default_rng(0)
    found, told = [], []
    for seed in range(30):
        labels = (random.random((TRAIN, 3)) < 0.3).astype(np.int64)
        oof = make_tag_probabilities(labels, seed)
        found.append(f1_score(labels[:, 0], oof[:, 0] > 0.5))
        if seed < 3:
            data = tag_data(digits, {"a": oof}, dataset=make_dataset(digits, labels))
            text = row_of(tables_of(build_section("tags", data))[0], "even")["F1"]
            told.append(float(text.split()[2]) / 100)
    assert np.mean(told) == pytest.approx(np.std(found), rel=0.4)


def test_tags_are_named_by_fitted_thresholds_and_scored_on_other_folds(digits: Digits) -> None:
    labels = tag_labels(digits)
    members = {"a": make_tag_probabilities(labels, 1, shift=-2.0)}
    data = tag_data(digits, members)
    plain = {name: value(row_of(tables_of(build_section("tags", data))[0], name)["F1"]) for name in TAGS}
    data = tag_data(
        digits, {"a": make_tag_probabilities(labels, 1, shift=-2.0)}, decisions=fit_decisions(data)
    )
    blocks = build_section("tags", data)
    table = tables_of(blocks)[0]
    fitted = data.decision_of("vote").fitted
    for tag, name in enumerate(TAGS):
        found = row_of(table, name)
        assert found["threshold"].startswith(f"{fitted[tag]:.3f} (") and value(found["F1"]) > plain[name]
    answers = data.row_scorer.cross_decide(data.oof, labels, data.fold_of_row)
    assert answers is not None and np.array_equal(data.answers, answers)
    in_sample = data.name_answers("vote")
    assert not np.array_equal(in_sample, answers)  # else the test could not tell them apart
    assert "without the row's fold" in text_of(blocks)


def test_a_tag_on_no_row_has_no_average_precision_and_stops_nothing(digits: Digits) -> None:
    labels = tag_labels(digits)
    labels[:, 2] = 0
    data = tag_data(digits, {"a": make_tag_probabilities(labels, 1)}, dataset=make_dataset(digits, labels))
    found = row_of(tables_of(build_section("tags", data))[0], "loop")
    assert found["average precision"] == found["recall"] == "–" and found["rows"] == "0"


def test_the_surest_mistakes_of_a_tag_come_first_with_both_kinds(digits: Digits) -> None:
    labels = tag_labels(digits)
    oof = (0.1 + 0.8 * labels).astype(np.float32)
    missed = np.flatnonzero(labels[:, 0] == 1)[:2]
    wrongly = np.flatnonzero(labels[:, 0] == 0)[:1]
    oof[missed[0], 0], oof[missed[1], 0], oof[wrongly[0], 0] = 0.3, 0.01, 0.8
    data = tag_data(digits, {"a": oof})
    (gallery,) = (block for block in build_section("tag_mistakes", data) if isinstance(block, Gallery))
    assert gallery.title == "even: missed 2, wrongly named 1; the surest 3"
    rows = [card.caption.split("\n")[0] for card in gallery.cards]
    assert rows == [f"row {row}" for row in (missed[1], wrongly[0], missed[0])]
    assert "missed even 1%" in gallery.cards[0].caption and "wrongly even 80%" in gallery.cards[1].caption


def test_a_tag_that_is_taken_for_another_is_found_with_its_pictures(digits: Digits) -> None:
    labels = tag_labels(digits)
    oof = (0.1 + 0.8 * labels).astype(np.float32)
    swapped = np.flatnonzero((labels[:, 0] == 1) & (labels[:, 1] == 0))[:40]
    oof[swapped, 0], oof[swapped, 1] = 0.1, 0.9
    data = tag_data(digits, {"a": oof})
    matrix, taken = tables_of(build_section("tag_pairs", data))[:2]
    assert matrix.cells[0][2].text == "40" and matrix.cells[1][1].text == ""
    assert [cell.text for cell in taken.cells[0][:3]] == ["even", "large", "40"]
    keys = taken.cells[0][2].pictures
    assert keys and all("wrongly large" in data.pictures.entries[key][1] for key in keys)


def test_of_many_tags_none_is_taken_for_another_by_chance(digits: Digits) -> None:
    """Of 6,320 pairs hundreds are beyond two standard errors though no mistake knows of another."""
    random, count = np.random.default_rng(0), 80
    labels = (random.random((TRAIN, count)) < 0.5).astype(np.int64)
    answers = np.where(random.random(labels.shape) < 0.1, 1 - labels, labels)
    names = [f"tag {number}" for number in range(count)]
    data = make_data(
        digits, {"a": (0.1 + 0.8 * answers).astype(np.float32)}, dataset=make_dataset(digits, labels),
        competition={"labels": None, "solution": None, "metric": {"name": "f1"}}
        | KINDS["tags"].facts | {"tags": names},
    )  # fmt: skip
    assert all(not table.rows for table in tables_of(build_section("tag_pairs", data)))


@pytest.mark.parametrize(("swap", "word"), [(1, "too often"), (-1, "too rarely")])
def test_tags_that_go_together_in_answers_but_not_in_labels_are_found(
    digits: Digits, swap: int, word: str
) -> None:
    labels = tag_labels(digits)
    oof = (0.1 + 0.8 * labels).astype(np.float32)
    loop, large = labels[:, 2] == 1, labels[:, 1] == 1
    with_loop = np.flatnonzero(loop & (large != (swap > 0)))[:60]
    without = np.flatnonzero(~loop & (large == (swap > 0)))[:60]
    oof[with_loop, 1], oof[without, 1] = 1 - oof[with_loop, 1], 1 - oof[without, 1]  # as often as before
    table = tables_of(build_section("tag_pairs", tag_data(digits, {"a": oof})))[-1]
    said = {tuple(cell.text for cell in row[:2]): row[-1].text for row in table.cells}
    assert said[("large", "loop")] == word and ("even", "loop") not in said


def test_without_mistakes_the_sections_of_tags_say_so(digits: Digits) -> None:
    data = tag_data(digits, {"a": (0.1 + 0.8 * tag_labels(digits)).astype(np.float32)})
    assert "makes no mistake" in text_of(build_section("tag_mistakes", data))
    pairs = build_section("tag_pairs", data)
    assert "On no image" in text_of(pairs) and "but for noise" in text_of(pairs) and not tables_of(pairs)


def test_which_member_knows_which_tag(digits: Digits) -> None:
    labels = tag_labels(digits)
    one, other = make_tag_probabilities(labels, 1), make_tag_probabilities(labels, 2)
    one[:, 0] = np.random.default_rng(0).random(TRAIN)
    table = tables_of(build_section("tags", tag_data(digits, {"one": one, "other": other})))[1]
    assert table.header == ["tag", "vote", "one", "other"]
    found = row_of(table, "even")
    assert value(found["other"]) > value(found["vote"]) > value(found["one"])


@pytest.mark.parametrize(("shift", "word"), [(-2.0, "too low"), (2.0, "too high")])
def test_the_reliability_of_tags_is_of_their_probabilities(digits: Digits, shift: float, word: str) -> None:
    random = np.random.default_rng(0)
    honest = (1 / (1 + np.exp(-random.normal(size=(TRAIN, 3)) * 2))).astype(np.float32)
    labels = (random.random((TRAIN, 3)) < honest).astype(np.int64)
    logit = np.log(honest / (1 - honest))
    off = (1 / (1 + np.exp(-(logit + shift)))).astype(np.float32)
    data = tag_data(digits, {"honest": honest, "off": off}, dataset=make_dataset(digits, labels))
    (table,) = tables_of(build_section("calibration", data))
    verdicts = dict(zip(column_of(table, "voter"), column_of(table, "it is"), strict=True))
    assert verdicts["honest"] == "as chance has it" and verdicts["off"] == word


def test_members_of_tags_agree_tag_by_tag(digits: Digits) -> None:
    labels = tag_labels(digits)
    oof = (0.1 + 0.8 * labels).astype(np.float32)
    other = oof.copy()
    other[:60, 0] = 1 - other[:60, 0]
    blocks = build_section("agreement", tag_data(digits, {"a": oof, "b": other}))
    equal = tables_of(blocks)[1]
    assert equal.cells[0][2].text == f"{1 - 60 / (3 * TRAIN):.2%}"


# ---------------------------------------------------------------- targets


def target_data(digits: Digits, members: dict[str, NDArray[np.float32]] | None = None) -> ReportData:
    labels = KINDS["targets"].labels(digits[1][:TRAIN])
    facts = {"labels": None, "solution": None} | KINDS["targets"].facts
    if members is None:
        members = {name: target_probabilities(labels, seed) for seed, name in enumerate("ab")}
    return make_data(digits, members, dataset=make_dataset(digits, labels), competition=facts)


def target_probabilities(labels: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    parts = [make_probabilities(labels[:, t], seed + 7 * t, 1.5, size) for t, size in enumerate((2, 3))]
    return np.concatenate(parts, axis=1)


def test_each_target_is_scored_by_itself(digits: Digits) -> None:
    labels = KINDS["targets"].labels(digits[1][:TRAIN])
    oof = target_probabilities(labels, 1)
    targets, by_voter, by_fold, counts, pairs = tables_of(
        build_section("targets", target_data(digits, {"a": oof}))
    )
    right = np.stack([oof[:, :2].argmax(1), oof[:, 2:].argmax(1)], axis=1) == labels
    for target, name in enumerate(("parity", "size")):
        found = row_of(targets, name)
        assert value(found["accuracy"]) == pytest.approx(100 * right[:, target].mean(), abs=0.006)
        assert int(found["mistakes"]) == int((~right[:, target]).sum()) and "±" in found["log loss"]
        assert row_of(by_voter, "a")[name] == found["accuracy"]
        folds = [right[fold::2, target].mean() for fold in range(2)]
        assert [value(row_of(by_fold, name)[f"fold {fold}"]) for fold in range(2)] == pytest.approx(
            [100 * each for each in folds], abs=0.006
        )
    wrong = (~right).sum(axis=1)
    assert column_of(counts, "images") == [f"{(wrong == count).sum():,}" for count in range(3)]
    assert pairs.cells[0][2].text == str(int((wrong == 2).sum()))


def test_every_target_has_its_confusions_mistakes_and_reliability(digits: Digits) -> None:
    data = target_data(digits)
    captions = [table.caption for table in tables_of(build_section("confusion", data))]
    assert captions[0] == "parity: Answers of vote" and "size: Classes" in captions
    assert sum(table.matrix for table in tables_of(build_section("confusion", data))) == 2
    titles = [block.title for block in build_section("mistakes", data) if isinstance(block, Gallery)]
    assert titles[0].startswith("parity: Surest mistakes") and titles[2].startswith("size: Surest")
    wrong = next(block for block in build_section("mistakes", data) if isinstance(block, Gallery)).cards[0]
    assert "parity: label " in wrong.caption and wrong.tone == "bad"
    assert tables_of(build_section("calibration", data))[0].rows
    assert "targets of images" in tables_of(build_section("agreement", data))[1].caption


# ---------------------------------------------------------------- numbers


def grade_data(
    digits: Digits, members: dict[str, NDArray[np.float32]], metric: Any = None, **more: Any
) -> ReportData:
    facts = {"solution": None} | KINDS["ordered"].facts | ({"metric": metric} if metric else {})
    return make_data(digits, members, competition=facts, **more)


def test_errors_of_numbers_are_of_the_expected_label(digits: Digits) -> None:
    labels = digits[1][:TRAIN]
    oof = make_probabilities(labels, 1, 3)
    blocks = build_section("numbers", grade_data(digits, {"a": oof}))
    errors, by_fold = tables_of(blocks)
    residual = oof.astype(float) @ np.arange(10) - labels
    found = row_of(errors, "a")
    for name, wanted in (("mean residual", residual.mean()), ("mean absolute error", abs(residual).mean()),
                         ("squared error", (residual**2).mean())):  # fmt: skip
        assert value(found[name]) == pytest.approx(wanted, abs=6e-5)
    assert value(found["off by ≤ 1.5"]) == pytest.approx(100 * (abs(residual) <= 1.5).mean(), abs=0.006)
    assert value(row_of(by_fold, "a")["fold 1"]) == pytest.approx(abs(residual[1::2]).mean(), abs=6e-5)
    (gallery,) = (block for block in blocks if isinstance(block, Gallery))
    assert gallery.cards[0].caption.startswith(f"row {abs(residual).argmax()},")
    assert sum(isinstance(block, Chart) for block in blocks) == 2


def test_a_share_of_all_rows_is_not_certain(digits: Digits) -> None:
    """As accuracy has it: two standard errors of what never went wrong are about 3 / n."""
    surely = np.eye(10, dtype=np.float32)[digits[1][:TRAIN]]
    errors = tables_of(build_section("numbers", grade_data(digits, {"a": surely})))[0]
    share, _, error = row_of(errors, "a")["off by ≤ 0.5"].removesuffix(" %").split()
    assert share == "100.00" and 2 * float(error) == pytest.approx(100 * 3 / TRAIN, rel=0.2)


def test_grades_are_answered_by_their_cut_points(digits: Digits) -> None:
    labels = digits[1][:TRAIN]
    low = make_probabilities(np.maximum(labels - 1, 0), 1, 9)  # one too low everywhere: cut points mend it
    data = grade_data(digits, {"a": low}, metric="quadratic_weighted_kappa")
    before = float(np.mean(data.answers == labels))
    data = grade_data(digits, {"a": low}, metric="quadratic_weighted_kappa", decisions=fit_decisions(data))
    assert np.mean(data.answers == labels) > before + 0.3
    matrix = tables_of(build_section("confusion", data))[0]
    assert int(matrix.cells[5][6].text) > 0.5 * int((labels == 5).sum())


# ---------------------------------------------------------------- several labels per image


@pytest.mark.parametrize(("kind", "asked"), [("tags", ("tag", "even")), ("targets", ("target", "parity"))])
def test_planted_label_errors_are_found_and_a_next_pipeline_takes_the_file(
    digits: Digits, tmp_path: Path, kind: TaskKind, asked: tuple[str, str]
) -> None:
    pytest.importorskip("cleanlab")
    planted = np.arange(0, TRAIN, 50)
    data = data_of_kind(kind, digits, planted)
    blocks = build_section("labels", data)
    (attachment,) = (block for block in blocks if isinstance(block, Attachment))
    rows = list(csv.DictReader(io.StringIO(attachment.text)))
    found = {int(row["row"]) for row in rows if row[asked[0]] == asked[1]}
    assert len(found & set(planted.tolist())) >= len(planted) - 2
    (table,) = tables_of(blocks)
    assert [cell.text for cell in table.cells[0]] == list(rows[0].values()) and table.cells[0][0].source
    assert f"Doubtful labels: {asked[1]} " in text_of(blocks) and "flatter" in text_of(blocks)
    kept = [row for row in rows if int(row["row"]) in planted and row[asked[0]] == asked[1]]
    path = tmp_path / "corrections.csv"
    write_csv(path, list(kept[0]), [list(row.values()) for row in kept])
    corrected = correct_labels(data.dataset.train_labels, None, data.pipeline.competition, path)
    right = KINDS[kind].labels(digits[1][:TRAIN])
    assert np.flatnonzero((corrected != right).any(axis=1)).tolist() == sorted({*planted} - found)


def test_a_tag_that_no_row_has_is_not_doubted(digits: Digits) -> None:
    pytest.importorskip("cleanlab")
    labels = tag_labels(digits)
    labels[:, 2] = 0
    data = tag_data(digits, {"a": make_tag_probabilities(labels, 1)}, dataset=make_dataset(digits, labels))
    assert "loop" not in column_of(tables_of(build_section("labels", data))[0], "tag")


@pytest.mark.parametrize("kind", ["tags", "targets"])
def test_where_a_network_looks_is_shown_of_the_output_that_named_it(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: TaskKind
) -> None:
    asked = list[tuple[int, int]]()

    def explain(predictor: object, images: NDArray[np.uint8], outputs: NDArray[np.int64]) -> NDArray[Any]:
        rows = [int((digits[0][:TRAIN] == image[0]).all(axis=(1, 2)).argmax()) for image in images]
        asked.extend(zip(rows, outputs.tolist(), strict=True))
        return np.zeros((len(images), 8, 8), np.float32)

    monkeypatch.setattr(attention, "class_activation_maps", explain)
    monkeypatch.setattr(attention, "load_predictor", lambda folder: None)
    folders = [FoldFolder(tmp_path / f"fold{fold}") for fold in range(2)]
    data = data_of_kind(kind, digits, np.arange(0, TRAIN, 50), trainings={"a": folders})
    galleries = [block for block in build_section("attention", data) if isinstance(block, Gallery)]
    cards = [card for gallery in galleries for card in gallery.cards]
    titles = [gallery.title for gallery in galleries]
    assert len(asked) == len(cards) and {card.tone for card in cards} == {"good", "bad"}
    for row, output in asked:
        of_row = [card.caption for card in cards if card.caption.startswith(f"row {row},")]
        name = data.classes[output]
        assert any(name.rpartition("=")[2] in caption for caption in of_row)
        assert data.members["a"].oof[row, output] >= 0.5  # it was answered
    if kind == "tags":
        assert titles[0].startswith("Surest mistakes") and "even: named most surely" in titles
    else:
        assert titles[:2] == ["parity: Surest mistakes", "parity: Right answers, at random"]
        assert "size: Right answers, at random" in titles


@pytest.mark.parametrize("kind", ["tags", "targets"])
def test_corrected_labels_of_several_are_scored_as_given_too(digits: Digits, kind: TaskKind) -> None:
    wrong = np.arange(60)
    data = data_of_kind(kind, digits, wrong[:0])
    given = data.labels.copy()
    given[wrong, 0] = 1 - given[wrong, 0]
    blocks = build_section("corrections", data_of_kind(kind, digits, wrong[:0], given_labels=given))
    assert "60 training labels are corrected" in text_of(blocks)
    (table,) = tables_of(blocks)
    now, then = (value(column_of(table, f"on {which} labels")[0]) for which in ("corrected", "given"))
    assert then < now - 2


@pytest.mark.parametrize(("kind", "names"), [("tags", {"tags", "tag_pairs", "tag_mistakes"}),
                                             ("targets", {"targets"}), ("ordered", {"numbers"})])  # fmt: skip
def test_sections_appear_as_the_labels_allow(digits: Digits, kind: str, names: set[str]) -> None:
    labels = tag_labels(digits)
    data = {
        "tags": lambda: tag_data(digits, {"a": make_tag_probabilities(labels, 1)}),
        "targets": lambda: target_data(digits),
        "ordered": lambda: grade_data(digits, {"a": make_probabilities(digits[1][:TRAIN], 1)}),
    }[kind]()
    mine = {"tags", "tag_pairs", "tag_mistakes", "targets", "numbers"}
    there = {name for name in mine if not SECTIONS[name].reason_to_leave_out(data)}
    assert there == names


def test_rows_of_a_group_are_drawn_together(digits: Digits) -> None:
    labels = tag_labels(digits)
    labels, oof = (
        np.repeat(each[: TRAIN // 10], 10, axis=0) for each in (labels, make_tag_probabilities(labels, 1))
    )
    dataset = make_dataset(digits, labels)
    alone = tag_data(digits, {"a": oof}, dataset=dataset)
    scorer = Scorer.of_pipeline(alone.pipeline, np.arange(TRAIN) // 10)
    grouped = tag_data(digits, {"a": oof}, dataset=dataset, scorer=scorer)
    errors = [
        [float(row_of(tables_of(build_section("tags", data))[0], name)["F1"].split()[2]) for name in TAGS]
        for data in (alone, grouped)
    ]
    assert np.mean(errors[1]) > 2 * np.mean(errors[0])
