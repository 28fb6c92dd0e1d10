"""`file_names`: image files whose names say their classes, as cat.0.jpg."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import field_validator

from softvote.config.schema import ConfigError
from softvote.data.labelled_paths import PathsConfig, path_sources, read_paths
from softvote.data.readers.base import READERS, Images, Reader
from softvote.data.readers.detection import Candidate, DetectedLayout

if TYPE_CHECKING:
    from softvote.config.competition import Competition


class FileNames(PathsConfig):
    """Image files whose names say their classes."""

    format: Literal["file_names"]
    """`file_names`: image files whose names say their classes."""
    pattern: str = r"(?P<label>[^./]+)\.[^/]*"
    """Regular expression of a training image's path within its folder; what its group `label` matches is the
    label. Left out, what stands before the first dot of the file's name: `cat` of `cat.0.jpg`."""

    @field_validator("pattern")
    @classmethod
    def _has_a_label(cls, pattern: str) -> str:
        try:
            names = re.compile(pattern).groupindex
        except re.error as error:
            raise ConfigError.at("", f"{pattern!r} is no regular expression ({error})") from None
        if "label" not in names:
            raise ConfigError.at("", f"{pattern!r} has no group of that name", "write (?P<label>...)")
        return pattern


def sources(competition: Competition, folder: Path) -> list[Path]:
    """The sample submission and every image file under the image folders."""
    return path_sources(competition, folder)


def read(competition: Competition, folder: Path) -> tuple[Images, Images]:
    """Train images in the order of their paths, and the test images that the sample submission lists."""
    assert isinstance(competition.files, FileNames)
    pattern = re.compile(rf"(?:.*/)?{competition.files.pattern}")

    def label_of(name: str) -> str | None:
        match = pattern.fullmatch(name)
        return match["label"] if match else None

    return read_paths(competition, folder, label_of)


def detect(candidate: Candidate) -> DetectedLayout | None:
    """Image files for training whose names begin with one of a few words."""
    return None


READERS.add("file_names", Reader(FileNames, sources, read, detect), rank=1)
