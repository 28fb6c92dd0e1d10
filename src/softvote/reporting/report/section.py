"""What a section is, and what it may read.

A section is one module in `sections/` with one function under `@section`. It says what it needs; where
that is not there, the page says so in a sentence and leaves the section out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from softvote.ensembling.scorer import Scorer
from softvote.reporting.report.blocks import Block, PictureCard, Tone
from softvote.reporting.report.experiments import Experiment
from softvote.reporting.report.images import PictureStore, encode_image
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
        settled: that values were chosen by the rows that are scored here; empty where they were not.
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
    settled: str = ""

    @property
    def task(self) -> Task:
        return self.pipeline.competition.task

    @property
    def classes(self) -> list[str]:
        return self.pipeline.competition.classes

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Row numbers int64 (n,) that every member predicted out of fold."""
        return next(iter(self.members.values())).rows

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Of these rows, int64 (n,)."""
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

    @cached_property
    def guesses(self) -> NDArray[np.int64]:
        """The most probable class of each row, int64 (n,)."""
        return np.asarray(self.oof.argmax(axis=1), np.int64)

    @cached_property
    def confidence(self) -> NDArray[np.float32]:
        """The probability of that class, float32 (n,)."""
        return np.asarray(self.oof.max(axis=1))

    def describe_row(self, position: int) -> str:
        """Row number, how sure the answer was, label and answer of the row at a position of `rows`."""
        row, label, guess = (int(each[position]) for each in (self.rows, self.labels, self.guesses))
        addend = "" if self.dataset.train_addends is None else f", + {self.dataset.train_addends[row]}"
        sure = f"row {row}{addend}, {self.confidence[position]:.0%}"
        return f"{sure}\nlabel {self.classes[label]}, answer {self.classes[guess]}"

    def create_card(self, position: int) -> PictureCard:
        """The picture of the row at a position of `rows`, green where the answer is right."""
        tone: Tone = "good" if self.guesses[position] == self.labels[position] else "bad"
        image = self.dataset.train_pixels[self.rows[position]]
        return PictureCard(encode_image(image), self.describe_row(position), tone)

    def store_picture(self, position: int) -> str | None:
        """Keep the picture of the row at a position of `rows` for a click; its key, None without room."""
        row = int(self.rows[position])
        return self.pictures.add(f"r{row}", self.dataset.train_pixels[row], self.describe_row(position))


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
