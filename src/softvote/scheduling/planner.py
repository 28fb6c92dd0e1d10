"""Every job of a pipeline, and what each depends on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from softvote.config.pipeline import Pipeline
from softvote.config.recipe import Member
from softvote.data.dataset import Dataset
from softvote.data.extra_rows import fingerprint_of, load_extra
from softvote.data.folds import FoldTable
from softvote.ensembling.records import ScoreRecord
from softvote.ensembling.rules import RULES_VERSION
from softvote.ensembling.scorer import SCORING_VERSION
from softvote.inference.record import TrainingRecord
from softvote.scheduling.job import REFIT, Job
from softvote.scheduling.observers import track
from softvote.storage.fingerprints import fingerprint
from softvote.storage.paths import FoldFolder, PipelineFolder, Workspace
from softvote.storage.snapshot import Snapshot
from softvote.training.glyphs import GLYPHS_VERSION
from softvote.training.teaching import TEACHING_VERSION

TRAINING_VERSION = 1
"""Bumped whenever the same recipe trains to other weights, as when a default of the recipe changes."""


def plan(
    pipeline: Pipeline,
    workspace: Workspace,
    folder: PipelineFolder,
    dataset: Dataset,
    table: FoldTable,
    folds: Sequence[int] | None = None,
) -> list[Job]:
    """Every job of a pipeline: fold by fold, so that whole folds are there early; repeats; those on all rows.

    Args:
        folds: others than the pipeline trains.

    Raises:
        UserError: extra rows that are missing.
    """
    planner = _Planner(pipeline, workspace, folder, dataset, table)
    members = pipeline.members.items()
    of_folds = [
        planner.job(name, fold, repeat)
        for repeat in range(max(member.repeats for _, member in members))
        for fold in (pipeline.folds.trained if folds is None else folds)
        for name, member in members
        if repeat < member.repeats
    ]
    return of_folds + [planner.job(name, REFIT) for name, member in members if member.refit]


class _Planner:
    """Makes each job once, after the one it starts from."""

    def __init__(
        self,
        pipeline: Pipeline,
        workspace: Workspace,
        folder: PipelineFolder,
        dataset: Dataset,
        table: FoldTable,
    ) -> None:
        self.pipeline, self.workspace, self.folder, self.dataset = pipeline, workspace, folder, dataset
        self.task = pipeline.competition.task
        self.shared: dict[str, Any] = {
            "training_version": TRAINING_VERSION,
            "folds": table.fingerprint,
            "data": dataset.train_fingerprint,
            "classes": pipeline.competition.classes,
            "hidden_digits": self.task.hidden_digits,
            "addend": self.task.addend,
            **self.task.kind_fields,
            "image": list(dataset.train_pixels.shape[1:]),
            "pipeline_seed": pipeline.seed,
        }
        tracker = pipeline.tracker
        self.observers = [functools.partial(track, tracker, workspace)] if tracker else []
        self.jobs = dict[tuple[str, int, int], Job]()
        self.extra_fingerprints, self.files = dict[str, str](), Snapshot()

    def job(self, name: str, fold: int, repeat: int = 0) -> Job:
        """A job of a member on a fold, or on all rows."""
        if (name, fold, repeat) not in self.jobs:
            member = _for_one_training(self.pipeline.members[name])
            started = member.init_from or member.glyphs_from
            source = self._source(started, fold, repeat) if started else None
            taught_by = member.teacher.names if member.teacher else ()
            teachers = tuple(self._source(teacher, fold, repeat) for teacher in taught_by)
            inputs = self._inputs(name, member, fold, repeat, source) | self._lessons(member, teachers)
            voter = self.folder.predictions(name)
            folder = voter.refit if fold == REFIT else voter.fold(fold, repeat)
            extra = None
            if member.extra_train:
                extra = functools.partial(
                    load_extra, member.extra_train, self.workspace, self.pipeline.competition
                )
            self.jobs[name, fold, repeat] = Job(
                name, member, fold, folder, inputs, self.dataset.test_fingerprint, self.task,
                source, teachers, extra, repeat, self.pipeline.competition.image.decoding,
                self.workspace.weights, observers=self.observers,
            )  # fmt: skip
        return self.jobs[name, fold, repeat]

    def _source(self, name: str, fold: int, repeat: int) -> Job:
        """The same repeat of another member, or its first where it has not so many."""
        return self.job(name, fold, repeat if repeat < self.pipeline.members[name].repeats else 0)

    def _inputs(
        self, name: str, member: Member, fold: int, repeat: int, source: Job | None
    ) -> dict[str, Any]:
        inputs = {"member": _recipe_of(member), "name": name, "fold": fold} | self.shared
        if repeat:
            inputs["repeat"] = repeat
        if member.weights_file and (checksum := self.files.sha256(member.weights_file)):
            inputs["weights"] = checksum
        if source and member.init_from:
            inputs["init_from"] = source.training_fingerprint
        elif source:
            inputs["glyphs_from"] = fingerprint([GLYPHS_VERSION, source.training_fingerprint])
        if member.extra_train:
            files = member.extra_train.model_dump_json()
            if files not in self.extra_fingerprints:
                self.extra_fingerprints[files] = fingerprint_of(member.extra_train, self.workspace)
            inputs["extra_train"] = self.extra_fingerprints[files]
        return inputs

    def _lessons(self, member: Member, teachers: Sequence[Job]) -> dict[str, Any]:
        """What is added to the inputs of a member that others teach."""
        if member.teacher is None:
            return {}
        views = [job.member.tta.model_dump(exclude_defaults=True) for job in teachers]
        lessons = [[job.training_fingerprint, view] for job, view in zip(teachers, views, strict=True)]
        added = {"teacher": fingerprint([TEACHING_VERSION, lessons])}
        return added | ({"test_data": self.dataset.test_fingerprint} if member.learns_test_rows else {})


def ensemble_fingerprint(pipeline: Pipeline, jobs: Sequence[Job], name: str, files: Snapshot) -> str:
    """What a member's or the ensemble's predictions depend on, all of it, in one key.

    The content of the folds' predictions is part of it, so a fold that was trained again counts as new
    even where its recipe is the same.

    Args:
        files: what this phase has read so far.
    """

    def parts_of(member: str) -> list[list[Any]]:
        parts = [job for job in jobs if job.member_name == member]
        scores = [files.read(ScoreRecord, job.folder.scores) for job in parts]
        return [
            [job.prediction_fingerprint, record and record.checksums]
            for job, record in zip(parts, scores, strict=True)
        ]

    return _combine(pipeline, name, parts_of)


def is_outdated(pipeline: Pipeline, folder: PipelineFolder) -> bool:
    """Whether the ensemble there is of other recipes, trainings or rules than the pipeline says now.

    That is told from small files, without the data: what they do not tell counts as current, and so does what
    lies there no more.
    """
    scores = ScoreRecord.read(folder.predictions(pipeline.ensemble.name).scores)
    if scores is None or not scores.fingerprint:
        return False
    trainings = {name: _trainings_of(pipeline, folder, name) for name in pipeline.voters}
    recipes = [_is_of_recipe(pipeline, folder, name) for name in pipeline.with_sources(pipeline.voters)]
    records = {name: [ScoreRecord.read(each.scores) for each in of] for name, of in trainings.items()}

    def parts_of(member: str) -> list[list[Any]]:
        return [[record.fingerprint, record.checksums] for record in records[member] if record]

    if not all(recipes):
        return True
    are_there = all(record and record.fingerprint for of in records.values() for record in of)
    return are_there and _combine(pipeline, pipeline.ensemble.name, parts_of) != scores.fingerprint


def _trainings_of(pipeline: Pipeline, folder: PipelineFolder, name: str) -> list[FoldFolder]:
    """Where a member's trainings lie, in the order of its jobs."""
    member, predictions = pipeline.members[name], folder.predictions(name)
    found = [
        predictions.fold(fold, repeat) for repeat in range(member.repeats) for fold in pipeline.folds.trained
    ]
    return [*found, predictions.refit] if member.refit else found


