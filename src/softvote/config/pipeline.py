"""The schema of a pipeline file: competition, folds, members and vote.

`softvote.config.pipeline_file` reads such a file; `softvote schema` prints these classes as JSON Schema.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator, model_validator

from softvote.config.competition import Competition
from softvote.config.engine import EngineConfig, LocalEngine, RayEngine
from softvote.config.entries import DecisionConfig, TrackerConfig
from softvote.config.member_fit import find_misfits_of_member
from softvote.config.recipe import Member, Recipe
from softvote.config.registry import (
    DECISIONS_PLACE,
    RULES_PLACE,
    TRACKERS_PLACE,
    literal_of,
    load_registry,
    named_union_of,
)
from softvote.config.schema import ConfigError, Fraction, NonNegative, Strict, check_name
from softvote.config.tuning import TuneConfig, TunedConfig, find_misfits_of_search
from softvote.errors import Problem, one_of

_DECISIONS = load_registry(DECISIONS_PLACE)


if TYPE_CHECKING:
    RuleName = str
    Decision = DecisionConfig
    Tracker = TrackerConfig
else:
    Decision = named_union_of(_DECISIONS, "auto")
    Tracker = named_union_of(load_registry(TRACKERS_PLACE))
    RuleName = literal_of(["auto", *load_registry(RULES_PLACE), "shares"])


_ROUNDING = 1e-6  # by which shares may miss the whole


class FoldsConfig(Strict):
    """Stratified k-fold."""

    count: Annotated[int, Field(ge=2)] = 5
    """Number of folds; with `column`, how many values that has."""
    train: Annotated[int, Field(ge=1)] | None = None
    """Number of folds, counted from the first, that are trained and scored; if omitted, all are."""
    near_identical: NonNegative = 4.0
    """Images whose pixels differ by at most this root mean square, in grey levels of 0..255, share a fold; 0
    keeps exact copies together only."""
    group: str | None = None
    """A column of the training table whose equal values share a fold, such as the patient; near-identical
    images do so too."""
    column: str | None = None
    """A column of the training table that says the fold of each row, in place of folds that are made here;
    its values become folds 0, 1, ... in their order."""

    @model_validator(mode="after")
    def _given_or_made(self) -> FoldsConfig:
        if self.group and self.column:
            raise ConfigError.at("", "group: is for folds that are made, column: for given ones", "drop one")
        return self

    @property
    def trained(self) -> list[int]:
        """The folds that are trained, of 0..count-1."""
        return list(range(min(self.train or self.count, self.count)))


class EnsembleConfig(Strict):
    """Who votes, and how."""

    name: str = "vote"
    """Name of the ensemble, and of its folder under `models/<pipeline>/`: letters, digits, `-` and `_`."""
    members: Annotated[list[str], Field(min_length=1)] | None = None
    """Names of the members that vote; if omitted, every member does."""
    rule: RuleName = "auto"
    """How the weights of the vote come about; `auto` is `shares` where there are any, else it keeps the mean
    unless another rule is better by more than two standard errors of the paired difference."""
    shares: dict[str, Fraction] | None = None
    """Proportion of the vote that a member, or all members with a model together, are given; the others
    share the rest evenly."""

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return check_name(name)

    @field_validator("members")
    @classmethod
    def _once_each(cls, members: list[str] | None) -> list[str] | None:
        if members and len(set(members)) < len(members):
            raise ConfigError.at("", "a member is named twice")
        return members

    @model_validator(mode="after")
    def _shares_have_their_rule(self) -> EnsembleConfig:
        if self.rule == "shares" and not self.shares:
            raise ConfigError.at("", "rule: shares needs shares, such as shares: {cnn: 0.5}")
        if self.shares and self.rule not in ("auto", "shares"):
            raise ConfigError.at("", f"shares are not for rule: {self.rule}", "leave one of them out")
        return self


class Pipeline(Strict):
    """A pipeline file."""

    extends: str | None = None
    """Another pipeline file to start from, by its path from this one's folder without `.yaml`; what this file
    says comes on top, and null drops a key."""
    competition: Competition
    """The competition: files, images, labels."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Integer from which every random number of the pipeline is derived."""
    folds: FoldsConfig = FoldsConfig()
    """How the training rows are split for cross-validation."""
    defaults: Recipe = Recipe()
    """Recipe that every member starts from; a member's own keys come on top."""
    members: Annotated[dict[str, Member], Field(min_length=1)]
    """The networks that are trained and may vote, by their names: letters, digits, `-` and `_`."""
    ensemble: EnsembleConfig = EnsembleConfig()
    """Which members vote, and by which rule."""
    decision: Decision | None = None
    """How probabilities become what is submitted, by its name (`argmax`) or with its parameters
    (`{name: top_k, k: 5}`); `auto`, also if omitted, is what the metric asks for, and where numbers would
    have to be fitted, these only if they make it better by more than two standard errors of the paired
    difference."""
    twin: str | None = None
    """Another pipeline, by its name, that does the same on a competition whose solution is known: what its
    submission scored beyond its cross-validation is expected of this one's too."""
    engine: EngineConfig = LocalEngine()
    """Where trainings run; it changes nothing about what they compute."""
    tune: TuneConfig | None = None
    """The keys that `softvote tune` searches for better values, and how."""
    tuned: TunedConfig | None = None
    """Where values that a search settled came from; `softvote tune` writes it."""
    tracker: Tracker | None = None
    """Where trainings show their curves while they run, by its name or with what it takes beyond; left out,
    nowhere. It changes nothing about what they compute."""

    @field_validator("decision", mode="before")
    @classmethod
    def _auto_is_none(cls, decision: Any) -> Any:
        return None if decision == "auto" or decision == {"name": "auto"} else decision

    @model_validator(mode="after")
    def _metric_decision_and_form_agree(self) -> Pipeline:
        competition, decision = self.competition, self.decision
        if not competition.knows_classes:
            return self
        metric, form, kind = competition.metric, competition.submission_form, competition.task.kind
        made = metric.predicted if decision is None else decision.makes
        if decision is not None and kind not in decision.kinds:
            fitting = ", ".join(name for name, other in _DECISIONS.items() if kind in other.kinds)
            raise ConfigError.at("decision", f"{decision.name} is not for {kind}", f"use auto, or {fitting}")
        try:
            if decision is not None:
                decision.check(competition.label_space)
        except ConfigError as error:
            raise error.under("decision") from None
        if made != metric.predicted:
            what = f"{decision.name if decision else 'auto'} makes {_words(made)}"
            needed = f"{metric.name} needs {_words(metric.predicted)}"
            raise ConfigError.at("decision", f"{what}, and {needed}", "leave it out")
        if made not in form.takes[kind]:
            what = f"{form.name} writes {_words(form.takes[kind][0])}"
            hint = f"use another form or, as the competition is scored, another metric than {metric.name}"
            raise ConfigError.at("competition.form", f"{what}, and {metric.name} needs {_words(made)}", hint)
        return self

    @field_validator("members")
    @classmethod
    def _names(cls, members: dict[str, Member]) -> dict[str, Member]:
        for name in members:
            check_name(name)
        return members

    @model_validator(mode="after")
    def _ensemble_is_of_members(self) -> Pipeline:
        for name in self.voters:
            if name not in self.members:
                raise ConfigError.at(
                    "ensemble.members", f"no member '{name}'", one_of(list(self.members), name)
                )
        if self.ensemble.name in self.members:
            raise ConfigError.at(
                "ensemble.name", f"'{self.ensemble.name}' is a member's name", "choose another"
            )
        return self

    @model_validator(mode="after")
    def _search_is_of_this_pipeline(self) -> Pipeline:
        if self.tune is None:
            return self
        misfits = find_misfits_of_search(
            self.tune, list(self.members), self.ensemble.name, self.folds.count, self.competition
        )
        if problems := list(misfits):
            raise ConfigError(*problems)
        return self

    @model_validator(mode="after")
    def _tracker_is_of_this_machine(self) -> Pipeline:
        if self.tracker is not None and isinstance(self.engine, RayEngine):
            what = "writes on the machine that trains, and the nodes of a cluster keep nothing"
            raise ConfigError.at("tracker", what, "leave it out, or say engine: local")
        return self

    @model_validator(mode="after")
    def _shares_are_of_voters(self) -> Pipeline:
        self.vote_shares()
        return self

    @model_validator(mode="after")
    def _members_build_on_members(self) -> Pipeline:
        problems = []
        for name, member in self.members.items():
            for source, key in member.sources.items():
                if source not in self.members:
                    known = one_of(list(self.members), source)
                    problems.append(Problem(f"members.{name}.{key}", f"no member '{source}'", known))
                elif member.refit and not self.members[source].refit:
                    what = f"starts from {source}, which has none"
                    problems.append(Problem(f"members.{name}.refit", what, "set it there too"))
                elif circle := self._find_way([name, source], name):
                    what = f"is circular: {' <- '.join(circle)}"
                    problems.append(Problem(f"members.{name}.{key}", what, "break the circle"))
        if problems:
            raise ConfigError(*problems)
        return self

    def _find_way(self, path: list[str], target: str) -> list[str]:
        """The path lengthened to a member, each starting from the next; empty where none leads there."""
        if path[-1] == target:
            return path
        member = self.members.get(path[-1])
        for source in member.sources if member else ():
            if source not in path[1:] and (way := self._find_way([*path, source], target)):
                return way
        return []

    def with_sources(self, names: Iterable[str]) -> list[str]:
        """These members and all that they start from, directly or not."""
        found = dict.fromkeys(names)
        waiting = list(found)
        while waiting:
            new = [source for source in self.members[waiting.pop(0)].sources if source not in found]
            found |= dict.fromkeys(new)
            waiting += new
        return list(found)

    @model_validator(mode="after")
    def _heads_are_of_the_task(self) -> Pipeline:
        if not self.competition.knows_classes:
            return self
        kind = self.competition.task.kind
        self.members.update({name: member.with_head_of(kind) for name, member in self.members.items()})
        return self

    @model_validator(mode="after")
    def _heads_fit_the_labels(self) -> Pipeline:
        if not self.competition.knows_classes:
            return self
        problems = [
            replace(problem, where=f"members.{name}.{problem.where}")
            for name, member in self.members.items()
            for problem in find_misfits_of_member(member, self.competition)
        ]
        if problems:
            raise ConfigError(*problems)
        return self

    @property
    def voters(self) -> list[str]:
        """Names of the members that vote, in their order."""
        return list(self.ensemble.members or self.members)

    @property
    def refitted(self) -> list[str]:
        """Names of the voters with a network that has no out-of-fold score."""
        return [name for name in self.voters if self.members[name].refit]

    @property
    def transductive(self) -> list[str]:
        """Names of the members that learned test images, or build on one that did."""
        learned = {name for name, member in self.members.items() if member.learns_test_rows}
        return [name for name in self.members if learned.intersection(self.with_sources([name]))]

    def vote_shares(self) -> list[float] | None:
        """The weight of each voter, in their order, where the ensemble gives shares; they sum to 1.

        Raises:
            ConfigError: a share of nobody, two of one member, or shares that are not the whole.
        """
        shares, voters = self.ensemble.shares, self.voters
        if not shares:
            return None
        weights = dict[str, float]()
        for name, share in shares.items():
            kind = [voter for voter in voters if name in (voter, self.members[voter].model)]
            if not kind:
                known = [*voters, *dict.fromkeys(self.members[voter].model for voter in voters)]
                raise ConfigError.at("ensemble.shares", f"no voter or model '{name}'", one_of(known, name))
            if twice := [voter for voter in kind if voter in weights]:
                raise ConfigError.at("ensemble.shares", f"'{twice[0]}' is given two shares", "name it once")
            weights |= dict.fromkeys(kind, share / len(kind))
        rest, left = [voter for voter in voters if voter not in weights], 1 - sum(shares.values())
        if left < -_ROUNDING or (rest and left <= _ROUNDING) or (not rest and left > _ROUNDING):
            wanted = f"leave something to {', '.join(rest)}" if rest else "sum to 1"
            raise ConfigError.at("ensemble.shares", f"sum to {1 - left:g}", f"they must {wanted}")
        weights |= dict.fromkeys(rest, left / max(1, len(rest)))
        total = sum(weights.values())
        return [weights[voter] / total for voter in voters]


def _words(predicted: str) -> str:
    return predicted.replace("top_k", "the most probable classes")
