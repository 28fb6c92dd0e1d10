"""A server on 127.0.0.1 that answers the kaggle package as Kaggle does, so that nothing leaves the machine.

    python -m softvote.kaggle.testing demo/input
    python -m softvote.kaggle.testing demo/input --run-kernels --fail CreateSubmission=429:2

FOLDER holds one folder per competition, named by its slug. Its files are what the competition hands out, but
for solution.csv, which scores what is sent: accuracy, as the public score. Printed are the lines that point a
shell at the server, then one line a request; Ctrl-C ends it.

The first POLLS questions about a submission, a dataset or a kernel find it unfinished. With --run-kernels a
pushed Python script is really run, in folders laid out like Kaggle's that SOFTVOTE_INPUT (read-only) and
SOFTVOTE_OUTPUT name, and without softvote, unless the script brings it along.

--fail makes the next answers of a call go wrong, once or TIMES times: CALL is the last part of the path, or
Upload or Download for the bytes of a file; STATUS is 400 to 599, or drop, which closes the connection.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from softvote.errors import UserError
from softvote.kaggle.testing.competitions import competition_slugs
from softvote.kaggle.testing.server import KaggleServer
from softvote.kaggle.testing.wire import Failure


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 after Ctrl-C, or 1 after a mistake of the user, which is told in a line."""
    parsed = _parser().parse_args(arguments)
    try:
        serve(parsed)
    except UserError as error:
        print(f"softvote.kaggle.testing: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def serve(parsed: argparse.Namespace) -> None:
    """Serve until Ctrl-C.

    Raises:
        UserError: the folder holds no competition, the port is taken, or a call is not known.
    """
    found = competition_slugs(parsed.folder) if parsed.folder.is_dir() else []
    if not found:
        raise UserError.at(parsed.folder, "holds no folder with a competition's files", "make one first")
    server = KaggleServer(
        parsed.folder,
        parsed.port,
        polls=parsed.polls,
        run_kernels=parsed.run_kernels,
        log=lambda line: print(line, flush=True),
    )
    for call, failures in parsed.fail:
        server.fail(call, *failures)
    with server:
        for name, value in server.environment().items():
            print(f"export {name}={shlex.quote(value)}")
        print(f"# serving {', '.join(found)}; the lines above are for another shell", flush=True)
        threading.Event().wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="one folder per competition")
    parser.add_argument("--port", type=_number(65535), default=0, help="any that is free unless given")
    parser.add_argument(
        "--polls", type=_number(), default=2, help="questions that find something unfinished (2)"
    )
    parser.add_argument("--run-kernels", action="store_true", help="run pushed scripts")
    parser.add_argument(
        "--fail", type=_failures, action="append", default=[], metavar="CALL=STATUS[:TIMES]", help="go wrong"
    )
    return parser


def _number(most: float = math.inf) -> Callable[[str], int]:
    """0 to `most` of the command line."""

    def parse(text: str) -> int:
        if not (text.isdecimal() and int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {most}")
        return int(text)

    return parse


def _failures(text: str) -> tuple[str, list[Failure]]:
    """CALL=STATUS[:TIMES] of the command line."""
    call, _, rest = text.partition("=")
    status, _, times = rest.partition(":")
    if not (status == "drop" or (status.isdecimal() and 400 <= int(status) < 600)):
        raise argparse.ArgumentTypeError(f"{text!r}: STATUS is 400 to 599, or drop")
    if times and not times.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: TIMES is a number")
    failure = (
        Failure(drop=True) if status == "drop" else Failure(int(status), f"{status}, as --fail asked for")
    )
    return call, [failure] * int(times or 1)


if __name__ == "__main__":
    sys.exit(main())
