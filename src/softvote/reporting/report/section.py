"""What a section is, and what it may read.

A section is one module in `sections/` with one function under `@section`. It says what it needs; where
that is not there, the page says so in a sentence and leaves the section out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from softvote.config.pipeline import Pipeline
from softvote.config.registry import Registry
from softvote.data.dataset import Dataset
from softvote.ensembling.comparison import Comparison, compare_members
from softvote.ensembling.predictions import Predictions
from softvote.ensembling.records import ScoreRecord, VoteRecord
from softvote.ensembling.scorer import FittedDecision, Scorer
from softvote.reporting.report.blocks import Block, PictureCard
from softvote.reporting.report.captions import describe_answers
from softvote.reporting.report.experiments import Experiment
from softvote.reporting.report.images import PictureStore, encode_image
from softvote.reporting.report.questions import Question, list_questions
from softvote.storage.paths import FoldFolder
from softvote.task import Task
from softvote.tracking.comparison import LeaderboardComparison
from softvote.tuning.records import TuneRecord


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportData:
    """All that sections read.

    Attributes:
        name: of the pipeline.
        folds: int64 (N,), the fold of each training row.
        scorer: what training rows are scored by.
        members: probabilities of every member that is trained as the pipeline says now, by name.
        trainings: the folders of their trainings, by name.
        vote: of the ensemble; None where it did not vote yet.
        vote_record: how it votes; None without one.
        vote_scores: what it scored; None without one.
        unfinished: names of the members that are not trained.
        experiments: what the workspace knows of pipelines of the same competition, this one among them.
        given_labels: of the training rows, where the pipeline corrects some; None where it corrects none.
        leaderboard: what became of the competition's submissions; None where the ledger has none.
        pictures: those that a click shows.
        search: the trials by which values were or can be chosen; None where nothing was searched.
        search_note: why these trials say nothing of this pipeline's rows; empty where they do.
        transductive: names of the members that learned test images.
        settled: that values were chosen by the rows that are scored here; empty where they were not.
        decisions: what each voter's probabilities are submitted by, by its name; of those that are left out,
            what is decided without fitting.
        scores: of each voter as it is submitted, by its name.
    """

    name: str
    pipeline: Pipeline
    dataset: Dataset
    folds: NDArray[np.int64]
    scorer: Scorer
    members: dict[str, Predictions]
    trainings: dict[str, list[FoldFolder]]
    vote: Predictions | None = None
    vote_record: VoteRecord | None = None
    vote_scores: ScoreRecord | None = None
    unfinished: Sequence[str] = ()
    experiments: Sequence[Experiment] = ()
    given_labels: NDArray[np.int64] | None = None
    leaderboard: LeaderboardComparison | None = None
    pictures: PictureStore = field(default_factory=PictureStore)
    search: TuneRecord | None = None
    search_note: str = ""
    transductive: Sequence[str] = ()
    settled: str = ""
    decisions: Mapping[str, FittedDecision] = field(default_factory=dict)
    scores: Mapping[str, ScoreRecord] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """What is asked of an image."""
        return self.pipeline.competition.task

    @property
    def classes(self) -> list[str]:
        """What each column of probabilities stands for."""
        return self.pipeline.competition.classes

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Row numbers int64 (n,) that every member predicted out of fold."""
        return next(iter(self.members.values())).rows

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Of these rows, as the task has them: int64 (n,), of tags (n, K), of targets (n, T)."""
        return np.asarray(self.dataset.train_labels)[self.rows]

    @cached_property
    def fold_of_row(self) -> NDArray[np.int64]:
        """Of these rows, int64 (n,)."""
        return np.asarray(self.folds[self.rows])

    @cached_property
    def row_scorer(self) -> Scorer:
        """What these rows are scored by."""
        return self.scorer.for_rows(self.rows)

    @cached_property
    def comparison(self) -> Comparison:
        """Members and rules with their scores."""
        oof = [each.oof for each in self.members.values()]
        return compare_members(oof, list(self.members), self.labels, self.fold_of_row, self.row_scorer)

    @cached_property
    def shown(self) -> tuple[str, Predictions]:
        """Whose probabilities sections about rows look at: the vote's, else the best member's."""
        if self.vote is not None:
            return self.pipeline.ensemble.name, self.vote
        worth = self.row_scorer.worth
        found = {name: worth(each.oof, self.labels) for name, each in self.members.items()}
        best = max(found, key=found.__getitem__)
        return best, self.members[best]

    @property
    def oof(self) -> NDArray[np.float32]:
        """Out-of-fold probabilities float32 (n, K) of the shown voter."""
        return self.shown[1].oof

    @property
    def voters(self) -> dict[str, NDArray[np.float32]]:
        """Out-of-fold probabilities float32 (n, K) of the ensemble, where it votes, and of every member."""
        voted = {} if self.vote is None else {self.pipeline.ensemble.name: self.vote.oof}
        return voted | {name: each.oof for name, each in self.members.items()}

    def decision_of(self, voter: str) -> FittedDecision:
        """What a voter's probabilities are submitted by; what names nothing, names what is most probable."""
        return self.decisions.get(voter, FittedDecision(self.scorer.decision.unfitted))

    def name_answers(self, voter: str) -> NDArray[np.int64]:
        """What a voter answers, as labels have it, by what it is submitted by; fitted on these very rows."""
        return self._name(self.decision_of(voter), self.voters[voter])

    def _name(self, decision: FittedDecision, oof: NDArray[np.float32]) -> NDArray[np.int64]:
        if decision.is_plain:
            return self.task.name(oof)
        return np.asarray(decision.decide(oof, self.scorer.space), np.int64)

    @cached_property
    def answers(self) -> NDArray[np.int64]:
        """What the shown voter answers, as labels have it: each fold by what was fitted on the others."""
        if self.fitted_by_fold:
            scorer, by_fold = self.row_scorer, self.fitted_by_fold
            return np.asarray(scorer.decide_by_fold(self.oof, self.fold_of_row, by_fold), np.int64)
        return self._name(self.decision_of(self.shown[0]), self.oof)

    @cached_property
    def fitted_by_fold(self) -> dict[int, list[float]]:
        """What is fitted for the shown voter on all folds but one, by that one; nothing where nothing is."""
        if not self.decision_of(self.shown[0]).fitted:
            return {}
        return self.row_scorer.fit_by_fold(self.oof, self.labels, self.fold_of_row)

    @cached_property
    def questions(self) -> list[Question]:
        """What is asked of each image, and the shown voter's answers; none of tags."""
        return list_questions(self.scorer.space, self.oof, self.answers, self.labels)

    def describe_row(self, position: int) -> str:
        """The row at a position of `rows`, label and answer; of one question also how sure the answer was."""
        row, addends = int(self.rows[position]), self.dataset.train_addends
        place = f"row {row}" if addends is None else f"row {row}, + {addends[row]}"
        if self.task.is_single_label:
            place += f", {self.questions[0].confidence[position]:.0%}"
        label, answer = self.labels[position], self.answers[position]
        return f"{place}\n{describe_answers(self.scorer.space, label, answer, self.oof[position])}"

    def create_card(self, position: int, is_right: bool) -> PictureCard:
        """The picture of the row at a position of `rows`, green where what is shown of it is right."""
        image = self.dataset.train_pixels[self.rows[position]]
        return PictureCard(encode_image(image), self.describe_row(position), "good" if is_right else "bad")

    def store_pictures(self, positions: Iterable[int]) -> list[str]:
        """Keep pictures of rows, by their positions in `rows`, for a click; keys of those that find room."""
        keys = []
        for position in positions:
            row = int(self.rows[position])
            image = self.dataset.train_pixels[row]
            keys.append(self.pictures.add(f"r{row}", image, self.describe_row(position)))
        return [key for key in keys if key is not None]


