"""scripts/growth: every stage is measured as the command it is, on work that the stages take for real."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import ROOT
from programs import run as program

from softvote.data.dataset import read_dataset
from softvote.data.duplicates import near_identical_groups
from softvote.errors import UserError
from softvote.scheduling.status import read_status
from softvote.stages import open_run
from softvote.stages.plan import make_plan
from softvote.storage.paths import Workspace

sys.path.insert(0, str(ROOT / "scripts"))

from growth import inputs, measuring, show
from growth.cases import NAME, STAGES, Case, cases

Facts = dict[str, Any]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without input/, so that the digits are scikit-learn's."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---------------------------------------------------------------- the program


@pytest.mark.slow
def test_one_size_from_reading_to_submission(nowhere: Path) -> None:
    done = program("growth", "--rows", 120, "--only", "most", "--to", "out")
    assert done.returncode == 0, done.stderr
    found = json.loads((nowhere / "out" / "growth.json").read_text())["measured"]
    assert [each["stage"] for each in found] == list(STAGES)
    for each in found:
        assert (each["rows"], each["members"], each["folds"], each["format"]) == (120, 25, 5, "npy")
        assert each["seconds"] > 0 and each["core_seconds"] > 0 and each["peak_mib"] > 10
    assert all(f"  {stage} " in done.stdout for stage in STAGES)
    assert (nowhere / "out" / "growth.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--rows", "99"], "growth: --rows 99: too few to measure; give 100 or more"),
        (["--only", "nothing"], "invalid choice: 'nothing'"),
    ],
)
def test_mistakes_of_the_user(nowhere: Path, words: list[str], says: str) -> None:
    done = program("growth", *words)
    assert done.returncode and says in done.stderr and "Traceback" not in done.stderr
    assert list(nowhere.iterdir()) == []


@pytest.mark.slow
def test_a_command_that_fails_is_told_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^softvote folds: failed: .*growth.yaml"):
        measuring.run("folds", tmp_path)


# ---------------------------------------------------------------- what is measured


def test_one_number_varies_at_a_time_around_the_base() -> None:
    found = cases([10, 100, 1000])
    base = Case("rows", 100)
    for case in found:
        changed = [
            name
            for name in ("rows", "members", "folds", "format")
            if getattr(case, name) != getattr(base, name)
        ]
        changed += ["image"] * ((case.height, case.width) != (28, 28))
        expected: dict[str, Any] = {"rows": [{"rows", "format"}], "most": [{"rows", "members"}]}
        assert any(set(changed) <= allowed for allowed in expected.get(case.axis, [{case.axis}]))
    assert [case.size for case in found if case.axis == "rows"] == [10, 100, 1000] * 2
    assert [case.size for case in found if case.axis == "image"] == [28 * 28, 64 * 64, 40 * 168]
    assert [case.axis for case in cases([10], "folds")] == ["folds"] * 3


@pytest.mark.slow
def test_the_stages_take_what_is_made_up_for_real(nowhere: Path) -> None:
    """The images are all different, the trainings done, and a member right as often as is said."""
    inputs.write_competition(nowhere, Case("rows", 300, members=2, folds=2))
    measuring.run("folds", nowhere)
    inputs.make_up_trainings(nowhere)
    plan = make_plan(open_run(nowhere, NAME))
    assert near_identical_groups(plan.dataset.train_pixels, 4).max() == 299
    assert [read_status(job).due for job in plan.jobs] == ["done"] * 4
    for stage in ("train", "ensemble", "submit"):
        measuring.run(stage, nowhere)
    assert plan.is_current("vote")
    oof = plan.predictions("member0").oof
    assert 0.93 < (oof.argmax(axis=1) == plan.dataset.train_labels).mean() < 1
    assert len(list(Workspace(nowhere).submissions.glob("growth-*.csv"))) == 1


def test_larger_images_show_several_digits(nowhere: Path) -> None:
    inputs.write_competition(nowhere, Case("image", 100, height=40, width=168))
    images = np.load(Workspace(nowhere).input(NAME) / "train.npy")
    assert images.shape == (100, 40, 168)
    filled = images.max(axis=(0, 1)) > 0
    assert [int(filled[left : left + 28].sum()) > 20 for left in range(0, 140, 36)] == [True] * 4
    assert not any(filled[left + 28 : left + 36].any() for left in range(0, 140, 36))


@pytest.mark.slow
def test_both_formats_hold_the_same_images(nowhere: Path) -> None:
    datasets = []
    for kind in ("npy", "pixel_csv"):
        inputs.write_competition(nowhere / kind, Case("rows", 150, format=kind))
        assert measuring.run("read", nowhere / kind)["seconds"] > 0
        run = open_run(nowhere / kind, NAME)
        datasets.append(read_dataset(run.pipeline.competition, run.workspace))
    np.testing.assert_array_equal(datasets[0].train_pixels, datasets[1].train_pixels)
    np.testing.assert_array_equal(datasets[0].train_labels, datasets[1].train_labels)


# ---------------------------------------------------------------- what is shown


def facts(stage: str, size: int, seconds: float, axis: str = "rows") -> Facts:
    case = {"axis": axis, "rows": size, "members": 5, "folds": 5, "height": 28, "width": 28, "format": "npy"}
    return case | {
        "size": size, "stage": stage, "seconds": 9.0, "core_seconds": seconds, "peak_mib": 100 + size,
    }  # fmt: skip


def test_the_exponent_is_the_slope_between_the_two_largest() -> None:
    group = [facts("folds", 10, 7), facts("folds", 100, 2), facts("folds", 1000, 2 * 10**1.5)]
    assert show.exponent(group) == pytest.approx(1.5)
    assert show.exponent(group[:1]) is None
    lines = show.table([*group[::-1], facts("submit", 10, 1)]).splitlines()
    assert [line.split()[3] for line in lines[2:]] == ["10", "100", "1,000", "10"]
    assert (
        lines[4].endswith(" 1.50")
        and "1.50" not in lines[3]
        and math.isclose(float(lines[4].split()[-1]), 1.5)
    )


def test_the_picture_has_a_column_an_axis(tmp_path: Path) -> None:
    found = [facts("folds", size, size, axis) for axis in ("rows", "members") for size in (1, 10)]
    show.draw(tmp_path / "growth.png", found)
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
