"""Train: from folds and recipes to weights, out-of-fold and test probabilities of every member."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path

from softvote.config.pipeline import Pipeline
from softvote.ensembling.predictions import merge_folds, read_predictions, write_predictions
from softvote.ensembling.records import ScoreRecord
from softvote.errors import ErrorCollector, Problem, UserError, one_of
from softvote.inference.record import TrainingRecord
from softvote.metrics.scores import Score
from softvote.progress import poll
from softvote.reporting.tables import mark_transductive, render
from softvote.scheduling import choose_caller, create_engine
from softvote.scheduling.engine import Unfinished
from softvote.scheduling.job import Job, describe_jobs
from softvote.scheduling.job_batch import JobBatch
from softvote.scheduling.status import JobStatus, read_status
from softvote.scheduling.worker import CHECKPOINT_SECONDS
from softvote.stages import Report, Run, ignore
from softvote.stages.plan import LEARNED_TEST_IMAGES, WITHOUT_SCORE, Plan, make_plan
from softvote.storage.locks import file_lock, try_lock
from softvote.trackers import require_tracker
from softvote.words import counted


@dataclass(frozen=True)
class TrainStatus:
    """What is done before a run, and what will be.

    Attributes:
        done: trainings that are there and unchanged.
        chosen: all that were asked for.
        due: the others: what is to be done, to which trainings, and why.
    """

    done: int
    chosen: int
    due: tuple[tuple[str, str, str], ...]

    def __str__(self) -> str:
        of = counted(self.chosen, "training is", "trainings are")
        lines = [f"train: {self.done} of {of} there and unchanged"] if self.done else []
        return "\n".join([*lines, *(f"{what} {jobs} ({why})" for what, jobs, why in self.due)])


@dataclass(frozen=True)
class TrainResult:
    """What the members score.

    Attributes:
        left: trainings that were not done: another run is busy with them, there was no time, or they failed.
        header: of the table.
        members: a line each, whole or not.
        notes: on regressions, and on refits that no score includes.
    """

    left: tuple[Unfinished, ...]
    header: tuple[str, ...]
    members: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    @property
    def failed(self) -> list[Problem]:
        """What made trainings fail."""
        return [problem for each in self.left if each.kind == "failed" for problem in each.why.problems]

    def __str__(self) -> str:
        left = [str(each.why) for each in self.left if each.kind != "failed"]
        table = render(self.header, self.members).removesuffix("\n")
        return "\n".join([*left, table, *self.notes])


def run(
    run: Run,
    members: Sequence[str] = (),
    only_folds: Sequence[int] = (),
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    deadline: float = math.inf,
    wait: bool = False,
    report: Report = ignore,
) -> TrainResult:
    """Train what is due and predict with it.

    Args:
        members: only these; all when empty.
        only_folds: only these; all when empty.
        checkpoint_seconds: between two checkpoints of a training.
        deadline: of time.monotonic(); a training that cannot end before it is left for another time.
        wait: for what another run is busy with, and do what that leaves; else it is left to the other.
        report: takes the status before anything is trained, and the result where an error follows.

    Raises:
        UserError: no folds, folds of other data, a network that cannot be built; or, after all others are
            done, every training that failed; or another run is busy with all that is due.
    """
    plan = make_plan(run)
    chosen = plan.statuses(_choose_jobs(plan, members, only_folds))
    due = [status for status in chosen if not status.is_done]
    check_dependencies(due)
    report(status_of(len(chosen), due))
    left = list[Unfinished]()
    try:
        while due:
            left = _run_jobs(plan, [status.job for status in due], checkpoint_seconds, deadline)
            plan = plan.reread()
            busy = [each.job for each in left if each.kind == "busy"]
            if not wait or not busy or len(busy) < len(left):
                break
            wait_for_others(busy)
            plan, left = plan.reread(), []
            due = [status for status in plan.statuses(busy) if not status.is_done]
            check_dependencies(due)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_describe_kept(plan.reread(), chosen)) from None
    result = _finish_members(plan, left)
    if problems := result.failed or _all_busy(left, due):
        report(result)
        raise UserError(*problems)
    return result


def wait_for_others(jobs: Sequence[Job]) -> None:
    """Wait until one of these jobs is free: no other run holds it, or what it starts from."""

    def look() -> str:
        return "another run is busy" if all(map(_is_held, jobs)) else "free"

    poll(f"{counted(len(jobs), 'training')}", look, ("free",))


def _is_held(job: Job) -> bool:
    """Whether another process holds a job or one of those that it starts from."""
    with try_lock(job.folder.lock) as mine:
        return not mine or any(map(_is_held, job.sources))


def _all_busy(left: Sequence[Unfinished], due: Sequence[JobStatus]) -> list[Problem]:
    """What to say where another run is busy with all that is due, so that nothing was done here."""
    if len(left) < len(due) or not due or any(each.kind != "busy" for each in left):
        return []
    what = f"nothing was done: another run is busy with all that is due, {counted(len(due), 'training')}"
    return [Problem("train", what, "wait for it with `wait`")]


def _describe_kept(plan: Plan, chosen: Sequence[JobStatus]) -> str:
    """What a stopped run leaves for the next one."""
    now = plan.statuses([status.job for status in chosen])
    begun = sum(status.job.folder.checkpoint.is_file() for status in now if not status.is_done)
    done = f"{sum(status.is_done for status in now)} of {counted(len(now), 'training')}"
    more = f" and the last state of {begun} more" if begun else ""
    return f"stopped; what was finished is kept: {done}{more}; run the same command to go on"


def _run_jobs(plan: Plan, due: list[Job], checkpoint_seconds: float, deadline: float) -> list[Unfinished]:
    """Do what is due; what was left."""
    run = plan.run
    engine = create_engine(run.pipeline.engine)
    preflight(plan, due)
    competition, trainings = run.pipeline.competition, len(plan.jobs)
    work = JobBatch(
        run.workspace, competition, due, trainings, plan.folds, checkpoint_seconds, deadline,
        run.pipeline.engine.devices_per_training,
    )  # fmt: skip
    return engine(work)


def _choose_jobs(plan: Plan, members: Sequence[str], only_folds: Sequence[int]) -> list[Job]:
    run, problems = plan.run, ErrorCollector()
    for name in members:
        if name not in run.pipeline.members:
            problems.add("`member`", f"no member '{name}'", one_of(list(run.pipeline.members), name))
    for fold in only_folds:
        if fold not in run.pipeline.folds.trained:
            problems.add(
                "`fold`",
                f"no fold {fold} to train",
                f"known: {', '.join(map(str, run.pipeline.folds.trained))}",
            )
    problems.raise_any()
    return [
        job
        for job in plan.jobs
        if (not members or job.member_name in members) and (not only_folds or job.fold in only_folds)
    ]


def check_dependencies(due: list[JobStatus]) -> None:
    """Refuse jobs that start from a training which is neither there nor to come.

    Raises:
        UserError: a line for each.
    """
    problems, to_come = ErrorCollector(), [status.job for status in due]
    for status in due:
        job = status.job
        for source in job.sources if not status.is_ready else ():
            if source not in to_come and read_status(source).due == "train":
                problems.add(
                    f"members.{job.member_name}",
                    f"{job.describe_need(source)}, which is not trained",
                    f"add `member` {source.member_name}",
                )
    problems.raise_any()


def preflight(plan: Plan, due: list[Job]) -> None:
    """Build every network and read all extra rows once, before the first hour of training is spent."""
    if plan.run.pipeline.tracker:
        require_tracker(plan.run.pipeline.tracker)
    call, names = choose_caller(plan.run.pipeline.engine), sorted({job.member_name for job in due})
    call(_try_networks, plan.run.pipeline, names, plan.run.workspace.weights)
    readers = {job.inputs["extra_train"]: job.extra for job in due if job.extra}
    for read in readers.values():
        read(plan.dataset)


def _try_networks(pipeline: Pipeline, names: Sequence[str], weights_folder: Path) -> None:
    from softvote.inference.network import build_networks

    build_networks(pipeline, names, with_weights=True, weights_folder=weights_folder)


def status_of(count: int, due: list[JobStatus]) -> TrainStatus:
    """How many of so many trainings are done, and with the reason those that are due, alike ones together."""
    alike: dict[tuple[str, str], list[Job]] = {}
    for status in due:
        what = f"{status.job.member_name}: {status.due}"
        alike.setdefault((what, status.reason), []).append(status.job)
    told = [(what, describe_jobs(alike[what, why]), why) for what, why in sorted(alike)]
    return TrainStatus(count - len(due), count, tuple(told))


def _finish_members(plan: Plan, left: list[Unfinished]) -> TrainResult:
    """Put the folds of each finished member together; what the members score."""
    metrics = _metrics_to_show(plan)
    lines, notes = list[tuple[str, ...]](), list[str]()
    for name in plan.run.pipeline.members:
        jobs, shown_as = plan.jobs_of(name), mark_transductive(name, name in plan.run.pipeline.transductive)
        finished = [status for status in plan.statuses(jobs) if status.is_done]
        if len(finished) < len(jobs):
            lines.append((shown_as, f"{len(finished)}/{len(jobs)}", *[""] * len(metrics), "unfinished"))
            continue
        scores, records = (
            _finish_member(plan, name, jobs),
            [plan.files.read(TrainingRecord, job.folder.recipe) for job in jobs],
        )
        minutes = sum(record.seconds for record in records if record) / 60
        shown = [str(score(scores)) for score in metrics.values()]
        lines.append((shown_as, f"{len(jobs)}/{len(jobs)}", *shown, f"{minutes:.1f} min"))
        notes += _as_numbers(name, [record.head for record in records if record])
    headings = list(metrics)
    for name in plan.run.pipeline.members:
        if plan.run.pipeline.members[name].refit:
            notes.append(f"{name}: {WITHOUT_SCORE}")
    notes += [f"{name}: {LEARNED_TEST_IMAGES}" for name in plan.run.pipeline.transductive]
    if plan.settled_note:
        notes.append(f"note: {plan.settled_note}")
    repeated = len(plan.jobs) > len(plan.run.pipeline.folds.trained) * len(plan.run.pipeline.members)
    header = ("member", "trainings" if repeated else "folds", *headings, "trained in")
    return TrainResult(tuple(left), header, tuple(lines), tuple(notes))


def _metrics_to_show(plan: Plan) -> dict[str, Callable[[ScoreRecord], Score]]:
    """Columns of the table: by the competition's metric, then by what says more of the networks."""
    metric = plan.scorer.metric
    shown: dict[str, Callable[[ScoreRecord], Score]] = {metric.title: lambda scores: scores.headline}
    further = ["accuracy", "log_loss", *(["squared_error"] if plan.task.is_of_sums else [])]
    for name in further:
        shown.setdefault(name.replace("_", " "), methodcaller("score", name))
    return shown


