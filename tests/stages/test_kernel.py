"""softvote kernel: built without Kaggle; pushed, waited for, fetched, compared and entered with it."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import projects
import pytest
from kaggle_place import LEAK, Failure, Place, contents, forget_package, set_environment
from projects import write_pipeline

from softvote.kaggle import testing
from softvote.stages import kernel_run
from softvote.storage.paths import Workspace
from softvote.tracking.ledger import LEDGER_COLUMNS, Entry, append_entry

LEDGER = "submissions/ledger.csv"
INFER, TRAIN = "tester/softvote-tiny-infer", "tester/softvote-tiny-train"
WEIGHTS = "tester/softvote-tiny-weights"
URL = f"https://www.kaggle.com/code/{INFER}"
PUSH = ["kernel", "tiny", "--push"]
FETCH = "fetch it later with FETCH=1 (--fetch)"
READY = f"dataset {WEIGHTS}: being made, 0:00 of at most 1:00:00"
QUEUED = [
    f"kernel {INFER}: queued, 0:00 of at most 3:00:00",
    f"kernel {INFER}: running, 0:01 of at most 3:00:00",
]


def folder(place: Place, mode: str = "infer") -> Path:
    return place.root / "kernels" / "tiny" / mode


def local_submission(place: Place) -> Path:
    [path] = (place.root / "submissions").glob("tiny-*.csv")
    return path


def prefill(place: Place, name: str, output: dict[str, bytes], **facts: Any) -> None:
    """Let a kernel leave this output whenever it is pushed; nothing is run."""
    place.server.kernels[name] = testing.HostedKernel(output=output, log='[{"data": "four"}]', **facts)


def without_time(entry: Entry) -> Entry:
    return replace(entry, time="")


# ---------------------------------------------------------------- built


def test_a_kernel_is_built_without_kaggle(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, {"http_proxy": "http://127.0.0.1:1"}, place.root.parent)
    forget_package(monkeypatch)
    before = contents(place.root)
    for mode, files in (("infer", 6), ("train", 0)):
        told = place.done("kernel", "tiny", "--owner=me", f"--mode={mode}", "--no-gpu")
        hint = "let Kaggle run it with the same command and --push (PUSH=1); competition digits"
        assert told.out.splitlines()[-1] == hint
        assert told.err == []
        metadata = json.loads((folder(place, mode) / "code" / "kernel-metadata.json").read_text())
        assert (metadata["id"], metadata["enable_gpu"]) == (f"me/softvote-tiny-{mode}", False)
        assert len(list((folder(place, mode) / "dataset").glob("*"))) == files
    assert place.asked() == []
    assert "kaggle" not in sys.modules
    after = contents(place.root)
    assert {name for name in after.keys() - before.keys() if not name.startswith("kernels")} == set()
    assert {name: after[name] for name in before} == before


def test_the_gpu_is_the_one_that_is_named(place: Place) -> None:
    line = place.refused("kernel", "tiny", "--owner=me", "--accelerator=Tpu")
    assert line.startswith("--accelerator Tpu: is not a GPU's name on Kaggle; ")
    place.done("kernel", "tiny", "--owner=me", "--accelerator=NvidiaL4X1")
    metadata = json.loads((folder(place, "infer") / "code" / "kernel-metadata.json").read_text())
    assert (metadata["enable_gpu"], metadata["machine_shape"]) == (True, "NvidiaL4X1")


def test_the_owner_is_whose_credentials_are_here(place: Place) -> None:
    place.done("kernel", "tiny")
    metadata = json.loads((folder(place) / "code" / "kernel-metadata.json").read_text())
    assert metadata["id"] == INFER
    assert not {"SaveKernel", "CreateDataset", "StartBlobUpload"} & set(place.asked())


def test_no_owner_and_no_credentials(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(monkeypatch, {}, tmp_path)
    forget_package(monkeypatch)
    for words in (["kernel", "tiny"], PUSH, [*PUSH, "--owner=me"]):
        line = place.refused(*words)
        assert line.startswith("Kaggle, signing in: no credentials that can be used in ~/.kaggle; make a")


def test_another_owner_cannot_be_pushed_as(place: Place) -> None:
    assert place.refused(*PUSH, "--owner=me") == (
        "--owner me: a kernel is pushed as tester, whose credentials are here; "
        "leave --owner out, or build it without pushing"
    )
    assert place.asked() == []


def test_an_earlier_build_and_its_output_are_replaced_whole(place: Place) -> None:
    prefill(place, INFER, {"submission.csv": local_submission(place).read_bytes()})
    for part in ("code", "dataset", "output"):
        (folder(place) / part).mkdir(parents=True)
        (folder(place) / part / "old.txt").write_text("old")
    place.done(*PUSH)
    assert not list(folder(place).rglob("old.txt"))
    assert contents(folder(place) / "output").keys() == {"submission.csv", "softvote-tiny-infer.log"}
    assert "old.txt" not in place.server.datasets[WEIGHTS].files


@pytest.mark.parametrize("words", [["kernel", "demo"], ["kernel", "tiny", "--set=defaults.epochs=1"]])
def test_what_cannot_be_sent_cannot_become_a_kernel(place: Place, words: list[str]) -> None:
    write_pipeline(place.root, projects.pipeline(), "demo")
    for push in ([], ["--push"]):
        line = place.refused(*words, "--owner=tester", *push)
        assert "nothing was sent" in line or "is never sent" in line
    assert place.asked() == []


def test_networks_of_another_pipeline_are_not_pushed(place: Place) -> None:
    path = place.root / "pipelines" / "tiny.yaml"
    path.write_text(path.read_text().replace("batch_size: 32", "batch_size: 16"))
    assert place.refused(*PUSH).endswith(
        "was made from other trainings, folds or settings than the pipeline has now; run the ensemble stage, "
        "or give the same --set as then"
    )
    assert place.server.kernels == {}


# ---------------------------------------------------------------- really run


@pytest.mark.slow
def test_networks_that_predict_there_give_the_same_submission(place: Place) -> None:
    place.server.run_kernels = True
    local, [before] = local_submission(place), place.entries()
    told = place.done(*PUSH, "--no-gpu")
    assert f"pushed {INFER} version 1: {URL}" in told.out
    output = folder(place) / "output"
    assert f"fetched submission.csv, softvote-tiny-infer.log into {output}\n" in told.out
    assert f"{output / 'submission.csv'}: the same as {local}, byte for byte\n" in told.out
    assert told.err[:2] == [READY, QUEUED[0]]
    assert "softvote" in (output / "softvote-tiny-infer.log").read_text()
    assert [without_time(entry) for entry in place.entries()] == [
        without_time(each) for each in (before, replace(before, kernel=f"{INFER}/1"))
    ]


@pytest.mark.slow
def test_networks_that_train_there_are_entered(place: Place) -> None:
    place.server.run_kernels = True
    for path in (place.root / "models", place.root / "submissions"):
        path.rename(place.root.parent / path.name)
    place.done("folds", "tiny")
    told = place.done(*PUSH, "--mode=train", "--no-gpu")
    output = folder(place, "train") / "output"
    assert {*contents(output)} == {
        "submission.csv", "ledger.csv", "scores.json", "log.csv", "softvote-tiny-train.log",
    }  # fmt: skip
    [entry] = place.entries()
    assert (entry.kernel, entry.pipeline, entry.folds) == (f"{TRAIN}/1", "tiny", "2/2")
    path = place.root / "submissions" / entry.file
    assert f"wrote {path}\nadded a row to {place.root / LEDGER}\n" in told.out
    assert path.read_bytes() == (output / "submission.csv").read_bytes()
    assert re.fullmatch(r"ImageId,Label\n(\d+,\d\n){100}", path.read_text())


# ---------------------------------------------------------------- refused by Kaggle


def test_a_push_that_is_refused_under_the_status_of_success(place: Place) -> None:
    place.server.push_error = f"Notebook is too large, {LEAK}"
    line = place.refused(*PUSH, told=[READY], changes=["kernels"])
    assert line.startswith("Kaggle, pushing the kernel: refused, Notebook is too large, No key ***, Auth")


def test_a_dataset_that_the_kernel_cannot_have(place: Place) -> None:
    body = {"ref": f"/code/{INFER}", "versionNumber": 1, "invalidDatasetSources": [WEIGHTS]}
    place.server.fail("SaveKernel", Failure(body=json.dumps(body).encode()))
    line = place.refused(*PUSH, told=[READY], changes=["kernels"])
    assert line == (
        f"Kaggle, pushing the kernel: refused, no valid dataset sources: {WEIGHTS}; "
        "fix that and run the same command again"
    )


def test_a_dataset_that_is_refused_under_the_status_of_success(place: Place) -> None:
    body = {"status": "error", "error": "The requested title is already in use"}
    place.server.fail("CreateDataset", Failure(body=json.dumps(body).encode()))
    line = place.refused(*PUSH, changes=["kernels"])
    assert line == (
        f"Kaggle, pushing the dataset {WEIGHTS}: refused, The requested title is already in use; "
        "fix that and run the same command again"
    )
    assert place.server.kernels == {}


def test_a_dataset_that_kaggle_cannot_make(place: Place) -> None:
    place.server.fail("GetDatasetStatus", Failure(), Failure(body=b'{"status": "FAILED"}'))
    line = place.refused(*PUSH, changes=["kernels"])
    page = f"https://www.kaggle.com/datasets/{WEIGHTS}"
    assert line == f"Kaggle, making the dataset {WEIGHTS}: failed; see {page}"
    assert place.server.kernels == {}


CALLS = ["GetDatasetStatus", "StartBlobUpload", "Upload", "CreateDataset", "SaveKernel"]
FAILURES = {
    "400": (Failure(400, LEAK), ": 400, No key ***"),
    "401": (Failure(401, LEAK), ": 401, wrong or expired credentials in KAGGLE_KEY; make a token"),
    "429": (Failure(429, LEAK, {"Retry-After": "7200"}), ": 429, too many requests; try again in 120 min"),
    "drop": (Failure(drop=True), ": no connection, or it broke off; check the network"),
}


@pytest.mark.slow_but(
    "400-SaveKernel", "401-CreateDataset", "429-Upload", "drop-StartBlobUpload", "400-GetDatasetStatus"
)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_enters_nothing(place: Place, call: str, kind: str) -> None:
    failure, words = FAILURES[kind]
    place.server.fail(call, failure)
    told = [READY] if call == "SaveKernel" else []
    line = place.refused(*PUSH, told=told, changes=["kernels"])
    assert line.startswith("Kaggle, ") and words in line
    assert place.asked().count(call) == 1, "asked again"


# ---------------------------------------------------------------- the wait


def test_lost_answers_do_not_end_the_wait(place: Place) -> None:
    prefill(place, INFER, {"submission.csv": local_submission(place).read_bytes()})
    lost = Failure(drop=True), Failure(502, LEAK)
    place.server.fail("GetDatasetStatus", Failure(), *lost)
    place.server.fail("GetKernelSessionStatus", *lost)
    place.server.fail("ListKernelSessionOutput", *lost)
    place.server.fail("Download", Failure(cut=5))
    told = place.done(*PUSH)
    assert told.err == [
        f"dataset {WEIGHTS}: no answer, 0:00 of at most 1:00:00",
        f"dataset {WEIGHTS}: being made, 0:02 of at most 1:00:00",
        f"kernel {INFER}: no answer, 0:00 of at most 3:00:00",
        f"kernel {INFER}: queued, 0:02 of at most 3:00:00",
        f"kernel {INFER}: running, 0:04 of at most 3:00:00",
        f"output of {INFER}: no answer, 0:00 of at most 1:00:00",
    ]
    assert place.asked().count("SaveKernel") == 1
    assert [entry.kernel for entry in place.entries()] == ["", f"{INFER}/1"]


@pytest.mark.parametrize(
    ("call", "line"),
    [
        ("GetDatasetStatus", f"dataset {WEIGHTS}: still no answer after 1 h; look at it on Kaggle"),
        ("GetKernelSessionStatus", f"kernel {INFER}: still no answer after 3 h; {FETCH}"),
        ("ListKernelSessionOutput", f"output of {INFER}: still no answer after 1 h; {FETCH}"),
    ],
)
def test_the_wait_is_given_up(place: Place, call: str, line: str) -> None:
    prefill(place, INFER, {"submission.csv": local_submission(place).read_bytes()})
    place.server.fail(call, *[Failure()] * (call == "GetDatasetStatus"), *[Failure(drop=True)] * 999)
    told = {
        "GetDatasetStatus": [f"dataset {WEIGHTS}: no answer, 0:00 of at most 1:00:00"],
        "GetKernelSessionStatus": [READY, f"kernel {INFER}: no answer, 0:00 of at most 3:00:00"],
        "ListKernelSessionOutput": [READY, *QUEUED, f"output of {INFER}: no answer, 0:00 of at most 1:00:00"],
    }
    assert place.refused(*PUSH, told=told[call], changes=["kernels"]) == line
    assert not (folder(place) / "output").exists()


@pytest.mark.parametrize("is_waiting", [True, False])
def test_ctrl_c_after_a_push_says_that_the_kernel_runs_on(
    place: Place, monkeypatch: pytest.MonkeyPatch, is_waiting: bool
) -> None:
    """The same command would push it again, also where nobody waited yet."""

    def interrupt(_: object, pushed: object = None) -> None:
        if place.server.kernels:
            raise KeyboardInterrupt

    if is_waiting:
        monkeypatch.setattr(place.clock, "sleep", interrupt)
    else:
        monkeypatch.setattr(kernel_run, "_refuse_other_networks", interrupt)
    told = [READY, QUEUED[0]] if is_waiting else [READY]
    line = place.refused(*PUSH, told=told, changes=["kernels"], exit_code=130)
    runs = f"kernel {INFER} version 1 runs on, see {URL}"
    assert line == f"stopped waiting; {runs}; fetch it later with FETCH=1 (--fetch)"


# ---------------------------------------------------------------- what came back


def test_a_kernel_that_failed(place: Place) -> None:
    prefill(place, INFER, {"half.csv": b"1"}, failure="The script\nended with 1")
    line = place.refused(*PUSH, told=[READY, *QUEUED], changes=["kernels"])
    log = folder(place) / "output" / "softvote-tiny-infer.log"
    assert line == f"kernel {INFER}: error, The script ended with 1; see its log: {log}, or {URL}"
    assert log.read_text() == '[{"data": "four"}]'
    assert (folder(place) / "output" / "half.csv").read_bytes() == b"1"


def test_a_kernel_that_was_cancelled_and_left_nothing(place: Place) -> None:
    prefill(place, INFER, {})
    place.server.kernels[INFER].log = ""
    place.server.fail("GetKernelSessionStatus", Failure(body=b'{"status": "CANCEL_ACKNOWLEDGED"}'))
    line = place.refused(*PUSH, told=[READY], changes=["kernels"])
    assert line == f"kernel {INFER}: cancelled, Kaggle does not say why; see {URL}"


def test_a_kernel_that_left_no_submission(place: Place) -> None:
    prefill(place, INFER, {"elsewhere/submission.csv": b"ImageId,Label\n"})
    line = place.refused(*PUSH, told=[READY, *QUEUED], changes=["kernels"])
    log = folder(place) / "output" / "softvote-tiny-infer.log"
    assert line == f"kernel {INFER}: left no submission.csv; see its log: {log}, or {URL}"


@pytest.mark.slow_but("<lambda>-2")
@pytest.mark.parametrize(
    ("change", "rows"),
    [
        (lambda lines: [*lines[:3], b"3,x\n", *lines[4:-1], b"\xff\n"], 2),
        (lambda lines: lines[:-7], 7),
        (lambda lines: [*lines, *lines[1:]], 100),
        (lambda lines: [], 100),
    ],
)
def test_another_submission_than_the_local_one(place: Place, change: Any, rows: int) -> None:
    local = local_submission(place)
    other = b"".join(change(local.read_bytes().splitlines(keepends=True)))
    prefill(place, INFER, {"submission.csv": other})
    line = place.refused(*PUSH, told=[READY, *QUEUED], changes=["kernels"])
    submission = folder(place) / "output" / "submission.csv"
    assert line == f"{submission}: differs from {local} in {rows} of 100 rows; nothing was entered"
    assert submission.read_bytes() == other


def _train_there(place: Place, text: str) -> dict[str, bytes]:
    """The output of a kernel of mode train, with a ledger of its own."""
    from hashlib import sha256

    [entry] = place.entries()
    digest = sha256(text.encode()).hexdigest()
    made = replace(entry, sha256=digest, file=f"tiny-{digest[:8]}.csv")
    ledger = Workspace(place.root.parent / "there").ledger
    append_entry(ledger, made)
    return {"submission.csv": text.encode(), "ledger.csv": ledger.read_bytes()}


TRAIN_WAIT = [line.replace(INFER, TRAIN).replace("3:00:00", "12:00:00") for line in QUEUED]


def test_what_was_trained_there_is_entered(place: Place) -> None:
    text = local_submission(place).read_text()
    other = re.sub(r",\d\n", ",7\n", text)
    prefill(place, TRAIN, _train_there(place, other))
    told = place.done(*PUSH, "--mode=train")
    assert told.err == TRAIN_WAIT
    _, entry = place.entries()
    assert entry.kernel == f"{TRAIN}/1"
    assert (place.root / "submissions" / entry.file).read_text() == other
    assert "CreateDataset" not in place.asked()


def test_what_was_trained_there_must_have_the_right_form(place: Place) -> None:
    text = local_submission(place).read_text()
    other = text.replace("\n7,", "\n7,1", 1)
    prefill(place, TRAIN, _train_there(place, other))
    line = place.refused(*PUSH, "--mode=train", told=TRAIN_WAIT, changes=["kernels"])
    assert re.search(r", row 8, column Label: label '1\d' is not one of 0\.\.9$", line)


@pytest.mark.parametrize(
    ("ledger", "words"),
    [
        (None, "its ledger.csv is not of its submission.csv; nothing was entered"),
        (",".join(LEDGER_COLUMNS) + "\n", "its ledger.csv is not of its submission.csv; nothing was entered"),
        ("damaged\n", "ledger.csv, row 1: the header is not "),
    ],
)
def test_what_was_trained_there_must_be_of_its_ledger(place: Place, ledger: str | None, words: str) -> None:
    text = local_submission(place).read_text()
    output = {"submission.csv": re.sub(r",\d\n", ",7\n", text).encode()}
    prefill(place, TRAIN, output | ({} if ledger is None else {"ledger.csv": ledger.encode()}))
    line = place.refused(*PUSH, "--mode=train", told=TRAIN_WAIT, changes=["kernels"])
    assert words in line
