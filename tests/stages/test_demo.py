"""softvote demo: the whole way in one command, in any folder, with an accuracy worth showing."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from projects import process, softvote

from softvote.storage.paths import Workspace
from softvote.tracking.ledger import read_ledger

# The demo for a moment: a pipeline that somebody has changed.
QUICK = ["folds: {count: 3}", "epochs: 10", "members:", "  big_kernel_cnn:", "  resnet5:"]
QUICKER = ["folds: {count: 2}", "epochs: 1", "engine: {workers: 1}\nmembers:", "  # ", "  # "]


def quick_pipeline() -> str:
    text = resources.files("softvote").joinpath("demo.yaml").read_text("utf-8")
    for line, instead in zip(QUICK, QUICKER, strict=True):
        assert line in text
        text = text.replace(line, instead)
    return text.replace("no_aug_epochs: 2", "no_aug_epochs: 0")


def test_every_stage_is_done_with_the_pipeline_that_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace(tmp_path / "here")
    workspace.pipelines.mkdir(parents=True)
    path, text = workspace.pipelines / "demo.yaml", quick_pipeline()
    path.write_text(text, encoding="utf-8")
    assert softvote(tmp_path, "demo", "here") == 0
    assert path.read_text(encoding="utf-8") == text
    [entry] = read_ledger(workspace.ledger)
    assert (entry.rows, entry.test_rows, entry.folds, entry.members) == (1198, 599, "2/2", ("cnn",))
    assert (workspace.submissions / entry.file).is_file()
    told = capsys.readouterr().out
    begins = ["wrote 1,198 training and 599 test", "folds: ", "cnn: train", "vote: ", "demo, vote: "]
    places = [told.index(words) for words in begins]
    assert places == sorted(places)


@pytest.mark.slow
def test_the_demo_is_at_least_98_5_percent_right(tmp_path: Path) -> None:
    out, told = process(tmp_path, "demo").communicate()
    workspace = Workspace(tmp_path / "demo")
    assert (workspace.pipelines / "demo.yaml").is_file(), told
    [entry] = read_ledger(workspace.ledger)
    assert len(entry.members) == 3 and entry.rows == 1198
    assert entry.cv.value >= 0.985
    assert entry.solution is not None and entry.solution.value >= 0.98
    assert out.endswith(f"added a row to {workspace.ledger}\n")
