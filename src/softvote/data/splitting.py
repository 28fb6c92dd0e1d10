"""Which fold each row goes to: stratified, rows that belong together in one, or as a column says."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from softvote.config.pipeline import FoldsConfig
from softvote.errors import UserError, one_of
from softvote.seeds import derive_seed
from softvote.task import Task
from softvote.words import counted


def split(
    labels: NDArray[np.int64],
    twins: NDArray[np.int64],
    spec: FoldsConfig,
    seed: int,
    task: Task | None = None,
    columns: Mapping[str, NDArray[np.str_]] | None = None,
) -> NDArray[np.int64]:
    """Assign rows to folds, whole groups at a time.

    One label per row is stratified by scikit-learn: by the label of a group's first image, or of all its
    images where a column names the groups. Tags and several targets are stratified iteratively (Sechidis,
    Tsoumakas and Vlahavas 2011).

    Args:
        labels: int64 (N,), or (N, K) or (N, T) as the task has them.
        twins: int64 (N,), as `near_identical_groups` numbers images that stay together.
        spec: how many folds, and which column groups rows or says their fold.
        seed: of the shuffle.
        task: what labels mean; if omitted, one class per row.
        columns: of the training table, (N,) each.

    Returns:
        int64 (N,), the fold of each row, 0..count-1.

    Raises:
        UserError: fewer groups than folds, no such column, or one that cannot be used.
    """
    columns = columns or {}
    if spec.column:
        return _given_folds(column_of(columns, spec.column, "column"), spec)
    units = twins
    if spec.group:
        units = join_groups(twins, column_of(columns, spec.group, "group"))
    count = int(units.max()) + 1
    if count < spec.count:
        what = "different images" if not spec.group else f"groups of {spec.group} and near-identical images"
        raise UserError.at("folds.count", f"{spec.count} folds need as many {what}, not {count}")
    if task is not None and not task.is_single_label:
        folds = stratify_iteratively(task.columns(labels), units, spec.count, seed)
    elif spec.group:
        folds = _stratify_groups(labels, units, spec, seed)
    else:
        folds = _stratify(labels, units, spec, seed)
    if empty := np.setdiff1d(np.arange(spec.count), folds).tolist():
        raise UserError.at("folds.count", f"leaves fold {empty[0]} without rows", "use fewer folds")
    return folds


def column_of(columns: Mapping[str, NDArray[np.str_]], name: str, key: str) -> NDArray[np.str_]:
    """A column of the training table that `folds` names under a key, (N,).

    Raises:
        UserError: there is none, or it has empty cells.
    """
    if name not in columns:
        known = one_of(list(columns), name) if columns else "its files have none beside ids and labels"
        raise UserError.at(f"folds.{key}", f"the training table has no column '{name}'", known)
    column = columns[name]
    if len(empty := np.flatnonzero(np.char.strip(column.astype(str)) == "")):
        what = f"column '{name}' is empty in {counted(len(empty), 'row')}, row {empty[0]} (from 0) first"
        raise UserError.at(f"folds.{key}", what, "fill it")
    return column


def _given_folds(column: NDArray[np.str_], spec: FoldsConfig) -> NDArray[np.int64]:
    """The places of the values among those that occur; numbers are in their order."""
    values, places = np.unique(column, return_inverse=True)
    texts = values.tolist()
    try:
        order = sorted(range(len(texts)), key=lambda place: float(texts[place]))
    except ValueError:
        order = list(range(len(texts)))
    if len(texts) != spec.count:
        named = ", ".join(map(str, texts[:6])) + (", ..." if len(texts) > 6 else "")
        found = f"{counted(len(texts), 'value')} ({named})"
        what = f"column '{spec.column}' has {found}, and folds.count is {spec.count}"
        hint = f"set count: {len(texts)}" if len(texts) > 1 else "name a column of folds"
        raise UserError.at("folds.column", what, hint)
    fold_of_value = np.empty(len(texts), np.int64)
    fold_of_value[order] = np.arange(len(texts))
    return fold_of_value[places.reshape(-1)]


def join_groups(one: NDArray[np.generic], other: NDArray[np.generic]) -> NDArray[np.int64]:
    """Number the groups of rows that two groupings connect, int64 (N,), by their first rows.

    Args:
        one: anything that tells groups apart, (N,).
        other: the same, (N,).
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    left, right = (np.unique(groups, return_inverse=True)[1].reshape(-1) for groups in (one, other))
    count = int(left.max()) + 1
    size = count + int(right.max()) + 1
    graph = coo_matrix((np.ones(len(left), np.int8), (left, right + count)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    _, first, groups = np.unique(component[left], return_index=True, return_inverse=True)
    rank: NDArray[np.int64] = np.argsort(np.argsort(first)).astype(np.int64)
    return rank[groups.reshape(-1)]


def _stratify(
    labels: NDArray[np.int64], units: NDArray[np.int64], spec: FoldsConfig, seed: int
) -> NDArray[np.int64]:
    """Groups by the label of their first image."""
    from sklearn.model_selection import StratifiedKFold

    _, first = np.unique(units, return_index=True)
    fold_of_unit = np.empty(len(first), dtype=np.int64)
    splitter = StratifiedKFold(spec.count, shuffle=True, random_state=seed % 2**32)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the stage tells which classes are rare
            for fold, (_, held_out) in enumerate(splitter.split(first, labels[first])):
                fold_of_unit[held_out] = fold
    except ValueError:
        raise UserError.at(
            "folds.count", f"no class has {spec.count} different images, one per fold", "use fewer folds"
        ) from None
    return fold_of_unit[units]


def _stratify_groups(
    labels: NDArray[np.int64], units: NDArray[np.int64], spec: FoldsConfig, seed: int
) -> NDArray[np.int64]:
    """Groups by the labels of all their images."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = np.empty(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(spec.count, shuffle=True, random_state=seed % 2**32)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            for fold, (_, held_out) in enumerate(splitter.split(labels, labels, units)):
                folds[held_out] = fold
    except ValueError:
        raise UserError.at(
            "folds.count", f"no class has {spec.count} images, one per fold", "use fewer folds"
        ) from None
    return folds


def stratify_iteratively(
    shown: NDArray[np.bool_], units: NDArray[np.int64], count: int, seed: int
) -> NDArray[np.int64]:
    """Spread what several labels name over folds, the rarest name first.

    In the manner of Sechidis, Tsoumakas and Vlahavas 2011, "On the stratification of multi-label data": the
    rows of the rarest name that is left go, one after the other, to the fold that lacks them most. Here whole
    groups take the place of rows, the largest first, and what a fold lacks is all that the group shows, each
    name and the rows as proportions of theirs. Rows are spread as evenly as by the original, groups more so.

    Args:
        shown: bool (N, L), which of the names each row shows.
        units: int64 (N,), 0..U-1, the group of each row.
        count: of the folds.
        seed: of the shuffle.

    Returns:
        int64 (N,), 0..count-1.
    """
    random = np.random.default_rng(derive_seed(seed, "folds"))
    sizes = np.bincount(units)
    names = np.zeros((len(sizes), shown.shape[1]), np.int32)
    np.add.at(names, units, shown)
    order = random.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    left, folds = names.sum(axis=0), np.full(len(sizes), -1, np.int64)
    weights = 1 / np.maximum(left, 1) ** 2
    lacks, lacks_rows = np.tile(left / count, (count, 1)), np.full(count, len(units) / count)

    def assign(unit: int) -> None:
        worth = lacks @ (names[unit] * weights) + lacks_rows * (sizes[unit] / len(units) ** 2)
        best = np.flatnonzero(worth >= worth.max() - 1e-12)
        fold = best[0] if len(best) == 1 else random.choice(best)
        folds[unit] = fold
        lacks_rows[fold] -= sizes[unit]
        lacks[fold] -= names[unit]
        left[...] -= names[unit]

    while left.any():
        name = int(np.where(left > 0, left, np.iinfo(np.int64).max).argmin())
        for unit in order[(names[order, name] > 0) & (folds[order] < 0)].tolist():
            assign(unit)
    for unit in order[folds[order] < 0].tolist():
        assign(unit)
    return folds[units]
