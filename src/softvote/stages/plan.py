"""Plan: the data, the folds and every job of a pipeline, and which predictions on disk are theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from softvote.data import folds
from softvote.data.dataset import Dataset, read_dataset
from softvote.ensembling.predictions import Predictions, has_intact_predictions, read_predictions
from softvote.ensembling.records import DecisionRecord, ScoreRecord, VoteRecord
from softvote.ensembling.scorer import FittedDecision, Scorer
from softvote.errors import UserError
from softvote.scheduling.job import Job
from softvote.scheduling.planner import ensemble_fingerprint, plan
from softvote.scheduling.status import JobStatus, read_status
from softvote.stages import Run
from softvote.storage.snapshot import Snapshot
from softvote.task import Task
from softvote.tracking.ledger import SETTLED, TRANSDUCTIVE
from softvote.words import counted

WITHOUT_SCORE = "its refit on all rows predicts test rows too, and is in no out-of-fold score"
"""What is said of a member with a refit wherever scores are shown."""


LEARNED_TEST_IMAGES = (
    f"{TRANSDUCTIVE}: its training, or one that it builds on, had test images with a teacher's probabilities"
)
"""What is said of a member that did, or builds on one, wherever scores are shown."""


@dataclass(frozen=True)
class Plan:
    """What the stages after folds work on.

    Attributes:
        folds: int64 (N,), the fold of each training row.
        files: of trainings and predictions, as they are asked for; `reread` where they are others now.
    """

    run: Run
    dataset: Dataset
    folds: NDArray[np.int64]
    jobs: list[Job]
    files: Snapshot = field(default_factory=Snapshot, compare=False)

    @property
    def task(self) -> Task:
        """What is asked of an image."""
        return self.run.pipeline.competition.task

    @property
    def scorer(self) -> Scorer:
        """What out-of-fold rows are scored and decided by."""
        groups = self.dataset.train_groups.get(self.run.pipeline.folds.group or "")
        return Scorer.of_pipeline(self.run.pipeline, groups)

    @property
    def folds_fingerprint(self) -> str:
        """What the table of folds is known by."""
        return str(self.jobs[0].inputs["folds"])

    @property
    def settled_note(self) -> str:
        """What is said of scores on rows by which a search settled values; empty where there are none."""
        pipeline = self.run.pipeline
        tuned = pipeline.tuned
        if tuned is None or not tuned.has_seen(pipeline.folds.trained, self.folds_fingerprint):
            return ""
        found = f"values are the best of {counted(tuned.trials, 'trial')} of {tuned.pipeline}"
        return f"{found}, {SETTLED}: scores flatter"

    def transductive_among(self, voters: Sequence[str]) -> list[str]:
        """Which of some members learned test images; of the ensemble, which of its voters."""
        pipeline = self.run.pipeline
        names = {name for voter in voters for name in self._members_of(voter)}
        return [name for name in pipeline.transductive if name in names]

    def _members_of(self, voter: str) -> list[str]:
        return [voter] if voter in self.run.pipeline.members else self.run.pipeline.voters

    def jobs_of(self, member: str) -> list[Job]:
        """One job a trained fold and repeat."""
        return [job for job in self.jobs if job.member_name == member]

    def statuses(self, jobs: Sequence[Job] | None = None) -> list[JobStatus]:
        """What is left to do of all jobs, or of some."""
        return [read_status(job, self.files) for job in (self.jobs if jobs is None else jobs)]

    def reread(self) -> Plan:
        """The same plan, for the files as they are from now on."""
        return replace(self, files=Snapshot())

    def fingerprint_of(self, voter: str) -> str:
        """What the voter's predictions must have been made from."""
        return ensemble_fingerprint(self.run.pipeline, self.jobs, voter, self.files)

    def is_current(self, voter: str) -> bool:
        """Whether a member's or the ensemble's predictions on disk are whole and of this pipeline."""
        folder = self.run.folder.predictions(voter)
        scores = self.files.read(ScoreRecord, folder.scores)
        if (
            scores is None
            or scores.fingerprint != self.fingerprint_of(voter)
            or not has_intact_predictions(folder, self.files)
        ):
            return False
        if self.scorer.keeps_decision and scores.accuracy and not folder.decision.is_file():
            return False
        if voter in self.run.pipeline.members:
            return True
        return self.files.read(VoteRecord, folder.vote) is not None and folder.comparison.is_file()

    def predictions(self, voter: str) -> Predictions:
        """A voter's predictions.

        Raises:
            UserError: what lies there is not what the pipeline says now.
        """
        folder = self.run.folder.predictions(voter)
        if not self.is_current(voter):
            stage = "train" if voter in self.run.pipeline.members else "ensemble"
            raise UserError.at(folder.path, *self._describe_other(voter, f"run the {stage} stage"))
        return read_predictions(folder)

    def _describe_other(self, voter: str, remedy: str) -> tuple[str, str]:
        """What is the matter with predictions that are not current, and what to do."""
        scores = self.files.read(ScoreRecord, self.run.folder.predictions(voter).scores)
        if scores is None or not scores.fingerprint:
            return "is not there or not whole", remedy
        if scores.fingerprint == self.fingerprint_of(voter):
            return "is damaged", remedy
        what = "was made from other trainings, folds or settings than the pipeline has now"
        return what, f"{remedy}, or give the same `set` as then"


def read_decision(run: Run, voter: str) -> FittedDecision:
    """How a voter's probabilities become what is submitted: as the pipeline says, or as it was fitted.

    Raises:
        UserError: what was fitted is missing or damaged.
    """
    scorer, path = Scorer.of_pipeline(run.pipeline), run.folder.predictions(voter).decision
    if not scorer.decision.needs_fit:
        return FittedDecision(scorer.decision)
    record = DecisionRecord.read(path)
    if record is None:
        raise UserError.at(path, "is missing or damaged", "run the train and ensemble stages again")
    return FittedDecision.of_record(record)


def make_plan(run: Run) -> Plan:
    """Read data and folds, and list the jobs.

    Raises:
        UserError: no data, damaged data, no folds, or folds of other data.
    """
    dataset = read_dataset(run.pipeline.competition, run.workspace)
    table = folds.read_folds(run.folder, inputs_of_folds(run, dataset))
    jobs = plan(run.pipeline, run.workspace, run.folder, dataset, table)
    return Plan(run, dataset, table.folds, jobs)


def inputs_of_folds(run: Run, dataset: Dataset) -> folds.FoldInputs:
    """What the pipeline's fold table is made from."""
    return folds.fold_inputs(
        dataset.train_labels,
        dataset.train_fingerprint,
        run.pipeline.folds,
        run.pipeline.seed,
        dataset.train_groups,
        dataset.train_source,
    )
