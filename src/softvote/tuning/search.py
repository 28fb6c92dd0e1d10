"""A search: which trial is trained next, what it is worth, and what came of all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from softvote.config.pipeline import Pipeline
from softvote.config.tuning import TuneConfig, as_yaml
from softvote.data.dataset import Dataset
from softvote.data.folds import FoldTable
from softvote.ensembling.predictions import read_predictions
from softvote.ensembling.scorer import Scorer
from softvote.ensembling.vote import weighted_mean
from softvote.errors import UserError
from softvote.metrics.evaluation import Evaluation
from softvote.progress import note
from softvote.scheduling.engine import Unfinished
from softvote.scheduling.job import Job
from softvote.scheduling.planner import plan
from softvote.scheduling.status import read_status
from softvote.seeds import derive_seed
from softvote.storage.files import remove_folder, remove_if_exists
from softvote.storage.fingerprints import fingerprint
from softvote.storage.paths import PipelineFolder, TuneFolder, Workspace
from softvote.tuning.observer import STOPPED_AT, ObserveTrial
from softvote.tuning.study import StudyAddress, suggest_values, to_parameters

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

SETTINGS, _VALUES, REASON, SCORE = "settings", "values", "reason", "score"


_VERSION = 1  # bumped whenever the same trial would score something else


@dataclass(frozen=True)
class SearchSpec:
    """What a search works on.

    Attributes:
        name: of the pipeline.
        pipeline: as it stands, with a `tune`.
        change: the pipeline under further settings, KEY=VALUE.
        scorer: of every training row.
    """

    name: str
    pipeline: Pipeline
    change: Callable[[Sequence[str]], Pipeline]
    workspace: Workspace
    folder: TuneFolder
    dataset: Dataset
    table: FoldTable
    scorer: Scorer

    @property
    def tune(self) -> TuneConfig:
        """What is searched."""
        assert self.pipeline.tune is not None
        return self.pipeline.tune

    @property
    def members(self) -> list[str]:
        """Whose mean scores a trial."""
        return self.tune.searched(list(self.pipeline.members))

    @property
    def folds(self) -> list[int]:
        """The last ones, which score the trials."""
        count = self.pipeline.folds.count
        return list(range(count - self.tune.folds, count))

    @property
    def address(self) -> StudyAddress:
        """Where its trials are; others than these make another study."""
        jobs = self.plan(self.pipeline, self.folder.trial("", 0))
        searched = self.tune.model_dump(mode="json", include={"space", "folds", "members"})
        recipes = [[job.training_fingerprint, job.member.tta.model_dump()] for job in jobs]
        decided = self.scorer.decision.model_dump(mode="json")
        name = fingerprint([_VERSION, searched, recipes, str(self.scorer.metric), decided])
        return StudyAddress(self.folder.storage, name, self.scorer.metric.greater_is_better, self.tune.pruner)

    def plan(self, pipeline: Pipeline, folder: PipelineFolder) -> list[Job]:
        """The jobs of a trial, each after those it starts from.

        Raises:
            UserError: extra rows that are missing.
        """
        names = pipeline.with_sources(self.members)
        once = {"repeats": 1, "refit": False, "curves": False}
        members = {
            name: member.model_copy(update=once) for name, member in pipeline.members.items() if name in names
        }
        pipeline = pipeline.model_copy(update={"members": members})
        jobs = plan(pipeline, self.workspace, folder, self.dataset, self.table, self.folds)
        return sorted(jobs, key=lambda job: (job.fold, _depth(job)))

    def evaluate(self, folder: PipelineFolder) -> Evaluation:
        """What the mean of a trial's members scores on the rows of its folds.

        Raises:
            UserError: probabilities that are missing or damaged.
        """
        rows, votes = [], []
        for fold in self.folds:
            parts = [read_predictions(folder.predictions(name).fold(fold)) for name in self.members]
            shares = np.full(len(parts), 1 / len(parts))
            blocks = self.pipeline.competition.task.blocks
            rows.append(parts[0].rows)
            votes.append(weighted_mean([part.oof for part in parts], shares, "probability", blocks))
        order = np.concatenate(rows)
        return self.scorer.for_rows(order).evaluate(np.concatenate(votes), self.dataset.train_labels[order])


def _depth(job: Job) -> int:
    return 1 + max(map(_depth, job.sources), default=-1)


@dataclass
class _Live:
    """A trial that is being trained, job after job."""

    number: int
    folder: PipelineFolder
    jobs: list[Job]
    values: dict[str, Any]
    at: int = 0
    is_handed_out: bool = False


@dataclass
class Search:
    """Hands out the jobs of trials, as many trials at once as there are places.

    Attributes:
        trials: how many there shall be in all, with those of earlier runs.
        live: those that are being trained.
    """

    spec: SearchSpec
    trials: int
    live: list[_Live] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.address = self.spec.address
        seed = derive_seed(self.spec.pipeline.seed, "tune") % 2**32
        self.study = self.address.open(self.spec.tune.sampler, seed)
        known = self.study.get_trials(deepcopy=False)
        if known:  # else a run that is taken up would be told again what the first one was
            self.study = self.address.open(self.spec.tune.sampler, (seed + len(known)) % 2**32)
        self.asked = sum(not _is_waiting(trial) for trial in known)
        if not known:
            present = {key: _look_up(self.spec.pipeline, key) for key in self.spec.tune.space}
            self.study.enqueue_trial(to_parameters(present, self.spec.tune) or {})
        for trial in known:
            if trial.state.name == "RUNNING":
                self._take_up(trial)

    @property
    def is_done(self) -> bool:
        """Whether there are as many trials as there shall be, and none is on its way."""
        return not self.live and self.asked >= self.trials

    def supply(self, free: int, left: Sequence[Unfinished]) -> list[Job]:
        """Go on with every trial whose job has ended, and begin others where there is room.

        Args:
            free: how many jobs can begin.
            left: jobs that came to nothing.

        Raises:
            UserError: the pipeline as it stands cannot be trained.
        """
        jobs: list[Job] = []
        for live in list(self.live):
            jobs += self._go_on(live, left)
        while len(jobs) < free and self.asked < self.trials:
            self._begin()
            if self.live and not self.live[-1].is_handed_out:
                jobs += self._go_on(self.live[-1], left)
        return jobs

    def _begin(self) -> None:
        trial, tune = self.study.ask(), self.spec.tune
        self.asked += 1
        if trial.number == 0:  # the pipeline as it stands, whatever the space says of it
            values = {key: _look_up(self.spec.pipeline, key) for key in tune.space}
            settings: list[str] = []
            if to_parameters(values, tune) is not None:
                suggest_values(trial, tune)
        else:
            values = suggest_values(trial, tune)
            settings = [f"{key}={as_yaml(value)}" for key, value in values.items()]
        trial.set_user_attr(_VALUES, values)
        trial.set_user_attr(SETTINGS, settings)
        self._plan(trial.number, values, settings)

    def _take_up(self, trial: FrozenTrial) -> None:
        """Go on with a trial that an earlier run left in the middle."""
        attributes = trial.user_attrs
        if SETTINGS not in attributes:
            self.study.tell(trial.number, state=_state("FAIL"))
            return
        note(f"tune: trial {trial.number} goes on")
        self._plan(trial.number, attributes[_VALUES], attributes[SETTINGS])

    def _plan(self, number: int, values: dict[str, Any], settings: list[str]) -> None:
        from softvote.inference.network import build_networks

        folder = self.spec.folder.trial(self.address.name, number)
        try:
            pipeline = self.spec.change(settings)
            jobs = self.spec.plan(pipeline, folder)
            build_networks(pipeline, sorted({job.member_name for job in jobs}), with_weights=True)
        except UserError as error:
            self._give_up(_Live(number, folder, [], values), error)
            return
        scorer = replace(self.spec.scorer, groups=None)
        observed = [
            replace(
                job,
                context=f"trial {number}",
                predicts_test=False,
                observers=(*job.observers, ObserveTrial(self.address, number, scorer, part, len(jobs))),
            )
            for part, job in enumerate(jobs)
        ]
        self.live.append(_Live(number, folder, observed, values))

    def _go_on(self, live: _Live, left: Sequence[Unfinished]) -> list[Job]:
        """The next job of a trial, where the one before has ended well."""
        if live.is_handed_out:
            job = live.jobs[live.at]
            failed = next((each for each in left if each.job is job), None)
            if failed:
                self._give_up(live, failed.why)
                return []
            if not read_status(job).is_done:
                return []
            live.at, live.is_handed_out = live.at + 1, False
        while live.at < len(live.jobs) and read_status(live.jobs[live.at]).is_done:
            live.at += 1
        if live.at == len(live.jobs):
            self._finish(live)
            return []
        live.is_handed_out = True
        return [live.jobs[live.at]]

    def _finish(self, live: _Live) -> None:
        """Value a trial by the predictions after its last epochs."""
        score = self.spec.evaluate(live.folder).score
        if not math.isfinite(score.value):
            self._give_up(live, UserError(f"scored {score.value}"))
            return
        self._set(live.number, SCORE, [score.value, score.standard_error, score.rows, score.percent])
        self.study.tell(live.number, score.value)
        for job in live.jobs:  # what remains is what trials are compared by
            remove_if_exists(job.folder.weights)
        self._end(live, str(score))

    def _give_up(self, live: _Live, why: UserError) -> None:
        """End a trial that was stopped, or that cannot be trained.

        Raises:
            UserError: it is the pipeline as it stands.
        """
        [frozen] = [each for each in self.study.get_trials() if each.number == live.number]
        remove_folder(live.folder.path)
        self._set(live.number, REASON, why.problems[0].what)
        if STOPPED_AT in frozen.user_attrs:
            self.study.tell(live.number, state=_state("PRUNED"))
            self._end(live, f"stopped at {frozen.user_attrs[STOPPED_AT]} %")
            return
        if live.number == 0:
            raise why.within("the pipeline as it stands")
        self.study.tell(live.number, state=_state("FAIL"))
        self._end(live, f"failed: {why}")

    def _set(self, number: int, name: str, value: Any) -> None:
        self._trial(number).set_user_attr(name, value)

    def _trial(self, number: int) -> Trial:
        from optuna.trial import Trial

        [frozen] = [each for each in self.study.get_trials(deepcopy=False) if each.number == number]
        return Trial(self.study, frozen._trial_id)

    def _end(self, live: _Live, what: str) -> None:
        """Say what became of a trial, and how many are left."""
        self.live = [each for each in self.live if each is not live]
        ended = self.asked - len(self.live)
        values = "as it stands" if live.number == 0 else describe_values(live.values)
        note(f"tune: trial {live.number} ({values}): {what}; {ended} of {max(self.trials, ended)} done")


def describe_values(values: dict[str, Any]) -> str:
    """What was tried, for people: `cnn.optimizer.lr 0.002, epochs 12`."""
    return ", ".join(f"{shorten_key(key)} {as_yaml(value)}" for key, value in values.items())


def shorten_key(key: str) -> str:
    """A key without the word that all have."""
    return key.removeprefix("members.").removeprefix("defaults.")


def _look_up(pipeline: Pipeline, key: str) -> Any:
    """The value that a key has; None where it has none."""
    found: Any = pipeline.model_dump(mode="json", include={key.split(".")[0]})
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _is_waiting(trial: FrozenTrial) -> bool:
    return trial.state.name == "WAITING"


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]
