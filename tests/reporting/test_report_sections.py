"""softvote.reporting.report: every section says what it shows, or why it is not there."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import Digits
from kinds import KINDS, Kind
from numpy.typing import NDArray
from report_data import (
    TEST,
    TRAIN,
    build_section,
    column_of,
    make_data,
    make_dataset,
    make_probabilities,
    tables_of,
)
from untrained import write_fold

from softvote.ensembling.predictions import Predictions
from softvote.inference.record import TrainingRecord
from softvote.reporting.report import page
from softvote.reporting.report.blocks import Attachment, Block, Chart, DataTable, Gallery, Paragraph
from softvote.reporting.report.page import SECTIONS, BuiltSection, build_sections, write_page
from softvote.reporting.report.section import LeftOutError, ReportData
from softvote.reporting.report.sections.calibration import calibration_error
from softvote.reporting.report.sections.layers import _summarise
from softvote.tracking.comparison import LeaderboardComparison, LeaderboardRow
from softvote.tracking.ledger import Entry


def test_one_member_is_compared_with_nothing(digits: Digits) -> None:
    alone = {"cnn": make_probabilities(digits[1][:TRAIN], 1)}
    blocks = build_section("scores", make_data(digits, alone))
    assert tables_of(blocks)[0].header == ["voter", "accuracy", "log loss"]
    assert column_of(tables_of(blocks)[0], "voter") == ["cnn"] and "Differences" not in text_of(blocks)


def text_of(blocks: list[Block]) -> str:
    return "\n".join(block.text for block in blocks if isinstance(block, Paragraph))


@pytest.fixture(scope="module")
def built_once(digits: Digits) -> tuple[ReportData, dict[str, BuiltSection]]:
    data = make_data(digits)
    return data, {built.section.name: built for built in build_sections(data)}


Built = tuple[ReportData, dict[str, BuiltSection]]


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_is_shown_or_says_why_not(tmp_path: Path, built_once: Built, name: str) -> None:
    data, built = built_once[0], built_once[1][name]
    assert bool(built.blocks) != bool(built.left_out or name == "corrections")
    write_page(
        tmp_path / "page.html", "page.html", name="tiny", subtitle="", tiles=[], sections=[built],
        store=data.pictures.entries, footer="", warnings=[],
    )  # fmt: skip
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    told = built.left_out or (built.section.question if built.blocks else "")
    assert told in page and (built.section.title in page) == bool(told)


def make_probabilities_of(kind: Kind, labels: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    """float32 (n, K), mostly right: tags each on their own, a softmax per target."""
    random = np.random.default_rng(seed)
    if kind.task.kind == "tags":
        return (0.1 + 0.8 * np.where(random.random(labels.shape) < 0.9, labels, 1 - labels)).astype(
            np.float32
        )
    blocks = [block.stop - block.start for block in kind.task.blocks]
    columns = labels[:, None] if labels.ndim == 1 else labels
    parts = [make_probabilities(columns[:, t], seed + t, 4, size) for t, size in enumerate(blocks)]
    return np.concatenate(parts, axis=1)


@pytest.mark.slow_but("tags")
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_of_task_has_a_report(digits: Digits, kind: Kind) -> None:
    labels = kind.labels(digits[1][:TRAIN])
    members = {name: make_probabilities_of(kind, labels, seed) for seed, name in enumerate("ab")}
    facts = {"labels": None, "solution": None} | kind.facts
    data = make_data(digits, members, dataset=make_dataset(digits, labels), competition=facts)
    built = {each.section.name: each for each in build_sections(data)}
    for name in ("scores", "contributions", "duplicates", "adversarial", "layers"):
        assert built[name].blocks, built[name].left_out
    of_tags = kind.task.kind == "tags"
    for name in ("confusion", "mistakes"):
        assert bool(built[name].blocks) != of_tags and ("tags" in built[name].left_out) == of_tags
    assert built["calibration"].blocks and built["agreement"].blocks
    assert built["labels"].blocks or "cleanlab" in built["labels"].left_out
    assert column_of(tables_of(list(built["scores"].blocks))[0], "voter")[:2] == ["a", "b"]


def test_scores_are_of_members_and_rules_and_folds(digits: Digits) -> None:
    all_voters, by_fold = tables_of(build_section("scores", make_data(digits)))
    voters = column_of(all_voters, "voter")
    assert voters[:3] == ["cnn", "resnet5", "= mean (votes)"] and "= greedy" in voters
    assert all("±" in cell for cell in column_of(all_voters, "accuracy"))
    assert column_of(by_fold, "voter") == ["cnn", "resnet5", "vote"] and by_fold.header[1:] == [
        "fold 0",
        "fold 1",
    ]


def test_who_makes_the_vote_right_adds_and_who_makes_it_wrong_harms(digits: Digits) -> None:
    labels = digits[1][:TRAIN]
    good, noise = make_probabilities(labels, 1, 9), make_probabilities((labels + 1) % 10, 2, 5)
    members = {"good": good, "noise": noise, "other": make_probabilities(labels, 4, 2)}
    (table,) = tables_of(build_section("contributions", make_data(digits, members)))
    verdicts = dict(zip(column_of(table, "member"), column_of(table, "which is"), strict=True))
    assert verdicts["good"] == "adds" and verdicts["noise"] == "harms"
    saved = dict(zip(column_of(table, "member"), column_of(table, "log loss it saves"), strict=True))
    assert saved["good"].startswith("+") and not saved["noise"].startswith("+")


def test_without_a_member_the_others_keep_their_proportions(digits: Digits) -> None:
    labels = digits[1][:TRAIN]
    members = {name: make_probabilities(labels, seed, 2) for seed, name in enumerate("abc")}
    data = make_data(digits, members, [0.6, 0.1, 0.3])
    (table,) = tables_of(build_section("contributions", data))
    a, b, c = members.values()
    rest = (0.6 * a + 0.1 * b) / 0.7
    gain = data.row_scorer.evaluate(0.6 * a + 0.1 * b + 0.3 * c, labels).minus(
        data.row_scorer.evaluate(rest.astype(np.float32), labels)
    )
    told = dict(zip(column_of(table, "member"), column_of(table, "accuracy it adds"), strict=True))
    assert told["c"] == str(gain)


def test_a_member_without_weight_is_named(digits: Digits) -> None:
    members = {name: make_probabilities(digits[1][:TRAIN], seed) for seed, name in enumerate("abc")}
    assert "Without weight in the vote: c" in text_of(
        build_section("contributions", make_data(digits, members, [0.5, 0.5, 0]))
    )


def test_members_that_are_the_same_agree_and_fail_together(digits: Digits) -> None:
    same = make_probabilities(digits[1][:TRAIN], 1, 2)
    other = make_probabilities(digits[1][:TRAIN], 2, 2)
    correlation, equal = tables_of(
        build_section("agreement", make_data(digits, {"a": same, "b": same, "c": other}))
    )
    assert correlation.cells[0][2].text == "1.00" and equal.cells[0][2].text == "100.00%"
    assert float(correlation.cells[0][3].text) < 0.5


def test_the_most_frequent_confusion_stands_first_with_its_pictures(digits: Digits) -> None:
    labels = digits[1][:TRAIN]
    answers = np.where((labels == 3) & (np.arange(TRAIN) % 2 == 0), 5, labels)
    data = make_data(digits, {"a": make_probabilities(answers, 1, 12)})
    matrix, _, pairs = tables_of(build_section("confusion", data))
    count = int(((labels == 3) & (answers == 5)).sum())
    assert [cell.text for cell in pairs.cells[0][:3]] == ["3", "5", str(count)]
    keys = pairs.cells[0][2].pictures
    assert keys and all("label 3, answer 5" in data.pictures.entries[key][1] for key in keys)
    assert matrix.cells[3][6].text == str(count) and matrix.cells[3][6].pictures == keys


def test_surest_mistakes_come_first_and_rights_the_least_sure(digits: Digits) -> None:
    labels = digits[1][:TRAIN]
    oof = make_probabilities(labels, 1, 12)
    oof[7], oof[8] = 0.001, 0.01
    oof[7, (labels[7] + 1) % 10], oof[8, (labels[8] + 1) % 10] = 0.991, 0.91
    oof[9] = 0.09
    oof[9, labels[9]] = 0.19
    wrong, right = (
        block
        for block in build_section("mistakes", make_data(digits, {"a": oof}))
        if isinstance(block, Gallery)
    )
    assert [card.caption.split(",")[0] for card in wrong.cards[:2]] == ["row 7", "row 8"]
    assert right.cards[0].caption.startswith("row 9, 19%") and right.cards[0].tone == "good"


def test_the_calibration_error_of_two_bins_by_hand() -> None:
    confidence, right = np.array([0.99, 0.99, 0.6, 0.6]), np.array([1.0, 1.0, 1.0, 0.0])
    assert calibration_error(confidence, right) == pytest.approx((2 * 0.01 + 2 * 0.1) / 4)


def test_a_calibrated_voter_is_told_from_one_too_sure(digits: Digits) -> None:
    random = np.random.default_rng(0)
    calibrated = random.dirichlet(np.full(10, 0.3), TRAIN).astype(np.float32)
    labels = np.array([random.choice(10, p=row / row.sum()) for row in calibrated.astype(float)])
    sure = calibrated**3 / (calibrated**3).sum(axis=1, keepdims=True)
    data = make_data(digits, {"calibrated": calibrated, "sure": sure}, dataset=make_dataset(digits, labels))
    (table,) = tables_of(build_section("calibration", data))
    verdicts = dict(zip(column_of(table, "voter"), column_of(table, "it is"), strict=True))
    assert verdicts["calibrated"] == "as chance has it" and verdicts["sure"] == "too sure"


def test_planted_label_errors_are_found_and_written(digits: Digits) -> None:
    pytest.importorskip("cleanlab")
    given = digits[1][:TRAIN].copy()
    planted = np.arange(0, TRAIN, 50)
    given[planted] = (given[planted] + 3) % 10
    oof = make_probabilities(digits[1][:TRAIN], 1, 12)
    blocks = build_section("labels", make_data(digits, {"a": oof}, dataset=make_dataset(digits, given)))
    (attachment,) = (block for block in blocks if isinstance(block, Attachment))
    rows = list(csv.DictReader(io.StringIO(attachment.text)))
    found = {int(row["row"]) for row in rows}
    assert found <= set(planted.tolist()) and len(found) >= len(planted) - 2
    assert all(int(row["corrected"]) == digits[1][int(row["row"])] for row in rows)
    assert all(int(row["label"]) == given[int(row["row"])] for row in rows)
    assert "flatter" in text_of(blocks) and tables_of(blocks)[0].selectable


def test_twins_across_folds_labels_and_test_are_counted(digits: Digits) -> None:
    dataset = make_dataset(digits)
    dataset.train_pixels[1] = dataset.train_pixels[0]
    dataset.train_labels[1] = (dataset.train_labels[0] + 1) % 10
    dataset.test_pixels[5] = dataset.train_pixels[10]
    counts, groups = tables_of(build_section("duplicates", make_data(digits, dataset=dataset)))
    assert column_of(counts, "count") == ["2", "1", "1", "1", "1"]
    assert column_of(groups, "note") == ["different labels, several folds", "training and test"]
    assert column_of(groups, "rows") == ["train 0, train 1", "train 10, test 5"]


@pytest.mark.slow_but("True")
@pytest.mark.parametrize("is_shifted", [True, False])
def test_a_test_set_of_another_kind_is_told(digits: Digits, is_shifted: bool) -> None:
    images, labels = digits[0][: TRAIN + TEST, None], digits[1]
    order = np.random.default_rng(0).permutation(len(images))  # scikit-learn's digits are sorted by writer
    dataset = make_dataset((images[order, 0], labels[order]))
    if is_shifted:
        dataset.test_pixels[:] = np.roll(dataset.test_pixels, 2, axis=3)
    blocks = build_section("adversarial", make_data(digits, dataset=dataset))
    assert ("by more than noise" in text_of(blocks)) == is_shifted
    assert any(isinstance(block, Gallery) for block in blocks) == is_shifted


def test_learning_curves_are_means_over_trainings(tmp_path: Path, digits: Digits) -> None:
    folders = [write_fold(tmp_path / f"fold{fold}", {"model": "cnn"}) for fold in range(2)]
    for folder, last in zip(folders, ("0.2", "0.4"), strict=True):
        folder.log.write_text(f"epoch,loss,accuracy\n1,2.0,0.5\n2,{last},0.9\n")
    data = make_data(digits, trainings={"cnn": folders, "resnet5": []})
    blocks = build_section("curves", data)
    (table,) = tables_of(blocks)
    assert [cell.text for cell in table.cells[0]] == ["cnn", "2", "0.3000", "90.00 %"]
    assert sum(isinstance(block, Chart) for block in blocks) == 2


@pytest.mark.parametrize(("right", "ticks"), [("0.95", {"10", "20", "50"}), ("1.0", {"0", "20", "40"})])
def test_every_value_of_a_learning_curve_is_drawn(
    tmp_path: Path, digits: Digits, right: str, ticks: set[str]
) -> None:
    """A left-out fold without a mistake has no place on a logarithmic scale."""
    folder = write_fold(tmp_path / "fold0", {"model": "cnn"})
    columns = "epoch,loss,accuracy,validation_loss,validation_accuracy"
    folder.log.write_text(f"{columns}\n1,2.0,0.5,1.8,0.6\n2,0.4,0.9,0.3,{right}\n")
    blocks = build_section("curves", make_data(digits, trainings={"cnn": [folder], "resnet5": []}))
    _, wrong = [block.svg for block in blocks if isinstance(block, Chart)]
    assert ticks <= set(re.findall(r">([\d.]+)</text>", wrong))


def test_cost_adds_up_over_trainings(tmp_path: Path, digits: Digits) -> None:
    folders = []
    for fold, seconds in enumerate((20.0, 40.0)):
        folder = write_fold(tmp_path / f"fold{fold}", {"model": "cnn", "epochs": 3}, seconds=seconds)
        record = TrainingRecord.read(folder.recipe)
        assert record is not None
        record.model_copy(update={"images_per_epoch": 100, "peak_memory_mib": 500 + fold}).write(
            folder.recipe
        )
        folders.append(folder)
    table = tables_of(build_section("cost", make_data(digits, trainings={"cnn": folders})))[0]
    wanted = {"trainings": "2", "per training": "30 s", "images/s": "10", "memory, MiB": "501"}
    assert {name: column_of(table, name)[0] for name in wanted} == wanted


def entry(pipeline: str, score: float) -> Entry:
    return Entry(
        pipeline=pipeline, competition="digits", ensemble="vote: mean", members=("cnn",), folds="2/2",
        cv_score=score, cv_standard_error=0.01, rows=TRAIN, test_rows=TEST, file="x.csv", sha256="ab" * 32,
        solution_score=0.9, commit="", clean=True,
    )  # fmt: skip


def test_the_leaderboard_has_no_empty_column(digits: Digits) -> None:
    row = LeaderboardRow(entry=entry("tiny", 0.91), solution=entry("tiny", 0.91).solution)
    board = LeaderboardComparison("digits", [row], 0)
    (table,) = tables_of(build_section("leaderboard", make_data(digits, leaderboard=board)))
    assert "public" not in table.header and column_of(table, "pipeline") == ["tiny (this one)"]
    assert column_of(table, "which is") == ["chance"]


def test_layers_are_listed_with_what_they_cost(digits: Digits) -> None:
    pytest.importorskip("torchinfo")
    members, layers = tables_of(build_section("layers", make_data(digits)))
    assert column_of(members, "parameters") == ["134,250", "134,250"]  # as tests/models counts them at 8 x 8
    convolutions = [row for row in layers.cells if "Conv2d" in row[0].text]
    data = make_data(digits)
    residual = _summarise(data, data.pipeline.members["cnn"].model_copy(update={"model": "resnet5"}))
    names = [row[0].text.strip() for row in residual.layers.cells]
    assert names.count("ResidualBlock 2") == 1 and names.count("Sequential body") == 2, "one of each block"
    assert convolutions[0][1].text == "32 × 8 × 8" and convolutions[0][2].text == "320"
    assert convolutions[0][3].text == f"{320 * 64:,}"


def test_where_a_network_looks_follows_what_decides(tmp_path: Path, digits: Digits) -> None:
    data = make_data(digits, {"cnn": make_probabilities(digits[1][:TRAIN], 1, 3)})
    folders = [
        write_fold(tmp_path / f"fold{fold}", {"model": "big_kernel_cnn"}, seed=fold) for fold in range(2)
    ]
    data = make_data(digits, trainings={"cnn": folders, "resnet5": folders})
    try:
        blocks = build_section("attention", data)
    except LeftOutError as left_out:
        assert "feature map" in str(left_out)
    else:
        assert any(isinstance(block, Gallery) for block in blocks)


def test_weights_elsewhere_leave_out_a_section_not_the_page(
    tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "SECTIONS", {name: SECTIONS[name] for name in ("attention", "scores")})
    folders = [write_fold(tmp_path / f"fold{fold}", {"model": "cnn"}) for fold in range(2)]
    for folder in folders:
        folder.weights.unlink()
    built = build_sections(make_data(digits, trainings={"cnn": folders, "resnet5": folders}))
    reasons = {each.section.name: each.left_out for each in built}
    assert "weights.safetensors" in reasons["attention"] and not reasons["scores"]


def test_an_error_of_our_own_is_not_hidden(digits: Digits) -> None:
    data = make_data(digits)
    broken = Predictions(data.rows, data.members["cnn"].oof[:5], data.members["cnn"].test)
    with pytest.raises(IndexError):
        build_sections(make_data(digits, vote=broken))


def test_corrected_labels_are_scored_as_given_too(digits: Digits) -> None:
    labels = digits[1][:TRAIN]
    given = labels.copy()
    given[:60] = (given[:60] + 1) % 10
    data = make_data(digits, {"a": make_probabilities(labels, 1, 30)}, given_labels=given)
    blocks = build_section("corrections", data)
    assert "60 training labels" in text_of(blocks)
    (table,) = tables_of(blocks)
    assert column_of(table, "on corrected labels")[0].startswith("100.00")
    assert column_of(table, "on given labels")[0].startswith("90.00")


def test_a_search_is_shown_with_what_is_noise(digits: Digits) -> None:
    from softvote.metrics.scores import Difference, Score
    from softvote.tuning.records import TrialRecord, TuneRecord

    key = "members.cnn.epochs"
    trials = [
        TrialRecord(number=0, values={key: 2}, outcome="scored", score=Score(0.9, 0.01, 900)),
        TrialRecord(
            number=1, values={key: 3}, outcome="scored", score=Score(0.91, 0.01, 900),
            gain=Difference(0.01, 0.01, 900), transductive=["cnn"],
        ),
        TrialRecord(number=2, values={key: 1}, outcome="stopped", reason="stopped at 50 % of its training"),
    ]  # fmt: skip
    record = TuneRecord(
        pipeline="tiny", study="s", metric="accuracy", greater_is_better=True, members=["cnn"], folds=[2],
        of_folds=3, table="t", trials=trials, best=1, importance={key: 1.0},
    )  # fmt: skip
    blocks = list(SECTIONS["tuning"].build(make_data(digits, search=record)))
    [table] = [block for block in blocks if isinstance(block, DataTable)]
    assert [row[0].text for row in table.cells] == ["1, transductive", "0, as it stands", "2"]
    assert "the training of cnn, or one that it builds on, had test images" in text_of(blocks)
    warned = SECTIONS["tuning"].build(make_data(digits, search=record, search_note="other rows"))
    assert Paragraph("other rows", "warning") in warned and Paragraph("other rows", "warning") not in blocks
    assert [row[3].text for row in table.cells] == ["noise", "", "stopped at 50 % of its training"]
    assert table.cells[2][1].text == "" and table.is_number[1]  # scores stand under each other
    assert sum(isinstance(block, Chart) for block in blocks) == 2
    with pytest.raises(LeftOutError, match="nothing was searched"):
        SECTIONS["tuning"].build(make_data(digits))