Need = Callable[[ReportData], str]
"""Says why a section cannot be made of these data; an empty text where it can."""


class LeftOutError(Exception):
    """A section has nothing to show, for the reason that is its text."""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: its heading.
        question: what it answers, in a line under the heading.
        needs: asked in their order before it is built.
    """

    name: str
    title: str
    question: str
    needs: tuple[Need, ...]
    build: Callable[[ReportData], Sequence[Block]]

    def reason_to_leave_out(self, data: ReportData) -> str:
        """The first need that is not met, in words; empty where all are."""
        return next((reason for need in self.needs if (reason := need(data))), "")


SECTIONS: Registry[Section] = Registry()


Build = Callable[[ReportData], Sequence[Block]]


def section(name: str, title: str, question: str, *needs: Need, rank: int) -> Callable[[Build], Build]:
    """Register a function as a section; the page has lower ranks first."""

    def register(build: Build) -> Build:
        SECTIONS.add(name, Section(name, title, question, needs, build), rank)
        return build

    return register


def needs_questions(data: ReportData) -> str:
    """For sections that hold answers against labels, of one question or of one per target."""
    return "it is for one answer per question, but tags are any of many" if data.task.kind == "tags" else ""


def needs_tags(data: ReportData) -> str:
    """For sections that look at each tag by itself."""
    return "" if data.task.kind == "tags" else "it is for several tags per image"


def needs_one_label(data: ReportData) -> str:
    """For sections that compare one answer with one label."""
    return (
        ""
        if data.task.is_single_label
        else f"it is for one label per image, but this competition has {data.task.kind}"
    )


def needs_members(data: ReportData) -> str:
    """For sections that need anything trained at all."""
    return "" if data.members else "no member is trained yet"


def needs_two_members(data: ReportData) -> str:
    """For sections that compare members with each other."""
    return "" if len(data.members) > 1 else "it compares members, and there is one alone"


def needs_vote(data: ReportData) -> str:
    """For sections about the ensemble."""
    return "" if data.vote is not None else "the members did not vote yet: run the ensemble stage"
