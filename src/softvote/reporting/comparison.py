"""The table of members and rules, for a terminal, a notebook and a program."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from softvote.ensembling.comparison import Comparison, ComparisonRow
from softvote.metrics import scores
from softvote.reporting import tables

if TYPE_CHECKING:
    import pandas as pd

_HEADER = ["voter", "accuracy", "log loss", "to mean", "to best member", "against the mean"]


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

    def __repr__(self) -> str:
        """The table as text; see `render_table`."""
        return render_table(self.rows)

    def _repr_html_(self) -> str:
        """The same for notebooks."""
        cells = [_cells(row) for row in self.rows]
        lines = ["".join(f"<td>{escape(cell)}</td>" for cell in line) for line in cells]
        header = "".join(f"<th>{name}</th>" for name in _HEADER)
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        notes = "<br>".join(escape(line) for line in _explain(self.rows))
        return f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table><p>{notes}</p>"

    def to_pandas(self) -> pd.DataFrame:
        """A row per member and rule, by name: accuracy as a proportion, log loss in nats, standard errors.

        Returns:
            columns kind, accuracy, log_loss, to_mean and to_best, the last two differences of accuracy, each
            with `<column>_se`, and verdict, against the mean; NaN where there is nothing to say.
        """
        import pandas as pd

        records = []
        for row in self.rows:
            record: dict[str, object] = {"name": row.name, "kind": row.kind}
            for column in ("accuracy", "log_loss", "to_mean", "to_best"):
                found = getattr(row, column)
                record[column] = found.value if found else None
                record[f"{column}_se"] = found.standard_error if found else None
            records.append(record | {"verdict": row.words})
        table = pd.DataFrame(records).set_index("name")
        numbers = table.columns.difference(["kind", "verdict"])
        return table.astype(dict.fromkeys(numbers, float))


def render_table(table: Sequence[ComparisonRow]) -> str:
    """The rows of a comparison as aligned plain text, with words on how to read it and on each rule.

    Differences are in points of accuracy. 98 columns while names have at most 14 letters.
    """
    return tables.render(_HEADER, [_cells(row) for row in table]) + "\n".join(_explain(table)) + "\n"


def _cells(row: ComparisonRow) -> list[str]:
    name = row.name if row.kind == "member" else f"= {row.name}"
    scored = (row.accuracy, row.log_loss, row.to_mean, row.to_best)
    return [name, *(str(cell) if cell else "" for cell in scored), row.words]


def _explain(table: Sequence[ComparisonRow]) -> list[str]:
    explanation = [
        "= is a vote of all members; weights that are fitted are scored on folds they have not seen.",
        "± one standard error; noise is a difference of at most two, to mean and to best member in points.",
    ]
    for row in table:
        if row.kind == "rule" and row.to_best is not None:
            words = scores.verdict_text(row.to_best.value, row.to_best.standard_error)
            explanation.append(f"{row.name} against the best member alone: {words}")
    return explanation
