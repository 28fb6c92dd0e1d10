"""The programs in scripts/, and digits of 28 x 28 to run them on."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from data_fixtures import write_csv
from numpy.typing import NDArray

Digits = tuple[NDArray[np.uint8], NDArray[np.int64]]

ROOT = Path(__file__).resolve().parents[1]


def load(name: str) -> ModuleType:
    """A program as a module, for its functions; a folder may stand before its name."""
    spec = importlib.util.spec_from_file_location(Path(name).name, ROOT / "scripts" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a program as a person does; it is a file or a package."""
    package = ROOT / "scripts" / name
    path = package if package.is_dir() else package.with_suffix(".py")
    command = [sys.executable, str(path), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def start(name: str, folder: Path, *words: object) -> subprocess.Popen[str]:
    """Start a program in a folder, in a process group of its own."""
    command = [sys.executable, str(ROOT / "scripts" / name), *map(str, words)]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )


def enlarge(digits: Digits) -> Digits:
    """600 digits of 8 x 8 at three times their size: uint8 (600, 28, 28) and labels int64 (600,)."""
    larger = digits[0][:600].repeat(3, axis=1).repeat(3, axis=2)
    return np.pad(larger, ((0, 0), (2, 2), (2, 2))), digits[1][:600]


def write_digits(path: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Path:
    """A CSV of labels and pixels, as Digit Recognizer has it."""
    flat = images.reshape(len(images), -1)
    header = ["label", *(f"pixel{index}" for index in range(flat.shape[1]))]
    write_csv(path, header, np.column_stack([labels, flat]).tolist())
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file in a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
