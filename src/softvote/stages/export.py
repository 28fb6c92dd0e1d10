"""Export: a member or the ensemble as one program that needs no softvote."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from softvote.ensembling.ensemble import Ensemble, from_members
from softvote.export.record import ProgramRecord
from softvote.stages import Report, Run, ignore
from softvote.stages.plan import Plan, make_plan, read_decision
from softvote.storage.fingerprints import fingerprint
from softvote.storage.paths import ExportFolder
from softvote.storage.snapshot import Snapshot
from softvote.words import counted

if TYPE_CHECKING:
    from softvote.export.writer import Check

EXPORT_VERSION = 1
"""Bumped whenever the same voter becomes another program."""

_ROWS = 16  # test rows that a written program is tried on


@dataclass(frozen=True)
class ExportResult:
    """A voter as programs.

    Attributes:
        differences: of each program by its name, at most, from the probabilities of test.npy; none where they
            were there and unchanged.
        rows: of test.npy that were compared.
    """

    folder: ExportFolder
    differences: dict[str, float] = field(default_factory=dict)
    rows: int = 0

    def __str__(self) -> str:
        if not self.differences:
            return f"export: {self.folder.path} is there and unchanged"
        return "\n".join([*map(self._line, self.folder.programs), f"wrote {self.folder.record}"])

    def _line(self, path: Path) -> str:
        size, most = f"{path.stat().st_size / 1e6:,.1f} MB", self.differences[path.name]
        return f"wrote {path}  {size}, at most {most:.1e} from test.npy in {counted(self.rows, 'row')}"


def run(run: Run, voter: str | None = None, to: Path | None = None, report: Report = ignore) -> ExportResult:
    """Write the ensemble, or one member, for PyTorch and as ONNX.

    Args:
        voter: a member instead of the ensemble.
        to: another folder than the voter's own.
        report: takes, before the work, what the programs will compute, in words.

    Raises:
        UserError: no such voter, predictions that are not this pipeline's, or networks or a program
            that give other probabilities.
    """
    name = run.resolve_name(voter)
    plan = make_plan(run)
    plan.predictions(name)  # refuses what is not current before anything heavy is loaded
    folder = run.folder.predictions(name).export if to is None else ExportFolder(to)
    described = _voter(plan, name)
    decided = [described.decision.record().to_json()] if described.decision else []
    key = fingerprint([EXPORT_VERSION, run.name, plan.fingerprint_of(name), *decided])
    if _is_written(folder, key):
        return ExportResult(folder)

    from softvote.export.writer import require_packages, write_program

    require_packages()
    report(_describe(run, described))  # at once: many networks are traced for minutes
    check = _check(plan, name)
    differences = write_program(described, folder, run.name, key, check)
    return ExportResult(folder, differences, len(check.images))


def _is_written(folder: ExportFolder, key: str) -> bool:
    """Whether the program of this key is there as it was written."""
    record = ProgramRecord.read(folder.record)
    if record is None or record.fingerprint != key:
        return False
    return Snapshot().are_intact(folder.programs, record.checksums)


def _voter(plan: Plan, name: str) -> Ensemble:
    vote = None if name in plan.run.pipeline.members else plan.run.folder.predictions(name)
    voter = from_members(name, vote, lambda member: [job.folder for job in plan.jobs_of(member)])
    decision = read_decision(plan.run, name)
    return voter if decision.is_plain else replace(voter, decision=decision)


def _check(plan: Plan, name: str) -> Check:
    """Test rows throughout the file, and what is stored for them."""
    from softvote.export.writer import Check

    dataset, stored = plan.dataset, plan.predictions(name).test
    rows = np.unique(np.linspace(0, len(stored) - 1, _ROWS).astype(np.int64))
    addends = None if dataset.test_addends is None else np.array(dataset.test_addends[rows])
    return Check(rows, np.ascontiguousarray(dataset.test_pixels[rows]), addends, stored[rows])


def _describe(run: Run, voter: Ensemble) -> str:
    networks = sum(len(member.folds) for member in voter.voting)
    how = f"{voter.rule} of " if voter.rule else ""
    return f"{run.name}, {voter.name}: {how}{counted(networks, 'network')}, in float32"
