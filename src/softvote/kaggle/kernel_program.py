"""The code file of a kernel: what it does, the pipeline and the package, in one program of text."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import string
import textwrap
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import yaml

import softvote
from softvote import __version__
from softvote.config.engine import RayEngine
from softvote.config.pipeline import Pipeline
from softvote.errors import UserError
from softvote.kaggle.places import INPUT, OUTPUT

Mode = Literal["infer", "train"]


_PACKAGE = Path(softvote.__file__).parent

_MOST_BYTES = 1_000_000  # of a code file; Kaggle's own limit is a little above


PREDICTION_SECONDS = 8.5 * 3600.0
"""Kaggle stops the kernels of most competitions after nine hours."""


@dataclass(frozen=True)
class Kernel:
    """What a kernel does, as its code file says it.

    Attributes:
        pipeline: its name.
        mode: infer predicts and votes with trained networks; train does all the stages.
        voter: the member or the ensemble whose submission is written.
        packages: what the mode and the pipeline need, as `import name: name of the package`.
        dataset: of the trained networks, or in mode train of published weights that these start from, as
            `owner/slug`; empty where there are none.
        files: in it, as `name: sha256`; that of a trained network is a path under `models/<pipeline>/` with
            dots for slashes, that of published weights the one under `input/weights/`.
        wheels: data set of packages that Kaggle's image lacks, as `owner/name`; empty where there are none.
        safe: what is said of a row whose image cannot be had, K probabilities; empty in mode train.
        seconds: that predictions may take.
    """

    pipeline: str
    mode: Mode
    voter: str
    packages: dict[str, str]
    dataset: str
    files: dict[str, str]
    wheels: str = ""
    safe: list[float] = field(default_factory=list)
    seconds: float = PREDICTION_SECONDS


_PROGRAM = string.Template('''\
# softvote, pipeline $name: $deed.
#
# input     $input
# output    $output
# packages  $packages
# internet  none
# built by  softvote $version
#
# Input is looked for in /kaggle/input, output goes to /kaggle/working, unless $input_variable and
# $output_variable name other folders. KERNEL says what is done, PIPELINE is the pipeline file with all
# that it extends, and PACKAGE is the source of softvote: a zip in base64, of sha256
# $sha256.

import base64
import io
import sys
import tempfile
import zipfile

KERNEL = $kernel

PIPELINE = """\\
$pipeline"""


def main():
    with tempfile.TemporaryDirectory(prefix="softvote-") as folder:
        zipfile.ZipFile(io.BytesIO(base64.b64decode(PACKAGE))).extractall(folder)
        sys.path.insert(0, folder)
        from softvote.kernel_entry import main

        return main(KERNEL, PIPELINE, folder)


PACKAGE = """
$package"""

if __name__ == "__main__":
    sys.exit(main())
''')  # fmt: skip


_DEEDS = {
    "infer": "predicts with trained networks, and lets them vote",
    "train": "makes folds, trains, lets the networks vote, and writes the submission",
}


_OUTPUTS = {"infer": "submission.csv", "train": "submission.csv, ledger.csv, scores.json and log.csv"}


def render_program(kernel: Kernel, pipeline: Pipeline) -> str:
    """The text of the code file, with the pipeline and the whole package in it.

    Args:
        pipeline: as it runs there, with no members but those that are needed.

    Raises:
        UserError: it is more than Kaggle takes.
    """
    package = _pack(_PACKAGE)
    text = _PROGRAM.substitute(
        name=kernel.pipeline,
        deed=_DEEDS[kernel.mode],
        input=" and ".join(
            filter(None, [f"competition {pipeline.competition.kaggle}", kernel.dataset, kernel.wheels])
        ),
        input_variable=INPUT,
        output=_OUTPUTS[kernel.mode],
        output_variable=OUTPUT,
        packages=textwrap.fill(", ".join(kernel.packages.values()), 98, subsequent_indent=f"#{' ' * 11}"),
        version=__version__,
        sha256=hashlib.sha256(package).hexdigest(),
        kernel=json.dumps(asdict(kernel), indent=4),  # text, lists and mappings are the same in Python
        pipeline=_in_quotes(resolve_pipeline(pipeline)),
        package=base64.encodebytes(package).decode(),
    )
    if len(text.encode()) > _MOST_BYTES:
        what = f"{len(text.encode()):,} bytes of code are more than the {_MOST_BYTES:,} that Kaggle takes"
        raise UserError.at(f"pipeline '{kernel.pipeline}'", what, f"take modules out of {_PACKAGE}")
    return text


def _pack(package: Path) -> bytes:
    """A zip of the package's source but for the stand-in of Kaggle, the same whenever it is made."""
    buffer, stand_in = io.BytesIO(), Path(__file__).parent / "testing"
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(package.rglob("*.py")):
            if stand_in in path.parents:
                continue
            name = path.relative_to(package.parent).as_posix()
            info = zipfile.ZipInfo(name)  # says 1980, whenever the file was written
            archive.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED, compresslevel=9)
    return buffer.getvalue()


def resolve_pipeline(pipeline: Pipeline) -> str:
    """The pipeline as one file; each member holds its defaults already, and no cluster or tracker is told."""
    left_out = {"extends", "defaults", "tune", "tracker"} | (
        {"engine"} if isinstance(pipeline.engine, RayEngine) else set()
    )
    config = pipeline.model_dump(mode="json", exclude=left_out, exclude_defaults=True)
    return str(yaml.safe_dump(config, sort_keys=False))


def _in_quotes(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
