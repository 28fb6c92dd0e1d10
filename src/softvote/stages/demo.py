"""Demo: the whole way in one process, on digits that come with scikit-learn."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from softvote.data.demo_digits import write_demo_digits
from softvote.stages import Report, ensemble, folds, ignore, open_run, submit, train
from softvote.stages.submit import SubmitResult
from softvote.storage.files import write_text
from softvote.storage.paths import Workspace

_NAME = "demo"


def run(root: Path, report: Report = ignore) -> SubmitResult:
    """Write the demo's data and pipeline into a workspace, then do the four stages there.

    A pipeline that is there already, perhaps changed by hand, is left as it is and run.

    Args:
        root: the workspace's folder; it is made where it is missing.
        report: takes the result of each stage but the last as it comes.

    Returns:
        The last stage's.

    Raises:
        UserError: a file cannot be written, or a stage cannot do its work.
    """
    workspace = Workspace(root)
    write_demo_pipeline(root)
    opened = open_run(root, _NAME)
    folder = workspace.input(opened.pipeline.competition.name)
    rows, test_rows = write_demo_digits(folder)
    report(f"wrote {rows:,} training and {test_rows:,} test digits to {folder}")
    report(folds.run(opened))
    report(train.run(opened, report=report))
    report(ensemble.run(opened))
    return submit.run(opened)


def write_demo_pipeline(root: Path) -> Path:
    """Write the demo's pipeline into a workspace, unless one is there already; its path.

    Raises:
        UserError: it cannot be written.
    """
    path = Workspace(root).pipelines / f"{_NAME}.yaml"
    if not path.exists():
        write_text(path, resources.files("softvote").joinpath(path.name).read_text("utf-8"))
    return path
