"""Members, labels and folds as somebody passes them: checked, and as the vote takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softvote.ensembling.vote import ALL_COLUMNS, check_members
from softvote.errors import UserError
from softvote.words import counted


def are_tags(labels: ArrayLike) -> bool:
    """Whether labels have a column for each tag, (N, K), and are not one class a row, (N,)."""
    return np.ndim(labels) == 2


def as_members(
    members: ArrayLike | Sequence[ArrayLike], names: Sequence[str] | None, of_tags: bool = False
) -> tuple[list[NDArray[np.float32]], list[str]]:
    """Members as the vote takes them.

    Args:
        members: (M, N, K), or M arrays (N, K), of probabilities.
        names: M, all different; if omitted, `number 0` and so on.
        of_tags: the columns of a row are independent, each in 0..1; otherwise they sum to 1 within 1e-3.

    Returns:
        M arrays float32 (N, K), and their names.

    Raises:
        UserError: anything else, in a line that names the member and the row.
    """
    wanted = "give a list of arrays (N, K), or one array (M, N, K)"
    try:
        given = [np.asarray(member) for member in members]  # type: ignore[union-attr]
    except (TypeError, ValueError):
        raise UserError.at("members", "not arrays of numbers", wanted) from None
    if any(member.dtype.kind not in "fiu" for member in given):
        raise UserError.at("members", "not arrays of numbers", wanted)
    if given and given[0].ndim < 2:
        raise UserError.at("members", "a single one", wanted)
    arrays = [member.astype(np.float32, copy=False) for member in given]
    found = [f"number {index}" for index in range(len(arrays))] if names is None else [str(n) for n in names]
    if len(found) != len(arrays) or len(set(found)) < len(found):
        raise UserError.at(
            "names", f"{len(found)} for {counted(len(arrays), 'member')}", "give each a name of its own"
        )
    check_members(arrays, found, () if of_tags else ALL_COLUMNS)
    if not len(arrays[0]):
        raise UserError.at("members", "no rows", "give at least one")
    return arrays, found


def known_labels(
    labels: ArrayLike, classes: ArrayLike | None, shape: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Labels as scores take them.

    Args:
        labels: (N,), integers 0..K-1, or what `classes` names; of tags (N, K) of 0 and 1.
        classes: (K,), the label of each column; if omitted, labels that are text are sorted, and integers are
            column numbers.
        shape: N and K of the members.

    Returns:
        the label of each column (K,), and int64 (N,) the column of each row's label; tags as they are.

    Raises:
        UserError: not a label for each row, or one that no column is for.
    """
    if not are_tags(labels):
        return _class_indices(labels, classes, shape)
    found, (rows, columns) = np.asarray(labels), shape
    if found.shape != (rows, columns) or found.dtype.kind not in "iub" or not np.isin(found, (0, 1)).all():
        what = f"{found.dtype} {found.shape}"
        raise UserError.at("labels", what, f"give 0 or 1 per row and tag, ({rows}, {columns})")
    known = np.arange(columns) if classes is None else np.asarray(classes)
    if known.shape != (columns,) or len(np.unique(known)) < columns:
        raise UserError.at(
            "classes", f"{len(known)} for {counted(columns, 'column')}", "give the name of each tag"
        )
    return known, found.astype(np.int64)


def _class_indices(
    labels: ArrayLike, classes: ArrayLike | None, shape: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The label of each column (K,), and the column of each row's label (N,)."""
    found, (rows, columns) = np.asarray(labels), shape
    if found.shape != (rows,):
        raise UserError.at(
            "labels", f"shape {found.shape}", f"the members have {counted(rows, 'row')}, give one label each"
        )
    if found.dtype == object:
        found = _text_of_objects(found)
    if found.dtype.kind not in "iuU":
        raise UserError.at("labels", str(found.dtype), "give integers from 0, or text")
    if classes is None:
        known = np.arange(columns) if found.dtype.kind in "iu" else np.unique(found)
    else:
        known = np.asarray(classes)
    if known.shape != (columns,) or len(np.unique(known)) < columns:
        raise UserError.at(
            "classes",
            f"{len(known)} for {counted(columns, 'column')}",
            "give the label of each, classes=[...]",
        )
    order = np.argsort(known, kind="stable")
    place = np.minimum(np.searchsorted(known[order], found), columns - 1)
    unknown = np.flatnonzero(known[order][place] != found)
    if len(unknown):
        what = f"0..{columns - 1}" if classes is None else "one of classes"
        raise UserError.at(
            "labels", f"row {unknown[0]} (from 0) is {found[unknown[0]]!s}, not {what}", "fix it"
        )
    return known, order[place].astype(np.int64)


def _text_of_objects(labels: NDArray[Any]) -> NDArray[np.str_]:
    """Labels (N,) as text, as pandas keeps it; what is missing is no label, and a number is no text."""
    if other := [row for row, label in enumerate(labels.tolist()) if not isinstance(label, str)]:
        what = f"row {other[0]} (from 0) is {labels[other[0]]!r}, and {len(other)} in all are no text"
        raise UserError.at("labels", what, "give integers from 0, or text in each row")
    return labels.astype(str)


def fold_numbers(folds: ArrayLike | None, rows: int) -> NDArray[np.int64]:
    """The fold of each row, int64 (N,); all 0 where no folds are given.

    Raises:
        UserError: not an integer for each row.
    """
    if folds is None:
        return np.zeros(rows, np.int64)
    found = np.asarray(folds)
    if found.shape != (rows,) or found.dtype.kind not in "iu":
        raise UserError.at(
            "folds",
            f"{found.dtype} {found.shape}",
            f"the members have {counted(rows, 'row')}, give integers ({rows},)",
        )
    return found.astype(np.int64)
