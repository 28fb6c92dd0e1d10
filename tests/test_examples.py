"""examples/: each program and notebook runs as it stands, and says what it promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run_program(name: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == [], "an example leaves files where it was started"
    return done.stdout


def percent(text: str, before: str) -> float:
    found = re.search(rf"{re.escape(before)}\s*([0-9.]+)%", text)
    assert found, f"{before!r} is not in: {text}"
    return float(found[1])


@pytest.mark.slow
def test_a_vote_over_models_of_scikit_learn(tmp_path: Path) -> None:
    told = run_program("vote_over_sklearn.py", tmp_path)
    names = ["logistic", "bayes", "neighbours", "svm"]
    assert re.search(r"^chosen: \w+ \(logistic 0\.\d\d, bayes", told, re.MULTILINE)
    assert percent(told, "test, vote:") >= min(percent(told, f"test, {name} alone:") for name in names)
    assert percent(told, "test, vote:") > 95


@pytest.mark.slow
def test_one_network_with_a_callback(tmp_path: Path) -> None:
    told = run_program("train_with_callback.py", tmp_path)
    epochs = re.findall(r"^epoch +(\d+) ", told, re.MULTILINE)
    assert epochs == [str(number + 1) for number in range(len(epochs))]
    assert (len(epochs) == 8) != ("accurate enough" in told)
    assert percent(told, "held-out fold:") > 95


@pytest.mark.slow
def test_the_notebook_goes_from_files_to_a_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(EXAMPLES / "from_files_to_submission.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "outputs are not kept in the repository"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output.get("data", {}) for output in outputs]
    assert any("<td>= mean</td>" in data.get("text/html", "") for data in shown)
    assert any("image/png" in data for data in shown)
    assert outputs[-1]["text"].startswith("ImageId,Label\n1,")
    warned = [output["text"] for output in outputs if output.get("name") == "stderr"]
    assert [text for text in warned if "IProgress not found" not in text] == []  # tqdm without ipywidgets


def test_every_example_is_in_the_list_and_tested() -> None:
    files = {path.name for path in EXAMPLES.glob("*.*")} - {"README.md"}
    listed = set(re.findall(r"\]\(([^)]+)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8")))
    assert files == listed
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(name in source for name in files)
