"""Train pipelines on a machine with a GPU and without a network, and bring home everything but the weights.

    python scripts/remote_run.py pack digit-recognizer --data digit-recognizer.zip --to packed
    bash packed/run.sh OUT 540              # there: data, folds, train, ensemble, submit; 540 seconds in all
    python scripts/remote_run.py take OUT   # here again

pack lays code, pipelines, competition files, folds that are there already, and the wheels of packages that
such machines lack into one folder of less than 60 MiB. It asks the package index for the wheels, or takes
them from the folder that --wheels names. Data that scripts make of other data (digit-adder, fresh-digits)
are made there, which is quicker than carrying them.

What runs there begins no training that cannot end in time and stops what overstays. Where not all of a
pipeline's trainings are done, the most that are whole vote and are submitted: so many members on so many
folds. It leaves at
most eight files of at most 15 MiB in OUT: results.tar.gz with submissions, ledger, scores, recipes, logs and
tables, and the probabilities of each training in half precision. What does not go in is named in the log.

take lays them under models/ and submissions/ as if they had been made here, so that rules of the vote can
be compared, mistakes drawn and scores fetched. The weights stay there: each recipe says so, what needs them
fails with that reason, and a training whose recipe changed is due as ever.
"""

# Annotations are not deferred: dataclasses cannot look theirs up in a module that was loaded by its path.
# The package is imported late: on the other machine some of what it needs is laid out first.

import argparse
import importlib.util
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import time
import traceback
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from softvote.stages import Run

Facts = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20
LARGEST_PACK = 60 * MIB
LARGEST_FILE, MOST_PROBABILITIES = 15 * MIB, 4
"""Of what comes back; files of probabilities, beside the other results."""
PYTHON = "3.12"
LACKING = {
    "pydantic": "pydantic", "pydantic-core": "pydantic_core", "annotated-types": "annotated_types",
    "typing-inspection": "typing_inspection",
}  # fmt: skip
"""Packages to carry, by their names, and the modules that say whether they are there."""
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 17)] + ["manylinux2014_x86_64"]
MADE = {
    "digit-adder": ["digit_adder.py", "{source}", "{folder}"],
    "fresh-digits": ["four_digits.py", "{source}", "{folder}", "--test", "6000", "--seed", "{seed}"],
}
"""Competitions that a script of make_data makes of SOURCE; behind the name there may be a seed."""
SOURCE = "digit-recognizer"
PACKED, RESULTS = "packed.json", "results.tar.gz"
AT_ONCE = 4
ENDING = 15.0
"""Seconds kept for the vote and for writing results, of the first pipeline; a third of it for each other."""
SCALE = 2.0**16
"""Of half-precision probabilities: their smallest is then 1e-9, and one half still goes in."""

RUN = """#!/usr/bin/env bash
# bash run.sh OUT SECONDS [WORKERS] [--only PIPELINE ...] [--set KEY=VALUE ...] [--folds N ...] [--in-turn]
# does all of the pipelines, or some, in so many seconds; results are left in OUT. Called again, it goes on.
set -euo pipefail
exec python3 -u "$(dirname "$0")/scripts/remote_run.py" run "$(dirname "$0")" "$@"
"""