def _finish_member(plan: Plan, name: str, jobs: list[Job]) -> ScoreRecord:
    """Put a member's folds together unless they are; its scores."""
    folder = plan.run.folder.predictions(name)
    with file_lock(folder.scores):  # of two runs that share the work, both come here at the end
        if not plan.is_current(name):
            predictions = merge_folds([read_predictions(job.folder) for job in jobs])
            write_predictions(
                folder,
                predictions,
                plan.dataset.train_labels,
                plan.task,
                plan.fingerprint_of(name),
                plan.scorer,
                plan.folds,
            )
        return ScoreRecord.read(folder.scores) or ScoreRecord()


def _as_numbers(name: str, heads: list[dict[str, int | float]]) -> list[str]:
    """A line on a regression's raw numbers, over all its folds."""
    if not all("mse" in head for head in heads):
        return []
    mse, mae = (_over_folds(heads, metric) for metric in ("mse", "mae"))
    rows = sum(head["rows"] for head in heads)
    right = sum(head["rounded_accuracy"] * head["rows"] for head in heads) / rows
    widths = ", ".join(f"{head['width']:.2f}" for head in heads)
    return [
        f"{name}, raw numbers: MSE {mse}, MAE {mae}, right when rounded {right:.2%}; "
        f"as probabilities normal distributions of width {widths}"
    ]


def _over_folds(heads: list[dict[str, int | float]], name: str) -> Score:
    """A mean of all rows from the means of the folds."""
    rows = sum(head["rows"] for head in heads)
    value = sum(head[name] * head["rows"] for head in heads) / rows
    error = math.sqrt(sum((head[f"{name}_standard_error"] * head["rows"]) ** 2 for head in heads)) / rows
    return Score(value, error, int(rows), percent=False)
