"""Files as no one would write them on purpose: strategies of hypothesis, and what must hold all the same."""

from __future__ import annotations

import contextlib
import csv
import io
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from projects import softvote

FEW, MANY = 12, 2_000
"""Examples of a property in `make test`, and in the slow tests."""

# The same examples every time: a failure is one that everybody can have, and a green run stays green.
_HOW: dict[str, Any] = {
    "derandomize": True,
    "database": None,
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
QUICKLY = settings(max_examples=FEW, **_HOW)
THOROUGHLY = settings(max_examples=MANY, **_HOW)

Table = list[list[str]]

# What spreadsheets, exports and typing errors leave behind, and digits that are none to `int`.
_ODD_CELLS = [
    "", " ", "nan", "NaN", "NULL", "None", "-1", "+1", "01", "1.0", "0.5", "1e3", "1e999", "inf", "256",
    "3000", "9" * 30, "²", "١", "１", "1_0", "0x1", "True", "a", "A", "é", "e\u0301", "\u200b1", "\u202e1",
    "\ufeff1", "\x00", '"', "'", '"1', "1,2", "1;2", "1\t2", "1\n2", "a b", "../../etc", "/etc/passwd",
    "train/0", "0.png", ".", "..", "x" * 400, "id", "label", "pixel0", "=1+1", "#N/A",
]  # fmt: skip

cells = st.one_of(st.sampled_from(_ODD_CELLS), st.text(max_size=6))


@st.composite
def tables(draw: st.DrawFn, table: Table) -> bytes:
    """The table as a CSV file after up to three changes to its cells and one to its bytes."""
    changed = deepcopy(table)
    for _ in range(draw(st.integers(0, 3))):
        changed = draw(_changes(changed))
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerows(changed)
    return draw(_write_bytes(text.getvalue()))


@st.composite
def _changes(draw: st.DrawFn, table: Table) -> Table:
    if not table or not table[0]:
        return [[draw(cells)]]
    row, column = draw(st.integers(0, len(table) - 1)), draw(st.integers(0, len(table[0]) - 1))
    kind = draw(
        st.sampled_from(["cell", "header", "drop row", "drop column", "twice", "ragged", "insert", "column"])
    )
    if kind == "cell":
        return _with(table, row, column, draw(cells))
    if kind == "header":
        return _with(table, 0, column, draw(cells))
    if kind == "drop row":
        return table[:row] + table[row + 1 :]
    if kind == "drop column":
        return [cells[:column] + cells[column + 1 :] for cells in table]
    if kind == "twice":
        return [*table[:row], table[row], *table[row:]]
    if kind == "ragged":
        return [cells[:-1] if number == row else cells for number, cells in enumerate(table)]
    if kind == "insert":
        return [[*cells[:column], str(number), *cells[column:]] for number, cells in enumerate(table)]
    value = draw(cells)
    return [_set(cells, column, value) if number else cells for number, cells in enumerate(table)]


def _with(table: Table, row: int, column: int, value: str) -> Table:
    return [_set(cells, column, value) if number == row else cells for number, cells in enumerate(table)]


def _set(cells: list[str], column: int, value: str) -> list[str]:
    return [value if number == column else cell for number, cell in enumerate(cells)]


@st.composite
def _write_bytes(draw: st.DrawFn, text: str) -> bytes:
    """The text's bytes as programs and downloads leave them."""
    kind = draw(
        st.sampled_from(["plain"] * 4 + ["crlf", "cr", "bom", "utf-16", "latin", "semicolon", "cut", "byte"])
    )
    encoded = text.encode("utf-8", "surrogatepass")
    place = draw(st.integers(0, len(encoded)))
    if kind == "cut":
        return encoded[:place]
    if kind == "byte":
        return encoded[:place] + draw(st.binary(min_size=1, max_size=3)) + encoded[place:]
    changed = {
        "crlf": encoded.replace(b"\n", b"\r\n"),
        "cr": encoded.replace(b"\n", b"\r"),
        "bom": b"\xef\xbb\xbf" + encoded,
        "utf-16": text.encode("utf-16", "surrogatepass"),
        "latin": text.encode("latin-1", "replace"),
        "semicolon": encoded.replace(b",", b";"),
    }
    return changed.get(kind, encoded)


# What YAML makes of words that somebody typed for something else.
_ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**70, 0.5, -0.5, float("nan"), float("inf"), "", " ", "a", "auto", "1",
    "é", "..", "/etc", "x" * 200, "\x07", [], {}, [None], ["a"], ["a", "a"], [1, 2], [[]], {"a": 1},
    {"name": "a"}, {1: 2}, {"name": None}, {"first": 3, "last": 1}, {"": ""},
]  # fmt: skip

values = st.one_of(
    st.sampled_from(_ODD_VALUES),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_subnormal=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
)


@st.composite
def mappings(draw: st.DrawFn, facts: Any, keys: list[str]) -> Any:
    """Keys and values of a pipeline file after one to four changes.

    Args:
        facts: of a file that is right.
        keys: that a pipeline file knows anywhere; they are put where they do not belong.
    """
    changed = deepcopy(facts)
    for _ in range(draw(st.integers(1, 4))):
        inside = draw(st.sampled_from(_containers(changed)))
        if isinstance(inside, list):
            inside.insert(draw(st.integers(0, len(inside))), deepcopy(draw(values)))
            continue
        known = st.sampled_from(sorted(inside, key=str)) if inside else st.nothing()
        key = draw(st.one_of(known, known, st.sampled_from(keys), st.text(max_size=5)))
        if draw(st.integers(0, 3)) == 0:
            inside.pop(key, None)
        else:
            inside[key] = deepcopy(draw(values))
    return changed


def _containers(facts: Any) -> list[Any]:
    """Every mapping and list inside, the outermost first."""
    if isinstance(facts, dict):
        return [facts, *(found for value in facts.values() for found in _containers(value))]
    if isinstance(facts, list):
        return [facts, *(found for value in facts for found in _containers(value))]
    return []


def run_quietly(root: Path, *words: str) -> tuple[int, str]:
    """The exit code of a command line, and what it said of an error.

    A mistake of the user gives 1 and a line, or several, and nothing else.
    """
    said, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        code = softvote(root, *words)
    lines = told.getvalue().splitlines()
    assert code in (0, 1), told.getvalue()
    assert bool(lines) == bool(code), (code, lines)
    assert all(line.startswith("softvote: ") and len(line) < 2_000 for line in lines), lines
    return code, told.getvalue()
