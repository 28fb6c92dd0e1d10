"""The whole way for labels that are sums: members of every head vote, through the command line."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import projects
import pytest
from conftest import Digits
from data_fixtures import side_by_side
from kinds import HEADS_OF_CLASSES
from numpy.typing import NDArray
from projects import probabilities, softvote

from softvote.reporting import plots
from softvote.reporting.plots import Reading

TRAIN, TEST, EXTRA = 450, 100, 200
STAGES = ("folds", "train", "ensemble", "submit")
EXTRA_FILES = {"images": "more/i.npy", "labels": "more/l.npy", "digits": "more/d.npy"}


def members(**more: dict[str, Any]) -> dict[str, Any]:
    """One of every head, with more for some."""
    return {head: {"model": "resnet5", "head": head} | more.get(head, {}) for head in HEADS_OF_CLASSES}


def run_all(root: Path, epochs: int, **facts: Any) -> None:
    facts |= {"defaults": projects.RECIPE | {"epochs": epochs}, "ensemble": {"rule": "mean"}}
    projects.write_pipeline(root, projects.pipeline(**facts))
    for stage in STAGES:
        assert softvote(root, stage, "tiny") == 0


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> tuple[Path, NDArray[np.int64]]:
    """Sums of two digits side by side after all stages, and the labels; no test changes the files."""
    root = tmp_path_factory.mktemp("pairs")
    images, hidden = side_by_side(digits, TRAIN + TEST + EXTRA)
    projects.write_digits(root, (images[:-EXTRA], hidden[:-EXTRA].sum(axis=1)), TRAIN, TEST)
    (root / "input" / "more").mkdir()
    for name, array in (("i", images), ("l", hidden.sum(axis=1)), ("d", hidden)):
        np.save(root / "input" / "more" / f"{name}.npy", array[-EXTRA:])
    competition = projects.competition(
        image={"height": 8, "width": 16}, labels={"first": 0, "last": 18}, hidden_digits=2
    )
    run_all(root, 5, competition=competition, members=members(digit_set={"extra_train": EXTRA_FILES}))
    return root, hidden.sum(axis=1)


@pytest.fixture(scope="module")
def adder(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> tuple[Path, NDArray[np.int64]]:
    """A digit plus an integer after all stages, and the labels; no test changes the files."""
    root = tmp_path_factory.mktemp("adder")
    images, shown = digits[0][: TRAIN + TEST], digits[1][: TRAIN + TEST]
    addends = np.random.default_rng(0).integers(10, size=TRAIN + TEST)
    projects.write_digits(root, (images, shown + addends), TRAIN, TEST, addends)
    competition = projects.competition(labels={"first": 0, "last": 18}, hidden_digits=1, addend=True)
    run_all(root, 3, competition=competition, members=members())
    return root, shown + addends


Project = tuple[Path, NDArray[np.int64]]
each = pytest.mark.parametrize("name", [pytest.param("pairs", marks=pytest.mark.slow), "adder"])


def of(request: pytest.FixtureRequest, name: str) -> Project:
    found: Project = request.getfixturevalue(name)
    return found


@each
@pytest.mark.parametrize("voter", [*HEADS_OF_CLASSES, "vote"])
def test_every_voter_leaves_probabilities_of_the_labels(
    name: str, voter: str, request: pytest.FixtureRequest
) -> None:
    root, _ = of(request, name)
    folder = root / "models" / "tiny" / voter
    for found, rows in ((probabilities(folder), TRAIN), (np.load(folder / "test.npy"), TEST)):
        assert found.shape == (rows, 19) and found.dtype == np.float32 and (found >= 0).all()
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@each
@pytest.mark.parametrize("voter", [*HEADS_OF_CLASSES, "vote"])
def test_every_voter_is_better_than_chance(name: str, voter: str, request: pytest.FixtureRequest) -> None:
    """Without a look at the image the most frequent label is right for about a row in ten."""
    root, labels = of(request, name)
    scores = json.loads((root / "models" / "tiny" / voter / "scores.json").read_text())
    likely = np.bincount(labels[:TRAIN], minlength=19) / TRAIN
    accuracy = scores["accuracy"]
    assert accuracy["value"] > likely.max() + 3 * accuracy["standard_error"]
    if voter in ("regression", "vote"):  # others are too sure of themselves after so few images
        assert scores["log_loss"]["value"] < -np.log(likely[labels[:TRAIN]]).mean() - 0.1
    oof = probabilities(root / "models" / "tiny" / voter)
    assert accuracy["value"] == pytest.approx((oof.argmax(1) == labels[:TRAIN]).mean())


@each
def test_the_vote_is_the_mean_of_all_heads(name: str, request: pytest.FixtureRequest) -> None:
    root, _ = of(request, name)
    folder = root / "models" / "tiny"
    expected = np.mean([probabilities(folder / head) for head in HEADS_OF_CLASSES], axis=0)
    np.testing.assert_allclose(probabilities(folder / "vote"), expected, atol=1e-6)
    accuracies = [
        json.loads((folder / voter / "scores.json").read_text())["accuracy"]["value"]
        for voter in (*HEADS_OF_CLASSES, "vote")
    ]
    assert accuracies[-1] > np.median(accuracies[:-1])


@each
def test_the_submission_is_of_labels_and_scored(name: str, request: pytest.FixtureRequest) -> None:
    root, labels = of(request, name)
    (path,) = (root / "submissions").glob("tiny-*.csv")
    with path.open(newline="") as file:
        submitted = [int(row["Label"]) for row in csv.DictReader(file)]
    assert submitted == np.load(root / "models" / "tiny" / "vote" / "test.npy").argmax(axis=1).tolist()
    with (root / "submissions" / "ledger.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    right = float((np.array(submitted) == labels[TRAIN : TRAIN + TEST]).mean())
    assert float(row["solution_score"]) == pytest.approx(right, abs=1e-6) and right > 0.2


@each
def test_a_second_run_trains_nothing(
    name: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    root, _ = of(request, name)
    before = projects.times(root / "models")
    assert softvote(root, "train", "tiny") == softvote(root, "ensemble", "tiny") == 0
    assert projects.times(root / "models") == before
    assert "8 of 8 trainings are there and unchanged" in capsys.readouterr().out


def test_no_probability_lies_below_the_addend_or_beyond_its_reach(adder: Project, digits: Digits) -> None:
    root, labels = adder
    addends = labels - digits[1][: TRAIN + TEST]
    columns = np.arange(19)
    for voter in (*HEADS_OF_CLASSES, "vote"):
        folder = root / "models" / "tiny" / voter
        found = np.concatenate([probabilities(folder), np.load(folder / "test.npy")])
        impossible = (columns < addends[:, None]) | (columns > addends[:, None] + 9)
        assert found[impossible].max() < 1e-6


def test_regression_tells_of_its_raw_numbers(adder: Project) -> None:
    root, labels = adder
    head = json.loads((root / "models/tiny/regression/fold0/recipe.json").read_text())["head"]
    assert head["rows"] == TRAIN / 2 and 0 < head["mae_standard_error"] < head["mse_standard_error"]
    assert 0 < head["mae"] ** 2 <= head["mse"] < np.var(labels[:TRAIN]) and 0.3 < head["width"] < 6


def test_the_heads_of_a_competition_of_digits_alone_are_refused_elsewhere(
    adder: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--set", "competition.addend=false", "--set", "competition.hidden_digits=null"]
    assert softvote(adder[0], "check", "tiny", *settings) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and "members.digits.head" in lines[0] and "members.digit_set.head" in lines[1]


@pytest.mark.slow
@each
def test_a_picture_of_the_hidden_digits(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digits in it sum to what the member says of rows that it was not trained on."""
    root, labels = of(request, name)
    drawn: list[Reading] = []
    draw = plots.plot_digit_readings

    def note(path: Path, readings: list[Reading], columns: int, heading: str) -> None:
        drawn.extend(readings)
        draw(path, readings, columns, heading)

    monkeypatch.setattr("softvote.stages.digits.plot_digit_readings", note)
    assert softvote(root, "digits", "tiny") == 0
    folder = root / "models" / "tiny" / "digits"
    assert (folder / "digits.png").read_bytes().startswith(b"\x89PNG")
    for reading in drawn:
        match = re.fullmatch(r"(\d+): ([\d +]+) = (\d+)(?:, taken for (\d+))?(?:, not \d+)?", reading.text)
        assert match, reading.text
        row, digits, found, other = match.groups()
        assert sum(map(int, digits.split(" + "))) == int(found) and len(digits.split(" + ")) == 2
        named = probabilities(folder)[int(row)].argmax()
        assert named == int(other or found) and reading.right == (named == labels[int(row)])
    assert {reading.right for reading in drawn} == {True, False}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--member", "softmax"], "no member 'softmax' with head: digits; known: digits"),
        (["--set", "members.digits.head=softmax"], "no member has head: digits"),
        (["--set", "members.digits.epochs=9"], "run the train stage"),
    ],
)
def test_no_picture_without_digits(
    adder: Project, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert softvote(adder[0], "digits", "tiny", *words) == 1
    assert says in capsys.readouterr().err