class RemoteError(Exception):
    """A mistake of the user, in one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parsed = _parsed(arguments)
    try:
        return int(parsed.do(parsed) or 0)
    except Exception as error:
        if type(error).__name__ not in ("UserError", "RemoteError"):
            raise
        for line in str(error).splitlines():
            print(f"remote_run: {line}", file=sys.stderr)
        return 1


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    packing = commands.add_parser("pack", help="lay all that is needed into one folder")
    packing.add_argument("pipelines", nargs="+", metavar="PIPELINE", help="names in pipelines/")
    packing.add_argument("--to", type=Path, required=True, metavar="FOLDER")
    packing.add_argument(
        "--data", type=Path, nargs="+", default=[], metavar="ZIP",
        help="competition files, by the competition's name; input/NAME if left out",
    )  # fmt: skip
    packing.add_argument(
        "--input", nargs="+", default=[], metavar="NAME", help="more folders of input/, such as extra rows"
    )
    packing.add_argument("--wheels", type=Path, metavar="FOLDER", help="take wheels from here")
    packing.add_argument("--root", type=Path, default=Path(), help="the project's folder")
    packing.set_defaults(do=pack)
    running = commands.add_parser("run", help="what run.sh does there")
    running.add_argument("packed", type=Path)
    running.add_argument("out", type=Path)
    running.add_argument("seconds", type=float)
    running.add_argument("workers", type=int, nargs="?", default=AT_ONCE)
    running.add_argument(
        "--only", nargs="+", default=[], metavar="PIPELINE", help="of those that were packed"
    )
    running.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="over each pipeline, for a trial"
    )
    running.add_argument("--folds", nargs="+", type=int, default=[], metavar="N", help="train these alone")
    running.add_argument(
        "--in-turn", action="store_true", help="train all folds of one member before those of the next"
    )
    running.set_defaults(do=run)
    taking = commands.add_parser("take", help="lay what came back where it would be if it were made here")
    taking.add_argument("out", type=Path)
    taking.add_argument("--root", type=Path, default=Path(), help="the project's folder")
    taking.set_defaults(do=take)
    return parser.parse_args(arguments)


# ---------------------------------------------------------------- pack


def pack(parsed: argparse.Namespace) -> None:
    """Lay out the folder.

    Raises:
        UserError: a pipeline that cannot be read.
        RemoteError: data or wheels that are missing, a folder that is there, or too much of it all.
    """
    from softvote.stages import open_run
    from softvote.storage.git import git_state

    runs = [open_run(parsed.root, name) for name in parsed.pipelines]
    target: Path = parsed.to
    if target.exists():
        raise RemoteError(f"{target}: is there already; remove it or name another folder")
    needed = {run.name: run.pipeline.competition.name for run in runs}
    competitions = dict.fromkeys([source_of(name) for name in needed.values()] + parsed.input)
    commit, clean = git_state(ROOT)
    facts = {"pipelines": list(needed), "competitions": needed, "commit": commit, "clean": clean}
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
        for name in competitions:
            _pack_data(name, parsed, target / "data")
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
    print("here:   python scripts/remote_run.py take OUT")


def source_of(competition: str) -> str:
    """The competition whose files it is made of; itself where its files are what they are."""
    return SOURCE if making(competition) else competition


def making(competition: str) -> tuple[list[str], str] | None:
    """The script that makes a competition's files, with arguments, and the seed; None where none does."""
    for name, command in MADE.items():
        if competition == name or re.fullmatch(f"{name}-[0-9]+", competition):
            return command, competition[len(name) + 1 :] or "2026"
    return None


