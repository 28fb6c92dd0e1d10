"""Write all results of the other machine into a few files."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remote_run.contents import MIB, PACKED, RESULTS, Facts
from remote_run.halves import halve
from remote_run.report import Report

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_FILE, MOST_PROBABILITIES = 15 * MIB, 4
"""Of what comes back; files of probabilities, beside the other results."""


def bring(root: Path, out: Path, packed: Facts, report: Report) -> None:
    """Write all results into a few files; what was written before makes way."""
    import numpy as np

    room, files = LARGEST_FILE, list[dict[str, Any]]([{}])
    for folder in sorted(path.parent for path in (root / "models").glob("*/*/*/scores.json")):
        arrays = _halve_folder(folder, str(folder.relative_to(root / "models")))
        size = sum(array.nbytes for array in arrays.values())
        if size > room and files[-1]:
            files.append({})
            room = LARGEST_FILE
        if len(files) > MOST_PROBABILITIES:
            report.say(f"no room for the probabilities of {folder}")
            continue
        files[-1] |= arrays
        room -= size
    for number, arrays in enumerate(files[:MOST_PROBABILITIES]):
        with (out / f"probabilities{number}.npz").open("wb") as file:
            np.savez_compressed(file, **arrays)
    with tarfile.open(out / RESULTS, "w:gz") as archive:
        for path in _small_results(root):
            archive.add(path, path.relative_to(root).as_posix())
        _add(archive, PACKED, json.dumps(packed, indent=2) + "\n")
        _add(archive, "run.log", "\n".join(report.lines) + "\n")
    sizes = ", ".join(f"{path.name} {path.stat().st_size / MIB:.1f}" for path in sorted(out.iterdir()))
    report.say(f"results in {out}, MiB: {sizes}")


def _small_results(root: Path) -> Iterable[Path]:
    """Everything but weights, probabilities and caches."""
    for folder, suffixes in (("submissions", (".csv",)), ("models", (".json", ".csv", ".txt", ".log"))):
        for path in sorted((root / folder).rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if path.is_file() and path.suffix in suffixes and not hidden:
                yield path


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(text.encode()), int(time.time())
    archive.addfile(info, io.BytesIO(text.encode()))


def _halve_folder(folder: Path, name: str) -> dict[str, NDArray[Any]]:
    """A training's probabilities in half precision, under names of their own."""
    from softvote.ensembling.predictions import read_predictions
    from softvote.storage.paths import FoldFolder

    found = read_predictions(FoldFolder(folder))
    return {f"{name}/rows": found.rows, f"{name}/oof": halve(found.oof), f"{name}/test": halve(found.test)}
