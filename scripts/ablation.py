"""What is each change of a recipe worth? Members of a pipeline beside one of them, with standard errors.

    python scripts/ablation.py photographs plain
    python scripts/ablation.py photographs plain --picture docs/photographs.png --table docs/photographs.json
    python scripts/ablation.py photographs plain --views '{horizontal_flip: true}' '{shift: 2}'

Reads what `softvote train` left, all folds that are finished, and prints a table in Markdown. Accuracy is
that of the labels that a member gives rows it was not trained on; differences are paired: both members named
the same rows, those of the folds that both have. Where `folds.group` joins rows, standard errors count a
group as one: they are those of a sum over groups (Liang and Zeger 1986). Several seeds of one recipe
(`repeats`) are averaged first. `--views` predicts anew with the reference's weights, which test-time
augmentation leaves as they are.
"""

# Annotations are not deferred: dataclasses cannot look theirs up in a module that was loaded by its path.

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from matplotlib.figure import Figure
from numpy.typing import NDArray

from softvote.config.views import TestTime
from softvote.data.dataset import Dataset, read_dataset
from softvote.ensembling.predictions import Predictions, merge_folds, read_predictions
from softvote.errors import UserError, one_of
from softvote.inference.loading import load_predictor
from softvote.shell import run_program
from softvote.stages import Run, open_run
from softvote.storage.files import atomic_write, write_json
from softvote.words import counted


@dataclass(frozen=True)
class Compared:
    """A member beside the reference, in per cent, on the rows that both named.

    Attributes:
        accuracy, error: of the member, and its standard error.
        difference, difference_error: its accuracy less the reference's; 0 of the reference itself.
        rows, groups: how many there are.
    """

    name: str
    accuracy: float
    error: float
    difference: float
    difference_error: float
    rows: int
    groups: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parsed = _parser().parse_args(arguments)
    return run_program("ablation", lambda: _show(parsed))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pipeline", help="its name or the path of its .yaml")
    parser.add_argument("reference", help="the member that the others are compared with")
    parser.add_argument("--root", type=Path, default=Path(), help="the workspace (%(default)s)")
    parser.add_argument("--views", nargs="+", default=[], metavar="TTA", help="values of `tta`, as in YAML")
    parser.add_argument("--picture", type=Path, help="draw the differences there")
    parser.add_argument("--table", type=Path, help="write the figures there, as JSON")
    return parser


def _show(parsed: argparse.Namespace) -> None:
    run = open_run(parsed.root, parsed.pipeline)
    one_of_them = run.members.get(parsed.reference)
    if one_of_them is None:
        raise UserError(f"no member '{parsed.reference}': {one_of(list(run.members), parsed.reference)}")
    dataset = read_dataset(run.pipeline.competition, run.workspace)
    named = {name: found for name in run.members if (found := finished(run, name)) is not None}
    if parsed.reference not in named:
        raise UserError(f"{parsed.reference}: no finished fold; softvote train {parsed.pipeline} trains it")
    for text in parsed.views:
        named[f"{parsed.reference}, {text}"] = seen_so(run, parsed.reference, dataset, text)
    groups = dataset.train_groups.get(run.pipeline.folds.group or "", np.arange(len(dataset.train_labels)))
    rows = [
        compare(name, found, named[parsed.reference], dataset.train_labels, groups)
        for name, found in named.items()
    ]
    print(table(rows, parsed.reference))
    if parsed.table:
        write_json(parsed.table, {"reference": parsed.reference, "rows": [vars(row) for row in rows]})
    if parsed.picture:
        draw(rows, parsed.reference, parsed.picture)


def finished(run: Run, member: str) -> Predictions | None:
    """What a member says by its finished trainings; None where there are none."""
    folders = [each for each in run.folder.predictions(member).folds() if each.scores.is_file()]
    return merge_folds([read_predictions(each) for each in folders]) if folders else None


def seen_so(run: Run, member: str, dataset: Dataset, text: str) -> Predictions:
    """What a member's finished trainings say of the same rows with other test-time views."""
    views = TestTime.model_validate(yaml.safe_load(text))
    parts = []
    for folder in run.folder.predictions(member).folds():
        if folder.scores.is_file():
            said, predictor = read_predictions(folder), replace(load_predictor(folder), tta=views)
            oof = predictor.probabilities(np.asarray(dataset.train_pixels[said.rows]))
            parts.append(Predictions(said.rows, oof, said.test))
    return merge_folds(parts)


def compare(
    name: str,
    member: Predictions,
    reference: Predictions,
    labels: NDArray[np.int64],
    groups: NDArray[np.generic],
) -> Compared:
    """Compare two members on the rows that both named.

    Args:
        labels: int64 (N,), of all training rows.
        groups: (N,), which rows belong together.

    Raises:
        UserError: they have no row in common.
    """
    rows, mine, theirs = np.intersect1d(member.rows, reference.rows, return_indices=True)
    if not len(rows):
        raise UserError(f"{name}: its finished folds are none of the reference's; train the same ones")
    right = member.oof[mine].argmax(axis=1) == labels[rows]
    difference = right.astype(float) - (reference.oof[theirs].argmax(axis=1) == labels[rows])
    return Compared(
        name,
        100 * float(right.mean()),
        100 * standard_error(right.astype(float), groups[rows]),
        100 * float(difference.mean()),
        100 * standard_error(difference, groups[rows]),
        len(rows),
        len(np.unique(groups[rows])),
    )


def standard_error(values: NDArray[np.float64], groups: NDArray[np.generic]) -> float:
    """Of the mean of values (n,), where those of one group (n,) are not independent."""
    _, group = np.unique(groups, return_inverse=True)
    sums = np.bincount(group.reshape(-1), values - values.mean())
    count = len(sums)
    return float(np.sqrt((sums**2).sum() * count / (count - 1)) / len(values))


def table(rows: Sequence[Compared], reference: str) -> str:
    """The rows in Markdown."""
    lines = [f"| member | accuracy, % | beside `{reference}` |", "|---|---|---|"]
    for row in rows:
        beside = f"{row.difference:+.1f} ± {row.difference_error:.1f}" if row.name != reference else ""
        lines.append(f"| `{row.name}` | {row.accuracy:.1f} ± {row.error:.1f} | {beside} |")
    counts = sorted({(row.rows, row.groups) for row in rows})
    said = ", ".join(f"{counted(count, 'row')} in {counted(groups, 'group')}" for count, groups in counts)
    return "\n".join([*lines, "", f"± is one standard error; {said}."])


def draw(rows: Sequence[Compared], reference: str, path: Path) -> None:
    """Draw differences with two standard errors either way."""
    others = [row for row in rows if row.name != reference][::-1]
    figure = Figure((7, 0.6 + 0.4 * len(others)), layout="constrained")
    axes = figure.add_subplot()
    axes.errorbar(
        [row.difference for row in others], range(len(others)),
        xerr=[2 * row.difference_error for row in others], fmt="o", capsize=3,
    )  # fmt: skip
    axes.axvline(0, color="grey", linewidth=1)
    axes.set_yticks(range(len(others)), [row.name for row in others])
    axes.set_xlabel(f"accuracy beside {reference}, percentage points, ± 2 standard errors")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


if __name__ == "__main__":
    sys.exit(main())
