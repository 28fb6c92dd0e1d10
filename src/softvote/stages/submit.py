"""Submit: from probabilities of the test rows to a checked submission file and a row in the ledger."""

from __future__ import annotations

from pathlib import Path

from softvote.artifacts import read_json, sha256_of
from softvote.dataset import Dataset, read_solution
from softvote.git import git_state
from softvote.ledger import Entry, append_entry
from softvote.predictions import Predictions, score_from
from softvote.scores import Score, accuracy
from softvote.stages import Run
from softvote.stages.plan import make_plan
from softvote.submission import submission_text, write_submission
from softvote.tables import render


def run(run: Run, voter: str | None = None) -> None:
    """Write the submission of the ensemble, or of one member, and enter it in the ledger.

    Raises:
        UserError: no such voter, predictions that are not this pipeline's, a damaged ledger, or a
            submission that would not have the form of sample_submission.
    """
    name = run.voter(voter)
    plan = make_plan(run)
    predictions = plan.predictions(name)
    truth = read_solution(run.pipeline.competition, run.workspace)
    solution = None if truth is None else accuracy(predictions.test, truth)
    path = _write(run, plan.dataset, predictions)
    scores = read_json(run.folder.voter(name).scores)
    squared_error = score_from(scores["squared_error"]) if "squared_error" in scores else None
    cv = score_from(scores["accuracy"])
    entry = _entry(run, name, cv, squared_error, solution, len(predictions.test), path)
    added = append_entry(run.workspace.ledger, entry)
    _show(run, entry, squared_error, solution)
    print(f"wrote {path}")
    print(f"{'added a row to' if added else 'already in'} {run.workspace.ledger}")


def _write(run: Run, dataset: Dataset, predictions: Predictions) -> Path:
    classes = run.pipeline.competition.classes
    labels = [classes[index] for index in predictions.test.argmax(axis=1)]
    text = submission_text(dataset.sample_header, dataset.test_ids, labels)
    return write_submission(run.workspace, run.name, text, dataset.sample_header, dataset.test_ids, classes)


def _entry(
    run: Run,
    name: str,
    cv: Score,
    squared_error: Score | None,
    solution: Score | None,
    test_rows: int,
    path: Path,
) -> Entry:
    folder = run.folder.voter(name)
    chosen = read_json(folder.vote) if name == run.pipeline.ensemble.name else {}
    commit, clean = git_state(run.workspace.root)
    return Entry(
        pipeline=run.name,
        competition=run.pipeline.competition.name,
        ensemble=f"{name}: {chosen['rule']}" if chosen else name,
        members=tuple(chosen["weights"]) if chosen else (name,),
        folds=f"{len(run.pipeline.folds.trained)}/{run.pipeline.folds.count}",
        settings=tuple(sorted(run.settings)),
        cv_score=cv.value,
        cv_standard_error=cv.standard_error,
        rows=cv.rows,
        cv_squared_error=squared_error.value if squared_error else None,
        cv_squared_error_standard_error=squared_error.standard_error if squared_error else None,
        solution_score=None if solution is None else solution.value,
        test_rows=test_rows,
        file=path.name,
        sha256=sha256_of(path),
        commit=commit,
        clean=clean,
    )


def _show(run: Run, entry: Entry, squared_error: Score | None, solution: Score | None) -> None:
    cv = Score(entry.cv_score, entry.cv_standard_error, entry.rows)
    lines = [["cross-validation", str(cv), f"{entry.rows:,}", f"{entry.folds} folds"]]
    if solution is not None:
        lines.append(["solution.csv", str(solution), f"{solution.rows:,}", "test rows"])
    print(f"{run.name}, {entry.ensemble} ({', '.join(entry.members)})")
    print(render(["accuracy on", "score", "rows", "of"], lines), end="")
    if squared_error is not None:
        print(f"squared error of the expected sum in cross-validation: {squared_error}")
