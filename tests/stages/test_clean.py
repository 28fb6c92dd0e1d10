"""softvote clean: what is old goes, what is used is told with its size, what decides bits stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import softvote

from softvote.ops import cpu_kernels, numba_cache


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches, a download, and machine code of today's and of another source."""
    assert cpu_kernels  # it must not be imported only now, while its folder is another
    code = tmp_path / "code"
    monkeypatch.setattr(numba_cache, "_KEPT", {code: {"0123abcd"}})
    for name, size in (
        ("code/cpu_kernels.f-1.py311.0123abcd.00.nbc", 2_000_000),
        ("code/cpu_kernels.f-1.py311.99999999.00.nbc", 3_000_000),
        ("code/cpu_kernels.f-1.py311.00.nbc", 1_000_000),
        ("code/cpu_kernels.cpython-311.pyc", 10),
        ("models/.cache/abc/train_pixels.npy", 5_000_000),
        ("models/.cache/choices/a.json", 10),
        ("models/.cache/paces/a.json", 10),
        ("models/tiny/cnn/fold0/weights.safetensors", 10),
        ("input/.downloads/digits/whole/digits.zip", 7_000_000),
        ("input/digits/train.csv", 10),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    return tmp_path


def names(root: Path) -> set[str]:
    return {path.name for path in root.rglob("*") if path.is_file()}


OLD = {"cpu_kernels.f-1.py311.99999999.00.nbc", "cpu_kernels.f-1.py311.00.nbc"}


def test_old_machine_code_goes_and_the_rest_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(root)
    assert softvote(root, "clean") == 0
    assert before - names(root) == OLD
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["old", "machine", "code", "2", "4.0", "MB", "removed"] in lines
    assert ["parsed", "input", "files", "1", "5.0", "MB", "kept"] in lines
    assert " ".join(lines[-1]) == (
        "freed 4.0 MB; 14.0 MB more with --all, which are made or fetched again when needed"
    )


def test_all_goes_but_for_what_trainings_need(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert softvote(root, "clean", "--all") == 0
    assert names(root) == {"a.json", "weights.safetensors", "train.csv", "cpu_kernels.cpython-311.pyc"}
    assert capsys.readouterr().out.splitlines()[-1] == "freed 18.0 MB"
    assert softvote(root, "clean") == 0
    assert capsys.readouterr().out == "nothing is kept that could be made again\n"
