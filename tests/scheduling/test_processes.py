"""scheduling.processes: trainings in processes of their own, and what becomes of them when some die."""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from batches import with_extra_rows
from conftest import Digits
from faults import Unreadable, blocks_ctrl_c, breaks, ends, hangs, is_hit, refuse
from projects import softvote, write_project
from trainings import results, start, two_cores, until

from softvote import machine, stages
from softvote.errors import UserError
from softvote.progress import ScreenLock
from softvote.scheduling import gpus as gpu_room
from softvote.scheduling import processes, resources
from softvote.scheduling.job_batch import JobBatch
from softvote.scheduling.worker import training_rows
from softvote.stages.plan import make_plan
from softvote.storage.files import read_json
from softvote.storage.locks import try_lock
from softvote.storage.paths import PipelineFolder, Workspace

pytestmark = pytest.mark.usefixtures("forkserver")  # started with all that is needed here

TRAIN = ("train", "tiny", "--checkpoint", "0")
LONG = {"epochs": 6}  # so long that what waits for its first checkpoint finds it still running


def project(root: Path, digits: Digits, workers: int = 2, **facts: Any) -> PipelineFolder:
    """A pipeline of two members with its folds; the trainings of `cnn` take longer."""
    members = {"cnn": {"model": "cnn"} | LONG, "resnet5": {"model": "resnet5"}}
    write_project(root, digits, **{"members": members, "engine": {"workers": workers}} | facts)
    assert softvote(root, "folds", "tiny") == 0
    return PipelineFolder(root / "models" / "tiny")


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> dict[str, object]:
    """What the pipeline leaves that nobody disturbs."""
    root = tmp_path_factory.mktemp("untouched")
    project(root, digits, workers=1)
    assert softvote(root, "train", "tiny") == 0
    return results(root)


def refusals(err: str) -> list[str]:
    """The lines that tell what went wrong."""
    return [line for line in err.splitlines() if line.startswith("softvote: ")]


# ---------------------------------------------------------------- a job's own process dies


