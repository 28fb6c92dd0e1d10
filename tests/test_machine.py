"""softvote.machine: what the system and its control groups say, as text, and what it means."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from softvote import machine

GIB = 1 << 30
V2 = "/sys/fs/cgroup"
V1 = "/sys/fs/cgroup/memory"
MEMINFO = {
    "/proc/meminfo": "MemTotal:       67108864 kB\nMemFree: 9 kB\nMemAvailable:   33554432 kB\n"
}  # 32 GiB


def reader(files: dict[str, str]) -> machine.Read:
    return lambda path: files.get(path, "")


def v2(path: str, **files: str) -> dict[str, str]:
    """A process in a group of version 2 with these files, dots written as underscores."""
    named = {f"{V2}{path.rstrip('/')}/{name.replace('_', '.', 1)}": text for name, text in files.items()}
    return {"/proc/self/cgroup": f"0::{path}\n"} | named


def v1(path: str, limit: int, used: int, stat: str = "") -> dict[str, str]:
    """A process in a memory group of version 1."""
    folder = f"{V1}{path.rstrip('/')}"
    return {
        "/proc/self/cgroup": f"9:name=systemd:/\n4:memory:{path}\n1:cpu,cpuacct:{path}\n0::/\n",
        f"{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"{folder}/memory.usage_in_bytes": f"{used}\n",
        f"{folder}/memory.stat": stat,
    }


STAT = f"anon 5\ninactive_file {GIB}\ntotal_inactive_file {2 * GIB}\n"


@pytest.mark.parametrize(
    ("files", "gibibytes"),
    [
        ({}, 32),
        (v2("/", memory_max="max\n", memory_current=f"{GIB}\n"), 32),
        (v2("/", memory_max=f"{8 * GIB}\n", memory_current=f"{3 * GIB}\n"), 5),
        (v2("/a/b", memory_max=f"{8 * GIB}\n", memory_current=f"{3 * GIB}\n"), 5),
        (v2("/", memory_max=f"{8 * GIB}\n", memory_current=f"{3 * GIB}\n", memory_stat=STAT), 6),
        (v2("/", memory_max=f"{8 * GIB}\n", memory_current=f"{9 * GIB}\n"), 0),
        (v2("/", memory_max=f"{99 * GIB}\n", memory_current="0\n"), 32),
        (v1("/", 8 * GIB, 3 * GIB), 5),
        (v1("/docker/1f", 8 * GIB, 3 * GIB, STAT), 7),
        (v1("/", 9223372036854771712, 3 * GIB), 32),
        ({"/proc/self/cgroup": "0::/\n", f"{V2}/memory.max": "nonsense\n"}, 32),
    ],
)
def test_free_memory_is_what_machine_and_container_leave(files: dict[str, str], gibibytes: int) -> None:
    assert machine.free_memory(reader(MEMINFO | files)) == gibibytes * GIB


def test_a_limit_of_an_outer_group_holds() -> None:
    inner = v2("/a/b", memory_max=f"{8 * GIB}\n", memory_current="0\n")
    outer = {f"{V2}/a/memory.max": f"{2 * GIB}\n", f"{V2}/a/memory.current": f"{GIB}\n"}
    assert machine.free_memory(reader(MEMINFO | inner | outer)) == GIB


def test_within_a_container_the_path_is_that_of_outside() -> None:
    files = v1("/", 8 * GIB, 3 * GIB) | {"/proc/self/cgroup": "4:memory:/docker/1f\n"}
    assert machine.free_memory(reader(MEMINFO | files)) == 5 * GIB


def test_where_nobody_tells_memory_is_enough() -> None:
    assert machine.free_memory(reader({})) > 1 << 50


CPU = "/sys/fs/cgroup/cpu"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 16),
        (v2("/", cpu_max="150000 100000\n"), 2),
        (v2("/x", cpu_max="50000 100000\n"), 1),
        (v2("/", cpu_max="max 100000\n"), 16),
        (v2("/", cpu_max="9900000 100000\n"), 16),
        (v2("/a/b", cpu_max="800000 100000\n") | {f"{V2}/a/cpu.max": "300000 100000\n"}, 3),
        (
            v1("/", GIB, 0) | {f"{CPU}/cpu.cfs_quota_us": "400000\n", f"{CPU}/cpu.cfs_period_us": "100000\n"},
            4,
        ),
        (v1("/", GIB, 0) | {f"{CPU}/cpu.cfs_quota_us": "-1\n", f"{CPU}/cpu.cfs_period_us": "100000\n"}, 16),
    ],
)
def test_cores_are_those_of_the_process_and_of_the_quota(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    assert machine.cores(reader(files)) == cores


def test_the_processor_is_named() -> None:
    text = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nmodel name\t: Some CPU @ 2.00GHz\n"
    assert machine.processor(reader({"/proc/cpuinfo": text})) == "Some CPU @ 2.00GHz"
    assert machine.processor(reader({}))


def test_this_machine_answers() -> None:
    assert machine.read("/no/such/file") == ""
    assert machine.cores() >= 1 and machine.free_memory() > 0


FAULTS = """
import resource
from softvote import machine

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        bytearray(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults())
machine.keep_freed_memory()
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library is not told to keep memory")
def test_freed_memory_is_there_for_the_next_request() -> None:
    ran = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    given_back, kept = map(int, ran.stdout.split())
    assert kept < given_back / 100


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_waits_for_what_may_not_be_left_half_done(how: signal.Signals) -> None:
    before, done = signal.signal(how, signal.default_int_handler), []
    try:
        with pytest.raises(KeyboardInterrupt), machine.defer_interrupts():
            os.kill(os.getpid(), how)
            done.append("all of it")
        assert done and signal.getsignal(how) is signal.default_int_handler
    finally:
        signal.signal(how, before)


DEAF = """
import signal, multiprocessing
from concurrent.futures import ProcessPoolExecutor
from faults import blocks_ctrl_c
{start}
if __name__ == "__main__":
    with make() as pool:
        assert pool.submit(blocks_ctrl_c).result() and not blocks_ctrl_c()
"""
STARTS = {
    "the server": """
from softvote.machine import start_forkserver

def make():
    start_forkserver("faults")
    return ProcessPoolExecutor(1, multiprocessing.get_context("forkserver"))
""",
    "processes of batches": """
from types import SimpleNamespace
from softvote.training.batches import BatchLoader

def make():
    return BatchLoader._processes.func(SimpleNamespace(workers=1))
""",
}


@pytest.mark.parametrize(
    "who", [pytest.param(who, marks=pytest.mark.slow if who != "the server" else ()) for who in STARTS]
)
def test_processes_are_deaf_to_ctrl_c_whoever_starts_the_server(tmp_path: Path, who: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(DEAF.format(start=STARTS[who]))
    paths = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    subprocess.run([sys.executable, str(program)], check=True, env=os.environ | paths, timeout=300)
