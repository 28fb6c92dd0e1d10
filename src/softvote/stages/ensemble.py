"""Ensemble: from the members' probabilities to a vote with the same artefacts as a member."""

from __future__ import annotations

import numpy as np

from softvote import folds
from softvote.artifacts import read_json, write_json, write_text
from softvote.dataset import Dataset
from softvote.ensemble import RULES, choose_rule, compare, cross_fitted, render_table, soft_vote
from softvote.errors import Problems, UserError
from softvote.jobs import Job, voter_key
from softvote.predictions import Predictions, read_predictions, write_predictions
from softvote.stages import Run
from softvote.stages.train import fold_origin, planned


def run(run: Run) -> None:
    """Compare the rules, choose one, and write its vote.

    Raises:
        UserError: a member is not trained, or was trained with another recipe.
    """
    dataset, jobs = planned(run)
    _refuse_unfinished(run, jobs)
    name, key = run.pipeline.ensemble.name, voter_key(run.pipeline, jobs, run.pipeline.ensemble.name)
    folder = run.folder.voter(name)
    if is_current(run, name, key):
        print(f"ensemble: {folder.path} is there and unchanged")
    else:
        _vote(run, dataset, key)
    print(folder.comparison.read_text(encoding="utf-8"), end="")
    chosen = read_json(folder.vote)
    weights = ", ".join(f"{voter} {weight:.3f}" for voter, weight in chosen["weights"].items())
    print(f"{name}: {chosen['rule']} ({weights})")


def is_current(run: Run, voter: str, key: str) -> bool:
    """Whether a member's or ensemble's predictions on disk are those of this pipeline."""
    return bool(read_json(run.folder.voter(voter).scores).get("key") == key)


def _refuse_unfinished(run: Run, jobs: list[Job]) -> None:
    problems = Problems()
    for name in run.pipeline.voters:
        due = [job for job in jobs if job.member_name == name and job.state() != "done"]
        if due:
            which = ", ".join(str(job.fold) for job in due)
            reasons = "; ".join(dict.fromkeys(job.reason() for job in due))
            problems.add(f"members.{name}", f"fold {which} is due ({reasons}); run the train stage")
        elif not is_current(run, name, voter_key(run.pipeline, jobs, name)):
            problems.add(f"members.{name}", "its folds are not put together yet; run the train stage")
    problems.raise_any()


def _vote(run: Run, dataset: Dataset, key: str) -> None:
    ensemble, voters = run.pipeline.ensemble, run.pipeline.voters
    members = [read_predictions(run.folder.voter(name)) for name in voters]
    rows, oof = members[0].rows, [member.oof for member in members]
    labels = dataset.train_labels[rows]
    fold_of_row = folds.read_folds(run.folder, fold_origin(run, dataset)).folds[rows]
    table = compare(oof, voters, labels, fold_of_row)
    rule = RULES[choose_rule(ensemble.rule, table)]
    weights = rule.fit(oof, labels)
    voted = cross_fitted(rule, oof, labels, fold_of_row)
    if voted is None:
        raise UserError(f"ensemble.rule: {rule.name} needs two trained folds; set rule: mean")
    test = soft_vote([member.test for member in members], weights, rule.space, voters)
    folder = run.folder.voter(ensemble.name)
    folder.scores.unlink(missing_ok=True)
    write_text(folder.comparison, render_table(table))
    chosen = {name: float(weight) for name, weight in zip(voters, np.round(weights, 6), strict=True)}
    write_json(folder.vote, {"rule": rule.name, "space": rule.space, "weights": chosen})
    write_predictions(folder, Predictions(rows, voted, test), dataset.train_labels, {"key": key})
