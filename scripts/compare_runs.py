"""Do two runs of a pipeline leave the same? Weights, probabilities, scores and submissions, byte for byte.

    python scripts/compare_runs.py before after

compares models/ and submissions/ of two roots. What tells of clock, machine or commit is left out:
log.csv and ledger.csv lose their columns of time, recipe.json its entries. The two runs must have the same
precision, memory format and number of threads. Ends with 1 where anything differs, each file in a line.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path

from softvote.words import counted

OF_THE_CLOCK = {
    "log.csv": {"seconds", "images_per_second"},
    "ledger.csv": {"time", "commit", "clean"},
    "recipe.json": {"seconds", "peak_memory_mib", "versions"},
}
PASSING = {".cache", "crash.log", ".gitignore"}


def main() -> int:
    """Returns 0 where both runs left the same, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="root of the one run")
    parser.add_argument("after", type=Path, help="root of the other")
    parsed = parser.parse_args()
    for root in (parsed.before, parsed.after):
        if not files_of(root):
            print(
                f"compare_runs: {root}: no models/ or submissions/ in it; name the root of a run",
                file=sys.stderr,
            )
            return 1
    differences = compare(parsed.before, parsed.after)
    same = f"the same: {counted(len(files_of(parsed.before)), 'file')}"
    print("\n".join(differences) if differences else same)
    return 1 if differences else 0


def compare(before: Path, after: Path) -> list[str]:
    """What differs, a line per file."""
    ours, theirs = files_of(before), files_of(after)
    missing = [f"{name}: only in {before}" for name in sorted(ours - theirs)]
    added = [f"{name}: only in {after}" for name in sorted(theirs - ours)]
    both = sorted(ours & theirs)
    return (
        missing
        + added
        + [f"{name}: differs" for name in both if content(before / name) != content(after / name)]
    )


def files_of(root: Path) -> set[str]:
    """Paths below models/ and submissions/, without caches and locks."""
    paths = [
        path for folder in ("models", "submissions") for path in (root / folder).rglob("*") if path.is_file()
    ]
    names = [path.relative_to(root) for path in paths]
    return {str(name) for name in names if not PASSING & set(name.parts) and name.suffix != ".lock"}


def content(path: Path) -> object:
    """A file's bytes, or what it says besides the clock."""
    left_out = OF_THE_CLOCK.get(path.name)
    if left_out is None:
        return path.read_bytes()
    if path.suffix == ".json":
        return {key: value for key, value in json.loads(path.read_text()).items() if key not in left_out}
    with path.open(newline="") as file:
        return [{key: row[key] for key in row if key not in left_out} for row in csv.DictReader(file)]


if __name__ == "__main__":
    sys.exit(main())
