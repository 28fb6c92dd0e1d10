"""The stages: folds, train, ensemble, submit, leaderboard, report."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from softvote.cli.arguments import (
    add_command,
    add_member,
    add_old_name,
    add_pipeline_command,
    add_sending,
    open_pipeline,
    show,
)
from softvote.errors import UserError

if TYPE_CHECKING:
    from softvote.cli.arguments import Commands


def add_stages(commands: Commands) -> None:
    """Add the stages, from folds to the report."""
    add_pipeline_command(commands, "folds", _folds, "split the training rows into folds, once")
    train = add_pipeline_command(commands, "train", _train, "train every member on every fold that is due")
    train.add_argument(
        "--member", action="append", default=[], metavar="NAME", help="only this one (repeatable)"
    )
    train.add_argument(
        "--fold", action="append", default=[], type=int, metavar="K", help="only this one (repeatable)"
    )
    train.add_argument(
        "--checkpoint", type=_seconds, metavar="SECONDS",
        help="time between two checkpoints of a training, the most that is ever repeated; 60 if omitted",
    )  # fmt: skip
    train.add_argument(
        "--wait", action="store_true", help="wait for what another run is busy with, then do what it leaves"
    )
    tune = add_pipeline_command(
        commands, "tune", _tune, "search for better values of a pipeline's keys, as its `tune` says"
    )
    tune.add_argument(
        "--trials",
        type=_count,
        metavar="N",
        help="how many in all, with those of earlier runs; 20 if omitted",
    )
    add_pipeline_command(
        commands, "ensemble", _ensemble, "compare the rules of the vote and let the members vote"
    )
    submit = add_pipeline_command(
        commands, "submit", _submit, "write and check the submission, enter it in the ledger"
    )
    add_member(submit)
    submit.add_argument("--send", action="store_true", help="send it to Kaggle and wait for its score")
    add_sending(submit)
    add_old_name(submit, "--again", "force", action="store_true")
    board = add_command(
        commands, "leaderboard", _leaderboard, "compare cross-validation with what the leaderboard says"
    )
    board.add_argument("--fetch", action="store_true", help="ask Kaggle for all past submissions first")
    add_pipeline_command(
        commands,
        "report",
        _report,
        "write a page of scores, mistakes and doubts, and an index of all pipelines",
    )


def _folds(parsed: argparse.Namespace) -> None:
    from softvote.stages import folds

    show(folds.run(open_pipeline(parsed)))


def _train(parsed: argparse.Namespace) -> None:
    from softvote.scheduling.worker import CHECKPOINT_SECONDS
    from softvote.stages import train

    seconds = CHECKPOINT_SECONDS if parsed.checkpoint is None else parsed.checkpoint
    show(train.run(open_pipeline(parsed), parsed.member, parsed.fold, seconds, wait=parsed.wait, report=show))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, such as 60")
    return seconds


def _tune(parsed: argparse.Namespace) -> None:
    opened = open_pipeline(parsed)

    from softvote.stages import tune

    show(tune.run(opened, parsed.trials or tune.TRIALS))


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of trials, such as 20")
    return int(text)


def _ensemble(parsed: argparse.Namespace) -> None:
    from softvote.stages import ensemble

    show(ensemble.run(open_pipeline(parsed)))


def _submit(parsed: argparse.Namespace) -> None:
    from softvote.stages import submit
    from softvote.stages.send import NotebooksOnlyError, SendOptions

    if not parsed.send and (parsed.force or parsed.no_wait):
        word = "`force`" if parsed.force else "WAIT=0 (--no-wait)"
        raise UserError.at(word, "is about sending, and nothing is sent", "add `send`, or leave it out")
    sending = SendOptions(force=parsed.force, wait=not parsed.no_wait) if parsed.send else None
    opened = open_pipeline(parsed)
    try:
        result = submit.run(opened, parsed.member, sending, show)
    except NotebooksOnlyError as only:
        from softvote.stages import kernel

        show(f"{only}; a kernel is pushed and submitted instead")
        show(kernel.run(opened, kernel.KernelOptions(voter=parsed.member, push=True, submit=sending), show))
        return
    if sending is None:
        show(result)


def _leaderboard(parsed: argparse.Namespace) -> None:
    from softvote.stages import leaderboard

    show(leaderboard.run(parsed.root, parsed.fetch, show))


def _report(parsed: argparse.Namespace) -> None:
    from softvote.stages import report

    show(report.run(open_pipeline(parsed)))
