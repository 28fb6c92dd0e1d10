"""What a workspace knows of each pipeline, read from small files alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from softvote.config.pipeline import Pipeline
from softvote.data.folds import FoldsRecord, fingerprint_of_table
from softvote.ensembling.records import ScoreRecord, VoteRecord
from softvote.metrics.scores import Score
from softvote.scheduling.planner import is_outdated
from softvote.storage.paths import PipelineFolder, PredictionsFolder
from softvote.tracking.ledger import SETTLED, TRANSDUCTIVE, Entry

OUTDATED = "outdated"


@dataclass(frozen=True)
class Experiment:
    """A pipeline, and what it scored.

    Attributes:
        extends: the name of the pipeline whose file it starts from; empty where it starts from none, or from
            another kind of file, such as a competition.
        folder: of its ensemble's probabilities.
        rows_fingerprint: of the training rows that its folds were made from; empty without folds.
        rule: of its vote; empty where it did not vote here.
        cv: of its ensemble, from its files, else from its newest row of the ledger.
        log_loss: the same; only from its files.
        entry: its newest row of the ledger.
        is_settled: whether a search settled values on the rows that it is scored on.
        is_transductive: whether a voter learned test images.
        is_outdated: whether it was trained or voted otherwise than its file says now.
    """

    name: str
    pipeline: Pipeline
    extends: str
    folder: PredictionsFolder
    rows_fingerprint: str
    rule: str
    cv: Score | None
    log_loss: Score | None
    entry: Entry | None
    is_settled: bool = False
    is_transductive: bool = False
    is_outdated: bool = False

    @property
    def marks(self) -> str:
        """What is to be said of its score, each after a comma; empty where nothing is."""
        marks = {TRANSDUCTIVE: self.is_transductive, SETTLED: self.is_settled, OUTDATED: self.is_outdated}
        return "".join(f", {mark}" for mark, applies in marks.items() if applies)

    @property
    def competition(self) -> str:
        """Its competition's name."""
        return self.pipeline.competition.name

    @property
    def metric(self) -> str:
        """What it is scored by, in words."""
        return str(self.pipeline.competition.metric)

    @property
    def worth(self) -> float:
        """The score, turned so that greater is better; of none the least."""
        if self.cv is None:
            return -math.inf
        return self.cv.value if self.pipeline.competition.metric.greater_is_better else -self.cv.value


def read_experiment(
    name: str, pipeline: Pipeline, folder: PipelineFolder, entry: Entry | None, extends: str = ""
) -> Experiment | None:
    """What is known of a pipeline; None where it neither voted here nor stands in the ledger.

    Args:
        entry: its newest row of the ledger, where it has one.
        extends: as an experiment has it.
    """
    ensemble = folder.predictions(pipeline.ensemble.name)
    scores, folds = ScoreRecord.read(ensemble.scores), FoldsRecord.read(folder.folds_record)
    vote = VoteRecord.read(ensemble.vote)
    if scores is not None and not scores.fingerprint:  # which a record has that is not there
        scores = None
    if scores is None and entry is None:
        return None
    cv = (scores.value or scores.accuracy) if scores else None
    if cv is None and entry is not None and entry.metric == str(pipeline.competition.metric):
        cv = entry.cv
    return Experiment(
        name=name,
        pipeline=pipeline,
        extends=extends,
        folder=ensemble,
        rows_fingerprint=folds.data if folds else "",
        rule=vote.rule if vote and scores else "",
        cv=cv,
        log_loss=scores.log_loss if scores else None,
        entry=entry,
        is_settled=_is_settled(pipeline, folds, entry),
        is_transductive=_is_transductive(pipeline, scores, entry),
        is_outdated=is_outdated(pipeline, folder),
    )


def _is_settled(pipeline: Pipeline, folds: FoldsRecord | None, entry: Entry | None) -> bool:
    """Whether a search settled values on rows that are scored, by the folds here, else by the ledger."""
    if folds is None:
        return entry is not None and SETTLED in entry.folds
    return pipeline.tuned is not None and pipeline.tuned.has_seen(
        pipeline.folds.trained, fingerprint_of_table(folds)
    )


def _is_transductive(pipeline: Pipeline, scores: ScoreRecord | None, entry: Entry | None) -> bool:
    """Whether a voter learned test images, by the pipeline whose files are here, else by the ledger."""
    if scores is None and entry is not None:
        return entry.is_transductive
    return not set(pipeline.voters).isdisjoint(pipeline.transductive)


def describe_changes(old: Pipeline, new: Pipeline) -> list[str]:
    """What one pipeline says otherwise than another, a line each: `epochs 10 -> 12 (cnn, resnet5)`."""
    lines = []
    for name in [*old.members, *(name for name in new.members if name not in old.members)]:
        if name not in new.members:
            lines.append(f"without {name}")
        elif name not in old.members:
            lines.append(f"with {name} ({new.members[name].model})")
    common = [name for name in new.members if name in old.members]
    changed: dict[str, list[str]] = {}
    for name in common:
        before, now = (pipeline.members[name].model_dump(mode="json") for pipeline in (old, new))
        for change in _compare(before, now):
            changed.setdefault(change, []).append(name)
    for change, names in changed.items():
        whose = "every member" if len(names) == len(common) > 1 else ", ".join(names)
        lines.append(f"{change} ({whose})")
    rest: dict[str, Any] = dict.fromkeys(
        ("members", "extends", "engine", "defaults", "tune", "tuned", "tracker"), True
    )
    rest["competition"] = {"name", "kaggle", "public_share", "hidden_test_rows", "solution"}
    before, now = (pipeline.model_dump(mode="json", exclude=rest) for pipeline in (old, new))
    return [*lines, *_compare(before, now)]


def _compare(old: Any, new: Any, key: str = "") -> Iterator[str]:
    """The leaves in which two nested mappings differ, as `key old -> new`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            yield from _compare(old.get(name), new.get(name), f"{key}.{name}".strip("."))
    elif old != new:
        yield f"{key} {_show(old)} -> {_show(new)}"


def _show(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return " ".join(f"{key} {_show(each)}" for key, each in value.items() if each) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) if len(value) <= 6 else f"{len(value)} values"
    return f"{value:g}" if isinstance(value, float) else str(value)
