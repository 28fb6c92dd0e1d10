"""Words of the command line, and what is written of every run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import growth
from growth.cases import Axis, cases
from growth.measuring import measure_case
from growth.show import draw, table
from softvote import machine
from softvote.errors import UserError
from softvote.shell import run_program
from softvote.storage.files import write_json


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parsed = _parser().parse_args(arguments)
    return run_program("growth", lambda: measure(parsed))


def measure(parsed: argparse.Namespace) -> None:
    """Measure every case that is asked for, and show what was found."""
    if min(parsed.rows) < 100:
        raise UserError(f"--rows {min(parsed.rows)}: too few to measure; give 100 or more")
    found = [facts for case in cases(sorted(set(parsed.rows)), parsed.only) for facts in measure_case(case)]
    write_json(parsed.to / "growth.json", {"cores": machine.cores(), "measured": found})
    print(table(found), end="")
    draw(parsed.to / "growth.png", found)
    print(f"wrote {parsed.to / 'growth.json'} and {parsed.to / 'growth.png'}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(growth.__doc__ or "").splitlines()[0])
    rows = [10_000, 100_000, 1_000_000]
    parser.add_argument("--rows", type=int, nargs="+", default=rows, help="numbers of rows (%(default)s)")
    parser.add_argument("--only", choices=Axis.__args__, help="what varies (everything, in turn)")
    parser.add_argument("--to", type=Path, default=Path("docs"), help="folder (%(default)s)")
    return parser
