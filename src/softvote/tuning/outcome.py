"""What came of a search, read back from its trials."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any

from softvote.errors import UserError
from softvote.metrics.scores import Score
from softvote.tuning.observer import STOPPED_AT
from softvote.tuning.records import TrialRecord, TuneRecord
from softvote.tuning.search import REASON, SCORE, SETTINGS, SearchSpec

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

_COMPARED = 10  # of the best trials, held against the pipeline as it stands


def gather_outcome(spec: SearchSpec) -> TuneRecord:
    """What every trial that ended came to.

    Raises:
        UserError: no trial was scored.
    """
    address = spec.address
    study = address.open()
    ended = [trial for trial in study.get_trials() if trial.state.is_finished()]
    record = TuneRecord(
        pipeline=spec.name,
        study=address.name,
        metric=str(spec.scorer.metric),
        greater_is_better=spec.scorer.metric.greater_is_better,
        members=spec.members,
        folds=spec.folds,
        of_folds=spec.pipeline.folds.count,
        table=spec.table.fingerprint,
        trials=[_read_trial(trial, spec) for trial in ended],
        best=0,
        importance=_measure_importance(study),
    )
    if not record.scored:
        raise UserError.at("tune", "no trial was scored", "run it with more trials")
    compared = _compare(spec, record)
    trials = [compared.get(trial.number, trial) for trial in record.trials]
    return record.model_copy(update={"trials": trials, "best": record.scored[0].number})


def _read_trial(trial: FrozenTrial, spec: SearchSpec) -> TrialRecord:
    attributes: dict[str, Any] = trial.user_attrs
    score = Score(*attributes[SCORE]) if SCORE in attributes and trial.state.name == "COMPLETE" else None
    stopped = STOPPED_AT in attributes
    found = TrialRecord(
        number=trial.number,
        values=attributes.get("values", {}),
        outcome="scored" if score else "stopped" if stopped else "failed",
        score=score,
        reason=attributes.get(REASON, ""),
        seconds=round(trial.duration.total_seconds(), 1) if trial.duration else 0.0,
    )
    learned = spec.change(attributes[SETTINGS]).transductive if score else []
    marked = [name for name in spec.members if name in learned]
    return found.model_copy(update={"transductive": marked}) if marked else found


def _compare(spec: SearchSpec, record: TuneRecord) -> dict[int, TrialRecord]:
    """The best trials with their gain over the pipeline as it stands, row by row."""
    folders = {trial.number: spec.folder.trial(record.study, trial.number) for trial in record.scored}
    if 0 not in folders:
        return {}
    present = spec.evaluate(folders[0])
    found = {}
    for trial in record.scored[:_COMPARED]:
        if trial.number:
            gain = spec.evaluate(folders[trial.number]).minus(present)
            found[trial.number] = trial.model_copy(update={"gain": gain})
    return found


def _measure_importance(study: Study) -> dict[str, float]:
    """How much of the score each key explains, by PED-ANOVA (Watanabe, Bansal and Hutter 2023)."""
    from optuna.importance import get_param_importances

    with warnings.catch_warnings(), contextlib.suppress(ValueError, RuntimeError, ZeroDivisionError):
        warnings.simplefilter("ignore")
        return {key: float(value) for key, value in get_param_importances(study).items()}
    return {}