def _is_of_recipe(pipeline: Pipeline, folder: PipelineFolder, name: str) -> bool:
    """Whether a member's first training has its recipe and seed; so it counts where it is not there."""
    first = _trainings_of(pipeline, folder, name)[0]
    record = TrainingRecord.read(first.recipe)
    if record is None or not record.inputs:
        return True
    recipe = _recipe_of(_for_one_training(pipeline.members[name]))
    return (record.inputs.get("member"), record.inputs.get("pipeline_seed")) == (recipe, pipeline.seed)


def _combine(pipeline: Pipeline, name: str, parts_of: Callable[[str], list[list[Any]]]) -> str:
    """The fingerprint of a member or of the ensemble.

    Args:
        parts_of: of each training of a member, what it predicted by and the checksums of that.
    """
    if name in pipeline.members:
        return fingerprint(parts_of(name) + _scoring_of(pipeline))
    voters = [[voter, _combine(pipeline, voter, parts_of)] for voter in pipeline.voters]
    shares = pipeline.vote_shares()
    return fingerprint([RULES_VERSION, pipeline.ensemble.rule, voters, *([shares] if shares else [])])


def _for_one_training(member: Member) -> Member:
    """A recipe without how many trainings there are."""
    return member.model_copy(update={"repeats": 1, "refit": False})


def _recipe_of(member: Member) -> dict[str, Any]:
    """What of a recipe decides the weights."""
    return member.model_dump(mode="json", exclude={"tta", "curves"}, exclude_defaults=True)


def _scoring_of(pipeline: Pipeline) -> list[Any]:
    """What scores and decisions depend on beside probabilities; nothing where accuracy alone is scored."""
    competition, decision = pipeline.competition, pipeline.decision
    said = competition.model_dump(mode="json", include={"metric"}, exclude_defaults=True)
    if decision is not None:
        said["decision"] = decision.model_dump(mode="json")
    return [said | {"version": SCORING_VERSION}] if said else []
