"""scripts/timm_comparison.py: what it reads out of what others say and of what processes hold."""

from __future__ import annotations

import sys

import pytest
from programs import load

from softvote.errors import UserError

timm_comparison = load("timm_comparison")

TOLD = """\
Train: 0 [   0/2 ( 50%)]  Loss: 3.02 (3.02)  Time: 4.000s,   16.00/s  (4.000s,   16.00/s)  LR: 1.0e-03  Data: 3.0 (3.0)
Train: 0 [   1/2 (100%)]  Loss: 2.98 (3.00)  Time: 2.000s,   32.00/s  (3.000s,   21.33/s)  LR: 1.0e-03  Data: 0.0 (1.5)
Test: [   1/1]  Time: 0.3 (0.4)  Loss: 2.9 (2.9)  Acc@1: 9.3 (9.3)
Train: 1 [   1/2 (100%)]  Loss: 2.98 (3.00)  Time: 1.000s,   64.00/s  (2.000s,   32.00/s)  LR: 1.0e-03  Data: 0.0 (1.5)
"""  # noqa: E501 (as it is told)


def test_rates_are_those_of_whole_epochs() -> None:
    assert timm_comparison.timm_rates(TOLD, 64) == pytest.approx([64 / 3, 32])


def test_a_program_that_tells_of_no_epochs_is_quoted() -> None:
    with pytest.raises(UserError, match="cannot open"):
        timm_comparison.timm_rates("cannot open", 64)


def test_memory_and_time_of_children_count() -> None:
    child = "bytearray(b'x') * (60 << 20); import time; time.sleep(1)"
    code = f'import subprocess, sys; subprocess.run([sys.executable, "-c", "held = {child}"])'
    _, alone, _ = timm_comparison._run([sys.executable, "-c", "import time; time.sleep(0.5)"])
    _, peak, seconds = timm_comparison._run([sys.executable, "-c", code])
    assert peak > alone + 50
    assert seconds > 0


def test_ratios_are_taken_turn_by_turn() -> None:
    def run(rate: float) -> object:
        return timm_comparison.Run(rate, 100, 10)

    rows = [{"softvote": run(40), "timm": run(20)}, {"softvote": run(10), "timm": run(10)}]
    found = timm_comparison.ratios(rows)
    assert found["images_per_second"] == {"mean": 1.5, "standard_error": 0.5}
    assert found["peak_mib"] == {"mean": 1.0, "standard_error": 0.0}


def test_a_missing_program_is_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert timm_comparison.main(["nowhere.py", "emoji-scenes"]) == 1
    assert capsys.readouterr().err.startswith("timm_comparison: nowhere.py: no such file")
