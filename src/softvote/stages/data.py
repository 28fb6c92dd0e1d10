"""Data: from a competition's zip, or from Kaggle, to `input/<competition>/`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from softvote.config.schema import check_name
from softvote.data.archive_formats import archive_suffix
from softvote.data.archives import TABLE_SUFFIXES, packed_files, raw_files, unpack
from softvote.errors import UserError
from softvote.kaggle.sources import parse_source
from softvote.stages import open_run
from softvote.stages.download import download_files, download_rest, download_whole
from softvote.storage.paths import Workspace

_MOST_TABLES, _MOST_KINDS = 20, 8  # are spelled out


@dataclass(frozen=True)
class DataResult:
    """A competition's folder.

    Attributes:
        note: what is to be said of what was there; empty where it was unpacked now.
        files: tables with their bytes, those of the folder itself first; no more than twenty.
        others: how many other files there are, by the end of their names.
        packed: what is to be said of archives that are still in it; empty where there are none.
    """

    folder: Path
    note: str
    files: tuple[tuple[Path, int], ...]
    packed: str = ""
    others: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.folder}: {note}" for note in (self.note, self.packed) if note]
        lines += [f"{path}  {size:,} bytes" for path, size in self.files]
        if self.others:
            ends = [f"{count:,} {end or 'without a suffix'}" for end, count in self.others.items()]
            ends[_MOST_KINDS:] = ["..."] if len(ends) > _MOST_KINDS else []
            count = len(self.files) + sum(self.others.values())
            lines.append(
                f"{self.folder}: {'also ' if self.files else ''}{', '.join(ends)}; {count:,} files in all"
            )
        return "\n".join(lines)


def run(root: Path, source: str, name: str | None, files: Sequence[str] = ()) -> DataResult:
    """Unpack a zip, or download a competition or data set and unpack it, and list what came out of it.

    Args:
        source: a pipeline, whose competition is fetched from Kaggle; or the path of a zip, tar or 7z; or
            else what Kaggle calls a competition, owner/name of a data set, or the address of either.
        name: of the folder; if omitted, the pipeline says it, or it is the archive's or Kaggle's name.
        files: only these of a competition or data set, by the names they have there; if omitted, all, or
            those that are not there yet of one of which only some were asked for before.

    Raises:
        UserError: no archive, a damaged one, other content there already, or what Kaggle refuses.
    """
    workspace = Workspace(root)
    if _is_pipeline(workspace, source):
        competition = open_run(root, source).pipeline.competition
        folder, note = _fetch(workspace, competition.kaggle, name or competition.name, files)
    elif (suffix := archive_suffix(Path(source))) or Path(source).is_file():
        there = _has_files(workspace.input(name or Path(source).name[: -len(suffix or ".zip")]))
        folder = unpack(Path(source), workspace, name)
        note = "already there with the same content" if there else ""
    else:
        folder, note = _fetch(workspace, source, name or parse_source(source).name, files)
    found = raw_files(folder)
    tables = [path for path in found if path.suffix.lower() in TABLE_SUFFIXES]
    alike = Counter((path.parent, path.suffix) for path in tables)  # many in a folder are one for each image
    tables = [path for path in tables if alike[path.parent, path.suffix] <= _MOST_TABLES]
    listed = sorted(tables, key=lambda path: (len(path.parts), path))[:_MOST_TABLES]
    ends = Counter(path.suffix.lower() for path in found)
    ends.subtract(path.suffix.lower() for path in listed)
    others = {end: count for end, count in ends.most_common() if count}
    sizes = tuple((path, path.stat().st_size) for path in listed)
    return DataResult(folder, note, sizes, _describe_packed(folder), others)


def _describe_packed(folder: Path) -> str:
    """What is to be said of archives that could not be unpacked."""
    packed = [str(path) for path in packed_files(folder)]
    if not packed:
        return ""
    names = ", ".join([*packed[:5], *(["..."] if len(packed) > 5 else [])])
    return f"still packed: {names}; what is 7z needs softvote[formats]; what has a password: 7z x"


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _is_pipeline(workspace: Workspace, source: str) -> bool:
    return source.endswith(".yaml") or workspace.pipeline_file(source).is_file()


def _fetch(workspace: Workspace, slug: str | None, name: str, files: Sequence[str]) -> tuple[Path, str]:
    """The folder of a competition or data set, and what to say of it where it was there.

    It is written whole or not at all.

    Args:
        slug: what Kaggle calls it, or its address there; None where it is not held there.
        files: only these; all when empty.
    """
    try:
        folder = workspace.input(check_name(name))
    except ValueError as error:
        raise UserError.at(name, f"{error}, or pass `name`") from None
    if folder.is_file():
        raise UserError.at(
            folder, "is a file where a folder should be", "move it away, or pass another `name`"
        )
    is_part = workspace.asked_files(name).is_file()
    if _has_files(folder) and not files and not is_part:
        return folder, "already there; remove the folder to get it again"
    if slug is None:
        raise UserError.at(
            folder,
            "is not there, and the competition has no address on Kaggle (competition.kaggle)",
            "unpack its files with: `data path/to/it.zip`, or see docs/results.md for making them",
        )
    source = parse_source(slug)
    try:
        if files:
            return folder, download_files(workspace, source, folder, files)
        if is_part:
            return folder, download_rest(workspace, source, folder)
        return download_whole(workspace, source, folder.name), ""
    except OSError as error:
        raise UserError.at(workspace.inputs, f"cannot be written ({error.strerror})") from None
