"""All stages on the other machine, of what was packed, in the time that is given."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remote_run.bring import bring
from remote_run.contents import LACKING, PACKED, SOURCE, Facts, making, source_of
from remote_run.report import Report
from remote_run.whole import whole_part
from softvote.errors import UserError
from softvote.words import counted

if TYPE_CHECKING:
    from softvote.stages import Run

# What needs packages is imported late, here and where this leads: some of them are laid out first.
AT_ONCE = 4
ENDING = 15.0
"""Seconds kept for the vote and for writing results, of the first pipeline; a third of it for each other."""


def run(parsed: argparse.Namespace) -> None:
    """Do all stages of each pipeline.

    Raises:
        UserError: not every one has a submission.
    """
    report = Report()
    deadline = report.began + parsed.seconds
    os.environ["PYTHONPATH"] = str((parsed.packed / "src").resolve())  # of processes that train
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    _lay_out_wheels(parsed.packed / "wheels", report)
    facts = json.loads((parsed.packed / PACKED).read_text(encoding="utf-8"))
    parsed.out.mkdir(parents=True, exist_ok=True)
    packed = facts | {"environment": environment()}
    report.say(json.dumps(packed["environment"]))
    root, done = parsed.packed / "work", 0
    names = [name for name in facts["pipelines"] if not parsed.only or name in parsed.only]
    competitions = [facts["competitions"][name] for name in names]
    for name in dict.fromkeys([*map(source_of, competitions), *facts["inputs"]]):
        _attempt(report, f"data {name}", _unpack, root, parsed.packed / "data" / f"{name}.zip")
    for name in dict.fromkeys(competitions):
        if making(name):
            _attempt(report, f"data {name}", _make, root, parsed.packed / "scripts" / "make_data", name)
    for place, name in enumerate(names):
        kept = ENDING * (1 + (len(names) - 1 - place) / 3)
        until = deadline - kept
        done += bool(_attempt(report, name, _pipeline, root, name, parsed, until, report))
        _attempt(report, "results", bring, root, parsed.out, packed, report)
    report.say(f"{done} of {counted(len(names), 'pipeline has', 'pipelines have')} a submission")
    if done < len(names):
        lack = counted(len(names), "pipeline has", "pipelines have")
        raise UserError(f"{len(names) - done} of {lack} no submission; see above why")


def _lay_out_wheels(folder: Path, report: Report) -> None:
    """Install the packages that are missing, for this process and those that it starts."""
    missing = [name for name, module in LACKING.items() if importlib.util.find_spec(module) is None]
    if not missing:
        return
    site = (folder.parent / "site").resolve()
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile",
        "--no-cache-dir", "--upgrade", "--target", str(site), *map(str, folder.glob("*.whl")),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    sys.path.insert(0, str(site))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(site), os.environ["PYTHONPATH"]])
    importlib.invalidate_caches()
    report.say(f"laid out wheels, for want of {', '.join(missing)}")


def environment() -> Facts:
    """The machine, and what runs on it."""
    import numpy
    import timm
    import torch

    from softvote.compute.device import accelerator_name, find_device
    from softvote.machine import cores, processor

    return {
        "device": accelerator_name(find_device()) or processor(),
        "processor": processor(),
        "cores": cores(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cudnn": torch.backends.cudnn.version(),
        "timm": timm.__version__,
        "numpy": numpy.__version__,
    }


def _attempt(report: Report, what: str, work: Any, *arguments: Any) -> Any:
    """Do some work; where it fails, say so and go on with the rest."""
    try:
        return work(*arguments)
    except Exception as error:
        report.say(f"{what}: {error}")
        if not isinstance(error, UserError):
            report.say(traceback.format_exc())
        return None


def _unpack(root: Path, archive: Path) -> None:
    from softvote.stages import data

    print(data.run(root, str(archive), archive.stem))


def _make(root: Path, scripts: Path, competition: str) -> None:
    folder, made = root / "input" / competition, making(competition)
    if made is None or folder.exists():
        return
    (script, *words), seed = made
    known = {"source": root / "input" / SOURCE / "train.csv", "folder": folder, "seed": seed}
    command = [sys.executable, str(scripts / script), *(word.format(**known) for word in words)]
    subprocess.run(command, check=True)


def _pipeline(root: Path, name: str, parsed: argparse.Namespace, until: float, report: Report) -> bool:
    """All stages of one pipeline; whether it has a submission.

    Args:
        until: of time.monotonic(); trainings end before it.
    """
    from softvote.stages import ensemble, folds, open_run, submit, train

    run = with_workers(open_run(root, name, parsed.set), parsed.workers)
    print(folds.run(run))
    report.say(f"{name}: folds are there; {until - time.monotonic():.0f} s for training")
    for members in [(member,) for member in run.pipeline.members] if parsed.in_turn else [()]:
        told = f"{name}, train"
        trained = _attempt(report, told, train.run, run, members, parsed.folds, 3600.0, until, print)
        if trained is not None:
            print(trained)
    settings = whole_part(run)
    if settings is None:
        report.say(f"{name}: no fold is whole")
        return False
    report.say(f"{name}: what is whole: {' '.join(settings) or 'all'}")
    if settings:
        run = with_workers(open_run(root, name, [*parsed.set, *settings]), parsed.workers)
        print(train.run(run, report=print))
    print(ensemble.run(run))
    print(submit.run(run))
    report.say(f"{name}: submitted")
    return True


def with_workers(run: Run, workers: int) -> Run:
    """The same with so many trainings at once; that is not a setting of what they are."""
    from softvote.config.engine import LocalEngine

    engine = LocalEngine(workers=workers)
    return replace(run, pipeline=run.pipeline.model_copy(update={"engine": engine}))
