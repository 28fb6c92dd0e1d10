"""What is measured: networks on their competitions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softvote.config.augment import Augment
from softvote.config.competition import Competition
from softvote.config.pipeline_file import read_pipeline_file
from softvote.config.recipe import Member

Facts = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]


FIVE = "digit-recognizer"
"""The pipeline of the heterogeneous five."""


SUMS = "digit-sum"


NETWORKS = {"cnn": FIVE, "big_kernel_cnn": FIVE, "resnet5": FIVE, "stn_cnn": FIVE, "slot_cnn": SUMS}


EPOCH = {FIVE: 42_000, SUMS: 24_000}
"""Images an epoch, for the times that are shown."""


AUGMENT = Augment(rotate=10, scale=0.1, shift=2)


@dataclass(frozen=True)
class Case:
    """One network on its competition.

    Attributes:
        member: with the augmentation that both loops have.
        times: how many members of the pipeline are of this network.
        trainings: of the whole pipeline.
    """

    network: str
    competition: Competition
    member: Member
    times: int
    trainings: int

    @property
    def epoch(self) -> int:
        return EPOCH[self.competition.name]


def load_case(network: str) -> Case:
    pipeline = read_pipeline_file(ROOT / "pipelines" / f"{NETWORKS[network]}.yaml")
    members = [member for member in pipeline.members.values() if member.model == network]
    member = members[0].model_copy(update={"augment": AUGMENT})
    trainings = len(pipeline.members) * len(pipeline.folds.trained)
    return Case(network, pipeline.competition, member, len(members), trainings)