def _pack_data(name: str, parsed: argparse.Namespace, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    target, there = folder / f"{name}.zip", parsed.root / "input" / name
    for path in parsed.data:
        if path.stem == name:
            if not path.is_file():
                raise RemoteError(f"{path}: no such file")
            shutil.copy(path, target)
            return
    if not there.is_dir():
        raise RemoteError(f"{there}: no such folder; give --data with a file {name}.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in there.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(there))


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
            raise RemoteError(f"wheels cannot be downloaded ({last}); name a folder of them with --wheels")
    names = [wheel.name.lower().replace("-", "_") for wheel in folder.glob("*.whl")]
    missing = [name for name, module in LACKING.items() if not any(n.startswith(f"{module}_") for n in names)]
    if missing:
        raise RemoteError(f"{source}: has no wheel of {', '.join(missing)}")


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _refuse_too_much(target: Path) -> None:
    parts = [path for top in target.iterdir() for path in (top.iterdir() if top.name == "data" else [top])]
    sizes = sorted(((_size(path), path.relative_to(target)) for path in parts), reverse=True)
    total = sum(size for size, _ in sizes)
    if total > LARGEST_PACK:
        most = ", ".join(f"{path} {size / MIB:.1f}" for size, path in sizes[:4])
        raise RemoteError(
            f"{target}: {total / MIB:.1f} MiB, at most {LARGEST_PACK // MIB} go ({most}); pack fewer of them"
        )


# ---------------------------------------------------------------- run, on the other machine


@dataclass
class Report:
    """What happened, a line at a time, on the screen and in a file that comes back."""

    began: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        line = f"[{time.monotonic() - self.began:6.1f} s] {text}"
        self.lines.append(line)
        print(line, flush=True)


def run(parsed: argparse.Namespace) -> int:
    """Do all stages of each pipeline; 0 if every one has a submission."""
    report = Report()
    deadline = report.began + parsed.seconds
    sys.path.insert(0, str((parsed.packed / "src").resolve()))
    os.environ["PYTHONPATH"] = sys.path[0]  # of processes that train
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    _lay_out_wheels(parsed.packed / "wheels", report)
    facts = json.loads((parsed.packed / PACKED).read_text(encoding="utf-8"))
    parsed.out.mkdir(parents=True, exist_ok=True)
    packed = facts | {"environment": environment()}
    report.say(json.dumps(packed["environment"]))
    root, done = parsed.packed / "work", 0
    names = [name for name in facts["pipelines"] if not parsed.only or name in parsed.only]
    competitions = [facts["competitions"][name] for name in names]
    for name in dict.fromkeys(map(source_of, competitions)):
        _guarded(report, f"data {name}", _unpack, root, parsed.packed / "data" / f"{name}.zip")
    for name in dict.fromkeys(competitions):
        if making(name):
            _guarded(report, f"data {name}", _make, root, parsed.packed / "scripts" / "make_data", name)
    for place, name in enumerate(names):
        kept = ENDING * (1 + (len(names) - 1 - place) / 3)
        until = deadline - kept
        done += bool(_guarded(report, name, _pipeline, root, name, parsed, until, report))
        _guarded(report, "results", bring, root, parsed.out, packed, report)
    report.say(f"{done} of {len(names)} pipelines have a submission")
    return 0 if done == len(names) else 1


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
    from softvote.compute.machine import cores, processor

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


def _guarded(report: Report, what: str, work: Any, *arguments: Any) -> Any:
    """Do some work; where it fails, say so and go on with the rest."""
    try:
        return work(*arguments)
    except Exception as error:
        report.say(f"{what}: {error}")
        if type(error).__name__ != "UserError":
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
        trained = _guarded(report, told, train.run, run, members, parsed.folds, 3600.0, until, print)
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


def with_workers(run: "Run", workers: int) -> "Run":
    """The same with so many trainings at once; that is no setting of what they are."""
    from softvote.config.pipeline import LocalEngine

    engine = LocalEngine(workers=workers)
    return replace(run, pipeline=run.pipeline.model_copy(update={"engine": engine}))


def whole_part(run: "Run") -> list[str] | None:
    """The settings under which all of a pipeline is trained: fewer folds, members or repeats, no refit.

    Of the choices that there are, the one with the most trainings; of as many, that of more members.

    Returns:
        none where it is as it stands; None where not even one member has learned the first fold.
    """
    from softvote.stages.plan import make_plan

    done = {
        (status.job.member_name, status.job.fold, status.job.repeat)
        for status in make_plan(run).statuses()
        if status.is_done
    }
    folds = run.pipeline.folds.trained
    choices = [(count, _whole_members(run, done, folds[:count])) for count in range(1, len(folds) + 1)]
    count, names = max(choices, key=lambda choice: (choice[0] * len(choice[1]), len(choice[1])))
    voters = [name for name in run.pipeline.voters if name in names]
    if not voters:
        return None
    settings = [f"folds.train={count}"] if count < len(folds) else []
    return settings + _without(run, names, voters) + _less_of(run, done, names, folds[:count])


Done = set[tuple[str, int, int]]
"""Member, fold and repeat of trainings."""


def _whole_members(run: "Run", done: Done, folds: list[int]) -> list[str]:
    """The members that have learned all of these folds, and what they start from too."""
    names = [name for name in run.pipeline.members if all((name, fold, 0) in done for fold in folds)]
    while lost := [name for name in names if run.pipeline.members[name].source not in (None, *names)]:
        names = [name for name in names if name not in lost]
    return names


def _without(run: "Run", names: list[str], voters: list[str]) -> list[str]:
    """The settings that leave out all members but these."""
    dropped = [name for name in run.pipeline.members if name not in names]
    settings = [f"members.{name}=null" for name in dropped]
    ensemble = run.pipeline.ensemble
    if dropped and ensemble.members:
        settings.append(f"ensemble.members=[{','.join(voters)}]")
    if dropped and ensemble.shares:
        settings.append("ensemble.shares=null")
    return settings


def _less_of(run: "Run", done: Done, names: list[str], folds: list[int]) -> list[str]:
    """The settings that leave out repeats and refits that were not reached."""
    from softvote.scheduling.job import REFIT

    settings = list[str]()
    for name in names:
        member = run.pipeline.members[name]
        repeats = list(
            takewhile(lambda r, n=name: all((n, fold, r) in done for fold in folds), range(member.repeats))
        )
        if len(repeats) < member.repeats:
            settings.append(f"members.{name}.repeats={len(repeats)}")
        if member.refit and (name, REFIT, 0) not in done:
            settings.append(f"members.{name}.refit=false")
    return settings


# ---------------------------------------------------------------- results, there and here


def bring(root: Path, out: Path, packed: Facts, report: Report) -> None:
    """Write all results into a few files; what was written before makes way."""
    import numpy as np

    room, files = LARGEST_FILE, list[dict[str, Any]]([{}])
    for folder in sorted(path.parent for path in (root / "models").glob("*/*/*/scores.json")):
        arrays = _halved(folder, str(folder.relative_to(root / "models")))
        size = sum(array.nbytes for array in arrays.values())
        if size > room and files[-1]:
            files.append({})
            room = LARGEST_FILE
        if len(files) > MOST_PROBABILITIES:
            report.say(f"no room for the probabilities of {folder}")
            continue
        files[-1] |= arrays
        room -= size
    for number, arrays in enumerate(files[:MOST_PROBABILITIES]):
        with (out / f"probabilities{number}.npz").open("wb") as file:
            np.savez_compressed(file, **arrays)
    with tarfile.open(out / RESULTS, "w:gz") as archive:
        for path in _small_results(root):
            archive.add(path, path.relative_to(root).as_posix())
        _add(archive, PACKED, json.dumps(packed, indent=2) + "\n")
        _add(archive, "run.log", "\n".join(report.lines) + "\n")
    sizes = ", ".join(f"{path.name} {path.stat().st_size / MIB:.1f}" for path in sorted(out.iterdir()))
    report.say(f"results in {out}, MiB: {sizes}")


def _small_results(root: Path) -> Iterable[Path]:
    """Everything but weights, probabilities and caches."""
    for folder, suffixes in (("submissions", (".csv",)), ("models", (".json", ".csv", ".txt", ".log"))):
        for path in sorted((root / folder).rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if path.is_file() and path.suffix in suffixes and not hidden:
                yield path


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(text.encode()), int(time.time())
    archive.addfile(info, io.BytesIO(text.encode()))


def _halved(folder: Path, name: str) -> dict[str, "NDArray[Any]"]:
    """A training's probabilities in half precision, under names of their own."""
    from softvote.ensembling.predictions import read_predictions
    from softvote.storage.paths import FoldFolder

    found = read_predictions(FoldFolder(folder))
    return {f"{name}/rows": found.rows, f"{name}/oof": halve(found.oof), f"{name}/test": halve(found.test)}


def halve(probabilities: "NDArray[np.float32]") -> "NDArray[np.float16]":
    """float32 (N, K), rows that sum to 1 -> float16 (N, K), of which `doubled` makes them again.

    The largest of a row is left out (it is -1), for it is what the others leave: near 1 half precision has
    three digits only, and of the others it keeps three digits each.
    """
    import numpy as np

    if np.abs(probabilities.sum(axis=1) - 1).max(initial=0) > 1e-3:
        raise RemoteError("probabilities whose rows do not sum to 1 cannot be brought in half precision")
    others = probabilities * np.float32(SCALE)
    if len(others):
        np.put_along_axis(others, probabilities.argmax(axis=1)[:, None], -1, axis=1)
    return others.astype(np.float16)


def doubled(halved: "NDArray[np.float16]") -> "NDArray[np.float32]":
    """What `halve` was given, float32 (N, K), to within 0.0005 of each but the largest."""
    import numpy as np

    others = halved.astype(np.float64)
    largest = others < 0
    others = np.where(largest, 0, others / SCALE)
    if not len(others):
        return others.astype(np.float32)
    rest = 1 - others.sum(axis=1, keepdims=True)
    rest = np.maximum(rest, others.max(axis=1, keepdims=True) * (1 + 1e-6))  # it stays the largest
    found = np.where(largest, rest, others)
    return found.astype(np.float32)


# ---------------------------------------------------------------- take


def take(parsed: argparse.Namespace) -> None:
    """Lay out what came back, put folds together and let them vote, as the other machine did.

    Raises:
        UserError: a pipeline or data that are not here, or results of other ones.
        RemoteError: no results.
    """
    from softvote.stages import open_run

    archive = parsed.out / RESULTS
    if not archive.is_file():
        raise RemoteError(f"{archive}: is missing; name the folder that run.sh filled")
    texts = _texts(archive)
    packed = json.loads(texts[PACKED])
    device = packed["environment"]["device"]
    print(texts["run.log"], end="")
    arrays = _probabilities(parsed.out)
    for name in packed["pipelines"]:
        if not any(path.startswith(f"models/{name}/") and path.endswith("/scores.json") for path in texts):
            print(f"{name}: nothing came back")
            continue
        _take_folds(parsed.root, name, texts)
        run = open_run(parsed.root, name)
        trainings = _take_trainings(run, texts, arrays, device)
        print(f"{name}: took {trainings} trainings of {device}; their weights stayed there")
        _put_together(parsed.root, name)
    _take_submissions(parsed.root, texts, packed)


def _texts(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as opened:
        files = [(member.name, opened.extractfile(member)) for member in opened if member.isfile()]
        return {name: file.read().decode() for name, file in files if file}


def _probabilities(out: Path) -> dict[str, "NDArray[Any]"]:
    import numpy as np

    found: dict[str, NDArray[Any]] = {}
    for path in sorted(out.glob("probabilities*.npz")):
        with np.load(path) as arrays:
            found |= dict(arrays)
    return found


def _take_folds(root: Path, name: str, texts: dict[str, str]) -> None:
    from softvote.storage.files import write_text
    from softvote.storage.paths import Workspace

    folder = Workspace(root).pipeline(name)
    for path in (folder.folds, folder.folds_record):
        text = texts[f"models/{name}/{path.name}"]
        if path.is_file() and path == folder.folds and path.read_text(encoding="utf-8") != text:
            raise RemoteError(
                f"{path}: holds other folds than the trainings had; move {folder.path} away first"
            )
        if not path.is_file():
            write_text(path, text)


def _take_trainings(run: "Run", texts: dict[str, str], arrays: dict[str, "NDArray[Any]"], device: str) -> int:
    """Lay out the trainings whose probabilities came; how many."""
    from softvote.ensembling.predictions import Predictions, write_predictions
    from softvote.ensembling.records import ScoreRecord
    from softvote.inference.record import TrainingRecord
    from softvote.stages.plan import make_plan
    from softvote.storage.files import write_text

    plan, taken = make_plan(run), 0
    for job in plan.jobs:
        folder, name = job.folder, f"{run.name}/{job.member_name}/{job.folder.path.name}"
        recipe, scores = (texts.get(f"models/{name}/{file}.json") for file in ("recipe", "scores"))
        if recipe is None or scores is None or f"{name}/oof" not in arrays:
            continue
        if folder.weights.is_file():
            print(f"{folder.path}: has weights of its own; what came back is left out")
            continue
        oof, test = (doubled(arrays[f"{name}/{part}"]) for part in ("oof", "test"))
        found = Predictions(arrays[f"{name}/rows"], oof, test)
        write_text(folder.log, texts[f"models/{name}/log.csv"])
        record = TrainingRecord.model_validate_json(recipe).model_copy(update={"weights_left_on": device})
        record.write(folder.recipe)
        fingerprint = ScoreRecord.model_validate_json(scores).fingerprint
        write_predictions(folder, found, plan.dataset.train_labels, plan.task, fingerprint)
        taken += 1
    return taken


def _put_together(root: Path, name: str) -> None:
    """The members' files and the vote's, of the folds that are whole, unless something else is due."""
    from softvote.stages import ensemble, open_run, train

    run = open_run(root, name)
    settings = whole_part(run)
    if settings is None:
        print(f"{name}: no fold is whole; the train stage goes on with what is there")
        return
    if settings:
        print(f"{name}: what is whole: SET='{' '.join(settings)}'")
        run = open_run(root, name, settings)
    print(train.run(run, report=print))
    print(ensemble.run(run))


def _take_submissions(root: Path, texts: dict[str, str], packed: Facts) -> None:
    from softvote.storage.files import write_text
    from softvote.storage.paths import Workspace
    from softvote.tracking.ledger import append_entry, read_ledger

    workspace = Workspace(root)
    came = workspace.submissions / ".came.csv"
    text = texts.get("submissions/ledger.csv")
    if text is None:
        print("no submission was made there")
        return
    try:
        write_text(came, text)
        entries = read_ledger(came)
    finally:
        came.unlink(missing_ok=True)
    for entry in {entry.pipeline: entry for entry in entries}.values():  # the last of each has all of it
        write_text(workspace.submissions / entry.file, texts[f"submissions/{entry.file}"])
        marked = replace(
            entry, device=packed["environment"]["device"], commit=packed["commit"], clean=packed["clean"]
        )
        added = append_entry(workspace.ledger, marked)
        print(f"{workspace.submissions / entry.file}: {entry.ensemble}, {entry.cv}, {marked.device}")
        print(f"{'added a row to' if added else 'already in'} {workspace.ledger}")


if __name__ == "__main__":
    sys.exit(main())
