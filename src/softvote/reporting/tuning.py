"""Pictures of a search: how its trials scored one after the other, and which keys mattered."""

from __future__ import annotations

from pathlib import Path

from softvote.reporting.tables import mark_transductive
from softvote.storage.files import atomic_write
from softvote.tuning.records import TrialRecord, TuneRecord
from softvote.tuning.search import shorten_key


def name_trial(trial: TrialRecord) -> str:
    """A trial's number, with what is to be said of its score."""
    number = str(trial.number) if trial.number else "0, as it stands"
    return mark_transductive(number, bool(trial.transductive))


def plot_history(path: Path, record: TuneRecord) -> None:
    """Write the score of every trial with one standard error, and the best so far, as PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.4, 3.6), dpi=110, layout="constrained")
    axis = figure.subplots()
    scored = sorted(record.scored, key=lambda trial: trial.number)
    numbers = [trial.number for trial in scored]
    values = [trial.score.value for trial in scored if trial.score]
    errors = [trial.score.standard_error for trial in scored if trial.score]
    axis.errorbar(numbers, values, yerr=errors, fmt="o", markersize=4, elinewidth=0.9)
    axis.step(numbers, best_so_far(values, record.greater_is_better), where="post", color="tab:orange")
    lost = [trial.number for trial in record.trials if not trial.score]
    low = axis.get_ylim()[0]
    axis.plot(lost, [low] * len(lost), "x", color="0.6", markersize=4, clip_on=False)
    axis.set(xlabel="trial", ylabel=record.metric)
    where = mark_transductive(record.where, bool(record.transductive))
    title = f"{record.pipeline}, {where}: trials, and the best so far\nbars: one standard error"
    axis.set_title(f"{title}; crosses: stopped or failed", fontsize=8, loc="left")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    with atomic_write(path) as temporary:
        figure.savefig(temporary)


def plot_importance(path: Path, record: TuneRecord) -> None:
    """Write how much of the score each key explains, as PNG."""
    from matplotlib.figure import Figure

    names = [shorten_key(key) for key in record.importance][::-1]
    figure = Figure(figsize=(6.4, 0.34 * len(names) + 1.0), dpi=110, layout="constrained")
    axis = figure.subplots()
    axis.barh(names, list(record.importance.values())[::-1])
    axis.set(xlim=(0, 1), xlabel="proportion of what the keys explain (PED-ANOVA)")
    with atomic_write(path) as temporary:
        figure.savefig(temporary)


def best_so_far(values: list[float], greater_is_better: bool) -> list[float]:
    """The best of each value and those before it."""
    choose, best = (max if greater_is_better else min), list[float]()
    for value in values:
        best.append(choose(best[-1], value) if best else value)
    return best
