"""A pipeline file written from what a folder of competition files looks like, for a person to go on from."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from softvote.config.competition import Competition
from softvote.config.schema import check_name
from softvote.data.archives import packed_files
from softvote.data.csv_table import read_table
from softvote.data.first_recipe import propose_recipe
from softvote.data.forms import RecognisedForm, recognise_form
from softvote.data.image_index import ImageFolders, image_files
from softvote.data.label_detection import NoLabelError, labels_of
from softvote.data.readers.base import quote
from softvote.data.readers.detection import (
    Candidate,
    DetectedLayout,
    Size,
    UniqueIds,
    first_file,
    train_csv_names,
)
from softvote.data.readers.registry import READERS
from softvote.errors import UserError
from softvote.words import counted

MANY = 100
"""More classes are not listed in the file."""


_ORDERED_NAMES = ("level", "grade", "diagnosis", "severity", "stage", "score", "rating")


@dataclass(frozen=True)
class ScaffoldedPipeline:
    """A pipeline file for a folder of competition files.

    Attributes:
        text: of the file.
        took: what was taken for what, a line each.
        unknown: what no file says.
    """

    text: str
    took: list[str]
    unknown: list[str]


def scaffold_pipeline(folder: Path, name: str, image: Size | None = None) -> ScaffoldedPipeline:
    """Write a pipeline file for a folder of competition files.

    Args:
        folder: holds the files, as downloaded.
        name: the competition's.
        image: height and width, where a CSV's number of pixels does not tell them, or where image
            files shall be resized.

    Raises:
        UserError: nothing there looks like a competition, or what does is damaged.
    """
    try:
        check_name(name)
    except ValueError as error:
        raise UserError(str(error)) from None
    if not folder.is_dir():
        raise UserError.at(folder, "no such folder", f"get it with: `data path/to/{name}.zip`")
    sample = first_file(folder, "*sample*sub*.csv", "*submission*.csv", "*sample*.csv", "*example*.csv")
    candidate = Candidate(folder, name, sample, image)
    found = _detect(candidate)
    if found is None or sample is None:
        raise _nothing_found_error(candidate, found is not None)
    return _scaffold(candidate, found, sample)


def _detect(candidate: Candidate) -> DetectedLayout | None:
    """What the first reader that knows such files says.

    Raises:
        UserError: a table without labels, unless another reader finds them elsewhere; or a damaged file.
    """
    without_labels = None
    # A table of labels lies beside most layouts: the plain table comes last.
    for reader in reversed(READERS.values()):
        try:
            found = reader.detect(candidate)
        except NoLabelError as error:
            without_labels = without_labels or error
        else:
            if found:
                return found
    if without_labels:
        raise without_labels
    return None


def _nothing_found_error(candidate: Candidate, has_layout: bool) -> UserError:
    folder, name = candidate.folder, candidate.name
    packed = packed_files(folder)
    if packed and not has_layout:
        what = f"is still packed, so nothing was found in {folder}"
        return UserError.at(packed[0], what, "unpack it, as with `data path/to/the.zip`")
    missing = (
        "sample submission (*submission*.csv)" if has_layout else "train and test as CSV, images or .npy"
    )
    seen = "" if has_layout else _describe_files(candidate)
    return UserError.at(folder, f"found no {missing}{seen}", f"write pipelines/{name}.yaml by hand")


def _describe_files(candidate: Candidate) -> str:
    """What there is of images and tables although it makes no layout."""
    images = [path.relative_to(candidate.folder).parts for path in image_files(candidate.folder)]
    folders = Counter(parts[0] if len(parts) > 1 else "." for parts in images)
    seen = [f"{counted(count, 'image')} in {top}" for top, count in sorted(folders.items())[:4]]
    seen += [f"the table {name}" for name in train_csv_names(candidate.folder)[:4]]
    if candidate.sample and images:
        ids = candidate.sample_ids
        named = sum(bool(ImageFolders([candidate.folder]).find(name)) for name in ids[:20])
        seen.append(f"{candidate.sample}, of whose first {len(ids[:20])} ids {named} name an image")
    return f" that belong together; there are {', '.join(seen)}" if seen else ""


def _scaffold(candidate: Candidate, found: DetectedLayout, sample: str) -> ScaffoldedPipeline:
    name, solution = candidate.name, first_file(candidate.folder, "solution.csv")
    resizable = found.resizable and candidate.image is None
    recipe = propose_recipe(found.height, found.width, found.channels, resizable)
    image = {"height": found.height, "width": found.width, "channels": found.channels}
    image |= ({"resize": True} if found.resize else {}) | dict(found.image) | recipe.image
    competition: dict[str, Any] = {"name": name, "files": found.files, "image": image}
    competition |= dict(found.competition) or {"labels": labels_of(found.labels, str(candidate.folder))}
    competition |= {"sample_submission": sample} | ({"solution": solution} if solution else {})
    form = _recognise_form(candidate, competition)
    labels_note = _labels_note(competition)
    competition |= {"form": form.config, "metric": form.metric} | _column_of_many(competition)
    pipeline = {
        "competition": competition,
        "folds": {"count": 5} | dict(found.folds),
        "defaults": ({"head": "digits"} if competition.get("hidden_digits") else {}) | recipe.defaults,
        "members": recipe.members,
    }
    took = [
        *map(
            _on_a_line,
            [
                *found.notes,
                labels_note,
                *_sample_notes(sample, candidate),
                *form.words,
                *_notes_of_repeated_ids(candidate, found),
                *recipe.notes,
            ],
        )
    ]
    unknown = _unknown(found)
    opening = f"# Written from the files in input/{name}; check that it is what the competition says.\n"
    comments = "".join(f"# {line}\n" for line in [*took, *(f"Not known: {line}" for line in unknown)])
    text = yaml.safe_dump(pipeline, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110)
    return ScaffoldedPipeline(f"{opening}{comments}{text}{recipe.further}", took, unknown)


def _on_a_line(note: str) -> str:
    """A note whose names from the files can neither end a comment nor hide in it."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in note)


