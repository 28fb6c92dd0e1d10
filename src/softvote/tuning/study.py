"""The trials of a search as Optuna keeps them, in a file that several processes write to."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softvote.config.tuning import SearchRange, TuneConfig
from softvote.errors import UserError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.trial import Trial

WARM_UP = 30
"""Percent of a trial's training before which none is stopped."""


IMPORTED = ("optuna.storages._rdb.storage", "sqlalchemy.dialects.sqlite", "alembic.migration")
"""What opening a study imports, in a second, for whoever starts processes that are going to."""


_PATIENCE = 60.0  # seconds that a process waits while another writes
_FEWEST = 4  # trials that went all the way before one is stopped
_DIGITS = 4  # of a proposed number: more would say more than any trial can tell apart


def require_optuna() -> None:
    """Raise unless Optuna is installed.

    Raises:
        UserError: it is not.
    """
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError:
        raise UserError.at("tune", "Optuna is not installed", "pip install 'softvote[tune]'") from None


@dataclass(frozen=True)
class StudyAddress:
    """Where a study is; small enough to travel to other processes.

    Attributes:
        file: of the database.
        name: of the study in it, which says all that makes its trials comparable.
        greater_is_better: whether a greater value is.
        pruner: as `TuneConfig` has it.
    """

    file: Path
    name: str
    greater_is_better: bool
    pruner: str

    def open(self, sampler: str = "random", seed: int = 0) -> Study:
        """Open the study, new where there is none.

        Args:
            sampler: as `TuneConfig` has it; only who asks for trials needs it.
            seed: of the sampler, in 0..2**32-1.

        Raises:
            UserError: the database cannot be read or written.
        """
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{self.file}", engine_kwargs={"connect_args": {"timeout": _PATIENCE}}
            )
            return optuna.create_study(
                storage=storage,
                sampler=samplers[sampler](seed=seed),
                pruner=_create_pruner(self.pruner),
                study_name=self.name,
                direction="maximize" if self.greater_is_better else "minimize",
                load_if_exists=True,
            )
        except (SQLAlchemyError, OSError, RuntimeError) as error:
            what = str(error).splitlines()[0]
            raise UserError.at(self.file, f"cannot be used ({what})", "move it away to begin anew") from None

    def trial(self, number: int) -> Trial:
        """Open one of the study's trials, to report to it."""
        import optuna

        study = self.open()
        [found] = [each for each in study.get_trials(deepcopy=False) if each.number == number]
        return optuna.trial.Trial(study, found._trial_id)


def _create_pruner(name: str) -> BasePruner:
    """Optuna's pruner; steps are percents of a trial's training."""
    from optuna import pruners

    if name == "median":
        return pruners.MedianPruner(n_startup_trials=_FEWEST, n_warmup_steps=WARM_UP)
    if name == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource=WARM_UP, reduction_factor=2)
    return pruners.NopPruner()


def suggest_values(trial: Trial, tune: TuneConfig) -> dict[str, Any]:
    """Ask a trial for a value of every key of the space."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of choices that are not numbers or text
        return {key: _suggest(trial, key, search) for key, search in tune.space.items()}


def _suggest(trial: Trial, key: str, search: SearchRange) -> Any:
    if search.choice is not None:
        return search.choice[trial.suggest_categorical(key, list(range(len(search.choice))))]
    if search.integer:
        return trial.suggest_int(key, *search.integer)
    low, high = search.limits or (0.0, 1.0)
    value = trial.suggest_float(key, low, high, log=search.log is not None)
    return min(high, max(low, float(f"{value:.{_DIGITS}g}")))


def to_parameters(values: dict[str, Any], tune: TuneConfig) -> dict[str, Any] | None:
    """What `suggest_values` would have been told for these values; None where one is not in its range."""
    parameters = {}
    for key, search in tune.space.items():
        if key not in values or not search.holds(values[key]):
            return None
        value = values[key]
        parameters[key] = search.choice.index(value) if search.choice is not None else value
    return parameters
