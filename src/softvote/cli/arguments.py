"""What commands share: a pipeline, a member, what is sent; and how a result is printed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from softvote.shell import in_shell_words

if TYPE_CHECKING:
    from softvote.stages import Run

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_command(commands: Commands, name: str, run: object, text: str) -> argparse.ArgumentParser:
    """Add a command; `run` is called with what was parsed."""
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    return command


def add_pipeline_command(commands: Commands, name: str, run: object, text: str) -> argparse.ArgumentParser:
    """Add a command that takes a pipeline and overrides of its keys."""
    command = add_command(commands, name, run, text)
    command.add_argument(
        "pipeline", help="a name in pipelines/ or pipelines/gallery/, or the path of a .yaml file"
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override, such as members.cnn.epochs=2",
    )
    return command


def add_member(command: argparse.ArgumentParser) -> None:
    """Let a command take a member in place of the ensemble."""
    command.add_argument("--member", metavar="NAME", help="take this member instead of the ensemble")
    add_old_name(command, "--of", "member")


def add_sending(command: argparse.ArgumentParser) -> None:
    """Let a command say how a submission is sent."""
    command.add_argument("--force", action="store_true", help="send it even if the same file was sent before")
    command.add_argument("--no-wait", action="store_true", help="do not wait for the score")


def add_old_name(command: argparse.ArgumentParser, flag: str, today: str, **how: Any) -> None:
    """A flag of version 0.1, understood for one version more and shown nowhere."""
    command.add_argument(flag, dest=today, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **how)


def show(result: object) -> None:
    """Print what a stage reports or returns, unless it has nothing to say."""
    if text := in_shell_words(str(result)):
        print(text, flush=True)


def open_pipeline(parsed: argparse.Namespace) -> Run:
    """Open the pipeline that a command names.

    Raises:
        UserError: every problem of its file.
    """
    from softvote.stages import open_run

    return open_run(parsed.root, parsed.pipeline, parsed.set)
