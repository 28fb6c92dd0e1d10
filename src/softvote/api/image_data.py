"""A competition's images, labels and names as arrays, and whether they fit each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, get_args

import numpy as np

from softvote.data.split import ImageSplit
from softvote.errors import ErrorCollector, Problem, one_of
from softvote.task import LARGEST_ADDEND, LARGEST_DIGIT, LabelSpace, Task, TaskKind
from softvote.words import counted

_COLOURS = (1, 3, 4)  # how many values a pixel of most images has


@dataclass(frozen=True, eq=False)
class ImageData:
    """A competition's images in memory, or anybody's arrays.

    Attributes:
        train: with labels.
        classes: K names, the columns of all probabilities in this order.
        test: with ids; None where there are none.
        sample_header: the column names of a submission.
        hidden_digits: S, where a class is the sum of digits 0..9 that hide in the image.
        kind: of the task: `classes`, `ordered` classes, `tags` with labels (N, K) of 0 and 1, or `targets`
            with labels (N, T).
        target_sizes: how many classes each target has; `classes` then names all of them in turn, as
            `target=label`; where no name has a `=`, targets and their labels are numbered.
        line_ids: the id of each line of a submission, where an image has several; None where each has one.
        form: how a submission is written, its name or its keys as under `competition.form` of a pipeline
            file; None for `label`, of tags `columns`, of several targets `rows`.

    Examples:
        >>> import numpy as np
        >>> import softvote as sv
        >>> images = np.zeros((6, 1, 8, 8), np.uint8)
        >>> data = sv.ImageData(sv.ImageSplit(images, labels=np.arange(6) % 2), classes=["cat", "dog"])
        >>> data.task.num_classes
        2
        >>> tags = np.array([[1, 1], [0, 1], [0, 0], [1, 0], [1, 1], [0, 1]])
        >>> sv.ImageData(sv.ImageSplit(images, labels=tags), classes=["cat", "dog"], kind="tags").task.kind
        'tags'
    """

    train: ImageSplit
    classes: list[str]
    test: ImageSplit | None = None
    sample_header: tuple[str, ...] = ("id", "label")
    hidden_digits: int | None = None
    kind: TaskKind = "classes"
    target_sizes: tuple[int, ...] = ()
    line_ids: list[str] | None = None
    form: str | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Check that all fits.

        Raises:
            UserError: each array, name or number that does not, in a line of its own.
        """
        problems = ErrorCollector()
        problems.extend(_misfits_of_images("images", self.train.images))
        problems.extend(_misfits_of_names(self))
        problems.raise_any()  # the others are read by these
        problems.extend(_misfits_of_labels(self))
        problems.extend(_misfits_of_addends("addends", self.train, wanted=self.train.addends is not None))
        if self.test is not None:
            problems.extend(_misfits_of_test(self.train, self.test))
        problems.raise_any()

    @property
    def task(self) -> Task:
        """What is asked of an image."""
        addend = self.train.addends is not None
        return Task(len(self.classes), self.hidden_digits, addend, self.kind, self.target_sizes)

    @property
    def label_space(self) -> LabelSpace:
        """The task with the names of its columns, and of its targets where they have any."""
        if not any("=" in str(name) for name in self.classes) or self.kind != "targets":
            return LabelSpace.of_names(self.task, self.classes)
        targets: dict[str, list[str]] = {}
        for name in self.classes:
            target, _, label = name.partition("=")
            targets.setdefault(target, []).append(label)
        return LabelSpace(
            self.task, tuple(self.classes), tuple((name, tuple(of)) for name, of in targets.items())
        )


def _misfits_of_images(where: str, images: Any) -> Iterator[Problem]:
    wanted = "give uint8 (N, C, H, W)"
    if getattr(images, "dtype", None) != np.uint8 or len(images.shape) != 4:
        yield Problem(where, _in_words(images), wanted)
    elif images.shape[3] in _COLOURS and images.shape[1] not in _COLOURS:
        yield Problem(where, f"{_in_words(images)}, which looks like (N, H, W, C)", wanted)


