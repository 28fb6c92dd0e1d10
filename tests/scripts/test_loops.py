"""scripts/loops.py: compares a step with the loops to one without."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import load

from softvote.ops import fused_ops

loops = load("loops")


def test_each_way_takes_as_many_steps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, made = torch.get_num_threads(), list[Any]()
    norm_pool_relu = fused_ops.norm_pool_relu
    monkeypatch.setattr(fused_ops, "norm_pool_relu", lambda *a: made.append(a) or norm_pool_relu(*a))
    monkeypatch.setattr(loops, "BATCHES", {loops.DIGIT: 8})
    try:
        assert loops.main(["cnn", "--rounds", "2"]) == 0
    finally:
        torch.set_num_threads(threads)
    assert len(made) == 4 * loops.STEPS * 3  # four layers of cnn, in half of the steps
    header, _, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["network", "batch", "loops,", "ms", "PyTorch,", "ms", "times", "as", "fast"]
    assert row.split()[:2] == ["cnn", "8"] and row.count("±") == 3


@pytest.mark.parametrize(
    ("words", "line"),
    [(["cn"], "loops: no such network; "), (["--rounds", "1"], "loops: --rounds 1: too few; give 2 or more")],
)
def test_mistakes_are_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert loops.main(words) == 1
    output, error = capsys.readouterr()
    assert output == "" and error.startswith(line) and len(error.splitlines()) == 1
