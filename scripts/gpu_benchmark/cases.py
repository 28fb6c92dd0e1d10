"""What is measured: networks with their recipes, and the images that they train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from softvote.config.pipeline_file import read_pipeline_file
from softvote.config.recipe import Member

Facts = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = "digit-recognizer"
ROWS, TEST_ROWS = 42_000, 28_000
IMAGE = (1, 28, 28)
AUGMENT = {"rotate": 10, "scale": 0.1, "shear": 6, "shift": 2, "elastic": 1}
WIDE: Facts = {
    "optimizer": {"name": "adam", "lr": 1e-3}, "schedule": {"name": "cosine"}, "augment": AUGMENT,
}  # fmt: skip
EMA = WIDE | {"ema": 0.999}
MEMBERS: dict[str, Facts] = {
    "doucet_resnet": WIDE | {"view": {"name": "crop", "size": 25}, "normalise": "image"},
    "doucet_half": WIDE | {"model": "doucet_resnet", "model_args": {"width": 64}, "normalise": "image"},
    "matuzas_senet": WIDE,
    "simple_cnn_m5": EMA,
    "simple_cnn_m3": EMA,
    "deotte_cnn": WIDE,
}
"""Beside those of the pipeline; the model's name is the member's where it is not said."""


def known_members() -> dict[str, Member]:
    """Everything that can be measured."""
    known = {name: Member.model_validate({"model": name} | facts) for name, facts in MEMBERS.items()}
    # In a folder that remote_run packed, pipelines lie beside what they leave.
    folder = next(ROOT / place for place in ("pipelines", "work/pipelines") if (ROOT / place).is_dir())
    pipeline = read_pipeline_file(folder / f"{PIPELINE}.yaml")
    five = {member.model: member for member in pipeline.members.values()}
    return known | five
