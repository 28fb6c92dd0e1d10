"""Run the stages as the commands they are, and note what they cost."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from growth.cases import NAME, STAGES, Case, Facts
from growth.inputs import make_up_trainings, write_competition
from softvote.errors import UserError

READ = (
    "import sys; from pathlib import Path; from softvote.data.dataset import read_dataset; "
    "from softvote.stages import open_run; run = open_run(Path(sys.argv[1]), sys.argv[2]); "
    "read_dataset(run.pipeline.competition, run.workspace)"
)


def measure_case(case: Case) -> Iterator[Facts]:
    """The cost of each stage at one size, one after another as each needs the one before it."""
    print(case.title, file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="softvote-growth-") as folder:
        root = Path(folder)
        _in_a_process(write_competition, root, case)
        for stage in STAGES[:2] if case.format == "pixel_csv" else STAGES:
            if stage == "train":
                _in_a_process(make_up_trainings, root)
            cost = run(stage, root)
            print(
                f"  {stage}: {cost['seconds']:.1f} s, {cost['peak_mib']:,} MiB", file=sys.stderr, flush=True
            )
            yield asdict(case) | {"size": case.size, "stage": stage} | cost


def run(stage: str, root: Path) -> Facts:
    """Seconds on the clock and on the cores, and peak memory in MiB, of one stage as a command.

    Raises:
        UserError: the command failed.
    """
    code, words = (["-c", READ], []) if stage.startswith("read") else (["-m", "softvote", "--root"], [stage])
    command = [sys.executable, *code, str(root), *words, NAME]
    started = time.perf_counter()
    with (root / "told.txt").open("w+") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told)
        _, status, usage = os.wait4(process.pid, 0)  # of this process alone, unlike RUSAGE_CHILDREN
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        if process.returncode:
            raise UserError(f"softvote {stage}: failed: {told.read().strip()}")
    return {
        "seconds": round(seconds, 2),
        "core_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mib": _mib(usage.ru_maxrss),
    }


def _mib(maxrss: int) -> int:
    return maxrss // (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _in_a_process(body: Callable[..., None], *arguments: Any) -> None:
    """Call in a process that ends: a command's peak is never less than that of what starts it.

    Raises:
        UserError: the process failed.
    """
    process = multiprocessing.get_context("spawn").Process(target=body, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise UserError(f"{body.__name__}: failed with exit code {process.exitcode}; it says why above")
