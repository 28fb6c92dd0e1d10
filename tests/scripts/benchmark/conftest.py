"""scripts/benchmark as a person runs it, where no data is but scikit-learn's digits."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from programs import ROOT, start

sys.path.insert(0, str(ROOT / "scripts"))

from benchmark import cases, inputs

Facts = dict[str, Any]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """One network, measured briefly: the folder of results, and what was printed."""
    folder = tmp_path_factory.mktemp("benchmark")
    words = ["--networks", "stn_cnn", "--repeats", "2", "--seconds", "0.3", "--to", "out"]
    process = start("benchmark", folder, *words)
    printed, told = process.communicate()
    assert process.returncode == 0, told
    return folder / "out", printed, told


@pytest.fixture(scope="module")
def facts(measured: tuple[Path, str, str]) -> Facts:
    found: Facts = json.loads((measured[0] / "benchmark.json").read_text())
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with scikit-learn's digits in it."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        inputs.lay_out_inputs(folder, {cases.FIVE}, Namespace(data=None, sums=None))
    return folder
