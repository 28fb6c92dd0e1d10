"""The command line: words to calls. Heavy modules load late.

A module here holds a group of commands, the arguments of each above the call that it makes.

Several commands with + between them are one call, `softvote folds demo + train demo`: Python starts once. The
first that fails ends the call.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from softvote import __version__
from softvote.cli.files import add_files
from softvote.cli.pictures import add_pictures
from softvote.cli.pipelines import add_pipelines
from softvote.cli.prediction import add_prediction
from softvote.cli.stages import add_stages
from softvote.shell import run_program

_STOPPED = "stopped; what was finished is kept, run the same command to go on"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, or several with + between them.

    Returns:
        0; 1 after a mistake of the user; 2 for words the command line does not know; 130 after Ctrl-C, and
        143 after SIGTERM, which ends a command as Ctrl-C does.
    """
    # Threads that spin while they wait starve each other as soon as a second program wants the cores:
    # measured, a training beside another one took forty times as long. Alone, sleeping costs nothing.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")  # not every layer has a Metal kernel
    commands = parse_commands(sys.argv[1:] if arguments is None else arguments)

    def run_commands() -> None:
        for parsed in commands:
            parsed.run(parsed)

    return run_program("softvote", run_commands, _STOPPED)


def parse_commands(words: Sequence[str]) -> list[argparse.Namespace]:
    """Parse every command before the first is run; the first one's `--root` holds for the others too."""
    parser, root = create_parser(), Path()
    commands = list[argparse.Namespace]()
    for command in _split_at_plus(words):
        commands.append(parser.parse_args(command, argparse.Namespace(root=root)))
        root = commands[-1].root
    return commands


def _split_at_plus(words: Sequence[str]) -> Iterator[list[str]]:
    command = list[str]()
    for word in words:
        if word == "+":
            yield command
            command = []
        else:
            command.append(word)
    yield command


def create_parser() -> argparse.ArgumentParser:
    """Build the parser of one command: the groups of commands, in the order in which help lists them."""
    parser = argparse.ArgumentParser(
        prog="softvote",
        description="From raw competition files to a checked submission with an honest score.",
        epilog="Several commands are one call with + between them, and the first that fails ends it: "
        "softvote folds demo + train demo",
    )
    parser.add_argument(
        "--root", type=Path, default=Path(), help="the folder of pipelines/, input/, models/ and submissions/"
    )
    parser.add_argument("--version", action="version", version=f"softvote {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_files(commands)
    add_pipelines(commands)
    add_stages(commands)
    add_pictures(commands)
    add_prediction(commands)
    return parser
