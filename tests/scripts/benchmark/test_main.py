"""Where data comes from, and what is said of mistakes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from benchmark import cases, inputs, main, processes
from programs import ROOT, start

from softvote.errors import UserError
from softvote.storage.paths import Workspace


def test_sums_are_made_of_the_digits_where_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = Namespace(data=None, sums=None)
    [(name, origin)] = inputs.lay_out_inputs(tmp_path / "root", {cases.SUMS}, asked).items()
    assert name == cases.SUMS and "is missing: made of the digits" in origin
    images = inputs.images_of(cases.load_case("slot_cnn"), tmp_path / "root")
    assert images.pixels.shape == (1500, 1, 40, 168) and images.values.max() <= 36


def test_data_that_is_there_is_taken(root: Path, tmp_path: Path) -> None:
    asked = Namespace(data=Workspace(root).input(cases.FIVE), sums=None)
    assert inputs.lay_out_inputs(tmp_path, {cases.FIVE}, asked) == {cases.FIVE: str(asked.data)}
    assert len(inputs.images_of(cases.load_case("cnn"), tmp_path).values) == 1498


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--networks cnm", "--networks cnm: no such network; did you mean 'cnn'? known: cnn, "),
        ("--repeats 1", "--repeats 1: too few; give 2 or more"),
        ("--accuracy --seeds 1", "--seeds 1: too few; give 2 or more"),
        ("--seconds 0", "--seconds 0: no time to measure in; give 10"),
        ("--seconds soon", "argument --seconds: invalid float value: 'soon'; --help says what there is"),
        ("--accuracy --to-vote", "argument --to-vote: not allowed with argument --accuracy"),
        ("--speed", "unrecognized arguments: --speed"),
        ("--data absent", "absent: no such folder; "),
        (
            "--to-vote --set members.cnn_a.epoch=2",
            "--set members.cnn_a.epoch=2: members.cnn_a.epoch: unknown key; ",
        ),
    ],
)
def test_a_mistake_is_one_line(
    words: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.main(words.split()) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"benchmark: {told}")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_loop_that_ends_without_a_word_is_told() -> None:
    loop = processes.Loop("cnn, stock", os._exit, 3)
    try:
        with pytest.raises(UserError, match=r"cnn, stock: its process ended with exit code \d+"):
            loop.receive()
    finally:
        loop.close()


A_LOOP_SAYS_HOW_ITS_CHILDREN_START = """
import multiprocessing
import sys

sys.path.insert(0, sys.argv[1])
from benchmark.processes import Loop

def body(line):
    return multiprocessing.get_start_method()

if __name__ == "__main__":
    loop = Loop("cnn, stock", body)
    print(multiprocessing.get_start_method(), loop.receive())
    loop.close()
"""


@pytest.mark.slow
def test_workers_of_a_loop_start_as_those_of_a_notebook_do(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(A_LOOP_SAYS_HOW_ITS_CHILDREN_START)
    command = [sys.executable, str(program), str(ROOT / "scripts")]
    here, there = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert here == there


@pytest.mark.slow
def test_ctrl_c_ends_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    process = start("benchmark", tmp_path, "--networks", "stn_cnn", "--to", "out")
    assert process.stderr
    assert "warm up" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to every process
    _, told = process.communicate()
    assert process.returncode == 130
    assert told == "benchmark: stopped; nothing was written\n"
    assert not list(tmp_path.iterdir())
