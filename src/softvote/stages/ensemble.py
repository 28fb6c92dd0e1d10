"""Ensemble: from the members' probabilities to a vote with the same artefacts as a member."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from softvote.ensembling.comparison import choose_rule, compare_members, fixed_rule
from softvote.ensembling.ensemble import read_vote
from softvote.ensembling.predictions import Predictions, read_predictions, write_predictions
from softvote.ensembling.records import ScoreRecord, VoteRecord
from softvote.ensembling.rules import RULES
from softvote.ensembling.vote import soft_vote
from softvote.errors import ErrorCollector
from softvote.metrics.scores import Score
from softvote.reporting.comparison import render_table
from softvote.reporting.tables import mark_transductive
from softvote.scheduling.job import describe_jobs
from softvote.stages import Run
from softvote.stages.expectation import describe_source, expect
from softvote.stages.plan import LEARNED_TEST_IMAGES, WITHOUT_SCORE, Plan, make_plan
from softvote.storage.files import remove_if_exists, write_text


@dataclass(frozen=True)
class EnsembleResult:
    """A vote and how it was chosen.

    Attributes:
        made: whether it was made now; otherwise it was there.
        comparison: the table of the rules, as text.
        refitted: members whose refit votes on test rows too.
        decided: what the vote's probabilities are decided by, and what that scores; empty where nothing was
            to be decided.
        expected: what its submission may be expected to score, and why; empty where nothing was scored.
        compared_by: what members and rules of the table are decided by, where the decision is fitted and they
            are not; empty elsewhere.
        submitted: what each member scores as it would be submitted, likewise.
        transductive: members among the voters that learned test images.
        settled: that a search settled values on the rows of the scores; empty where none did.
    """

    name: str
    folder: Path
    made: bool
    comparison: str
    rule: str
    weights: dict[str, float]
    refitted: tuple[str, ...]
    squared_error: Score | None
    decided: str = ""
    expected: str = ""
    compared_by: str = ""
    submitted: str = ""
    transductive: tuple[str, ...] = ()
    settled: str = ""

    def __str__(self) -> str:
        lines = [] if self.made else [f"ensemble: {self.folder} is there and unchanged"]
        weights = ", ".join(f"{voter} {weight:.3f}" for voter, weight in self.weights.items())
        lines += [self.comparison.removesuffix("\n")]
        lines += (
            [f"Members and rules are compared as decided by {self.compared_by}."] if self.compared_by else []
        )
        lines += [f"As submitted they score {self.submitted}."] if self.submitted else []
        lines += [f"{mark_transductive(self.name, bool(self.transductive))}: {self.rule} ({weights})"]
        lines += [f"{self.name}: {self.decided}"] if self.decided else []
        lines += [f"{self.name}: expected of the test rows {self.expected}"] if self.expected else []
        lines += [f"{refitted}: {WITHOUT_SCORE}" for refitted in self.refitted]
        lines += [f"{name}: {LEARNED_TEST_IMAGES}" for name in self.transductive]
        if self.squared_error:
            lines.append(f"{self.name}: squared error of the expected sum {self.squared_error}")
        lines += [f"note: {self.settled}"] if self.settled else []
        return "\n".join(lines)


def run(run: Run) -> EnsembleResult:
    """Compare the rules, choose one, and write its vote.

    Raises:
        UserError: a member is not trained, or was trained with another recipe.
    """
    plan, name = make_plan(run), run.pipeline.ensemble.name
    _refuse_unfinished(plan)
    folder = run.folder.predictions(name)
    made = not plan.is_current(name)
    if made:
        _vote(plan)
    vote, scores = read_vote(folder), ScoreRecord.read(folder.scores)
    return EnsembleResult(
        name=name,
        folder=folder.path,
        made=made,
        comparison=folder.comparison.read_text(encoding="utf-8"),
        rule=vote.rule,
        weights=vote.weights,
        refitted=tuple(run.pipeline.refitted),
        squared_error=scores.squared_error if scores else None,
        decided=_decision_in_words(plan, scores) if scores else "",
        expected=_expected_in_words(plan, name),
        compared_by=_comparison_in_words(plan),
        submitted=_submitted_in_words(plan),
        transductive=tuple(plan.transductive_among([name])),
        settled=plan.settled_note,
    )


def _expected_in_words(plan: Plan, name: str) -> str:
    expected = expect(plan, name)
    return "" if expected is None else f"{expected}, {describe_source(plan, name)}"


def _comparison_in_words(plan: Plan) -> str:
    """Why a member may score otherwise in this table than in that of its training."""
    decision = plan.scorer.decision
    if not decision.needs_fit:
        return ""
    plain = decision.unfitted.describe(plan.scorer.space, ())
    return f"{plain}, without fitted {decision.name.replace('_', ' ')}"


def _submitted_in_words(plan: Plan) -> str:
    """The score of each member with its decision, which the table compares without."""
    if not plan.scorer.decision.needs_fit:
        return ""
    folders = {name: plan.run.folder.predictions(name) for name in plan.run.pipeline.voters}
    records = {name: ScoreRecord.read(folder.scores) for name, folder in folders.items()}
    return ", ".join(f"{name} {record.headline}" for name, record in records.items() if record)


def _decision_in_words(plan: Plan, scores: ScoreRecord) -> str:
    if not plan.scorer.decision.needs_fit:
        return ""
    title, value = plan.scorer.metric.title, f"{plan.scorer.metric.title} {scores.headline}"
    if scores.value_without is None:
        kind = plan.scorer.decision.name.replace("_", " ")
        return f"{scores.decision}, {value}; fitted {kind} are not better by more than two standard errors"
    return (
        f"{scores.decision}, {value} on folds they were not fitted on; {title} {scores.value_without} without"
    )


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
    scorer = plan.scorer
    compared = compare_members(oof, voters, truth, fold_of_row, scorer.for_rows(rows), list(rules.values()))
    rule = rules[choose_rule("shares" if shares else ensemble.rule, compared.rows)]
    weights, voted = compared.fit_weights(rule.name), compared.votes[rule.name]
    assert voted is not None, "choose_rule refuses a fitted rule with one fold"
    test = soft_vote([member.test for member in members], weights, rule.space, voters, plan.task.blocks)
    folder = plan.run.folder.predictions(ensemble.name)
    remove_if_exists(folder.scores)
    transductive = plan.transductive_among([ensemble.name])
    write_text(folder.comparison, render_table(compared.rows, scorer.metric, transductive))
    chosen = {name: float(weight) for name, weight in zip(voters, weights, strict=True)}
    VoteRecord(rule=rule.name, space=rule.space, weights=chosen).write(folder.vote)
    predictions = Predictions(rows, voted, test)
    fingerprint = plan.fingerprint_of(ensemble.name)
    labels = plan.dataset.train_labels
    write_predictions(folder, predictions, labels, plan.task, fingerprint, scorer, plan.folds)
