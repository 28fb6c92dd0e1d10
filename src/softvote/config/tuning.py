"""What `tune` searches, and what a pipeline says of values that a search settled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator

from softvote.config.entries import MetricConfig
from softvote.config.registry import METRICS_PLACE, load_registry, named_union_of
from softvote.config.schema import ConfigError, Strict
from softvote.errors import Problem, UserError, one_of
from softvote.words import counted

if TYPE_CHECKING:
    from softvote.config.competition import Competition

    SearchMetric = MetricConfig
else:
    SearchMetric = named_union_of(load_registry(METRICS_PLACE))


Recipes = dict[str, dict[str, Any]]
"""Of members, by their names, as JSON has them."""


FOLDER = "tune"
"""Of all trials of a pipeline, beside its members' folders."""


_NOT_OF_A_TRIAL = ("repeats", "refit", "curves")  # every training of a trial is one network of one fold


class SearchRange(Strict):
    """The values that a key may take in a search; one of these says which."""

    log: tuple[float, float] | None = None
    """Lowest and highest number, drawn evenly on a logarithmic scale; of the key's own unit, as are the
    others."""
    uniform: tuple[float, float] | None = Field(default=None, alias="float")
    """Lowest and highest number, drawn evenly."""
    integer: tuple[int, int] | None = Field(default=None, alias="int")
    """Lowest and highest integer, drawn evenly."""
    choice: Annotated[list[Any], Field(min_length=2)] | None = None
    """Values to choose from, two or more."""

    @model_validator(mode="after")
    def _is_one_range(self) -> SearchRange:
        said = [
            name for name in ("log", "float", "int", "choice") if getattr(self, _FIELDS[name]) is not None
        ]
        if len(said) != 1:
            what = f"says {' and '.join(said)}" if said else "says no range"
            raise ConfigError.at("", what, "say one of log, float, int, choice")
        if self.limits is not None:
            low, high = self.limits
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ConfigError.at(said[0], f"{low:g} is not below {high:g}", "give the lower one first")
            if self.log and low <= 0:
                raise ConfigError.at("log", f"{low:g} has no logarithm", "begin above 0, or take float")
        return self

    @property
    def limits(self) -> tuple[float, float] | None:
        """Lowest and highest number; None of a choice."""
        return self.log or self.uniform or self.integer

    @property
    def extremes(self) -> list[Any]:
        """The values that have to be allowed for all to be: both limits, or every choice."""
        if self.integer:
            return list(self.integer)
        return list(self.limits or self.choice or [])

    def holds(self, value: Any) -> bool:
        """Whether a value is in the range."""
        if self.choice is not None:
            return value in self.choice
        number = isinstance(value, int | float) and not isinstance(value, bool)
        low, high = self.limits or (math.nan, math.nan)
        return number and low <= value <= high and (self.integer is None or float(value).is_integer())


_FIELDS = {"log": "log", "float": "uniform", "int": "integer", "choice": "choice"}


class TuneConfig(Strict):
    """A search for better values of a recipe's keys: `softvote tune`."""

    space: Annotated[dict[str, SearchRange], Field(min_length=1)]
    """The keys to search, by their dotted names from `members` or `defaults`, such as
    `members.cnn.optimizer.lr`, each with its range."""
    folds: Annotated[int, Field(ge=1)] = 1
    """Number of folds, counted from the last, that score the trials; the pipeline that takes the values found
    scores the others."""
    members: Annotated[list[str], Field(min_length=1)] | None = None
    """Names of the members that a trial trains, and whose vote it scores; if omitted, those whose keys are
    searched."""
    metric: SearchMetric | None = None
    """What trials are scored by, by its name or with what it takes beyond; if omitted, the competition's
    metric."""
    sampler: Literal["tpe", "random"] = "tpe"
    """How values are proposed: `tpe`, by what trials scored so far (Bergstra et al. 2011), or `random`."""
    pruner: Literal["median", "halving", "none"] = "median"
    """Which trials are stopped early, by what they score after an epoch: those below the `median` of the
    others at the same part of the training, by successive `halving` (Jamieson and Talwalkar 2016), or
    `none`."""

    def searched(self, members: Sequence[str]) -> list[str]:
        """Names of the members that a trial trains, in their order."""
        if self.members is not None:
            return [name for name in members if name in self.members]
        named = {key.split(".")[1] for key in self.space if key.startswith("members.")}
        if any(key.startswith("defaults.") for key in self.space):
            return list(members)
        return [name for name in members if name in named]


