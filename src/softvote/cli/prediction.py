"""Commands that let trained networks predict elsewhere: export, kernel, predict."""

from __future__ import annotations

import argparse
from pathlib import Path
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

if TYPE_CHECKING:
    from softvote.cli.arguments import Commands


def add_prediction(commands: Commands) -> None:
    """Add export, kernel and predict."""
    export = add_pipeline_command(
        commands, "export", _export, "write the vote as one program that runs without softvote"
    )
    add_member(export)
    export.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where to write; the voter's own folder if omitted"
    )
    add_old_name(export, "--to", "output", type=Path)
    _add_kernel(commands)
    _add_predict(commands)


def _export(parsed: argparse.Namespace) -> None:
    from softvote.stages import export

    show(export.run(open_pipeline(parsed), parsed.member, parsed.output, show))


def _add_kernel(commands: Commands) -> None:
    kernel = add_pipeline_command(
        commands, "kernel", _kernel, "build a Kaggle kernel of the pipeline, and let it run"
    )
    kernel.add_argument(
        "--mode", choices=("infer", "train"), default="infer",
        help="infer: predict and vote with the networks trained here; train: do all the stages there",
    )  # fmt: skip
    add_member(kernel)
    kernel.add_argument(
        "--owner", metavar="USER", help="Kaggle user who will own it; whose credentials are here if omitted"
    )
    computing = kernel.add_mutually_exclusive_group()
    computing.add_argument(
        "--gpu", action=argparse.BooleanOptionalAction, help="ask Kaggle for one; if omitted, only to train"
    )
    computing.add_argument(
        "--accelerator", metavar="NAME", help="GPU to ask for, such as NvidiaTeslaT4 (two T4), the usual one"
    )
    kernel.add_argument(
        "--wheels",
        type=Path,
        metavar="FOLDER",
        help="folder of .whl files that Kaggle's image lacks, to be uploaded too",
    )
    started = kernel.add_mutually_exclusive_group()
    started.add_argument("--push", action="store_true", help="push it, wait, and bring back what it wrote")
    started.add_argument(
        "--fetch", action="store_true", help="wait for the last pushed kernel and bring back what it wrote"
    )
    kernel.add_argument(
        "--submit", action="store_true", help="submit what it wrote, for competitions that take notebooks"
    )
    add_sending(kernel)


def _kernel(parsed: argparse.Namespace) -> None:
    from softvote.stages import kernel
    from softvote.stages.send import SendOptions

    sending = SendOptions(force=parsed.force, wait=not parsed.no_wait) if parsed.submit else None
    options = kernel.KernelOptions(
        parsed.mode,
        parsed.member,
        parsed.owner,
        parsed.gpu,
        parsed.accelerator,
        parsed.wheels,
        parsed.push,
        parsed.fetch,
        sending,
    )
    show(kernel.run(open_pipeline(parsed), options, show))


def _add_predict(commands: Commands) -> None:
    predict = add_command(
        commands, "predict", _predict, "predict images, with an exported program or a folder of networks"
    )
    predict.add_argument(
        "--model", type=Path, required=True, metavar="PATH",
        help="a program.pt2 or .onnx, or the folder of an export, an ensemble, a member or a fold",
    )  # fmt: skip
    predict.add_argument(
        "images",
        type=Path,
        nargs="+",
        help="image files or folders of them, .npy arrays uint8 (N, H, W[, C]), pixel CSVs",
    )
    predict.add_argument("--addend", metavar="N", help="addend of every image, 0..9, where a CSV has none")
    predict.add_argument("--resize", action="store_true", help="resize images of other sizes to the model's")
    predict.add_argument(
        "--probabilities", action="store_true", help="add a column of probabilities per class"
    )
    predict.add_argument(
        "--output", type=Path, metavar="FILE", help="the CSV to write; standard output if omitted"
    )
    add_old_name(predict, "--to", "output", type=Path)


def _predict(parsed: argparse.Namespace) -> None:
    from softvote.progress import note
    from softvote.stages import predict

    wanted = predict.PredictOptions(
        parsed.images, parsed.addend, parsed.resize, parsed.probabilities, parsed.output
    )
    result = predict.run(parsed.model, wanted)
    if result.decided:
        note(result.decided)  # beside the table, which a program may read
    show(result)
