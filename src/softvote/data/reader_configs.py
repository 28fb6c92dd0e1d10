"""Keys under `files` that several readers have in common."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import field_validator

from softvote.config.entries import FilesConfig
from softvote.config.schema import ConfigError


class NamedImages(FilesConfig):
    """What readers of images that have names have in common."""

    rename: dict[str, str] = {}
    """Labels that the files write otherwise than `competition` does: `{written: label}`."""
    groups: dict[str, str] = {}
    """Groups that ids tell, each a regular expression whose first group is the value:
    `{patient: '([0-9]+)_'}`. Beside these, every further column of the train file can be named in `folds`."""

    @field_validator("rename", mode="before")
    @classmethod
    def _labels_are_text(cls, rename: Any) -> Any:
        if not isinstance(rename, dict):
            return rename
        return {
            str(written): label if isinstance(label, dict | list) else str(label)
            for written, label in rename.items()
        }

    @field_validator("groups")
    @classmethod
    def _groups_are_expressions(cls, groups: dict[str, str]) -> dict[str, str]:
        for name, expression in groups.items():
            try:
                count = re.compile(expression).groups
            except re.error as error:
                raise ConfigError.at(
                    "", f"{name}: {expression!r} is not a regular expression ({error})"
                ) from None
            if count != 1:
                raise ConfigError.at("", f"{name}: {expression!r} needs one group in parentheses")
        return groups


class DecodedFiles(FilesConfig):
    """What readers of image files have in common."""

    images: Literal["cached", "lazy"] = "cached"
    """`cached`: image files are decoded once, into a file that all trainings share. `lazy`: they are decoded
    each time they are used, which takes longer, and no room on the disk; also done, with a note, where the
    file would find none."""


class LabelledFiles(NamedImages):
    """What readers of a table of ids and labels have in common."""

    label: str = "label"
    """Name of the label's column in the train file."""
    label_cells: Literal["column", "columns", "list", "rows"] | None = None
    """How labels are written. `column`: a label in the column `label`. `columns`: a column of 0 and 1 for
    each class or tag, by its name; of several targets a column each. `list`: tags in the column `label`,
    with `separator` between them. `rows`: a row for each tag or target, whose id is the image's, `_` and its
    name, with 0 or 1, or the target's label, in the column `label`. If omitted, `column` of labels, else
    `columns`."""
    separator: str = " "
    """What stands between the tags of a list."""
    no_tags: str | None = None
    """The list that means that no tag is right, perhaps empty; if omitted, an empty list is an error."""
