"""Jobs of a small project, as an engine gets them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from conftest import Digits
from projects import softvote, write_project

from softvote import stages
from softvote.scheduling.job_batch import JobBatch
from softvote.stages.plan import make_plan


def with_extra_rows(root: Path, digits: Digits, alone: bool) -> JobBatch:
    """Four trainings that are due, of 40 rows of 8 x 8; every other one has 200 extra rows, perhaps alone."""
    more, rows = root / "input" / "more", slice(100, 300)
    more.mkdir(parents=True)
    np.save(more / "i.npy", digits[0][rows])
    np.save(more / "l.npy", digits[1][rows])
    extra = {"images": "more/i.npy", "labels": "more/l.npy", "only": alone}
    members = {"plain": {"model": "cnn"}, "more": {"model": "cnn", "extra_train": extra}}
    write_project(root, digits, 80, 20, members=members)
    assert softvote(root, "folds", "tiny") == 0
    run = stages.open_run(root, "tiny")
    plan = make_plan(run)
    return JobBatch(run.workspace, run.pipeline.competition, plan.jobs, len(plan.jobs), plan.folds, 60)
