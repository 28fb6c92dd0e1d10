"""`file_names`: image files whose names say their classes, as cat.0.jpg."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator

from softvote.config.schema import ConfigError
from softvote.data.image_cache import keep_in_memory
from softvote.data.image_kind import look_at
from softvote.data.image_survey import LOOKED_AT, FoundImages, ImageSurvey, spread
from softvote.data.image_values import EncodedImage
from softvote.data.label_detection import labels_of, spelling_notes
from softvote.data.labelled_paths import PathsConfig, open_listed_paths, path_sources, read_paths
from softvote.data.readers.base import READERS, Images, KeepImages, Reader
from softvote.data.readers.detection import Candidate, DetectedLayout

if TYPE_CHECKING:
    from softvote.config.competition import Competition


_USUAL = (
    r"(?P<label>[^./]+)\.[^/]*",
    r"(?P<label>[^/]*[A-Za-z][^/]*?)[_-][0-9]+\.[^./]+",
)


class FileNames(PathsConfig):
    """Image files whose names say their classes."""

    format: Literal["file_names"]
    """`file_names`: image files whose names say their classes."""
    pattern: str = _USUAL[0]
    """Regular expression of a training image's path within its folder; what its group `label` matches is the
    label. If omitted, what stands before the first dot of the file's name: `cat` of `cat.0.jpg`."""

    @field_validator("pattern")
    @classmethod
    def _has_a_label(cls, pattern: str) -> str:
        try:
            names = re.compile(pattern).groupindex
        except re.error as error:
            raise ConfigError.at("", f"{pattern!r} is not a regular expression ({error})") from None
        if "label" not in names:
            raise ConfigError.at("", f"{pattern!r} has no group of that name", "write (?P<label>...)")
        return pattern


def sources(competition: Competition, folder: Path) -> list[Path]:
    """The sample submission and every image file under the image folders."""
    return path_sources(competition, folder)


def read(competition: Competition, folder: Path, keep: KeepImages = keep_in_memory) -> tuple[Images, Images]:
    """Train images in the order of their paths, and the test images that the sample submission lists."""
    assert isinstance(competition.files, FileNames)
    pattern = re.compile(rf"(?:.*/)?{competition.files.pattern}")

    def label_of(name: str) -> str | None:
        match = pattern.fullmatch(name)
        return match["label"] if match else None

    return read_paths(competition, folder, label_of, keep)


def detect(candidate: Candidate) -> DetectedLayout | None:
    """Image files for training whose names are one of a few words and a number, and the sample's images."""
    survey = ImageSurvey(candidate)
    test = survey.find(candidate.sample_ids, "test") if survey else None
    if test is None:
        return None
    by_folder: dict[str, list[Path]] = {}
    for path in survey.files():
        by_folder.setdefault(path.parent.relative_to(candidate.folder).as_posix(), []).append(path)
    for top in sorted(
        set(by_folder) - set(test.places), key=lambda name: ("train" not in name.lower(), name)
    ):
        for pattern in _USUAL:
            matches = [re.fullmatch(pattern, path.name) for path in by_folder[top]]
            words = [match["label"] for match in matches if match]
            if len(words) == len(matches) and 2 <= len(set(words)) <= len(words) / 2:
                return _build_layout(candidate, top, by_folder[top], pattern, words, test)
    return None


def _build_layout(
    candidate: Candidate, top: str, paths: list[Path], pattern: str, words: list[str], test: FoundImages
) -> DetectedLayout:
    kind = look_at([*map(EncodedImage.of, spread(paths, LOOKED_AT)), *test.images], candidate.image)
    files: dict[str, Any] = {"format": "file_names", "train_images": top, "test_images": test.named}
    files |= {} if pattern == _USUAL[0] else {"pattern": pattern}
    names, labels = sorted(set(words)), labels_of(words, f"file names in {top}")
    notes = [f"label: the word in the names of files in {top}, as {words[0]} of {paths[0].name}"]
    if _asks_for_numbers(candidate) and isinstance(labels, list):
        files["rename"] = {name: str(number) for number, name in enumerate(names)}
        labels = {"first": 0, "last": len(names) - 1}
        said = ", ".join(f"{name} = {number}" for number, name in enumerate(names))
        notes.append(f"labels: the sample has numbers, so {said} by the alphabet; no file says so: check it")
    notes += [*spelling_notes(words, f"files in {top}"), *kind.notes]
    notes.append(f"test images: those of the sample submission, in {', '.join(test.places)}")
    return DetectedLayout(
        files, *kind.size, kind.channels, resize=kind.resize, resizable=True,
        competition={"labels": labels}, image=kind.image, notes=notes,
    )  # fmt: skip


def _asks_for_numbers(candidate: Candidate) -> bool:
    """Whether the sample has one column of numbers."""
    table = candidate.sample_table
    if table is None or len(table.header) != 2:
        return False
    return all(re.fullmatch("[0-9]+([.][0-9]+)?", text) for text in table.column(table.header[1])[:LOOKED_AT])


READERS.add("file_names", Reader(FileNames, sources, read, detect, open_listed_paths), rank=1)
