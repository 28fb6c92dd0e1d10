"""softvote.compiled: machine code is kept, whole and apart, and never needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import pytest

from softvote.compiled import compiled

MOMENTS = """
import resource, sys
import numpy as np
from softvote import loops
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
mean, variance = np.zeros((2, 3))
loops.moments(np.arange(12, dtype=np.float32).reshape(2, 2, 3), mean, variance)
print(*mean, *variance, sum(loops.moments.stats.cache_hits.values()))
"""


def moments(folder: Path, largest_file: int = 1 << 30) -> list[float]:
    """Means, variances and how often machine code was found, of a fresh process that keeps it in a folder."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, "-c", MOMENTS, str(largest_file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [float(number) for number in done.stdout.split()]


def test_machine_code_is_kept(tmp_path: Path) -> None:
    expected = [4.5, 5.5, 6.5, 11.25, 11.25, 11.25]
    assert moments(tmp_path) == [*expected, 0]
    assert moments(tmp_path) == [*expected, 1]


def test_a_full_disk_keeps_no_machine_code_and_stops_nothing(tmp_path: Path) -> None:
    first = moments(tmp_path, largest_file=100)
    assert moments(tmp_path) == first


@pytest.mark.parametrize("damage", ["nothing", "cut", "of another loop"])
def test_damaged_machine_code_is_compiled_again(tmp_path: Path, damage: str) -> None:
    first = moments(tmp_path)
    files = list(tmp_path.rglob("*.nbc"))
    assert len(files) > 2
    whole = [file.read_bytes() for file in files]
    for file, other in zip(files, [*whole[1:], whole[0]], strict=True):
        kept = file.read_bytes()
        file.write_bytes(
            {"nothing": b"", "cut": kept[:-1], "of another loop": other[:32] + kept[32:]}[damage]
        )
    assert moments(tmp_path) == first
    assert moments(tmp_path) == [*first[:-1], 1]


def test_variants_and_types_have_machine_code_of_their_own(tmp_path: Path) -> None:
    """Numba's own index lets two processes that write at once mix them up."""
    program = (
        "import torch; torch.set_num_threads(1);"
        "from softvote import fused; from torch import nn;"
        "make = lambda c, d: torch.randn(2, c, 4, 4).to(d, memory_format=torch.channels_last);"
        "[fused.norm_pool_relu(make(channels, dtype).requires_grad_(), None, True)"
        " for channels in (32, 64) for dtype in (torch.float32, torch.bfloat16)]"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert len(list(tmp_path.rglob("*_pooled_forward*.nbc"))) == 4
    assert not list(tmp_path.rglob("*.nbi"))


def test_loops_compile_where_nothing_can_be_kept() -> None:
    """A function that is in no file has no folder to keep it in."""
    spaces: dict[str, Any] = {}
    exec("def double(x):\n    return 2 * x", spaces)
    with pytest.raises(RuntimeError, match="cannot cache function"):
        numba.njit(cache=True)(spaces["double"])
    assert compiled(spaces["double"])(21) == 42
