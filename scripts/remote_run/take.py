"""Lay out here what came back, as if it had been made here."""

from __future__ import annotations

import argparse
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remote_run.contents import PACKED, RESULTS, Facts
from remote_run.halves import double
from remote_run.whole import whole_part
from softvote.errors import UserError
from softvote.words import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from softvote.stages import Run


def take(parsed: argparse.Namespace) -> None:
    """Lay out what came back, put folds together and let them vote, as the other machine did.

    Raises:
        UserError: no results, a pipeline or data that are not here, or results of other ones.
    """
    from softvote.stages import open_run

    archive = parsed.out / RESULTS
    if not archive.is_file():
        raise UserError.at(archive, "is missing", "name the folder that run.sh filled")
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
        print(f"{name}: took {counted(trainings, 'training')} of {device}; their weights stayed there")
        _put_together(parsed.root, name)
    _take_submissions(parsed.root, texts, packed)


def _texts(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as opened:
        files = [(member.name, opened.extractfile(member)) for member in opened if member.isfile()]
        return {name: file.read().decode() for name, file in files if file}


def _probabilities(out: Path) -> dict[str, NDArray[Any]]:
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
            raise UserError.at(
                path, "holds other folds than the trainings had", f"move {folder.path} away first"
            )
        if not path.is_file():
            write_text(path, text)


def _take_trainings(run: Run, texts: dict[str, str], arrays: dict[str, NDArray[Any]], device: str) -> int:
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
        oof, test = (double(arrays[f"{name}/{part}"]) for part in ("oof", "test"))
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
