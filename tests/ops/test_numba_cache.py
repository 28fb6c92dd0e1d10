"""softvote.ops.numba_cache: machine code is kept, whole and apart, and never needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import pytest

from softvote.ops.numba_cache import compile_function

# Two functions that take a moment to compile; the one calls the other.
FUNCTIONS = """
from softvote.ops.numba_cache import compile_function

@compile_function
def double(x, y):
    for i in range(len(x)):
        y[i] = 2 * x[i]

@compile_function
def quadruple(x, y):
    double(x, y)
    double(y, y)
"""

CALL = """
import resource, sys
import numpy as np
import functions
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
x = np.arange(3, dtype=np.float32)
functions.quadruple(x, y := np.zeros_like(x))
print(*y, sum(functions.quadruple.stats.cache_hits.values()))
"""

EXPECTED = [0, 4, 8]


def call(folder: Path, largest_file: int = 1 << 30) -> list[float]:
    """What `quadruple` gives for 0, 1, 2 and how often machine code was found, in a fresh process.

    Machine code is kept in the folder.
    """
    (folder / "functions.py").write_text(FUNCTIONS)
    os.utime(folder / "functions.py", (0, 0))  # machine code is of one source
    places = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": places}
    command = [sys.executable, "-c", CALL, str(largest_file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [float(number) for number in done.stdout.split()]


@pytest.mark.slow
def test_machine_code_is_kept(tmp_path: Path) -> None:
    assert call(tmp_path) == [*EXPECTED, 0]
    assert call(tmp_path) == [*EXPECTED, 1]


@pytest.mark.slow
def test_a_full_disk_keeps_no_machine_code_and_stops_nothing(tmp_path: Path) -> None:
    assert call(tmp_path, largest_file=100) == [*EXPECTED, 0]
    assert call(tmp_path) == [*EXPECTED, 0]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with machine code."""
    folder = tmp_path_factory.mktemp("kept")
    call(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "nothing", "of another loop"])
def test_damaged_machine_code_is_compiled_again(kept: Path, damage: str) -> None:
    files = list(kept.rglob("*.nbc"))
    assert len(files) == 2
    whole = [file.read_bytes() for file in files]
    for file, other in zip(files, [*whole[1:], whole[0]], strict=True):
        code = file.read_bytes()
        file.write_bytes(
            {"nothing": b"", "cut": code[:-1], "of another loop": other[:32] + code[32:]}[damage]
        )
    assert call(kept) == [*EXPECTED, 0]
    assert call(kept) == [*EXPECTED, 1]


@pytest.mark.slow
def test_variants_and_types_have_machine_code_of_their_own(tmp_path: Path) -> None:
    """Numba's own index lets two processes that write at once mix them up."""
    program = (
        "import torch; torch.set_num_threads(1);"
        "from softvote.ops import fused_ops as fused; from torch import nn;"
        "make = lambda c, d: torch.randn(2, c, 4, 4).to(d, memory_format=torch.channels_last);"
        "[fused.norm_pool_relu(make(channels, dtype).requires_grad_(), None, True)"
        " for channels in (32, 64) for dtype in (torch.float32, torch.bfloat16)]"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert len(list(tmp_path.rglob("*_pool_forward*.nbc"))) == 4
    assert not list(tmp_path.rglob("*.nbi"))


def test_loops_compile_where_nothing_can_be_kept() -> None:
    """A function that is in no file has no folder to keep it in."""
    spaces: dict[str, Any] = {}
    exec("def double(x):\n    return 2 * x", spaces)
    with pytest.raises(RuntimeError, match="cannot cache function"):
        numba.njit(cache=True)(spaces["double"])
    assert compile_function(spaces["double"])(21) == 42
