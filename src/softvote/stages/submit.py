"""Submit: from probabilities of the test rows to a checked submission, a row in the ledger, and Kaggle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softvote.data.dataset import read_solution
from softvote.data.forms import SubmissionTemplate
from softvote.ensembling.ensemble import read_vote
from softvote.ensembling.records import ScoreRecord
from softvote.ensembling.scorer import FittedDecision
from softvote.errors import UserError
from softvote.inference.record import TrainingRecord
from softvote.metrics.scores import Score
from softvote.reporting.tables import render
from softvote.stages import Report, Run, ignore
from softvote.stages.expectation import expect
from softvote.stages.plan import Plan, make_plan, read_decision
from softvote.stages.send import SendOptions, kaggle_slug, send
from softvote.storage.fingerprints import sha256_of
from softvote.storage.git import git_state
from softvote.tracking.ledger import REFIT_BESIDE, SETTLED, TRANSDUCTIVE, Entry, append_entry
from softvote.tracking.submission import SubmissionFormat, submission_text, write_submission_file
from softvote.words import counted


@dataclass(frozen=True)
class SubmitResult:
    """A submission that was written and checked.

    Attributes:
        entry: its row of the ledger.
        path: of its file.
        added: whether the row is new there.
    """

    entry: Entry
    path: Path
    ledger: Path
    added: bool

    def __str__(self) -> str:
        return "\n".join([*_lines(self.entry), f"wrote {self.path}", ledger_note(self.ledger, self.added)])


def ledger_note(ledger: Path, added: bool) -> str:
    """What became of a row of the ledger."""
    return f"{'added a row to' if added else 'already in'} {ledger}"


def run(
    run: Run, voter: str | None = None, sending: SendOptions | None = None, report: Report = ignore
) -> SubmitResult:
    """Write the submission of the ensemble, or of one member, and enter it in the ledger.

    Args:
        voter: a member instead of the ensemble.
        sending: how it is sent to Kaggle; None and it stays here.
        report: takes, where it is sent, the result before, and then what Kaggle says.

    Raises:
        UserError: no such voter, predictions that are not this pipeline's, a damaged ledger, or a
            submission that would not have the form of sample_submission; or what cannot be sent.
    """
    name = run.resolve_name(voter)
    if sending is not None:
        kaggle_slug(run)  # what can never be sent is told before anything is written
    entry, path = build_submission(run, name)
    added = append_entry(run.workspace.ledger, entry)
    result = SubmitResult(entry, path, run.workspace.ledger, added)
    if sending is not None:
        report(result)
        report(send(run, entry, path, sending, report))
    return result


def build_submission(run: Run, name: str) -> tuple[Entry, Path]:
    """Write a voter's submission; its row for the ledger, which is not entered yet, and the file.

    Raises:
        UserError: as `run`.
    """
    plan = make_plan(run)
    predictions = plan.predictions(name)
    decision = read_decision(run, name)
    path = decide_and_write(run, plan.dataset.template, predictions.test, decision)
    truth, scorer = read_solution(run.pipeline.competition, run.workspace), plan.scorer
    solution = None
    if truth is not None:
        decided = decision.decide(predictions.test, scorer.space)
        solution = scorer.metric.evaluate(decided, truth, scorer.space).score
    entry, expected = _entry(plan, name, path, len(predictions.test), solution), expect(plan, name)
    if expected is not None:
        entry = replace(entry, expected_score=expected.value, expected_standard_error=expected.standard_error)
    return replace(entry, device=_device(plan, entry.members)), path


def decide_and_write(
    run: Run, template: SubmissionTemplate, test: NDArray[np.float32], decision: FittedDecision
) -> Path:
    """Write the submission that is decided for the test rows, in the competition's form.

    Args:
        test: float32 (T, K), probabilities of the test rows.

    Raises:
        UserError: it would not have the form of sample_submission, or cannot be written.
    """
    wanted = SubmissionFormat.of(run.pipeline.competition, template)
    decided = decision.decide(test, wanted.space) if len(test) else test
    text = submission_text(wanted, decided)
    return write_submission_file(run.workspace, run.name, text, wanted)


def _entry(plan: Plan, name: str, path: Path, test_rows: int, solution: Score | None) -> Entry:
    run = plan.run
    folder = run.folder.predictions(name)
    vote = read_vote(folder) if name == run.pipeline.ensemble.name else None
    scores = ScoreRecord.read(folder.scores)
    assert scores is not None, "predictions are current"
    cv, squared_error = scores.headline, scores.squared_error
    if not math.isfinite(cv.standard_error):
        raise UserError.at(
            folder.path,
            f"{counted(cv.rows, 'scored row is', 'scored rows are')} too few for a standard error",
            "train more folds",
        )
    is_accuracy = run.pipeline.competition.metric.name == "accuracy"
    commit, clean = git_state(run.workspace.root)
    return Entry(
        pipeline=run.name,
        competition=run.pipeline.competition.name,
        ensemble=f"{name}: {vote.rule}" if vote else name,
        members=tuple(vote.weights) if vote else (name,),
        folds=_folds(plan, name),
        settings=tuple(sorted(run.settings)),
        metric=str(run.pipeline.competition.metric),
        decision=scores.decision,
        cv_score=cv.value,
        cv_standard_error=cv.standard_error,
        rows=cv.rows,
        cv_squared_error=squared_error.value if squared_error else None,
        cv_squared_error_standard_error=squared_error.standard_error if squared_error else None,
        solution_score=solution.value if solution else None,
        solution_standard_error=None if solution is None or is_accuracy else solution.standard_error,
        test_rows=test_rows,
        file=path.name,
        sha256=sha256_of(path),
        commit=commit,
        clean=clean,
    )


def _folds(plan: Plan, name: str) -> str:
    """Trained of all, and marks of refits, of test images that were learned, and of scores that flatter."""
    pipeline = plan.run.pipeline
    voters = [name] if name in pipeline.members else pipeline.voters
    refit = any(pipeline.members[voter].refit for voter in voters)
    marks = REFIT_BESIDE if refit else ""
    marks += f" + {TRANSDUCTIVE}" if not set(voters).isdisjoint(pipeline.transductive) else ""
    marks += f" + {SETTLED}" if plan.settled_note else ""
    return f"{len(pipeline.folds.trained)}/{pipeline.folds.count}{marks}"


def _device(plan: Plan, members: Sequence[str]) -> str:
    """The accelerators that trained these members."""
    records = [TrainingRecord.read(job.folder.recipe) for member in members for job in plan.jobs_of(member)]
    return ", ".join(sorted({record.device for record in records if record} - {""}))


def _lines(entry: Entry) -> list[str]:
    trained, _, marks = entry.folds.partition(" ")
    of = f"{trained} folds {marks}".strip()
    lines = [["cross-validation", str(entry.cv), f"{entry.rows:,}", of]]
    if entry.expected is not None:
        lines.append(["expected", str(entry.expected), f"{entry.test_rows:,}", "test rows"])
    if entry.solution is not None:
        lines.append(["solution.csv", str(entry.solution), f"{entry.test_rows:,}", "test rows"])
    table = render([f"{entry.scored_by.title} on", "score", "rows", "of"], lines).removesuffix("\n")
    told = [f"{entry.pipeline}, {entry.voter} ({', '.join(entry.members)})", table]
    if entry.decision:
        told.append(f"decided by {entry.decision}")
    if entry.folds.endswith(SETTLED):
        told.append(f"values were {SETTLED} by a search: the cross-validation flatters")
    if REFIT_BESIDE in entry.folds:
        told.append("refits on all rows predict test rows too, and are in no out-of-fold score")
    if entry.is_transductive:
        told.append(
            f"{TRANSDUCTIVE}: networks learned these test images, of which cross-validation knows nothing"
        )
    if entry.squared_error is not None:
        told.append(f"squared error of the expected sum in cross-validation: {entry.squared_error}")
    return told