@pytest.mark.parametrize(
    ("blow", "how"),
    [
        (signal.SIGKILL, "was killed (SIGKILL), as the system does when memory runs out"),
        pytest.param(
            signal.SIGSEGV,
            "ended with SIGSEGV (Fatal Python error: Segmentation fault; all of it in {})",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_process_that_dies_is_told_and_takes_no_other_along(
    tmp_path: Path, digits: Digits, untouched: dict[str, object], blow: signal.Signals, how: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = project(tmp_path, digits)
    mine = folder.predictions("cnn").fold(0)
    with two_cores(), ThreadPoolExecutor(1) as pool:
        run = pool.submit(softvote, tmp_path, *TRAIN)
        until(mine.checkpoint, run)
        (child,) = (child for child in multiprocessing.active_children() if child.name == "cnn fold 0")
        os.kill(child.pid or 0, blow)
        assert run.result() == 1
        assert refusals(capsys.readouterr().err) == [
            f"softvote: cnn fold 0: {how.format(mine.crash)}; run the same command to go on"
        ]
        assert (
            folder.predictions("resnet5").scores.is_file()
            and folder.predictions("cnn").fold(1).scores.is_file()
        )
        assert mine.checkpoint.is_file()
        assert softvote(tmp_path, "train", "tiny") == 0
        assert not mine.crash.exists()
    assert results(tmp_path) == untouched


def first_job(root: Path, digits: Digits, fault: Callable[[], None]) -> Unreadable:
    """The first job of a project, in whose process this happens where it reads its data."""
    project(root, digits)
    run = stages.open_run(root, "tiny")
    plan = make_plan(run)
    job = plan.jobs[0]
    job.folder.path.mkdir(parents=True)
    processes.prepare()
    return Unreadable(run.workspace, run.pipeline.competition, [job], 4, plan.folds, 60, fault=fault)


@pytest.mark.parametrize(
    ("fault", "how", "log"),
    [
        (
            breaks,
            "crashed (RuntimeError: a bad sector; all of it in {})",
            "RuntimeError: a bad sector\nTraceback",
        ),
        pytest.param(
            is_hit,
            "ended with SIGSEGV (Fatal Python error: Segmentation fault; all of it in {}); run the same",
            "Fatal Python error: Segmentation fault",
            marks=pytest.mark.slow,
        ),
        (
            ends,
            "ended with exit code 3; run the same",
            "",
        ),  # and what an earlier one said is not told
    ],
)
def test_what_ends_a_process_that_reads_its_data_is_told(
    tmp_path: Path, digits: Digits, fault: Callable[[], None], how: str, log: str
) -> None:
    work = first_job(tmp_path, digits, fault)
    (job,) = work.jobs
    job.folder.crash.write_text("KeyError: 'of an earlier run'\n")
    (left,) = processes.run_local(work, 2)
    assert left.kind == "failed" and str(left.why).startswith(f"{job.label}: {how.format(job.folder.crash)}")
    said = job.folder.crash.read_text()
    assert said.startswith(log) and "earlier" not in said


def test_a_run_leaves_no_process_and_no_open_file(tmp_path: Path, digits: Digits) -> None:
    open_files = Path("/proc/self/fd")
    if not open_files.is_dir():
        pytest.skip("this system does not list open files")
    project(tmp_path, digits, folds={"count": 3}, members={"resnet5": {"model": "resnet5", "epochs": 1}})
    assert softvote(tmp_path, *TRAIN, "--fold", "0") == 0
    before = len(list(open_files.iterdir()))
    assert softvote(tmp_path, *TRAIN) == 0
    assert len(list(open_files.iterdir())) == before
    assert multiprocessing.active_children() == []


# ---------------------------------------------------------------- a call in a process of its own


def test_a_call_in_another_process_gives_back_what_it_returns_or_refuses() -> None:
    assert processes.call_forked(os.getppid) != os.getppid()
    assert processes.call_forked(blocks_ctrl_c) and not blocks_ctrl_c()  # the one that started it answers
    with pytest.raises(UserError, match=r"^no such network$"):
        processes.call_forked(refuse, "no such network")
    for fault, how in ((ends, "ended with exit code 3"), (is_hit, "ended with SIGSEGV")):
        with pytest.raises(UserError, match=how):
            processes.call_forked(fault)
    assert multiprocessing.active_children() == []


def test_an_answer_for_which_nobody_waits_any_more_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C while the process was being started: it begins all the same."""
    said, saying = processes.context.Pipe(duplex=False)
    said.close()
    process = processes.context.Process(target=processes._tell_answer, args=(os.getpid, saying))
    process.start()
    process.join()
    assert process.exitcode == 0 and capfd.readouterr().err == ""


# ---------------------------------------------------------------- the whole run dies


def test_a_run_that_is_stopped_ends_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    work: Any = SimpleNamespace(jobs=[], deadline=math.inf)
    pool: Any = processes._Pool(work, [0, 0], 1, Path("screen"))
    pool.running = ["one", "other"]
    ended: list[str] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(processes, "_end", ended.append)
    monkeypatch.setattr(pool, "_start_what_can_run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pool.run()
    assert ended == ["one", "other"]


def test_ctrl_c_while_a_process_is_started_ends_that_one_too(
    tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = first_job(tmp_path, digits, hangs)
    (job,) = work.jobs
    start, started = processes.context.Process.start, list[multiprocessing.Process]()

    def interrupted(process: Any) -> None:
        start(process)
        started.append(process)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(processes.context.Process, "start", interrupted)
    (tmp_path / "screen").touch()
    pool = processes._Pool(work, [0], 1, tmp_path / "screen")
    with pytest.raises(KeyboardInterrupt):
        pool.run()
    assert [process.exitcode for process in started] == [-signal.SIGTERM]
    assert not job.folder.crash.exists()


def members_of(group: int) -> list[str]:
    """The processes of a group that still live."""
    table = subprocess.run(["ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=True)
    lines = (line.split() for line in table.stdout.splitlines())
    return [state for found, state in lines if int(found) == group and not state.startswith("Z")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strike", "blow", "code"),
    [
        (os.kill, signal.SIGKILL, -signal.SIGKILL),
        (os.kill, signal.SIGTERM, 143),
        (os.killpg, signal.SIGINT, 130),  # as a terminal does for Ctrl-C
    ],
)
def test_a_run_that_is_stopped_stops_all_of_it_and_goes_on(
    tmp_path: Path, digits: Digits, untouched: dict[str, object],
    strike: Callable[[int, int], None], blow: signal.Signals, code: int,
) -> None:  # fmt: skip
    folder = project(tmp_path, digits)
    mine = [folder.predictions(member).fold(0) for member in ("cnn", "resnet5")]
    with two_cores():
        command = start(tmp_path, *TRAIN)
        with ThreadPoolExecutor(1) as pool:
            run = pool.submit(command.join)
            until(mine[0].checkpoint, run)
            until(mine[1].lock, run)
            strike(command.pid or 0, blow)
        assert command.exitcode == code
        end = time.monotonic() + 60
        while members_of(command.pid or 0):
            assert time.monotonic() < end, "its workers live on"
        for job in mine:
            with try_lock(job.lock) as free:
                assert free
        told = (tmp_path / "log.txt").read_text()
        assert "Traceback" not in told and len(refusals(told)) == (code > 0)
        assert code < 0 or not [job.crash for job in mine if job.crash.exists()]
        assert mine[0].checkpoint.is_file()
        assert softvote(tmp_path, *TRAIN) == 0
    assert results(tmp_path) == untouched


@pytest.mark.slow
def test_two_commands_share_the_work(tmp_path: Path, digits: Digits) -> None:
    folder = project(tmp_path, digits, folds={"count": 4})
    commands = [start(tmp_path, *TRAIN) for _ in range(2)]
    for command in commands:
        command.join()
    told = (tmp_path / "log.txt").read_text()
    assert [command.exitcode for command in commands] == [0, 0], told
    ends = [line.partition(":")[0] for line in told.splitlines() if "0:00 left" in line]
    assert sorted(ends) == [f"{member} fold {fold}" for member in ("cnn", "resnet5") for fold in range(4)]
    assert all(folder.predictions(member).scores.is_file() for member in ("cnn", "resnet5"))
    assert not list(folder.path.rglob("crash.log")) and not list(folder.path.rglob("checkpoint*"))


# ---------------------------------------------------------------- a disk that is full


@pytest.mark.slow
@pytest.mark.parametrize(
    "seconds",
    [pytest.param("0", id="checkpoint"), pytest.param("1000", id="weights")],
)
def test_a_full_disk_is_a_line_a_job_and_no_half_file(
    tmp_path: Path, digits: Digits, untouched: dict[str, object], seconds: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    models = tmp_path / "models"
    models.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(models)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a disk of its own can be mounted by root alone")
    try:
        folder = project(tmp_path, digits)
        ballast = models / "ballast"
        with two_cores():
            with ballast.open("wb") as file:
                free = os.statvfs(models).f_bavail * os.statvfs(models).f_frsize
                file.write(bytes(free - (100 << 10)))
            assert softvote(tmp_path, "train", "tiny", "--checkpoint", seconds) == 1
            told = refusals(capsys.readouterr().err)
            assert len(told) == 4
            assert all("cannot be written (No space left on device)" in line for line in told), told
            left = {path.name for path in folder.path.rglob("*") if path.is_file()}
            assert left <= {"folds.csv", "folds.json", ".lock"}
            ballast.unlink()
            assert softvote(tmp_path, *TRAIN) == 0
        assert results(tmp_path) == untouched
    finally:
        subprocess.run(["umount", str(models)], check=True)


# ---------------------------------------------------------------- shares, and the screen


@pytest.mark.parametrize(
    ("cores", "trainings", "workers", "threads"),
    [(2, 25, 2, 1), (2, 1, 1, 2), (16, 25, 16, 1), (16, 4, 4, 4), (16, 5, 5, 3), (1, 25, 1, 1), (2, 0, 1, 2)],
)
def test_every_job_has_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, trainings: int, workers: int, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    monkeypatch.setattr(machine, "free_memory", lambda: 1 << 40)
    assert resources.split_cores(trainings) == (workers, threads)


@pytest.mark.parametrize(("workers", "threads"), [(2, 8), (4, 4), (5, 3), (16, 1), (40, 1)])
def test_who_says_how_many_at_once_gets_all_cores(
    monkeypatch: pytest.MonkeyPatch, workers: int, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    assert resources.split_cores(25, workers) == (workers, threads)


@pytest.mark.parametrize(
    ("there", "trainings", "workers", "expected"),
    [
        (8, 25, None, ([0, 2, 4, 6], 2)),
        (5, 25, None, ([0, 2], 4)),
        (8, 1, None, ([0], 8)),
        (8, 25, 3, ([0, 2, 4], 2)),
        (0, 25, 2, ([0, 2], 4)),  # cores alone
    ],
)
def test_trainings_on_two_devices_each_share_none(
    monkeypatch: pytest.MonkeyPatch, there: int, trainings: int, workers: int | None, expected: object
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 16)
    assert resources._assign_groups(2, there, trainings, workers) == expected


@pytest.mark.parametrize(("gibibytes", "workers"), [(64, 16), (9, 4), (1, 1)])
def test_memory_limits_jobs_but_not_their_threads(
    monkeypatch: pytest.MonkeyPatch, gibibytes: int, workers: int
) -> None:
    """The bits depend on the threads, and what else runs on the machine must not."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    monkeypatch.setattr(machine, "free_memory", lambda: gibibytes << 30)
    assert resources.split_cores(25) == (workers, 1)


def test_every_process_computes_with_its_share_of_threads(
    tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project(tmp_path, digits)
    monkeypatch.setattr(machine, "cores", lambda: 4)
    assert softvote(tmp_path, "train", "tiny", "--member", "resnet5") == 0
    found = [read_json(folder.predictions("resnet5").fold(fold).recipe)["threads"] for fold in (0, 1)]
    assert found == [2, 2]


@pytest.mark.parametrize("alone", [False, True])
def test_the_rows_of_the_largest_training_count_for_memory(
    tmp_path: Path, digits: Digits, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Extra ones as well; every process has its copy of them."""
    work = with_extra_rows(tmp_path, digits, alone)
    rows = len(training_rows(work.jobs[1], work.dataset(), work.folds).rows)
    needed = rows * 8 * 8
    monkeypatch.setattr(machine, "cores", lambda: 8)
    for free, at_once in ((3 * (BASE + needed), 3), (3 * (BASE + needed) - 1, 2)):
        monkeypatch.setattr(machine, "free_memory", lambda free=free: free)
        assert resources.assign_devices(work) == ([0] * at_once, 2)


def test_rows_that_stay_on_disk_take_no_memory(
    tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = with_extra_rows(tmp_path, digits, False)
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.setattr(resources, "LARGE", 0)
    extra = 200 * 8 * 8
    for free, at_once in ((3 * (BASE + extra), 3), (3 * (BASE + extra) - 1, 2)):
        monkeypatch.setattr(machine, "free_memory", lambda free=free: free)
        assert resources.assign_devices(work) == ([0] * at_once, 2)


BASE = 9 << 28  # bytes of a job beside its rows
GIB = 1 << 30


@pytest.mark.parametrize(
    ("free", "workers", "gpus"),
    [
        ([], None, [0] * 8),
        ([24 * GIB], None, [0] * 4),
        ([3 * GIB], None, [0, 0, 0]),
        ([3 * GIB, 24 * GIB], None, [0, 1, 0, 1, 0, 1, 1]),
        ([3 * GIB, 24 * GIB], 3, [0, 1, 0]),
        ([0, 0], 2, [0, 1]),
    ],
)
def test_jobs_share_gpus_where_they_fit(
    monkeypatch: pytest.MonkeyPatch, free: list[int], workers: int | None, gpus: list[int]
) -> None:
    """Who says how many at once is taken at his word; the threads are those of the cores either way."""
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.setattr(machine, "free_memory", lambda: 1 << 40)
    monkeypatch.setattr(gpu_room, "free_gpu_memory", lambda: free)
    monkeypatch.setattr(gpu_room, "largest_training_bytes", lambda work, free: GIB)
    rows = np.zeros(100, np.int64)
    work = JobBatch(Workspace(Path()), None, [], 25, rows, 60.0)  # type: ignore[arg-type]
    assert resources.assign_devices(work, workers) == (gpus, 8 // (workers or 8))


def hold(path: Path, said: Connection) -> None:
    """What a process does that writes to the screen, and never ends; tqdm takes the lock within itself."""
    lock = ScreenLock(path)
    said.send("asks")
    with lock:
        with lock:
            pass
        said.send("holds")
        signal.pause()


def holder(screen: Path) -> tuple[ForkServerProcess, Connection]:
    context = multiprocessing.get_context("forkserver")
    said, saying = context.Pipe(duplex=False)
    process = context.Process(target=hold, args=(screen, saying), daemon=True)
    process.start()
    saying.close()
    assert said.poll(60) and said.recv() == "asks"
    return process, said


@pytest.mark.slow
def test_a_process_that_dies_frees_the_screen(tmp_path: Path) -> None:
    screen = tmp_path / "screen"
    screen.touch()
    first, first_said = holder(screen)
    assert first_said.poll(60) and first_said.recv() == "holds"
    second, second_said = holder(screen)
    assert not second_said.poll(0.2)
    first.kill()
    assert second_said.poll(60) and second_said.recv() == "holds"
    second.kill()
    for process in (first, second):
        process.join()
