"""Check: what a pipeline would run and how long that would take here, without running it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from softvote.config.competition import Competition
from softvote.config.engine import LocalEngine
from softvote.config.pipeline import Pipeline
from softvote.config.recipe import Member
from softvote.data.dataset import read_dataset
from softvote.data.folds import FoldTable
from softvote.ensembling.scorer import Scorer
from softvote.errors import ErrorCollector, UserError
from softvote.inference.network import Network, build_networks
from softvote.models import count_parameters, published_weights
from softvote.models.published import refuse_damaged
from softvote.reporting.tables import mark_transductive, render
from softvote.scheduling.estimate import Forecast, forecast, format_duration
from softvote.scheduling.job import Job
from softvote.scheduling.job_batch import JobBatch
from softvote.scheduling.planner import plan as plan_jobs
from softvote.scheduling.worker import CHECKPOINT_SECONDS
from softvote.stages import Report, Run, ignore
from softvote.stages.plan import Plan, make_plan
from softvote.stages.tune import check_choices
from softvote.storage.fingerprints import sha256_of
from softvote.words import counted


@dataclass(frozen=True)
class CheckResult:
    """What a pipeline would run.

    Attributes:
        text: the members as tables, and how long what is due takes.
        due: the trainings that are.
        seconds: until all is done; None where that is not known.
    """

    text: str
    due: tuple[Job, ...]
    seconds: float | None

    def __str__(self) -> str:
        return self.text


def run(run: Run, report: Report = ignore) -> CheckResult:
    """Build every network, look for what is done already and how long the rest takes.

    Args:
        report: takes, before anything else, a line for each member whose published weights are not on this
            machine; and the result too where an error follows.

    Raises:
        UserError: every network that cannot be built or cannot take the images; data or folds that cannot
            be used; at the end, every member that was tried and cannot be trained.
    """
    members, folds = run.pipeline.members, len(run.pipeline.folds.trained)
    here, absent = _weights(run)
    for line in absent:
        report(line)  # at once: trying how fast members train takes minutes
    networks = build_networks(run.pipeline, list(members), with_weights=False)
    check_choices(run)
    plan, missing = _plan(run)
    due = [status.job for status in plan.statuses() if not status.is_done] if plan else []
    foretold = _forecast(plan, due, networks) if plan and due else None
    lines = [_headline(run), *_notes(run), _recipes(run.pipeline, networks).removesuffix("\n")]
    trainings = {name: member.repeats * folds + member.refit for name, member in members.items()}
    epochs = sum(member.epochs * trainings[name] for name, member in members.items())
    count = sum(trainings.values())
    of = f"{folds} of {counted(run.pipeline.folds.count, 'fold')}"
    lines.append(f"{counted(count, 'training')} on {of}, {counted(epochs, 'epoch')} in all")
    rule = "shares" if run.pipeline.ensemble.shares else run.pipeline.ensemble.rule
    lines.append(f"then a vote of {len(run.pipeline.voters)}, rule: {rule}")
    lines += [*_scoring(run), *here]
    if due:
        lines.append(_dues(trainings, due, foretold).removesuffix("\n"))
    lines.append(_time(plan, due, foretold))
    if missing:
        lines.append(f"before training: {missing}")
    result = CheckResult("\n".join(lines), tuple(due), foretold.seconds if foretold else None)
    if foretold and foretold.failed:
        report(result)
        errors = [error.within(f"{name}: cannot be trained") for name, error in foretold.failed.items()]
        raise UserError(*(problem for error in errors for problem in error.problems))
    return result


def _scoring(run: Run) -> list[str]:
    """What is scored, decided and written, where it is not the most probable label of each image."""
    scorer, form = Scorer.of_pipeline(run.pipeline), run.pipeline.competition.submission_form
    if scorer.is_plain_accuracy and scorer.decision.name == "argmax" and form.name == "label":
        return []
    better = "more" if scorer.metric.greater_is_better else "less"
    name = scorer.decision.name.replace("_", " ")
    fitted = ""
    if scorer.decision.needs_fit:
        fitted = ", fitted" if scorer.is_asked_for else ", fitted where that is better"
    return [
        f"scored by {scorer.metric} ({better} is better), decided by {name}{fitted}, written as {form.name}"
    ]


def _weights(run: Run) -> tuple[list[str], list[str]]:
    """The published weights that members start from: those on this machine, and those that are not.

    Raises:
        UserError: those on this machine are damaged; of all members.
    """
    here, absent, problems = list[str](), list[str](), ErrorCollector()
    for name, member in run.pipeline.members.items():
        weights = published_weights(member.model, member.model_args, run.workspace.weights)
        if weights is None:
            continue
        of = f"published weights of {name}"
        if file := weights.find():
            try:
                refuse_damaged(file)
            except UserError as error:
                problems.extend(error.within(f"members.{name}: model {member.model}").problems)
            here.append(f"{of}: {file}, sha256 {sha256_of(file)[:8]}")
        else:
            hub = f"`train` fetches {weights.source} from the hub, or " if weights.source else ""
            absent.append(f"note: {of} are not here; {hub}put them as {weights.place}")
    problems.raise_any()
    return here, absent


def _headline(run: Run) -> str:
    competition = run.pipeline.competition
    image = competition.image
    return (
        f"{run.name}: {competition.name}, images {image.height} x {image.width} x {image.channels}, "
        f"{_names(competition)}{_describe_hidden(competition)}, {competition.metric.title}"
    )


def _notes(run: Run) -> list[str]:
    """What is to be said of how the files were read."""
    if not run.workspace.input(run.pipeline.competition.name).is_dir():
        return []
    return [f"data: {note}" for note in read_dataset(run.pipeline.competition, run.workspace).notes]


def _names(competition: Competition) -> str:
    """How many of what there are."""
    classes, targets = competition.classes, competition.target_classes
    if targets:
        named = ", ".join(f"{name} of {len(each)}" for name, each in targets.items())
        return f"{counted(len(targets), 'target')} {named}"
    called = {"ordered": ("ordered class", "ordered classes"), "tags": ("tag", "tags")}
    what = called.get(competition.task.kind, ("class", "classes"))
    return f"{counted(len(classes), *what)} {classes[0]}..{classes[-1]}"


def _describe_hidden(competition: Competition) -> str:
    if competition.hidden_digits is None:
        return ""
    digits = counted(competition.hidden_digits, "hidden digit")
    return f" ({digits}{' and an addend' if competition.addend else ''})"


def _recipes(pipeline: Pipeline, networks: dict[str, Network]) -> str:
    header = ["member", "model", "head", "parameters", "epochs", "trained with", "augmentation", "sees"]
    transductive = pipeline.transductive
    lines = [
        [
            mark_transductive(name, name in transductive),
            member.model,
            member.head,
            f"{count_parameters(networks[name].model):,}",
            str(member.epochs),
            ", ".join([member.optimizer.name, member.schedule.name, *_balance(member), *_teachers(member)]),
            member.augment.amounts() if member.augment else "none",
            _inputs(member),
        ]
        for name, member in pipeline.members.items()
    ]
    return render(header, lines)


def _balance(member: Member) -> list[str]:
    """The loss, the weights and the sampling, where they are not the usual ones."""
    return [
        *([member.loss.name] if member.loss.name != "cross_entropy" else []),
        *(["class weights"] if member.class_weights else []),
        *(["balanced sampling"] if member.sampling == "balanced" else []),
    ]


def _teachers(member: Member) -> list[str]:
    """Who teaches it."""
    return [f"taught by {' and '.join(member.teacher.names)}"] if member.teacher else []


def _inputs(member: Member) -> str:
    """The view, by whom images are normalised where not by the data set, and test-time views of several."""
    view = " ".join(str(value) for value in member.view.model_dump().values()) if member.view else ""
    how = {"image": "each image by itself", "pretrained": "levels of the published weights"}
    alone = how.get(member.normalise, "")
    views = f"{member.tta.count} views in prediction" if member.tta.count > 1 else ""
    return ", ".join(filter(None, [view, alone, views])) or "the image"


def _dues(trainings: dict[str, int], due: list[Job], foretold: Forecast | None) -> str:
    """How many trainings of each member are due of all, and where it is known, how long one takes."""
    count = Counter(job.member_name for job in due)
    lines = [[name, str(count[name]), str(of), *_times(name, foretold)] for name, of in trainings.items()]
    return render(["member", "due", "of", "images/s", "per epoch", "per training"][: len(lines[0])], lines)


def _times(name: str, foretold: Forecast | None) -> list[str]:
    """images/s, an epoch and a training, empty for a member that is done or cannot be trained."""
    if foretold is None:
        return []
    if name not in foretold.throughputs:
        return ["", "", ""]
    throughput = foretold.throughputs[name]
    return [
        f"{throughput.trained:,.0f}",
        format_duration(throughput.epoch),
        format_duration(foretold.longest(name)),
    ]


def _time(plan: Plan | None, due: list[Job], foretold: Forecast | None) -> str:
    """How long what is due takes, or why that is not known."""
    if plan is None:
        return "time: not known before the data is there"
    if not due:
        return "time: nothing is due"
    if foretold is None:
        return "time: not known; the nodes of a cluster and devices that train together are not tried"
    if foretold.seconds is None:
        return "time: not known, because not every member can be trained"
    return f"time: about {format_duration(foretold.seconds)} for what is due, {foretold.at_once} at once"


def _forecast(plan: Plan, due: list[Job], networks: dict[str, Network]) -> Forecast | None:
    run, spec = plan.run, plan.run.pipeline.engine
    if not isinstance(spec, LocalEngine) or spec.devices_per_training > 1:
        return None
    competition, trainings = run.pipeline.competition, len(plan.jobs)
    work = JobBatch(run.workspace, competition, due, trainings, plan.folds, CHECKPOINT_SECONDS)
    return forecast(work, networks, spec.workers, plan.files)


def _plan(run: Run) -> tuple[Plan | None, str]:
    """The plan, and what is missing before it can be carried out: data or folds.

    Raises:
        UserError: data that cannot be read, or folds that cannot be used.
    """
    folder = run.workspace.input(run.pipeline.competition.name)
    if not folder.is_dir():
        return None, f"put the competition's files into {folder}: `data path/to/the.zip`"
    if run.folder.folds.is_file():
        return make_plan(run), ""
    dataset = read_dataset(run.pipeline.competition, run.workspace)
    # Folds of about the sizes that are to come say as much about the time.
    folds = np.arange(len(dataset.train_labels)) % run.pipeline.folds.count
    jobs = plan_jobs(run.pipeline, run.workspace, run.folder, dataset, FoldTable(folds, "not there yet"))
    return Plan(run, dataset, folds, jobs), f"`folds {run.name}`"
