"""The command line: words to calls. Heavy modules load late."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softvote import __version__
from softvote.errors import UserError
from softvote.shell import in_shell_words, run_program

if TYPE_CHECKING:
    from softvote.stages import Run

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_STOPPED = "stopped; what was finished is kept, run the same command to go on"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 1 after a mistake of the user; 2 for words the command line does not know; 130 after Ctrl-C, and
        143 after SIGTERM, which ends a command as Ctrl-C does.
    """
    # Threads that spin while they wait starve each other as soon as a second program wants the cores:
    # measured, a training beside another one took forty times as long. Alone, sleeping costs nothing.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")  # not every layer has a Metal kernel
    parsed = _parser().parse_args(arguments)
    return run_program("softvote", lambda: parsed.run(parsed), _STOPPED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="softvote",
        description="From raw competition files to a checked submission with an honest score.",
    )
    parser.add_argument(
        "--root", type=Path, default=Path(), help="the folder of pipelines/, input/, models/ and submissions/"
    )
    parser.add_argument("--version", action="version", version=f"softvote {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_data(commands)
    _add_pipeline(commands)
    _add_stages(commands)
    _add_pictures(commands)
    _add_prediction(commands)
    return parser


def _add_demo(commands: Commands) -> None:
    demo = _command(commands, "demo", _demo, "go the whole way on digits that come with scikit-learn")
    demo.add_argument(
        "folder", type=Path, nargs="?", default=Path("demo"), help="of all it writes; demo/ if left out"
    )


def _add_data(commands: Commands) -> None:
    data = _command(commands, "data", _data, "fetch a competition's files into input/")
    data.add_argument(
        "source", metavar="SOURCE",
        help="a zip file; or, to download it, a pipeline, what Kaggle calls a competition, owner/name of a "
        "data set, or the address of either's page",
    )  # fmt: skip
    data.add_argument("--name", help="of the folder in input/; SOURCE's if left out")
    data.add_argument(
        "--file", action="append", default=[], metavar="NAME", help="only this one of Kaggle's (repeatable)"
    )
    init = _command(
        commands, "init", _init, "look at a folder of competition files and write a pipeline for them"
    )
    init.add_argument("folder", type=Path, help="of the competition's files, such as input/my-contest")
    init.add_argument("--name", help="the pipeline; the folder's name if left out")
    init.add_argument(
        "--image", type=_image_size, metavar="HxW", help="image size, where pixels are not a square"
    )


def _add_pipeline(commands: Commands) -> None:
    _on_pipeline(commands, "check", _check, "say what a pipeline would run and how long it would take")
    models = _command(commands, "models", _models, "list the networks that a member can name")
    models.add_argument("--all", action="store_true", help="the names of all of timm's backbones too")
    clean = _command(commands, "clean", _clean, "remove old machine code, and say what caches take")
    clean.add_argument("--all", action="store_true", help="remove caches and unfinished downloads too")
    _command(commands, "schema", _schema, "print the JSON Schema of pipeline files, for editors")


def _add_stages(commands: Commands) -> None:
    _on_pipeline(commands, "folds", _folds, "split the training rows into folds, once")
    train = _on_pipeline(commands, "train", _train, "train every member on every fold that is due")
    train.add_argument(
        "--member", action="append", default=[], metavar="NAME", help="only this one (repeatable)"
    )
    train.add_argument(
        "--fold", action="append", default=[], type=int, metavar="K", help="only this one (repeatable)"
    )
    train.add_argument(
        "--checkpoint", type=_seconds, metavar="SECONDS",
        help="between two checkpoints of a training, which is repeated at most; 60 if left out",
    )  # fmt: skip
    train.add_argument(
        "--wait", action="store_true", help="for what another run is busy with, and go on with what it leaves"
    )
    tune = _on_pipeline(
        commands, "tune", _tune, "search better values of a pipeline's keys, as its `tune` says"
    )
    tune.add_argument(
        "--trials",
        type=_count,
        metavar="N",
        help="how many in all, with those of earlier runs; 20 if left out",
    )
    _on_pipeline(commands, "ensemble", _ensemble, "compare the rules of the vote and let the members vote")
    submit = _on_pipeline(
        commands, "submit", _submit, "write and check the submission, enter it in the ledger"
    )
    _add_voter(submit)
    submit.add_argument("--send", action="store_true", help="send it to Kaggle and wait for its score")
    _add_sending(submit)
    _add_old_name(submit, "--again", "force", action="store_true")
    board = _command(
        commands, "leaderboard", _leaderboard, "compare cross-validation with what the leaderboard says"
    )
    board.add_argument("--fetch", action="store_true", help="ask Kaggle for all past submissions first")
    _on_pipeline(
        commands,
        "report",
        _report,
        "write a page of scores, mistakes and doubts, and an index of all pipelines",
    )


def _add_pictures(commands: Commands) -> None:
    augmentation = _on_pipeline(
        commands, "augmentation", _augmentation, "draw what augmentation does to sixteen training images"
    )
    augmentation.add_argument("--member", metavar="NAME", help="whose; the first that has any if left out")
    mistakes = _on_pipeline(
        commands, "mistakes", _mistakes, "draw the out-of-fold images that are named wrong"
    )
    _add_voter(mistakes)
    digits = _on_pipeline(commands, "digits", _digits, "draw the hidden digits that a member found in images")
    digits.add_argument("--member", metavar="NAME", help="whose; the first with head: digits if left out")


def _add_prediction(commands: Commands) -> None:
    export = _on_pipeline(
        commands, "export", _export, "write the vote as one program that runs without softvote"
    )
    _add_voter(export)
    export.add_argument("--output", type=Path, metavar="FOLDER", help="the voter's own folder if left out")
    _add_old_name(export, "--to", "output", type=Path)
    _add_kernel(commands)
    _add_predict(commands)


def _add_kernel(commands: Commands) -> None:
    kernel = _on_pipeline(
        commands, "kernel", _kernel, "build a Kaggle kernel of the pipeline, and let it run"
    )
    kernel.add_argument(
        "--mode", choices=("infer", "train"), default="infer",
        help="infer: predict and vote with the networks trained here; train: do all the stages there",
    )  # fmt: skip
    _add_voter(kernel)
    kernel.add_argument("--owner", metavar="USER", help="of Kaggle; whose credentials are here if left out")
    kernel.add_argument(
        "--gpu", action=argparse.BooleanOptionalAction, help="ask Kaggle for one; left out, only to train"
    )
    kernel.add_argument(
        "--wheels", type=Path, metavar="FOLDER", help="of .whl files that Kaggle's image lacks, to go along"
    )
    started = kernel.add_mutually_exclusive_group()
    started.add_argument("--push", action="store_true", help="push it, wait, and bring back what it wrote")
    started.add_argument(
        "--fetch", action="store_true", help="wait for the one that was pushed last, and bring that back"
    )
    kernel.add_argument(
        "--submit", action="store_true", help="submit what it wrote, where a competition takes notebooks"
    )
    _add_sending(kernel)


def _add_predict(commands: Commands) -> None:
    predict = _command(commands, "predict", _predict, "name images, with a program or a folder of networks")
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
    predict.add_argument("--addend", metavar="N", help="of every image, 0..9, where a CSV has none")
    predict.add_argument("--resize", action="store_true", help="bring other sizes to the model's")
    predict.add_argument("--probabilities", action="store_true", help="one more column a class")
    predict.add_argument("--output", type=Path, metavar="FILE", help="a CSV; standard output if left out")
    _add_old_name(predict, "--to", "output", type=Path)


def _add_voter(command: argparse.ArgumentParser) -> None:
    command.add_argument("--member", metavar="NAME", help="a member instead of the ensemble")
    _add_old_name(command, "--of", "member")


def _add_old_name(command: argparse.ArgumentParser, flag: str, today: str, **how: Any) -> None:
    """A flag of version 0.1, understood for one version more and shown nowhere."""
    command.add_argument(flag, dest=today, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **how)


def _command(commands: Commands, name: str, run: object, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    return command


def _add_sending(command: argparse.ArgumentParser) -> None:
    command.add_argument("--force", action="store_true", help="send it even if the same file was sent before")
    command.add_argument("--no-wait", action="store_true", help="do not wait for the score")


def _on_pipeline(commands: Commands, name: str, run: object, text: str) -> argparse.ArgumentParser:
    command = _command(commands, name, run, text)
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


def _image_size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW, such as 28x28")
    return int(height), int(width)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, such as 60")
    return seconds


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of trials, such as 20")
    return int(text)


# ---------------------------------------------------------------- from words to calls


def _show(result: object) -> None:
    """Print what a stage reports or returns, unless it has nothing to say."""
    if text := in_shell_words(str(result)):
        print(text, flush=True)


def _open(parsed: argparse.Namespace) -> Run:
    from softvote.stages import open_run

    return open_run(parsed.root, parsed.pipeline, parsed.set)


def _demo(parsed: argparse.Namespace) -> None:
    from softvote.stages import demo

    _show(demo.run(parsed.root / parsed.folder, _show))


def _data(parsed: argparse.Namespace) -> None:
    from softvote.stages import data

    _show(data.run(parsed.root, parsed.source, parsed.name, parsed.file))


def _init(parsed: argparse.Namespace) -> None:
    from softvote.stages import init

    _show(init.run(parsed.root, parsed.folder, parsed.name, parsed.image))


def _check(parsed: argparse.Namespace) -> None:
    run = _open(parsed)  # a typing error shall not wait for torch

    from softvote.stages import check

    _show(check.run(run, _show))


def _models(parsed: argparse.Namespace) -> None:
    from softvote.models import describe_models, timm_models
    from softvote.reporting.tables import render

    lines = [[name, f"{count:,}" if count else "", text] for name, count, text in describe_models()]
    print(render(["model", "parameters", "what it is"], lines), end="")
    print("parameters: for grey images of 28 x 28 and ten classes; empty where it takes only others")
    if parsed.all:
        print(*timm_models(), sep="\n")


def _clean(parsed: argparse.Namespace) -> None:
    from softvote.stages import clean

    _show(clean.run(parsed.root, parsed.all))


def _schema(parsed: argparse.Namespace) -> None:
    import json

    from softvote.config.pipeline import json_schema

    print(json.dumps(json_schema(), indent=2))


def _folds(parsed: argparse.Namespace) -> None:
    from softvote.stages import folds

    _show(folds.run(_open(parsed)))


def _train(parsed: argparse.Namespace) -> None:
    from softvote.scheduling.worker import CHECKPOINT_SECONDS
    from softvote.stages import train

    seconds = CHECKPOINT_SECONDS if parsed.checkpoint is None else parsed.checkpoint
    _show(train.run(_open(parsed), parsed.member, parsed.fold, seconds, wait=parsed.wait, report=_show))


def _tune(parsed: argparse.Namespace) -> None:
    run = _open(parsed)

    from softvote.stages import tune

    _show(tune.run(run, parsed.trials or tune.TRIALS))


def _ensemble(parsed: argparse.Namespace) -> None:
    from softvote.stages import ensemble

    _show(ensemble.run(_open(parsed)))


def _submit(parsed: argparse.Namespace) -> None:
    from softvote.stages import submit
    from softvote.stages.send import NotebooksOnlyError, SendOptions

    if not parsed.send and (parsed.force or parsed.no_wait):
        word = "`force`" if parsed.force else "WAIT=0 (--no-wait)"
        raise UserError.at(word, "is about what is sent, and nothing is", "add `send`, or leave it out")
    sending = SendOptions(force=parsed.force, wait=not parsed.no_wait) if parsed.send else None
    opened = _open(parsed)
    try:
        result = submit.run(opened, parsed.member, sending, _show)
    except NotebooksOnlyError as only:
        from softvote.stages import kernel

        _show(f"{only}; a kernel is pushed and submitted instead")
        _show(kernel.run(opened, kernel.KernelOptions(voter=parsed.member, push=True, submit=sending), _show))
        return
    if sending is None:
        _show(result)


def _leaderboard(parsed: argparse.Namespace) -> None:
    from softvote.stages import leaderboard

    _show(leaderboard.run(parsed.root, parsed.fetch, _show))


def _report(parsed: argparse.Namespace) -> None:
    from softvote.stages import report

    _show(report.run(_open(parsed)))


def _augmentation(parsed: argparse.Namespace) -> None:
    from softvote.stages import augmentation

    _show(augmentation.run(_open(parsed), parsed.member))


def _digits(parsed: argparse.Namespace) -> None:
    from softvote.stages import digits

    _show(digits.run(_open(parsed), parsed.member))


def _export(parsed: argparse.Namespace) -> None:
    from softvote.stages import export

    _show(export.run(_open(parsed), parsed.member, parsed.output))


def _kernel(parsed: argparse.Namespace) -> None:
    from softvote.stages import kernel
    from softvote.stages.send import SendOptions

    sending = SendOptions(force=parsed.force, wait=not parsed.no_wait) if parsed.submit else None
    options = kernel.KernelOptions(
        parsed.mode,
        parsed.member,
        parsed.owner,
        parsed.gpu,
        parsed.wheels,
        parsed.push,
        parsed.fetch,
        sending,
    )
    _show(kernel.run(_open(parsed), options, _show))


def _predict(parsed: argparse.Namespace) -> None:
    from softvote.stages import predict

    wanted = predict.PredictOptions(
        parsed.images, parsed.addend, parsed.resize, parsed.probabilities, parsed.output
    )
    _show(predict.run(parsed.model, wanted))


def _mistakes(parsed: argparse.Namespace) -> None:
    from softvote.stages import mistakes

    _show(mistakes.run(_open(parsed), parsed.member))
