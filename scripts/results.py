"""Print the two tables of docs/results.md from the ledger, beside the reference scores; draw the ladder.

    python scripts/results.py docs/ladder.png

The newest row of each step or system counts. The ladder's reference scores are leaderboard accuracies on
Kaggle's 28,000 test images (for step 6 the best documented, C. Deotte's 15 networks); ours are
cross-validated on another split of the same images.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from matplotlib.figure import Figure

from softvote.shell import run_program
from softvote.storage.files import atomic_write
from softvote.storage.paths import Workspace
from softvote.tracking.ledger import Entry, read_ledger

REFERENCE_ROWS = 28_000
STEPS = {
    "step1-basic-cnn-sgd": ("`basic_cnn`, SGD", 97.928),
    "step2-basic-cnn-adam": ("`basic_cnn`, Adam, plateau", 98.757),
    "step3-cnn": ("`cnn`, 10 epochs", 99.207),
    "step4-cnn-x5": ("five `cnn`, augmented, 30 epochs", 99.571),
    "digit-recognizer": ("two `cnn`, `big_kernel_cnn`, `resnet5`, `stn_cnn`", 99.610),
    "record-gpu": ("three `doucet_resnet`, `matuzas_senet`, two `simple_cnn_m5`, on GPUs", 99.757),
}
# Trained as long as a machine was lent: the settings of a row leave out what was not reached.
CUT_SHORT = {"record-gpu", "sum-record", "fresh-record", "adder-record"}
# Pipeline and voter; what it is; what the reference scored. 95.55 % is shivanshseth/Digit-Addition on GitHub,
# a pretrained ResNet18 with 50,000 synthetic images; the others are public attempts at the same exercises.
SYSTEMS = {
    ("sum-cnn", "vote"): ("`sum_cnn`, one class a sum", "4 to 70 % (direct CNNs)"),
    ("sum-multilabel", "sum_regressor"): ("sum regressed on the features of `multilabel_cnn`", "MSE 1.0"),
    ("sum-multilabel", "vote"): ("the same, then all of it tuned", "MSE 1.0"),
    ("sum-resnet50", "vote"): ("`resnet50_regressor`", "94 %, MSE .39, with ImageNet weights"),
    ("sum-encoder-decoder", "encoder"): ("`digit_encoder`, digits of generated images", "none published"),
    ("sum-encoder-decoder", "vote"): ("`digit_encoder` and `sum_decoder`, end to end", "none published"),
    ("digit-sum", "slots"): ("`slot_cnn`, digits from sums alone", "95.55 % (best public)"),
    ("digit-sum", "vote"): ("`slot_cnn` and `slot_resnet5`, voting", "95.55 % (best public)"),
    ("sum-record", "vote"): ("three `crop_reader`, digits never seen, on a GPU", "none published"),
    ("fresh-record", "vote"): (
        "the same on generated images, by a seed that chose nothing",
        "none published",
    ),
    ("fresh-digits", "vote"): ("both slots on generated images, test digits never seen", "none published"),
    ("adder-net", "vote"): ("`adder_net`, given the integer", "95 % after 9 epochs"),
    ("digit-adder", "cnn"): ("`cnn`, head `digits`, the integer added exactly", "95 %"),
    ("digit-adder", "vote"): ("`cnn`, `big_kernel_cnn`, `resnet5`, voting", "95 %"),
    ("adder-record", "vote"): ("`doucet_resnet`, `simple_cnn_m5`, voting, on a GPU", "95 %"),
}


def main() -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path, help="the PNG to write")
    picture = parser.parse_args().picture
    return run_program("results", lambda: show(read_ledger(Workspace(Path()).ledger), picture))


def show(entries: list[Entry], picture: Path) -> None:
    """Print both tables and draw the ladder."""
    # A member alone is not a step of the ladder, nor is a trial with other settings.
    plain = [entry for entry in entries if not entry.settings or entry.pipeline in CUT_SHORT]
    newest = {entry.pipeline: entry for entry in plain if ":" in entry.ensemble}
    done = {name: newest[name] for name in STEPS if name in newest}
    print(ladder(done))
    print()
    print(systems({(entry.pipeline, entry.ensemble.split(":")[0]): entry for entry in plain}))
    draw(picture, done)


def ladder(done: dict[str, Entry]) -> str:
    """One step a line."""
    lines = [
        "| step | networks | reference | CV | rows | folds | `make folds train ensemble submit ...` |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, (name, (what, reference)) in enumerate(STEPS.items(), start=1):
        if name in done:
            entry = done[name]
            lines.append(
                f"| {number} | {what} | {reference:.3f} % | {entry.cv} | {entry.rows:,} | {entry.folds} "
                f"| {_command(entry)} |"
            )
    return "\n".join(lines)


def systems(newest: dict[tuple[str, str], Entry]) -> str:
    """One system a line, those of sums and of the adder."""
    lines = [
        "| system | reference | exact, CV | squared error | rows | folds | exact, solution "
        "| `make folds train ensemble submit ...` |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key, (what, reference) in SYSTEMS.items():
        if key in newest:
            entry = newest[key]
            error, solution = entry.squared_error or "", entry.solution or ""
            cells = [what, reference, entry.cv, error, f"{entry.rows:,}", entry.folds, solution]
            cells.append(_command(entry))
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _command(entry: Entry) -> str:
    """What follows `make folds train ensemble submit`."""
    settings = " ".join(entry.settings)
    return f"`PIPELINE={entry.pipeline}" + (f" SET='{settings}'`" if settings else "`")


def draw(path: Path, done: dict[str, Entry]) -> None:
    """Errors a step, ours and the reference's, on a logarithmic axis with one standard error each."""
    figure = Figure(figsize=(7, 3.2), dpi=110)
    axis = figure.subplots()
    numbers = [list(STEPS).index(name) + 1 for name in done]
    references = [1 - STEPS[name][1] / 100 for name in done]
    spread = [math.sqrt(error * (1 - error) / REFERENCE_ROWS) for error in references]
    ours = [1 - entry.cv_score for entry in done.values()]
    errors = [entry.cv_standard_error for entry in done.values()]
    for label, shift, values, bars in (("reference", -0.06, references, spread), ("CV", 0.06, ours, errors)):
        axis.errorbar(
            [n + shift for n in numbers], [100 * v for v in values], [100 * b for b in bars],
            fmt="o", capsize=3, label=f"{label}, ± one standard error",
        )  # fmt: skip
    axis.set_yscale("log")
    axis.set_yticks([0.25, 0.5, 1, 2], labels=["0.25", "0.5", "1", "2"])
    axis.set_xticks(numbers, labels=[f"step {n}" for n in numbers])
    axis.set_ylabel("wrong, %")
    axis.minorticks_off()
    axis.legend()
    figure.tight_layout()
    with atomic_write(path) as temporary:
        figure.savefig(temporary)


if __name__ == "__main__":
    sys.exit(main())
