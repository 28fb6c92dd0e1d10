"""The table of members and rules, for a terminal, a notebook and a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

from softvote.config.entries import MetricConfig
from softvote.ensembling.comparison import Comparison, ComparisonRow
from softvote.metrics import scores
from softvote.reporting import tables

if TYPE_CHECKING:
    import pandas as pd


class ComparisonTable:
    """Members and rules with their scores and standard errors, for print, a notebook or pandas.

    Args:
        comparison: what `softvote.ensembling.comparison.compare_members` found.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    @property
    def rows(self) -> list[ComparisonRow]:
        """The members' rows, then those of the rules."""
        return self.comparison.rows

    @property
    def metric(self) -> MetricConfig:
        """What is scored."""
        return self.comparison.scorer.metric

    def __repr__(self) -> str:
        """The table as text; see `render_table`."""
        return render_table(self.rows, self.metric)

    def _repr_html_(self) -> str:
        """The same for notebooks."""
        rows = rows_to_show(self.rows)
        names, *cells = _columns(rows, self.metric)
        lines = ["".join(f"<td>{escape(cell)}</td>" for cell in line) for line in cells]
        header = "".join(f"<th>{name}</th>" for name in names)
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        notes = "<br>".join(escape(line) for line in _explain(rows, self.metric))
        return f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table><p>{notes}</p>"

    def to_pandas(self) -> pd.DataFrame:
        """A row per member and rule, by name: the metric (accuracy as a proportion), log loss in nats.

        Returns:
            columns kind, the metric's name (accuracy, ...), log_loss, to_mean and to_best, the last two
            differences of the metric, each with `<column>_se` for its standard error, and verdict, against
            the mean; NaN where there is nothing to say.
        """
        import pandas as pd

        records = []
        for row in self.rows:
            record: dict[str, object] = {"name": row.name, "kind": row.kind}
            scored = {"log_loss": row.log_loss, self.metric.name: row.score}
            for column in dict.fromkeys([self.metric.name, "log_loss", "to_mean", "to_best"]):
                found = scored[column] if column in scored else getattr(row, column)
                record[column] = found.value if found else None
                record[f"{column}_se"] = found.standard_error if found else None
            records.append(record | {"verdict": row.words})
        table = pd.DataFrame(records).set_index("name")
        numbers = table.columns.difference(["kind", "verdict"])
        return table.astype(dict.fromkeys(numbers, float))


def render_table(
    table: Sequence[ComparisonRow], metric: MetricConfig, transductive: Sequence[str] = ()
) -> str:
    """The rows of a comparison as aligned plain text, with words on how to read it and on each rule.

    Differences are in the metric's unit, those of percentages in points. 98 columns while names have at most
    14 letters.

    Args:
        transductive: names of members that learned test images, and are marked, as is every vote of them.
    """
    rows = rows_to_show(table)
    header, *lines = _columns(rows, metric, transductive)
    return tables.render(header, lines) + "\n".join(_explain(rows, metric)) + "\n"


def rows_to_show(table: Sequence[ComparisonRow]) -> Sequence[ComparisonRow]:
    """The rows of a comparison; of one member its own alone, which is what every rule makes of it."""
    members = [row for row in table if row.kind == "member"]
    return [replace(members[0], to_mean=None)] if len(members) == 1 else table


def _columns(
    rows: Sequence[ComparisonRow], metric: MetricConfig, transductive: Sequence[str] = ()
) -> list[list[str]]:
    """The header and a line per row; without the columns that compare where there is nothing to compare."""
    log_loss = [] if metric.name == "log_loss" else ["log loss"]
    header = ["voter", metric.title, *log_loss]
    compared = ["to mean", "to best member", "against the mean"] if len(rows) > 1 else []
    width = len(header) + len(compared)
    return [header + compared, *(_cells(row, metric, transductive)[:width] for row in rows)]


def name_voter(row: ComparisonRow, transductive: Sequence[str]) -> str:
    """What a row is called: a vote after `=`, and marked where a member of the table learned test images."""
    if row.kind == "member":
        return tables.mark_transductive(row.name, row.name in transductive)
    return f"= {tables.mark_transductive(row.name, bool(transductive))}"


def _cells(row: ComparisonRow, metric: MetricConfig, transductive: Sequence[str] = ()) -> list[str]:
    name = name_voter(row, transductive)
    log_loss = [] if metric.name == "log_loss" else [row.log_loss]
    scored = (row.score, *log_loss, row.to_mean, row.to_best)
    return [name, *(str(cell) if cell else "" for cell in scored), row.words]


def _explain(table: Sequence[ComparisonRow], metric: MetricConfig) -> list[str]:
    if len(table) == 1:
        return ["± one standard error; one member alone is its own vote, by every rule."]
    in_points = ", to mean and to best member in points" if metric.percent else ""
    explanation = [
        "= is a vote of all members; weights that are fitted are scored on folds they have not seen.",
        f"± one standard error; noise is a difference of at most two{in_points}.",
    ]
    if not metric.greater_is_better:
        explanation.append(f"Less {metric.title} is better: a negative difference is a gain.")
    rules_by_words = dict[str, list[str]]()
    for row in table:
        if row.kind == "rule" and row.to_best is not None:
            words = scores.verdict_text(row.to_best.gain, row.to_best.standard_error)
            rules_by_words.setdefault(words, []).append(row.name)
    said = [
        f"{', '.join(rules)} against the best member alone: {words}"
        for words, rules in rules_by_words.items()
    ]
    return explanation + said
