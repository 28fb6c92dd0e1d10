"""Lay all that another machine needs into one folder."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from remote_run.contents import LACKING, MIB, PACKED, source_of
from softvote.errors import ErrorCollector, UserError

if TYPE_CHECKING:
    from softvote.stages import Run

ROOT = Path(__file__).resolve().parents[2]
LARGEST_PACK = 60 * MIB
PYTHON = "3.12"
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 17)] + ["manylinux2014_x86_64"]

RUN = """#!/usr/bin/env bash
# bash run.sh OUT SECONDS [WORKERS] [--only PIPELINE ...] [--set KEY=VALUE ...] [--folds N ...] [--in-turn]
# does all of the pipelines, or some, in so many seconds; results are left in OUT. Called again, it goes on.
set -euo pipefail
exec python3 -u "$(dirname "$0")/scripts/remote_run" run "$(dirname "$0")" "$@"
"""


def pack(parsed: argparse.Namespace) -> None:
    """Lay out the folder.

    Raises:
        UserError: a pipeline that cannot be read or whose probabilities cannot be brought home, data or
            wheels that are missing, a folder that is there, or too much of it all.
    """
    from softvote.stages import open_run
    from softvote.storage.git import PACKED_COMMIT, git_state
    from softvote.storage.paths import Workspace

    runs = [open_run(parsed.root, name) for name in parsed.pipelines]
    target: Path = parsed.to
    if target.exists():
        raise UserError.at(target, "is there already", "remove it or name another folder")
    _refuse_several_labels(runs)
    needed = {run.name: run.pipeline.competition.name for run in runs}
    competitions = dict.fromkeys([source_of(name) for name in needed.values()] + parsed.input)
    commit, clean = git_state(ROOT)
    facts = {"pipelines": list(needed), "competitions": needed, "inputs": parsed.input}
    facts |= {"commit": commit, "clean": clean}
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")
    try:
        shutil.copytree(ROOT / "src", target / "src", ignore=ignored)
        shutil.copytree(ROOT / "scripts", target / "scripts", ignore=ignored)
        shutil.copytree(parsed.root / "pipelines", target / "work" / "pipelines", ignore=ignored)
        for run in runs:
            path = Path(f"models/{run.name}")
            for file in (run.folder.folds, run.folder.folds_record):
                if file.is_file():
                    (target / "work" / path).mkdir(parents=True, exist_ok=True)
                    shutil.copy(file, target / "work" / path)
        carried = target / PACKED_COMMIT.relative_to(ROOT)
        carried.write_text(json.dumps({"commit": commit, "clean": clean}) + "\n", encoding="utf-8")
        for name in competitions:
            _pack_data(name, parsed, target / "data")
        _pack_weights(runs, Workspace(target / "work").weights)
        (target / PACKED).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        (target / "run.sh").write_text(RUN, encoding="utf-8")
        _pack_wheels(parsed.wheels, target / "wheels")
        _refuse_too_much(target)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    size = sum(_size(path) for path in target.iterdir())
    print(f"packed {', '.join(facts['pipelines'])} into {target}: {size / MIB:.1f} MiB")
    print(f"there:  bash {target}/run.sh OUT SECONDS")
    print("here:   python scripts/remote_run take OUT")


def _refuse_several_labels(runs: list[Run]) -> None:
    """Refuse tags and targets: `halve` brings home rows that sum to 1, of one label per image."""
    problems = ErrorCollector()
    for run in runs:
        if run.pipeline.competition.labels is None:
            what = "names tags or targets; only probabilities of one label per image can be brought home"
            problems.add(run.name, what, "train it here")
    problems.raise_any()


def _pack_data(name: str, parsed: argparse.Namespace, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    target, there = folder / f"{name}.zip", parsed.root / "input" / name
    for path in parsed.data:
        if path.stem == name:
            if not path.is_file():
                raise UserError.at(path, "no such file")
            shutil.copy(path, target)
            return
    if not there.is_dir():
        raise UserError.at(there, "no such folder", f"give --data with a file {name}.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in there.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(there))


def _pack_weights(runs: list[Run], folder: Path) -> None:
    """Published weights that members start from, under the names by which networks look for them."""
    from softvote.models import published_files

    for run in runs:
        for name, file in published_files(run.members, run.workspace.weights).items():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / name)


def _pack_wheels(source: Path | None, folder: Path) -> None:
    """Wheels of the versions that are here, for the other machine's Python."""
    from importlib.metadata import version

    folder.mkdir(parents=True)
    if source is not None:
        for wheel in source.glob("*.whl"):
            shutil.copy(wheel, folder)
    else:
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
            "--python-version", PYTHON, "--implementation", "cp", "--dest", str(folder),
        ]  # fmt: skip
        command += [word for tag in PLATFORMS for word in ("--platform", tag)]
        done = subprocess.run(
            [*command, *(f"{name}=={version(name)}" for name in LACKING)], capture_output=True, text=True
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise UserError(f"wheels cannot be downloaded ({last}); name a folder of them with --wheels")
    names = [wheel.name.lower().replace("-", "_") for wheel in folder.glob("*.whl")]
    missing = [name for name, module in LACKING.items() if not any(n.startswith(f"{module}_") for n in names)]
    if missing:
        raise UserError.at(source, f"has no wheel of {', '.join(missing)}")


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _refuse_too_much(target: Path) -> None:
    parts = [path for top in target.iterdir() for path in (top.iterdir() if top.name == "data" else [top])]
    sizes = sorted(((_size(path), path.relative_to(target)) for path in parts), reverse=True)
    total = sum(size for size, _ in sizes)
    if total > LARGEST_PACK:
        most = ", ".join(f"{path} {size / MIB:.1f}" for size, path in sizes[:4])
        raise UserError.at(
            target, f"{total / MIB:.1f} MiB, at most {LARGEST_PACK // MIB} go ({most})", "pack fewer of them"
        )
