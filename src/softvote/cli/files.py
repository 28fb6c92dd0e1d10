"""Commands that bring files in: demo, data, init."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from softvote.cli.arguments import add_command, show

if TYPE_CHECKING:
    from softvote.cli.arguments import Commands


def add_files(commands: Commands) -> None:
    """Add what brings files in: demo, data, init."""
    demo = add_command(commands, "demo", _demo, "go the whole way on digits that come with scikit-learn")
    demo.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("demo"),
        help="where everything is written; demo/ if omitted",
    )
    data = add_command(commands, "data", _data, "fetch a competition's files into input/")
    data.add_argument(
        "source", metavar="SOURCE",
        help="a zip file; or, to download it, a pipeline, what Kaggle calls a competition, owner/name of a "
        "data set, or the address of either's page",
    )  # fmt: skip
    data.add_argument("--name", help="name of the folder in input/; SOURCE's if omitted")
    data.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="NAME",
        help="fetch only this file from Kaggle (repeatable)",
    )
    init = add_command(
        commands, "init", _init, "look at a folder of competition files and write a pipeline for them"
    )
    init.add_argument(
        "folder", type=Path, help="the folder of the competition's files, such as input/my-contest"
    )
    init.add_argument("--name", help="name of the pipeline; the folder's if omitted")
    init.add_argument(
        "--image",
        type=_image_size,
        metavar="HxW",
        help="image size, where the number of pixels is not a square",
    )


def _demo(parsed: argparse.Namespace) -> None:
    from softvote.stages import demo

    show(demo.run(parsed.root / parsed.folder, show))


def _data(parsed: argparse.Namespace) -> None:
    from softvote.stages import data

    show(data.run(parsed.root, parsed.source, parsed.name, parsed.file))


def _init(parsed: argparse.Namespace) -> None:
    from softvote.stages import init

    show(init.run(parsed.root, parsed.folder, parsed.name, parsed.image))


def _image_size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW, such as 28x28")
    return int(height), int(width)