def _recognise_form(candidate: Candidate, competition: Mapping[str, Any]) -> RecognisedForm:
    """The form of the sample submission, for the labels that were found.

    Raises:
        UserError: it has none that is known.
    """
    assert candidate.sample, "without a sample submission nothing is written"
    # What is scored depends on the form, and the other way round; labels are all that the form is about.
    metric = (
        "log_loss" if "tags" in competition else "macro_recall" if "targets" in competition else "accuracy"
    )
    read = Competition.model_validate(dict(competition) | {"metric": metric})
    try:
        return recognise_form(candidate.folder / candidate.sample, read.label_space)
    except UserError:
        table = candidate.sample_table
        if table is None or len(table.header) != 2 or not read.task.is_single_label:
            raise
        name, text = table.header[1], table.column(table.header[1])[0]
        note = (
            f"form: the sample's column {name} holds {text!r}, which is not a label; labels will stand there"
        )
        return RecognisedForm("label", "accuracy", [note])


def _column_of_many(competition: Mapping[str, Any]) -> dict[str, Any]:
    """Classes by the column of the table that has their names, where they are too many to be listed."""
    labels, files = competition.get("labels"), competition["files"]
    if not isinstance(labels, list) or len(labels) <= MANY or "train" not in files or "label_cells" in files:
        return {}
    return {"labels": {"file": files["train"], "column": files.get("label", "label")}}


def _labels_note(competition: Mapping[str, Any]) -> str:
    """What the labels are, in a line."""
    if tags := competition.get("tags"):
        return f"{counted(len(tags), 'tag')}: {', '.join(tags[:8])}{', ...' if len(tags) > 8 else ''}"
    if targets := competition.get("targets"):
        return f"{counted(len(targets), 'target')}: {', '.join(targets)}"
    labels = competition["labels"]
    if isinstance(labels, dict):
        return f"classes: integers {labels['first']}..{labels['last']}"
    shown = f"{', '.join(labels[:8])}{', ...' if len(labels) > 8 else ''}"
    return f"{counted(len(labels), 'class', 'classes')}: {shown}"


def _sample_notes(sample: str, candidate: Candidate) -> list[str]:
    """What is to be said where several files may be the sample submission."""
    names = sorted(path.name for path in candidate.folder.glob("*.csv"))
    others = [name for name in names if name != sample and re.search("sample.*sub|submission", name.lower())]
    also = f" (not {', '.join(others)})" if others else ""
    return [f"sample submission: {sample}{also}, {counted(len(candidate.sample_ids), 'row')}"]


def _notes_of_repeated_ids(candidate: Candidate, found: DetectedLayout) -> list[str]:
    """What is to be said of files in which an id stands in several rows, which no reader takes."""
    sample, columns = candidate.sample_table, [*found.ids]
    if sample is not None:
        columns.insert(0, UniqueIds.of_table(sample, sample.header[0]))
    if (id_name := found.files.get("id")) and found.files.get("label_cells") != "rows":
        names = [str(found.files.get(key, "")) for key in ("train", "test", "table")]
        opened = [read_table(candidate.folder / name) for name in names if name.endswith(".csv")]
        columns += [UniqueIds.of_table(table, id_name) for table in opened if id_name in table.header]
    notes = []
    for column in columns:
        rows = defaultdict[str, list[int]](list)
        for text, number in zip(column.ids, column.numbers, strict=True):
            rows[text].append(number)
        repeated = {text: of for text, of in rows.items() if len(of) > 1}
        if repeated:
            text, of = next(iter(repeated.items()))
            several = counted(len(repeated), "id stands", "ids stand")
            shown = f"{quote(text)} in {column.unit} {of[0]} and {of[1]}"
            notes.append(
                f"{several} in several {column.unit} of {column.source}, such as {shown}: each "
                "must stand in one before the data can be read; drop rows, or name another column"
            )
    return notes


def _unknown(found: DetectedLayout) -> list[str]:
    """What no file says."""
    unknown = ["which metric counts (competition.metric)"]
    words = re.findall("[a-z]+", str(found.files.get("label", "")).lower())
    if "labels" in found.competition and set(words) & set(_ORDERED_NAMES):
        unknown.append("whether the order of the labels means something (competition.ordered: true)")
    if not found.folds:
        unknown.append("whether images belong together, as those of a patient (folds.group)")
    return [*unknown, "the competition's address on Kaggle (competition.kaggle)"]
