"""Data of a report that no training made: real digits, and probabilities that miss as they are told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import projects
from conftest import Digits
from kinds import KINDS
from numpy.typing import NDArray

from softvote.config.pipeline import Pipeline
from softvote.data.dataset import Dataset
from softvote.ensembling.predictions import Predictions
from softvote.ensembling.records import VoteRecord
from softvote.ensembling.scorer import Scorer
from softvote.ensembling.vote import weighted_mean
from softvote.reporting.report.blocks import Block, DataTable
from softvote.reporting.report.page import SECTIONS
from softvote.reporting.report.section import ReportData
from softvote.task import TaskKind

TRAIN, TEST = 600, 200


def make_probabilities(
    labels: NDArray[np.int64], seed: int, strength: float = 6.0, classes: int = 10
) -> NDArray[np.float32]:
    """float32 (n, K), a softmax of noise around the label; the stronger, the more often right."""
    noise = np.random.default_rng(seed).standard_normal((len(labels), classes))
    noise[np.arange(len(labels)), labels] += strength
    mass = np.exp(noise - noise.max(axis=1, keepdims=True))
    return (mass / mass.sum(axis=1, keepdims=True)).astype(np.float32)


def make_tag_probabilities(labels: NDArray[np.int64], seed: int, shift: float = 0.0) -> NDArray[np.float32]:
    """Mostly right; the lower `shift`, the lower all of them."""
    noise = np.random.default_rng(seed).normal(size=labels.shape)
    return (1 / (1 + np.exp(-(3 * labels - 1.5 + noise + shift)))).astype(np.float32)


def make_dataset(digits: Digits, labels: NDArray[np.int64] | None = None) -> Dataset:
    """The first digits as training rows, the next as test rows."""
    images = digits[0][: TRAIN + TEST, None].copy()
    return Dataset(
        images[:TRAIN],
        (digits[1][:TRAIN] if labels is None else labels).copy(),
        images[TRAIN:],
        [str(row) for row in range(TEST)],
        ("Id", "Label"),
        "train",
        "test",
    )


def make_data(
    digits: Digits,
    members: Mapping[str, NDArray[np.float32]] | None = None,
    weights: Sequence[float] | None = None,
    dataset: Dataset | None = None,
    competition: dict[str, Any] | None = None,
    **more: Any,
) -> ReportData:
    """Two folds and a vote of the members; two of them where none are given.

    Args:
        members: out-of-fold probabilities float32 (TRAIN, 10) by name.
        weights: of the vote; all alike where left out.
        competition: keys over the digits' competition.
    """
    labels = digits[1][:TRAIN]
    if members is None:
        members = {"cnn": make_probabilities(labels, 1), "resnet5": make_probabilities(labels, 2)}
    facts = projects.pipeline(members={name: {"model": "cnn"} for name in members})
    named = projects.competition(**(competition or {}))
    facts["competition"] = {key: value for key, value in named.items() if value is not None}
    share = np.full(len(members), 1 / len(members)) if weights is None else np.array(weights)
    rows, test = np.arange(TRAIN), make_probabilities(np.zeros(TEST, np.int64), 3)
    pipeline = Pipeline.model_validate(facts)
    blocks = pipeline.competition.task.blocks
    vote = weighted_mean(list(members.values()), share, "probability", blocks)
    names = dict(zip(members, share.tolist(), strict=True))
    content: dict[str, Any] = {
        "name": "tiny",
        "pipeline": pipeline,
        "dataset": dataset or make_dataset(digits),
        "folds": np.arange(TRAIN) % 2,
        "scorer": Scorer.of_pipeline(pipeline),
        "members": {name: Predictions(rows, oof, test) for name, oof in members.items()},
        "trainings": {name: [] for name in members},
        "vote": Predictions(rows, vote, test),
        "vote_record": VoteRecord(rule="mean", space="probability", weights=names),
    }
    return ReportData(**(content | more))


def data_of_kind(kind: TaskKind, digits: Digits, wrong: NDArray[np.int64], **more: Any) -> ReportData:
    """Labels of which the first tag or target is wrong in some rows, and a voter that is not misled."""
    labels = KINDS[kind].labels(digits[1][:TRAIN])
    blocks = [block.stop - block.start for block in KINDS[kind].task.blocks]
    columns = [make_probabilities(labels[:, place], place, 9, size) for place, size in enumerate(blocks)]
    oof = np.concatenate(columns, axis=1) if columns else make_tag_probabilities(labels, 1) ** 2
    given = labels.copy()
    given[wrong, 0] = 1 - given[wrong, 0]
    facts = {"labels": None, "solution": None} | KINDS[kind].facts
    return make_data(digits, {"a": oof}, dataset=make_dataset(digits, given), competition=facts, **more)


def build_section(name: str, data: ReportData) -> list[Block]:
    """What a section shows of data that it does not leave out."""
    assert SECTIONS[name].reason_to_leave_out(data) == ""
    return list(SECTIONS[name].build(data))


def tables_of(blocks: list[Block]) -> list[DataTable]:
    return [block for block in blocks if isinstance(block, DataTable)]


def column_of(table: DataTable, name: str) -> list[str]:
    return [row[list(table.header).index(name)].text for row in table.cells]
