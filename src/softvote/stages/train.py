"""Train: from folds and recipes to weights, out-of-fold and test probabilities of every member."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from softvote import folds
from softvote.artifacts import read_json
from softvote.dataset import Dataset, load_dataset
from softvote.engines import run_here
from softvote.errors import Problems, one_of
from softvote.jobs import Job, plan, voter_key
from softvote.predictions import joined, read_predictions, score_from, write_predictions
from softvote.stages import Run
from softvote.tables import render


def run(run: Run, members: Sequence[str] = (), only_folds: Sequence[int] = ()) -> None:
    """Train what is due and predict with it.

    Args:
        members: only these; all when empty.
        only_folds: only these; all when empty.

    Raises:
        UserError: no folds, folds of other data, a network that cannot be built, a loss that is no number.
    """
    dataset, jobs = planned(run)
    chosen = _chosen(run, jobs, members, only_folds)
    due = [job for job in chosen if job.state() != "done"]
    _tell(chosen, due)
    busy: list[Job] = []
    if due:
        # Every network is built once before the first hour of training is spent.
        from softvote.networks import count_parameters

        count_parameters(run.pipeline, sorted({job.member_name for job in due}))
        table = folds.read_folds(run.folder, fold_origin(run, dataset))
        busy = run_here(due, dataset, table.folds)
    for job in busy:
        print(f"{job.label}: another run is busy with it")
    _finish_members(run, jobs, dataset)


def planned(run: Run) -> tuple[Dataset, list[Job]]:
    """The data and every job of the pipeline."""
    dataset = load_dataset(run.pipeline.competition, run.workspace)
    table = folds.read_folds(run.folder, fold_origin(run, dataset))
    return dataset, plan(run.pipeline, run.folder, dataset, table)


def fold_origin(run: Run, dataset: Dataset) -> dict[str, object]:
    """What the pipeline's fold table must have been made from."""
    return folds.origin(dataset.train_labels, dataset.train_digest, run.pipeline.folds, run.pipeline.seed)


def _chosen(run: Run, jobs: list[Job], members: Sequence[str], only_folds: Sequence[int]) -> list[Job]:
    problems = Problems()
    for name in members:
        if name not in run.pipeline.members:
            problems.add("--member", f"no member '{name}'; {one_of(list(run.pipeline.members), name)}")
    for fold in only_folds:
        if fold not in run.pipeline.folds.trained:
            problems.add("--fold", f"no fold {fold} to train; known: {run.pipeline.folds.trained}")
    problems.raise_any()
    return [
        job
        for job in jobs
        if (not members or job.member_name in members) and (not only_folds or job.fold in only_folds)
    ]


def _tell(chosen: list[Job], due: list[Job]) -> None:
    """What is done and what will be, with the reason, a line each."""
    done = len(chosen) - len(due)
    if done:
        print(f"train: {done} of {len(chosen)} trainings are there and unchanged")
    lines = [(f"{job.member_name}: {job.state()}", job.fold, job.reason()) for job in due]
    for (what, why), group in groupby(sorted(lines, key=lambda x: (x[0], x[2])), key=lambda x: (x[0], x[2])):
        print(f"{what} fold {', '.join(str(fold) for _, fold, _ in group)} ({why})")


def _finish_members(run: Run, jobs: list[Job], dataset: Dataset) -> None:
    """Put the folds of each finished member together, and show what the members score."""
    rows = []
    for name in run.pipeline.members:
        of_member = [job for job in jobs if job.member_name == name]
        finished = [job for job in of_member if job.state() == "done"]
        if len(finished) == len(of_member):
            rows.append(_finish_member(run, name, of_member, dataset))
        else:
            rows.append([name, f"{len(finished)}/{len(of_member)}", "", "", "unfinished"])
    print(render(["member", "folds", "accuracy", "log loss", "trained in"], rows), end="")


def _finish_member(run: Run, name: str, jobs: list[Job], dataset: Dataset) -> list[str]:
    folder, key = run.folder.voter(name), voter_key(run.pipeline, jobs, name)
    scores = read_json(folder.scores)
    if not (scores.get("key") == key and folder.oof.is_file() and folder.test.is_file()):
        predictions = joined([read_predictions(job.folder) for job in jobs])
        write_predictions(folder, predictions, dataset.train_labels, {"key": key})
        scores = read_json(folder.scores)
    seconds = sum(read_json(job.folder.recipe)["seconds"] for job in jobs)
    accuracy, loss = (score_from(scores[name]) for name in ("accuracy", "log_loss"))
    return [name, f"{len(jobs)}/{len(jobs)}", str(accuracy), str(loss), f"{seconds / 60:.1f} min"]
