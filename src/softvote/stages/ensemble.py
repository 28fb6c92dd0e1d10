"""Ensemble: from the members' probabilities to a vote with the same artefacts as a member."""

from __future__ import annotations

from softvote.ensembling.comparison import choose_rule, compare_members, fixed_rule
from softvote.ensembling.ensemble import read_vote
from softvote.ensembling.predictions import Predictions, read_predictions, write_predictions
from softvote.ensembling.records import ScoreRecord, VoteRecord
from softvote.ensembling.rules import RULES
from softvote.ensembling.vote import soft_vote
from softvote.errors import ErrorCollector
from softvote.reporting.comparison import render_table
from softvote.scheduling.job import describe_jobs
from softvote.stages import Run
from softvote.stages.plan import WITHOUT_SCORE, Plan, make_plan
from softvote.storage.files import remove_if_exists, write_text


def run(run: Run) -> None:
    """Compare the rules, choose one, and write its vote.

    Raises:
        UserError: a member is not trained, or was trained with another recipe.
    """
    plan, name = make_plan(run), run.pipeline.ensemble.name
    _refuse_unfinished(plan)
    folder = run.folder.predictions(name)
    if plan.is_current(name):
        print(f"ensemble: {folder.path} is there and unchanged")
    else:
        _vote(plan)
    print(folder.comparison.read_text(encoding="utf-8"), end="")
    vote = read_vote(folder)
    weights = ", ".join(f"{voter} {weight:.3f}" for voter, weight in vote.weights.items())
    print(f"{name}: {vote.rule} ({weights})")
    for refitted in run.pipeline.refitted:
        print(f"{refitted}: {WITHOUT_SCORE}")
    scores = ScoreRecord.read(folder.scores)
    if scores and scores.squared_error:
        print(f"{name}: squared error of the expected sum {scores.squared_error}")


def _refuse_unfinished(plan: Plan) -> None:
    problems = ErrorCollector()
    for name in plan.run.pipeline.voters:
        due = [status for status in plan.statuses(plan.jobs_of(name)) if not status.is_done]
        if due:
            reasons = "; ".join(dict.fromkeys(status.reason for status in due))
            which = describe_jobs([status.job for status in due])
            problems.add(f"members.{name}", f"{which} is due ({reasons})", "run the train stage")
        elif not plan.is_current(name):
            problems.add(f"members.{name}", "its folds are not put together yet", "run the train stage")
    problems.raise_any()


def _vote(plan: Plan) -> None:
    ensemble, voters = plan.run.pipeline.ensemble, plan.run.pipeline.voters
    members = [read_predictions(plan.run.folder.predictions(name)) for name in voters]  # found current before
    rows, oof = members[0].rows, [member.oof for member in members]
    truth, fold_of_row = plan.dataset.train_labels[rows], plan.folds[rows]
    rules = dict(RULES)
    if shares := plan.run.pipeline.vote_shares():
        rules["shares"] = fixed_rule("shares", shares)
    compared = compare_members(oof, voters, truth, fold_of_row, list(rules.values()))
    rule = rules[choose_rule("shares" if shares else ensemble.rule, compared.rows)]
    weights, voted = compared.fit_weights(rule.name), compared.votes[rule.name]
    assert voted is not None, "choose_rule refuses a fitted rule with one fold"
    test = soft_vote([member.test for member in members], weights, rule.space, voters)
    folder = plan.run.folder.predictions(ensemble.name)
    remove_if_exists(folder.scores)
    write_text(folder.comparison, render_table(compared.rows))
    chosen = {name: float(weight) for name, weight in zip(voters, weights, strict=True)}
    VoteRecord(rule=rule.name, space=rule.space, weights=chosen).write(folder.vote)
    predictions = Predictions(rows, voted, test)
    fingerprint = plan.key(ensemble.name)
    write_predictions(folder, predictions, plan.dataset.train_labels, plan.task, fingerprint)