class TunedConfig(Strict):
    """Where a search settled values of this pipeline; `softvote tune` writes it into the file of the best."""

    pipeline: str
    """Name of the pipeline whose space was searched."""
    trials: Annotated[int, Field(ge=1)]
    """Number of trials that the values are the best of."""
    folds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    """Numbers of the folds, from 0, that scored the trials. A pipeline that scores them too is told to
    flatter."""
    table: str
    """Fingerprint of the table of folds that they are folds of."""

    def has_seen(self, scored: Sequence[int], table: str) -> bool:
        """Whether rows of scored folds scored trials too, so that what was chosen by luck scores well again.

        Args:
            scored: numbers of the folds.
            table: fingerprint of the table of folds; folds of another table mix the rows anew.
        """
        return table != self.table or not set(scored).isdisjoint(self.folds)


def find_misfits(
    space: Mapping[str, SearchRange], try_setting: Callable[[str], Recipes | UserError]
) -> Iterator[tuple[str, Problem]]:
    """Find what a search could propose and a pipeline cannot take: a key of the space, and what is wrong.

    Args:
        try_setting: what a trial trains under `KEY=VALUE`, or what is wrong with the pipeline then.
    """
    for key, search in space.items():
        if problem := _misfit_of_key(key):
            yield key, problem
            continue
        trained, is_wrong = [], False
        for value in search.extremes:
            setting = f"{key}={as_yaml(value)}"
            found = try_setting(setting)
            if not isinstance(found, UserError):
                trained.append(found)
                continue
            is_wrong = True
            for problem in found.problems:
                inner = problem.where.rpartition(": ")[2]
                what = problem.what if inner in (key, f"`set` {setting}") else f"{inner}: {problem.what}"
                yield key, Problem("", what, problem.hint)
            if search.choice is None:
                break
        if not is_wrong and all(each == trained[0] for each in trained):
            what = "changes nothing of what a trial trains"
            yield (
                key,
                Problem("", what, "search a key of a member that is trained and does not say it itself"),
            )


def find_misfits_of_search(
    tune: TuneConfig, members: Sequence[str], vote: str, folds: int, competition: Competition
) -> Iterator[Problem]:
    """Find what of a search does not fit the pipeline it stands in.

    Args:
        members: their names.
        vote: name of the ensemble.
        folds: how many there are.
    """
    for name in tune.members or ():
        if name not in members:
            yield Problem("tune.members", f"no member '{name}'", one_of([*members], name))
    if tune.folds >= folds:
        what = (
            f"{tune.folds} of {counted(folds, 'fold leaves', 'folds leave')} none that no trial is scored on"
        )
        yield Problem("tune.folds", what, f"at most {folds - 1}")
    if FOLDER in (*members, vote):
        yield Problem("tune", f"its trials lie in a folder {FOLDER}, as would what is called so", "rename it")
    if tune.metric is None or not competition.knows_classes:
        return
    kind = competition.task.kind
    if kind not in tune.metric.kinds:
        yield Problem("tune.metric", f"{tune.metric.name} is not for {kind}", "leave it out")
    else:
        try:
            tune.metric.check(competition.label_space)
        except ConfigError as error:
            yield from error.under("tune.metric").problems


def _misfit_of_key(key: str) -> Problem | None:
    parts = key.split(".")
    if parts[0] not in ("members", "defaults") or len(parts) < (3 if parts[0] == "members" else 2):
        return Problem("", "is not a key of a recipe", "search keys under members.<name> or defaults")
    if parts[-1] in _NOT_OF_A_TRIAL:
        return Problem("", "means nothing in a trial, which is one training per fold", "leave it out")
    return None


def as_yaml(value: Any) -> str:
    """A value as it stands behind a key in one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
    return text.removesuffix("\n").removesuffix("\n...")
