"""What a voter says of rows that are loaded a part at a time, in a given time, whatever images are like."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softvote.data.pixels import Pixels
from softvote.data.test_rows import LazyRows
from softvote.ensembling.ensemble import Ensemble, EnsembleMember
from softvote.ensembling.predict import mean_of_folds, vote_of
from softvote.inference.loading import load_predictor
from softvote.inference.predictor import Predictor, rows_per_batch
from softvote.words import counted

_ROWS = 64  # are loaded at once, or a batch where that is more

_TOLD = 10  # times a run says how far it is

_MOST_TOLD = 20  # rows without an image are spelled out


@dataclass
class VotingNetwork:
    """One network of a voter.

    Attributes:
        member: of the voter, by its place among those that vote.
        fold: its place among the member's trainings.
        seconds: that it took for a row so far; 0 before the first.
    """

    member: int
    fold: int
    predictor: Predictor
    seconds: float = 0.0


@dataclass
class _Budget:
    """Which networks there is time for."""

    deadline: float
    clock: Callable[[], float]
    loading: float = 0.0
    """Seconds that loading a row took."""

    def affordable(self, networks: Sequence[VotingNetwork], rows: int, part: int) -> int:
        """How many of the networks, from the first, can see all rows that are left.

        Args:
            rows: that are left.
            part: of them, that comes next; 0 networks where not even one has the time for it.
        """
        left = self.deadline - self.clock()
        if left <= part * (self.loading + networks[0].seconds):
            return 0
        spare, count = left / rows - self.loading, 0
        for network in networks:
            spare -= network.seconds
            if spare < 0:
                break
            count += 1
        return max(1, count)


@dataclass
class _Progress:
    """Says what a reader of the log should know, each thing once."""

    say: Callable[[str], None]
    rows: int
    networks: int
    bad: int = 0
    tenths: int = 0
    used: int = field(init=False)

    def __post_init__(self) -> None:
        self.used = self.networks

    def note_bad(self, row: int, name: str, problem: str) -> None:
        """A row gets the safe prediction."""
        self.bad += 1
        if self.bad <= _MOST_TOLD:
            self.say(f"row {row + 1}, {name}: {problem}; the average prediction is used")

    def note_used(self, count: int, row: int) -> None:
        """So many networks see the rows from here on."""
        if count != self.used:
            self.used = count
            who = f"{count} of {counted(self.networks, 'network')}" if count else "no network"
            end = "" if count else "; the average prediction is used"
            self.say(f"from row {row + 1} there is time for {who}{end}")

    def note_done(self, done: int) -> None:
        """So many rows are done."""
        if done * _TOLD // self.rows > self.tenths:
            self.tenths = done * _TOLD // self.rows
            self.say(f"{done:,} of {counted(self.rows, 'row')}")

    def close(self) -> None:
        """Say how many rows had no image, where not all were named."""
        if self.bad > _MOST_TOLD:
            self.say(f"{counted(self.bad, 'row')} in all had no readable image")


def predict_rows(
    voter: Ensemble,
    rows: LazyRows,
    safe: NDArray[np.float32],
    seconds: float = math.inf,
    say: Callable[[str], None] = lambda text: None,
    clock: Callable[[], float] = time.monotonic,
) -> NDArray[np.float32]:
    """What a voter says of all rows, as `predict_proba` says it of their images.

    Bit for bit the same where every image can be had and there is time. All networks are in memory at once,
    and the images of a few rows. Where time will not do, rows are left to fewer networks, first ones of the
    heaviest members; when it is over, they get the safe prediction, as rows without an image do.

    Args:
        safe: float32 (K,), what is said of a row that nobody saw.
        seconds: that it may take.
        say: takes lines for a log.
        clock: seconds of a clock that only goes on.

    Returns:
        float32 (T, K).
    """
    budget = _Budget(clock() + seconds, clock)
    voting = voter.voting
    networks = _networks(voting)
    told = _Progress(say, len(rows), len(networks))
    found = np.tile(safe, (len(rows), 1)).astype(np.float32)
    batch = rows_per_batch(rows.shape)
    step = batch * max(1, _ROWS // batch)
    for start in range(0, len(rows), step):
        part = range(start, min(start + step, len(rows)))
        count = budget.affordable(networks, len(rows) - start, len(part))
        told.note_used(count, start)
        if not count:
            break
        began = clock()
        images, bad = rows.load(part)
        budget.loading = (clock() - began) / len(part)
        found[part.start : part.stop] = _predict(
            voter, voting, networks[:count], images.pixels, images.addends, clock
        )
        for row, problem in sorted(bad.items()):
            found[row] = safe
            told.note_bad(row, rows.template.ids[row], problem)
        told.note_done(part.stop)
    told.close()
    return found


def _networks(voting: Sequence[EnsembleMember]) -> list[VotingNetwork]:
    """In the order in which they are dispensed with last: first ones of all members, the heaviest first."""
    loaded = [
        (fold, -member.weight, VotingNetwork(place, fold, load_predictor(folder)))
        for place, member in enumerate(voting)
        for fold, folder in enumerate(member.folds)
    ]
    return [network for _, _, network in sorted(loaded, key=lambda each: each[:2])]


def _predict(
    voter: Ensemble,
    voting: Sequence[EnsembleMember],
    networks: Sequence[VotingNetwork],
    images: Pixels,
    addends: NDArray[np.int64] | None,
    clock: Callable[[], float],
) -> NDArray[np.float32]:
    """What these networks say together; each one's time is noted."""
    said: dict[int, dict[int, NDArray[np.float32]]] = {}
    for network in networks:
        began = clock()
        said.setdefault(network.member, {})[network.fold] = network.predictor.probabilities(images, addends)
        network.seconds = (clock() - began) / len(images)
    places = sorted(said)
    members = [mean_of_folds([said[place][fold] for fold in sorted(said[place])]) for place in places]
    return vote_of(voter, [voting[place] for place in places], members)
