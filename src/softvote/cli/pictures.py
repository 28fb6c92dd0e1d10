"""Commands that draw: augmentation, mistakes, digits."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from softvote.cli.arguments import add_member, add_pipeline_command, open_pipeline, show

if TYPE_CHECKING:
    from softvote.cli.arguments import Commands


def add_pictures(commands: Commands) -> None:
    """Add what draws pictures: augmentation, mistakes, digits."""
    augmentation = add_pipeline_command(
        commands, "augmentation", _augmentation, "draw what augmentation does to sixteen training images"
    )
    augmentation.add_argument(
        "--member", metavar="NAME", help="which member; the first that is augmented if omitted"
    )
    mistakes = add_pipeline_command(
        commands, "mistakes", _mistakes, "draw the out-of-fold images that are classified wrong"
    )
    add_member(mistakes)
    digits = add_pipeline_command(
        commands, "digits", _digits, "draw the hidden digits that a member found in images"
    )
    digits.add_argument(
        "--member", metavar="NAME", help="which member; the first with head: digits if omitted"
    )


def _augmentation(parsed: argparse.Namespace) -> None:
    from softvote.stages import augmentation

    show(augmentation.run(open_pipeline(parsed), parsed.member))


def _mistakes(parsed: argparse.Namespace) -> None:
    from softvote.stages import mistakes

    show(mistakes.run(open_pipeline(parsed), parsed.member))


def _digits(parsed: argparse.Namespace) -> None:
    from softvote.stages import digits

    show(digits.run(open_pipeline(parsed), parsed.member))
