"""A competition that takes notebooks only: a kernel is pushed, fetched, submitted, and run on hidden rows."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import projects
import pytest
from conftest import Digits, make_once
from data_fixtures import write_csv
from kaggle_place import Failure, Place
from PIL import Image
from projects import RECIPE, softvote, write_pipeline

from softvote.kaggle import testing
from softvote.stages import open_run
from softvote.stages.kernel_run import PushedRecord
from softvote.stages.plan import make_plan
from softvote.storage.files import read_json
from softvote.storage.paths import Workspace

LEDGER = "submissions/ledger.csv"
INFER = "tester/softvote-tiny-infer"
WHEELS = "tester/softvote-tiny-wheels"
TRAIN, TEST, HIDDEN = 120, 12, 150
FIRST = 40_000_001
SUBMIT = ["kernel", "tiny", "--push", "--submit"]
UNSEEN = "digits.hidden"


def write_images(folder: Path, digits: Digits, rows: range, ids: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for row, name in zip(rows, ids, strict=True):
        Image.fromarray(digits[0][row]).save(folder / f"{name}.png")


def write_test(folder: Path, digits: Digits, rows: range, prefix: str) -> None:
    """Test images, sample submission and solution."""
    ids = [f"{prefix}{row}" for row in rows]
    write_images(folder / "test", digits, rows, ids)
    write_csv(folder / "sample_submission.csv", ["id", "label"], [[name, 0] for name in ids])
    truth = digits[1][rows.start : rows.stop].tolist()
    write_csv(folder / "solution.csv", ["id", "label"], list(zip(ids, truth, strict=True)))


def _finish(folder: Path, digits: Digits) -> None:
    shown = folder / "kaggle" / "digits"
    names = [f"train{row}" for row in range(TRAIN)]
    write_images(shown / "train", digits, range(TRAIN), names)
    write_csv(shown / "train.csv", ["id", "label"], list(zip(names, digits[1][:TRAIN].tolist(), strict=True)))
    write_test(shown, digits, range(TRAIN, TRAIN + TEST), "seen")
    write_test(folder / "kaggle" / UNSEEN, digits, range(TRAIN, TRAIN + HIDDEN), "hidden")
    root = folder / "project"
    shutil.copytree(shown, root / "input" / "digits", ignore=shutil.ignore_patterns("solution.csv"))
    competition = projects.competition(
        solution=None, kaggle="digits", files={"format": "image_folder", "suffix": ".png"}
    )
    write_pipeline(
        root,
        projects.pipeline(
            competition=competition, members={"cnn": {"model": "cnn"}}, defaults=RECIPE | {"epochs": 12}
        ),
    )
    for stage in ("folds", "train", "ensemble", "submit"):
        assert softvote(root, stage, "tiny") == 0


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """`project` after all four stages; `kaggle` with what its competition shows, and what it hides."""
    return make_once(tmp_path_factory, "finished-code", partial(_finish, digits=digits))


def local_submission(place: Place) -> bytes:
    [path] = (place.root / "submissions").glob("tiny-*.csv")
    return path.read_bytes()


def prefill(place: Place, output: dict[str, bytes], **facts: Any) -> None:
    """Let the kernel leave this output whenever it is pushed; nothing is run."""
    place.server.kernels[INFER] = testing.HostedKernel(output=output, log="[]", **facts)


@pytest.fixture
def ran(place: Place) -> Place:
    """A place where a kernel leaves the local submission."""
    prefill(place, {"submission.csv": local_submission(place)})
    return place


# ---------------------------------------------------------------- submitted


@pytest.mark.slow_but("words0")
@pytest.mark.parametrize("words", [SUBMIT, ["submit", "tiny", "--send"]])
def test_a_kernel_is_pushed_and_its_version_submitted(ran: Place, words: list[str]) -> None:
    shutil.copy(ran.server.folder / "digits" / "solution.csv", ran.server.folder / UNSEEN)
    shutil.copy(ran.server.folder / "digits" / "sample_submission.csv", ran.server.folder / UNSEEN)
    told = ran.done(*words)
    lines = told.out.splitlines()
    assert f"sent {INFER} version 1 to digits as {FIRST}; 9 more may be sent today" in lines
    assert lines[-1].startswith("digits: public ")
    assert ran.server.submissions["digits"][0]["fileName"] == "submission.csv"
    assert [(entry.kernel, entry.ref) for entry in ran.entries()] == [("", None), (f"{INFER}/1", FIRST)]
    assert ("takes only what notebooks write; a kernel is pushed" in told.out) == (words[0] == "submit")
    assert told.err[-1].startswith(f"score of {FIRST}: pending, 0:0") and "at most 12:00:00" in told.err[-1]


def test_the_same_is_not_submitted_twice_unless_forced(ran: Place) -> None:
    ran.done(*SUBMIT, "--no-wait")
    code, _, err = ran.softvote(*SUBMIT)
    assert code == 1 and f"was sent as {FIRST} from tiny" in err[-1]
    assert ran.server.kernels[INFER].version == 1  # that is told before it runs for hours
    ran.done(*SUBMIT, "--force", "--no-wait")
    assert [entry.ref for entry in ran.entries() if entry.kernel] == [FIRST, FIRST + 1]


def test_what_is_not_the_local_submission_is_not_submitted(place: Place) -> None:
    prefill(place, {"submission.csv": local_submission(place).replace(b"\n", b"9\n")})
    code, _, err = place.softvote(*SUBMIT)
    assert code == 1 and "nothing was entered" in err[-1]
    assert "CreateCodeSubmission" not in place.asked()


def test_a_gpu_may_round_otherwise(place: Place) -> None:
    local = local_submission(place).decode().splitlines()
    last = "7" if local[-1][-1] != "7" else "3"
    other = "\n".join([*local[:-1], local[-1][:-1] + last, ""])
    prefill(place, {"submission.csv": other.encode()})
    told = place.done(*SUBMIT, "--gpu", "--no-wait")
    assert "in 1 of 12 rows, as a GPU may round otherwise; kept as " in told.out
    [_, entry] = place.entries()
    assert (place.root / "submissions" / entry.file).read_text() == other and entry.ref == FIRST


def test_what_other_networks_predict_is_not_entered_for_those_here(place: Place) -> None:
    """A GPU may round otherwise, so a kernel that predicts with former networks is not known by its rows."""
    prefill(place, {"submission.csv": local_submission(place)})
    place.done("kernel", "tiny", "--push", "--gpu")
    before, path = place.entries(), Workspace(place.root).kernel("tiny", "infer").pushed
    pushed = PushedRecord.read(path)
    assert pushed and pushed.fingerprint == make_plan(open_run(place.root, "tiny")).fingerprint_of("vote")
    pushed.model_copy(update={"fingerprint": "of others"}).write(path)
    code, _, err = place.softvote("kernel", "tiny", "--fetch")
    assert code == 1 and err[-1].startswith(
        f"softvote: kernel {INFER} version 1: predicts with other networks"
    )
    assert place.entries() == before


def test_submission_is_of_a_kernel_that_has_run(place: Place) -> None:
    line = place.refused("kernel", "tiny", "--submit")
    assert (
        line == "SUBMIT=1 (--submit): is for a kernel that has run; add --push (PUSH=1) or FETCH=1 (--fetch)"
    )


# ---------------------------------------------------------------- fetched later


@pytest.mark.slow
def test_a_kernel_whose_wait_ended_is_fetched_later(ran: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ran.server.fail("GetKernelSessionStatus", *[Failure(drop=True)] * 999)
    code, _, err = ran.softvote("kernel", "tiny", "--push")
    assert code == 1 and "fetch it later with FETCH=1 (--fetch)" in err[-1]
    ran.server._failures.clear()
    ran.done("kernel", "tiny", "--owner=tester")  # another build forgets nothing
    ran.asked()
    ran.done("kernel", "tiny", "--fetch", "--submit", "--no-wait")
    assert "SaveKernel" not in ran.asked() and ran.server.kernels[INFER].version == 1
    assert [(entry.kernel, entry.ref) for entry in ran.entries()] == [("", None), (f"{INFER}/1", FIRST)]
    ran.done("kernel", "tiny", "--fetch")  # once more changes nothing
    assert len(ran.entries()) == 2


def test_nothing_was_pushed(place: Place) -> None:
    line = place.refused("kernel", "tiny", "--fetch")
    assert line.endswith(
        "infer.json: names no kernel of mode infer that was pushed; push one with --push (PUSH=1)"
    )


# ---------------------------------------------------------------- run again on hidden rows


def damage(folder: Path) -> None:
    """One image that is none, one that is cut off, one that is gone."""
    images = sorted((folder / "test").iterdir())
    images[3].write_bytes(b"no image")
    images[5].write_bytes(images[5].read_bytes()[:40])
    images[7].unlink()


def one_row(folder: Path) -> None:
    for name in ("sample_submission.csv", "solution.csv"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(lines[:2]))


def no_rows(folder: Path) -> None:
    sample = folder / "sample_submission.csv"
    sample.write_text(sample.read_text().partition("\n")[0] + "\n")


def one_row_again(folder: Path) -> None:
    sample = folder / "sample_submission.csv"
    sample.write_text(sample.read_text() + sample.read_text().splitlines(keepends=True)[3])


LINES = {one_row: 1, no_rows: 0, one_row_again: HIDDEN + 1}


@pytest.mark.slow
@pytest.mark.parametrize("change", [None, damage, *LINES])
def test_the_kernel_meets_rows_that_nobody_has_seen(
    place: Place, change: Callable[[Path], None] | None
) -> None:
    place.server.run_kernels = True
    hidden = place.server.folder / UNSEEN
    if change:
        change(hidden)
    told = place.done(*SUBMIT)
    [submission] = place.server.submissions["digits"]
    rerun = place.server.reruns[FIRST]
    assert submission["status"] == "COMPLETE", rerun.log
    rows = rerun.output["submission.csv"].decode().splitlines()
    assert len(rows) == 1 + (HIDDEN if change is None else LINES.get(change, HIDDEN))
    if change is one_row_again:
        assert rows[-1] == rows[3]
    log = "".join(event["data"] for event in json.loads(rerun.log))
    bad = [line for line in log.splitlines() if "the average prediction is used" in line]
    assert len(bad) == (3 if change is damage else 0)
    if change is None:
        assert float(submission["publicScore"]) > 0.5  # guessing gives 0.1
    assert told.out.splitlines()[-1].startswith("digits: public ")


@pytest.mark.slow
def test_a_rerun_that_fails_says_so(place: Place) -> None:
    place.server.run_kernels = True
    shutil.rmtree(place.server.folder / UNSEEN / "test")
    (place.server.folder / UNSEEN / "test").mkdir()
    (place.server.folder / UNSEEN / "sample_submission.csv").write_text("nonsense\n")
    code, _, err = place.softvote(*SUBMIT)
    assert code == 1 and f"{FIRST} was not scored: Notebook Threw Exception" in err[-1]


# ---------------------------------------------------------------- wheels


def write_wheel(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", text)
        wheel.writestr(f"{name}-1.0.dist-info/METADATA", f"Name: {name}\nVersion: 1.0\n")


def test_packages_travel_as_a_data_set(ran: Place) -> None:
    write_wheel(ran.root / "wheels", "lacking", "")
    ran.done("kernel", "tiny", "--push", "--wheels", str(ran.root / "wheels"))
    assert set(ran.server.datasets[WHEELS].files) == {"lacking-1.0-py3-none-any.whl"}
    metadata = read_json(ran.root / "kernels" / "tiny" / "infer" / "code" / "kernel-metadata.json")
    assert metadata["dataset_sources"] == ["tester/softvote-tiny-weights", WHEELS]


def test_a_folder_without_packages(place: Place) -> None:
    line = place.refused("kernel", "tiny", "--owner=me", "--wheels", str(place.root / "input"))
    assert line == f"{place.root / 'input'}: holds no .whl files; docs/kaggle.md says how to get them"


@pytest.mark.slow
def test_packages_that_came_along_are_imported(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the same one of Kaggle's image."""
    place.server.run_kernels = True
    write_wheel(place.root / "wheels", "tqdm", "raise ImportError('this one is imported')\n")
    code, _, _ = place.softvote("kernel", "tiny", "--push", "--wheels", str(place.root / "wheels"))
    log = place.server.kernels[INFER].log
    assert code == 1 and "this one is imported" in log and "brought along tqdm-1.0-py3-none-any.whl" in log
