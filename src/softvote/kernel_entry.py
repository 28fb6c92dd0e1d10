"""What runs on Kaggle: from the mounted files to submission.csv, in a temporary folder of its own.

The code file that `softvote.kaggle.kernel_program` renders carries this package and calls `main`; like the
command line it stands above the stages. Nothing but the standard library is imported before it is known that
all the other packages are there.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softvote import __version__
from softvote.errors import ErrorCollector, Problem, UserError
from softvote.kaggle.places import INPUT, OUTPUT
from softvote.shell import run_program
from softvote.storage.files import atomic_write, write_json, write_text
from softvote.storage.fingerprints import sha256_of
from softvote.storage.paths import Workspace
from softvote.words import counted

if TYPE_CHECKING:
    from softvote.kaggle.kernel_program import Kernel
    from softvote.stages import Run


_INPUT, _OUTPUT = "/kaggle/input", "/kaggle/working"


def main(fields: dict[str, Any], pipeline: str, folder: str) -> int:
    """Run a kernel.

    Args:
        fields: the fields of `softvote.kaggle.kernel_program.Kernel`.
        pipeline: the text of the pipeline file.
        folder: an empty place, but for the package, where everything is made.

    Returns:
        0; 1 after a line on standard error that says what is missing.
    """
    began = time.monotonic()

    def work() -> None:
        _add_wheels(fields.get("wheels", ""), Path(folder))
        _require(fields["packages"])

        from softvote.kaggle.kernel_program import Kernel

        kernel = Kernel(**fields)
        print(f"softvote {__version__} from {Path(__file__).parent}", flush=True)
        _run(kernel, pipeline, Workspace(Path(folder)), Path(os.environ.get(OUTPUT, _OUTPUT)), began)

    return run_program("softvote", work, words=str)


def _add_wheels(dataset: str, folder: Path) -> None:
    """Lay the packages of a data set where they can be imported, before those of Kaggle's image."""
    if not dataset:
        return
    place = folder / "wheels"
    for wheel in sorted(_find_dataset(dataset).glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(place)
        print(f"brought along {wheel.name}", flush=True)
    sys.path.insert(0, str(place))
    invalidate_caches()


def _require(packages: dict[str, str]) -> None:
    missing = [package for name, package in packages.items() if find_spec(name) is None]
    if missing:
        what = f"Kaggle's image lacks {', '.join(missing)}"
        raise UserError(
            Problem("", what, "choose one that has them under Environment, or bring them along as wheels")
        )


def _run(kernel: Kernel, pipeline: str, workspace: Workspace, output: Path, began: float) -> None:
    from softvote.stages import open_run

    write_text(workspace.pipelines / f"{kernel.pipeline}.yaml", pipeline)
    run = open_run(workspace.root, kernel.pipeline)
    competition = run.pipeline.competition
    places = f"competitions/{competition.kaggle}", f"{competition.kaggle}"
    mounted = _find_mounted(*places, remedy="accept its rules")
    workspace.inputs.mkdir()
    workspace.input(competition.name).symlink_to(mounted)
    infers = kernel.mode == "infer"
    submission = _infer(run, kernel, began) if infers else _train(run, kernel, output)
    _copy(submission, output / "submission.csv")
    print(f"wrote {output / 'submission.csv'}  sha256 {sha256_of(submission)}")


def _find_dataset(dataset: str) -> Path:
    """The folder of a data set, owner/name."""
    remedy = f"check that it is open to you: https://www.kaggle.com/datasets/{dataset}"
    return _find_mounted(f"datasets/{dataset}", dataset.rpartition("/")[2], remedy=remedy)


def _find_mounted(*places: str, remedy: str) -> Path:
    """The folder under Kaggle's input; Kaggle has two layouts, and a kernel cannot choose."""
    inputs = Path(os.environ.get(INPUT, _INPUT)).resolve()
    for place in places:
        if (inputs / place).is_dir():
            return inputs / place
    what = f"has neither {' nor '.join(places)}"
    raise UserError.at(inputs, what, f"add it under Input in the kernel's settings, and {remedy}")


def _copy(source: Path, target: Path) -> None:
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)


def _infer(run: Run, kernel: Kernel, began: float) -> Path:
    """The submission of networks that are trained; of the competition's files only those of test are read."""
    import numpy as np

    from softvote.data.test_rows import open_test_rows
    from softvote.ensembling.ensemble import from_members
    from softvote.kaggle.notebook import unflatten
    from softvote.stages.plan import read_decision
    from softvote.stages.submit import decide_and_write

    _put_back(kernel, lambda name: run.folder.path / unflatten(name))
    competition = run.pipeline.competition
    rows = open_test_rows(competition, run.workspace.input(competition.name))
    for note in rows.notes:
        _tell(note)
    vote = None if kernel.voter in run.pipeline.members else run.folder.predictions(kernel.voter)
    voter = from_members(kernel.voter, vote, lambda member: run.folder.predictions(member).folds())

    from softvote.ensembling.streaming import predict_rows

    for member in voter.voting:
        print(
            f"{member.name}: {counted(len(member.folds), 'network')}, weight {member.weight:.3f}", flush=True
        )
    left = kernel.seconds - (time.monotonic() - began)
    probabilities = predict_rows(voter, rows, np.array(kernel.safe, np.float32), left, _tell)
    return decide_and_write(run, rows.template, probabilities, read_decision(run, kernel.voter))


def _put_back(kernel: Kernel, place_of: Callable[[str], Path]) -> None:
    """Lay the dataset's files where the stages look for them."""
    mounted = _find_dataset(kernel.dataset)
    problems = ErrorCollector()
    for name, sha256 in kernel.files.items():
        source, place = mounted / name, place_of(name)
        if not source.is_file() or sha256_of(source) != sha256:
            problems.add(source, "is missing or of another version", "upload the dataset again")
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source)
    problems.raise_any()


def _train(run: Run, kernel: Kernel, output: Path) -> Path:
    """The submission of networks that are trained here, by the stages; what they scored goes beside it."""
    from softvote.ensembling.records import ScoreRecord
    from softvote.stages import ensemble, folds, submit, train
    from softvote.tracking.ledger import read_ledger

    if kernel.dataset:
        _put_back(kernel, lambda name: run.workspace.weights / name)
    _tell(folds.run(run))
    _tell(train.run(run, report=_tell))
    if kernel.voter == run.pipeline.ensemble.name:
        _tell(ensemble.run(run))
    _tell(submit.run(run, kernel.voter))
    voters = dict.fromkeys([*run.pipeline.members, kernel.voter])
    scores = {name: ScoreRecord.read(run.folder.predictions(name).scores) for name in voters}
    write_json(output / "scores.json", {name: record.to_json() for name, record in scores.items() if record})
    _write_log(run, output / "log.csv")
    _copy(run.workspace.ledger, output / "ledger.csv")
    return run.workspace.submissions / read_ledger(run.workspace.ledger)[-1].file


def _tell(result: object) -> None:
    print(result, flush=True)


def _write_log(run: Run, path: Path) -> None:
    """The logs of all trainings in one table."""
    lines: list[list[str]] = []
    for name in run.pipeline.members:
        for fold in run.folder.predictions(name).folds():
            header, *rows = csv.reader(fold.log.read_text(encoding="utf-8").splitlines())
            lines = lines or [["training", *header]]
            lines += [[f"{name}/{fold.path.name}", *row] for row in rows]
    write_text(path, "".join(f"{','.join(line)}\n" for line in lines))