def _misfits_of_names(data: ImageData) -> Iterator[Problem]:
    """A kind, names and numbers of classes that contradict each other."""
    kinds, names, sizes = list(get_args(TaskKind)), list(data.classes), tuple(data.target_sizes)
    if data.kind not in kinds:
        yield Problem("kind", f"no kind '{data.kind}'", one_of(kinds, str(data.kind)))
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        yield Problem("classes", f"{twice[0]!r} stands there twice", "give each a name of its own")
    if (data.kind == "targets") != bool(sizes) or (sizes and sum(sizes) != len(names)):
        what = f"{sizes} for kind {data.kind} of {counted(len(names), 'class', 'classes')}"
        yield Problem("target_sizes", what, "give the number of classes of each target")
    elif sizes and any("=" in str(name) for name in names) and (named := _sizes_by_name(names)) != sizes:
        what = f"{sizes}, but by their names before '=' the classes are {named}"
        yield Problem("classes", what, "name them 'target=label', those of one target in turn")
    if data.hidden_digits is not None and len(names) != (sums := _count_sums(data)):
        known = counted(len(names), "class", "classes")
        what = f"{data.hidden_digits}, whose sums are 0..{sums - 1}, for {known}"
        yield Problem("hidden_digits", what, "name all sums")


def _sizes_by_name(names: list[str]) -> tuple[int, ...]:
    return tuple(len(list(run)) for _, run in groupby(names, lambda name: str(name).partition("=")[0]))


def _count_sums(data: ImageData) -> int:
    addend = 0 if data.train.addends is None else LARGEST_ADDEND
    return LARGEST_DIGIT * (data.hidden_digits or 0) + addend + 1


def _misfits_of_labels(data: ImageData) -> Iterator[Problem]:
    labels, count = data.train.labels, len(data.train)
    wanted = {"tags": "give 0 or 1 per image and tag", "targets": "give one per image and target"}
    hint = wanted.get(data.kind, "give one per image")
    if labels is None:
        yield Problem("labels", f"none for {counted(count, 'image')}", hint)
    elif not _are_integers(labels):
        yield Problem("labels", _in_words(labels), "give a NumPy array of integers, indices into classes")
    elif labels.shape != (count, *data.task.label_shape):
        yield Problem("labels", f"shape {labels.shape} for {counted(count, 'image')}", hint)
    elif data.task.check_labels(labels):
        found = f"{labels.min()}..{labels.max()} for {counted(len(data.classes), 'class', 'classes')}"
        hint = "give 0 and 1" if data.kind == "tags" else "give indices into classes, from 0"
        yield Problem("labels", found, hint)


def _misfits_of_addends(where: str, split: ImageSplit, wanted: bool) -> Iterator[Problem]:
    addends, count = split.addends, len(split)
    if (addends is not None) != wanted:
        yield Problem(where, "the training images have some" if wanted else "the training images have none")
    elif addends is None:
        return
    elif not _are_integers(addends) or addends.shape != (count,):
        yield Problem(where, f"{_in_words(addends)} for {counted(count, 'image')}", "give an integer each")
    elif count and not ((addends >= 0) & (addends <= LARGEST_ADDEND)).all():
        yield Problem(where, f"{addends.min()}..{addends.max()}", f"give 0..{LARGEST_ADDEND}")


def _misfits_of_test(train: ImageSplit, test: ImageSplit) -> Iterator[Problem]:
    if wrong := list(_misfits_of_images("test images", test.images)):
        yield from wrong
        return
    if test.images.shape[1:] != train.images.shape[1:]:
        what = f"{test.images.shape[1:]}, the training images are {train.images.shape[1:]}"
        yield Problem("test images", what, "bring them to one size")
    if test.ids is not None and len(test.ids) != len(test):
        yield Problem("test ids", f"{len(test.ids)} for {counted(len(test), 'image')}", "give one each")
    yield from _misfits_of_addends("test addends", test, wanted=train.addends is not None)


def _are_integers(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.dtype.kind in "biu"


def _in_words(values: Any) -> str:
    """What somebody passed as an array."""
    if not hasattr(values, "dtype") or not hasattr(values, "shape"):
        return f"a {type(values).__name__}"
    return f"{values.dtype} {tuple(values.shape)}"
