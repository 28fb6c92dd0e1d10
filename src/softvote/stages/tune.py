"""Tune: from a space of values to trials, and a pipeline with the best of them.

Trials are scored on the pipeline's last folds, which the tuned pipeline never scores: whatever luck chose its
values has no part in its scores, and those of the pipeline it starts from are taken on the same rows.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from softvote.config.engine import LocalEngine
from softvote.config.pipeline import Pipeline
from softvote.config.settings import parse_setting, split_key
from softvote.config.tuning import TuneConfig, as_yaml
from softvote.data import folds
from softvote.data.dataset import read_dataset
from softvote.ensembling.scorer import Scorer
from softvote.errors import ErrorCollector, UserError
from softvote.metrics.scores import verdict_text
from softvote.reporting.tables import render
from softvote.reporting.tuning import name_trial, plot_history, plot_importance
from softvote.scheduling.job_batch import JobBatch
from softvote.scheduling.processes import prepare, run_local
from softvote.scheduling.worker import CHECKPOINT_SECONDS
from softvote.stages import Run, open_run
from softvote.stages.plan import LEARNED_TEST_IMAGES, inputs_of_folds
from softvote.storage.files import write_text
from softvote.storage.locks import try_lock
from softvote.tuning.outcome import gather_outcome
from softvote.tuning.records import TrialRecord, TuneRecord
from softvote.tuning.search import Search, SearchSpec, describe_values, shorten_key
from softvote.tuning.study import IMPORTED, require_optuna
from softvote.words import counted

TRIALS = 20
"""How many there are in all, unless told otherwise."""


_SHOWN = 10
_MARK = "# Written by `softvote tune"
_MANY = 1_000_000  # trainings to come; more than there are cores, so that each takes one
_NOT_OF_VALUES = ("engine", "tracker", "tune", "tuned")


@dataclass(frozen=True)
class TuneResult:
    """What a search came to.

    Attributes:
        record: of its trials.
        overlay: the pipeline with the best values; None where nothing beat the pipeline as it stands.
        pictures: of the trials and of what mattered.
        earlier: a pipeline with the values of an earlier search, which this one did not write anew; else
            None.
    """

    record: TuneRecord
    overlay: Path | None
    pictures: tuple[Path, ...]
    earlier: Path | None = None

    def __str__(self) -> str:
        record = self.record
        lines = [_table(record).removesuffix("\n")]
        count = dict.fromkeys(("scored", "stopped", "failed"), 0)
        for trial in record.trials:
            count[trial.outcome] += 1
        told = ", ".join(f"{number} {name}" for name, number in count.items() if number)
        lines.append(
            f"{counted(len(record.trials), 'trial')}: {told}; scored by {record.metric} on {record.where}"
        )
        if record.importance:
            shares = ", ".join(f"{shorten_key(key)} {part:.0%}" for key, part in record.importance.items())
            lines.append(f"what mattered: {shares}")
        lines += [f"{name}: {LEARNED_TEST_IMAGES}" for name in record.transductive]
        lines.append(f"tune: {_verdict(record)}")
        if self.earlier:
            lines.append(f"tune: {self.earlier} is of an earlier search, and was left as it is")
        wrote = [*self.pictures, *([self.overlay] if self.overlay else [])]
        return "\n".join([*lines, *(f"wrote {path}" for path in wrote)])


def run(run: Run, trials: int = TRIALS) -> TuneResult:
    """Train trials until there are so many, and write a pipeline with the values of the best.

    What an earlier run of the same search left is gone on with.

    Args:
        trials: in all, with those of earlier runs; trial 0 is the pipeline as it stands.

    Raises:
        UserError: nothing to search, no Optuna, no data, no folds, a pipeline that cannot be trained as it
            stands, another run that is busy with it, or a file in the way of what is written.
    """
    if run.pipeline.tune is None:
        what = "the pipeline has no `tune: {space: ...}`, so there is nothing to search"
        raise UserError.at("tune", what, "see docs/tuning.md")
    require_optuna()
    if not isinstance(run.pipeline.engine, LocalEngine):
        raise UserError.at("engine", "trials run on this machine", "`set` engine=local")
    overlay = run.workspace.pipelines / f"{run.name}-tuned.yaml"
    _refuse_to_overwrite(overlay)
    check_choices(run)
    spec = _specify(run, run.pipeline.tune)
    with try_lock(spec.folder.lock) as mine:
        if not mine:
            raise UserError.at("tune", "another run is busy with this search", "wait for it")
        _train(spec, run.pipeline.engine, trials)
        record = gather_outcome(spec)
        pictures = (spec.folder.history, *([spec.folder.importance] if record.importance else []))
        plot_history(spec.folder.history, record)
        if record.importance:
            plot_importance(spec.folder.importance, record)
        record.write(spec.folder.record)
        if record.best == 0:
            return TuneResult(record, None, pictures, overlay if overlay.is_file() else None)
        write_text(overlay, _overlay(run, record, overlay))
    return TuneResult(record, overlay, pictures)


def check_choices(run: Run) -> None:
    """Build the networks of every choice once, so that no trial is spent on one that cannot be built.

    Raises:
        UserError: every choice that cannot.
    """
    from softvote.inference.network import build_networks

    tune, problems = run.pipeline.tune, ErrorCollector()
    if tune is None:
        return
    for key, search in tune.space.items():
        for value in search.choice or ():
            pipeline = _change(run, [f"{key}={as_yaml(value)}"])
            try:
                build_networks(pipeline, tune.searched(list(pipeline.members)), with_weights=False)
            except UserError as error:
                problems.extend(problem.within(f"tune.space.{key}") for problem in error.problems)
    problems.raise_any()


def _change(run: Run, settings: Sequence[str]) -> Pipeline:
    return open_run(run.workspace.root, str(run.file), [*run.settings, *settings]).pipeline


def _refuse_to_overwrite(overlay: Path) -> None:
    if overlay.is_file() and not overlay.read_text(encoding="utf-8").startswith(_MARK):
        what = "is in the way of the pipeline that is to be written"
        raise UserError.at(overlay, what, "move or rename it")


def _specify(run: Run, tune: TuneConfig) -> SearchSpec:
    dataset = read_dataset(run.pipeline.competition, run.workspace)
    table = folds.read_folds(run.folder, inputs_of_folds(run, dataset))
    pipeline, groups = run.pipeline, dataset.train_groups.get(run.pipeline.folds.group or "")
    if tune.metric is not None:
        competition = pipeline.competition.model_copy(update={"metric": tune.metric})
        pipeline = pipeline.model_copy(update={"competition": competition, "decision": None})
    scorer = Scorer.of_pipeline(pipeline, groups)
    return SearchSpec(
        name=run.name,
        pipeline=run.pipeline,
        change=functools.partial(_change, run),
        workspace=run.workspace,
        folder=run.folder.tune,
        dataset=dataset,
        table=table,
        scorer=scorer,
    )


def _train(spec: SearchSpec, engine: LocalEngine, trials: int) -> None:
    """Train until there are so many trials."""
    search = Search(spec, trials)
    if search.is_done:
        return
    prepare(*IMPORTED)
    jobs = spec.plan(spec.pipeline, spec.folder.trial("", 0))  # by which memory and GPUs are shared out
    work = JobBatch(
        spec.workspace, spec.pipeline.competition, jobs, _MANY, spec.table.folds, CHECKPOINT_SECONDS
    )
    try:
        run_local(work, engine.workers, search.supply)
    except KeyboardInterrupt:
        done = search.asked - len(search.live)
        what = f"stopped; {done} of {counted(trials, 'trial is', 'trials are')} done"
        kept = counted(len(search.live), "is kept as it is", "are kept as they are")
        raise KeyboardInterrupt(f"{what}, and {kept}; run the same command to go on") from None


def _table(record: TuneRecord) -> str:
    """The best trials, and the pipeline as it stands, with what they differ by."""
    shown = record.scored[:_SHOWN]
    shown += [trial for trial in record.scored[_SHOWN:] if trial.number == 0]
    keys = list(record.trials[0].values)
    header = ["trial", record.metric, "gain", "which is", *map(shorten_key, keys)]
    return render(header, [_line(trial, keys) for trial in shown])


def _line(trial: TrialRecord, keys: list[str]) -> list[str]:
    gain = [str(trial.gain), trial.gain.verdict] if trial.gain else ["", ""]
    return [name_trial(trial), str(trial.score), *gain, *(_short(trial.values.get(key)) for key in keys)]


def _short(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _verdict(record: TuneRecord) -> str:
    """What the best trial is worth, in words."""
    if record.best == 0:
        return "no trial scored better than the pipeline as it stands"
    best = record.trial(record.best)
    told = f"trial {name_trial(best)}, {describe_values(best.values)}, {best.score}"
    if best.gain is None:
        return told
    words = verdict_text(best.gain.gain, best.gain.standard_error)
    several = f"as the best of {len(record.trials)} flatters, the other folds say more"
    return f"{told}; {best.gain} against the pipeline as it stands: {words}; {several}"


def _overlay(run: Run, record: TuneRecord, path: Path) -> str:
    """A pipeline file with the values of the best trial, and in its head where they come from."""
    best = record.trial(record.best)
    base = run.file.with_suffix("")
    trained = min(len(run.pipeline.folds.trained), record.of_folds - len(record.folds))
    content: dict[str, Any] = {
        "extends": Path(os.path.relpath(base, path.parent)).as_posix(),
        "folds": {"train": trained},
        "tuned": {
            "pipeline": run.name,
            "trials": len(record.trials),
            "folds": record.folds,
            "table": record.table,
        },
        "tune": None,
    }
    settings = [parse_setting(setting) for setting in run.settings]
    laid_over = {tuple(keys): value for keys, value in settings if keys[0] not in _NOT_OF_VALUES}
    for keys, value in (laid_over | {tuple(split_key(key)): best.values[key] for key in best.values}).items():
        inside = content
        *above, last = keys
        for part in above:
            inside = inside.setdefault(part, {})
        inside[last] = value
    present = record.trial(0).score if any(trial.number == 0 for trial in record.trials) else None
    head = [
        f"{_MARK} {run.name}`: the best of {counted(len(record.trials), 'trial')}, trial {name_trial(best)}.",
        f"# {record.metric} {best.score} on {record.where}; {run.name} as it stands {present}.",
        f"# {_gain(best)}",
        "# The best of many flatters on the rows it was chosen by. These folds are therefore left out of",
        "# the scores of this pipeline; with a larger `folds.train` its scores are marked.",
    ]
    body = yaml.safe_dump(content, sort_keys=False, default_flow_style=None)
    return "\n".join([*head, body])


def _gain(best: TrialRecord) -> str:
    if best.gain is None:
        return "How much that gains was not measured."
    return f"Gain {best.gain}: {verdict_text(best.gain.gain, best.gain.standard_error)}."
