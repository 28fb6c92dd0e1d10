"""The order of the sample submission, for test images and true labels that come in another."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from softvote.config.competition import Competition
from softvote.data.forms import SampleTable
from softvote.data.readers.base import Images, quote
from softvote.errors import MOST_OF_A_KIND, ErrorCollector, UserError
from softvote.words import counted


def put_in_sample_order(sample: SampleTable, test: Images, competition: Competition) -> Images:
    """Put test images in the sample submission's order: by their ids, or as they stand where they have none.

    Raises:
        UserError: ids of one side only, one line each; or other numbers of images and rows.
    """
    source, ids = competition.files.test_source, sample.template.ids
    if test.ids is not None:
        problems = ErrorCollector()
        order = find_order(sample, test.ids, source, lambda row: f"{source}, image {row + 1}", problems)
        problems.raise_any()
        if np.array_equal(order, np.arange(len(test.pixels))):  # so that none is read for it
            return test
        addends = None if test.addends is None else test.addends[order]
        return Images(test.pixels[order], ids=ids, addends=addends, notes=test.notes)
    if len(ids) != len(test.pixels):
        what = f"has {counted(len(ids), 'row')} for the {counted(len(test.pixels), 'test image')} of {source}"
        raise UserError.at(sample.table.path, what, "take both from the same download")
    return test


def find_order(
    sample: SampleTable, ids: list[str], source: str, where: Callable[[int], str], problems: ErrorCollector
) -> NDArray[np.int64]:
    """Find the position int64 (T,) in `ids` of each of the sample's ids; ids of one side only are noted.

    Args:
        source: the file that `ids` come from.
        where: the place of the id at a position of `ids`.
    """
    position_of = {name: position for position, name in enumerate(ids)}
    wanted = sample.template.ids
    order = np.array([position_of.get(name, -1) for name in wanted], np.int64)
    for row in np.flatnonzero(order < 0)[:MOST_OF_A_KIND].tolist():
        problems.add(sample.where(row), f"id {quote(wanted[row])} is not in {source}", "fix one of them")
    known = set(wanted)
    unknown = (position for position, name in enumerate(ids) if name not in known)
    for position in islice(unknown, MOST_OF_A_KIND):
        what = f"id {quote(ids[position])} is not in {sample.table.path.name}"
        problems.add(where(position), what, "fix one of them")
    return order
