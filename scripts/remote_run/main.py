"""Commands: pack, run, take."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import remote_run
from remote_run.pack import pack
from remote_run.run import AT_ONCE, run
from remote_run.take import take


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parsed = _parse(arguments)
    try:
        return int(parsed.do(parsed) or 0)
    except Exception as error:
        if type(error).__name__ not in ("UserError", "RemoteError"):
            raise
        for line in str(error).splitlines():
            print(f"remote_run: {line}", file=sys.stderr)
        return 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="remote_run", description=(remote_run.__doc__ or "").splitlines()[0]
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    packing = commands.add_parser("pack", help="lay all that is needed into one folder")
    packing.add_argument("pipelines", nargs="+", metavar="PIPELINE", help="names in pipelines/")
    packing.add_argument("--to", type=Path, required=True, metavar="FOLDER")
    packing.add_argument(
        "--data", type=Path, nargs="+", default=[], metavar="ZIP",
        help="competition files, by the competition's name; input/NAME if left out",
    )  # fmt: skip
    packing.add_argument(
        "--input", nargs="+", default=[], metavar="NAME", help="more folders of input/, such as extra rows"
    )
    packing.add_argument("--wheels", type=Path, metavar="FOLDER", help="take wheels from here")
    packing.add_argument("--root", type=Path, default=Path(), help="the project's folder")
    packing.set_defaults(do=pack)
    running = commands.add_parser("run", help="what run.sh does there")
    running.add_argument("packed", type=Path)
    running.add_argument("out", type=Path)
    running.add_argument("seconds", type=float)
    running.add_argument("workers", type=int, nargs="?", default=AT_ONCE)
    running.add_argument(
        "--only", nargs="+", default=[], metavar="PIPELINE", help="of those that were packed"
    )
    running.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="over each pipeline, for a trial"
    )
    running.add_argument("--folds", nargs="+", type=int, default=[], metavar="N", help="train these alone")
    running.add_argument(
        "--in-turn", action="store_true", help="train all folds of one member before those of the next"
    )
    running.set_defaults(do=run)
    taking = commands.add_parser("take", help="lay what came back where it would be if it were made here")
    taking.add_argument("out", type=Path)
    taking.add_argument("--root", type=Path, default=Path(), help="the project's folder")
    taking.set_defaults(do=take)
    return parser.parse_args(arguments)
