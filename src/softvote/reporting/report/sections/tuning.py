"""The search that values were chosen by."""

from __future__ import annotations

from collections.abc import Sequence

from softvote.reporting.report.blocks import Block, Cell, DataTable, Paragraph, Tone
from softvote.reporting.report.charts import draw_bars, draw_trials
from softvote.reporting.report.section import LeftOutError, ReportData, section
from softvote.reporting.tuning import best_so_far, name_trial
from softvote.scheduling.estimate import format_duration
from softvote.tracking.ledger import TRANSDUCTIVE
from softvote.tuning.records import TrialRecord, TuneRecord
from softvote.tuning.search import shorten_key


@section(
    "tuning",
    "Search",
    "Which values were tried, did any beat what was there by more than noise, and which keys mattered?",
    rank=85,
)
def build_search(data: ReportData) -> Sequence[Block]:
    """Build the table of trials, their scores one after the other, and what mattered."""
    search = data.search
    if search is None:
        raise LeftOutError("nothing was searched: say tune: in the pipeline, and run the tune stage")
    scored = sorted(search.scored, key=lambda trial: trial.number)
    scores = [trial.score for trial in scored if trial.score]
    factor = 100 if all(score.percent for score in scores) else 1
    values = [factor * score.value for score in scores]
    errors = [factor * score.standard_error for score in scores]
    history = draw_trials(
        "Trials, with one standard error, and the best so far",
        [trial.number for trial in scored],
        values,
        errors,
        best_so_far(values, search.greater_is_better),
        f"{search.metric}, %" if factor == 100 else search.metric,
    )
    blocks: list[Block] = [Paragraph(data.search_note, "warning")] if data.search_note else []
    blocks += [_list_trials(search), Paragraph(_how_to_read(search), "note"), history]
    if search.importance:
        shares = {shorten_key(key): share for key, share in search.importance.items()}
        blocks.append(draw_bars("What mattered", shares, "proportion of what the keys explain"))
    return blocks


def _how_to_read(search: TuneRecord) -> str:
    text = (
        f"Trials of {search.pipeline}, scored on {search.where}; gains are paired, row by row, against "
        "trial 0, the pipeline as it stands. The best of many flatters on the rows it was chosen by, so "
        "the tuned pipeline scores the other folds. What mattered: PED-ANOVA over the scored trials."
    )
    if search.transductive:
        text += (
            f" Of trials that are marked {TRANSDUCTIVE}, the training of {', '.join(search.transductive)}, "
            "or one that it builds on, had test images with a teacher's probabilities."
        )
    return text


def _list_trials(search: TuneRecord) -> DataTable:
    keys = list(search.trials[0].values)
    header = ["trial", search.metric, "gain", "which is", *map(shorten_key, keys), "time"]
    rest = [trial for trial in search.trials if not trial.score]
    rows = [_line(trial, keys) for trial in [*search.scored, *rest]]
    return DataTable(header, rows, "The best first; then those that were stopped or failed")


def _line(trial: TrialRecord, keys: list[str]) -> list[Cell | str]:
    name = Cell(name_trial(trial), trial.number)
    score = Cell(str(trial.score), trial.score.value) if trial.score else ""
    told = trial.reason.startswith(trial.outcome) or trial.score
    gain: list[Cell | str] = ["", trial.reason if told else f"{trial.outcome}: {trial.reason}".strip(": ")]
    if trial.gain:
        tones: dict[str, Tone] = {"better": "good", "worse": "bad", "noise": ""}
        word = trial.gain.verdict
        gain = [Cell(str(trial.gain), trial.gain.value), Cell(word, tone=tones[word])]
    values = [_value(trial.values.get(key)) for key in keys]
    return [name, score, *gain, *values, Cell(format_duration(trial.seconds), trial.seconds)]


def _value(value: object) -> Cell | str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Cell(f"{value:g}", float(value))
    return "" if value is None else str(value)
