"""What a section is made of: text, tables, charts and pictures, without a word of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Tone = Literal["", "good", "bad"]


@dataclass(frozen=True)
class Paragraph:
    """A paragraph.

    Attributes:
        tone: `note` for how to read what stands above, `warning` for what is easily misread.
    """

    text: str
    tone: Literal["", "note", "warning"] = ""


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: what is read.
        sort: what rows are sorted by, where that is not the text.
        tone: green or red, where it says good or bad.
        heat: 0..1, how strongly the cell is filled; None leaves it empty.
        pictures: keys of pictures that a click shows; see `softvote.reporting.report.images.PictureStore`.
        source: of a picture in the cell, as a data URI.
        href: where it leads.
    """

    text: str
    sort: float | None = None
    tone: Tone = ""
    heat: float | None = None
    pictures: Sequence[str] = ()
    source: str = ""
    href: str = ""


def percent_cell(value: float, digits: int = 2) -> Cell:
    """A proportion as a percentage."""
    return Cell(f"{100 * value:.{digits}f} %", float(value))


@dataclass(frozen=True)
class DataTable:
    """Rows that people sort and, where there are many, filter.

    Attributes:
        header: a name per column.
        rows: a cell per column each; a plain text is a cell without more.
        caption: one line on what it shows.
        matrix: whether it is square with names on both sides, so that it is not sorted.
        selectable: the name of the CSV of the rows that a person ticks, with the texts of their cells;
            empty without.
        folded: whether it is opened by a click.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    caption: str = ""
    matrix: bool = False
    selectable: str = ""
    folded: bool = False

    @property
    def cells(self) -> list[list[Cell]]:
        """All cells, none of them plain text."""
        return [[Cell(cell) if isinstance(cell, str) else cell for cell in row] for row in self.rows]

    @property
    def is_upright(self) -> bool:
        """Whether names of columns stand on end: a matrix of long names would be too wide with them lying."""
        return self.matrix and len(self.header) > 7 and max(map(len, self.header[1:])) > 4

    @property
    def is_number(self) -> list[bool]:
        """Which columns hold numbers alone."""
        columns = list(zip(*self.cells, strict=True)) if self.rows else [()] * len(self.header)
        return [any(c.text for c in column) and all(map(_is_number, column)) for column in columns]


def _is_number(cell: Cell) -> bool:
    return not cell.text or cell.sort is not None or cell.text.lstrip("+-−").replace(",", "")[:1].isdigit()


@dataclass(frozen=True)
class Chart:
    """A drawing.

    Attributes:
        svg: the element, as `softvote.reporting.report.charts` draws it.
        title: above it, and what those who do not see it are told.
        wide: whether it takes the whole width of the page.
    """

    svg: str
    title: str
    wide: bool = False


@dataclass(frozen=True)
class PictureCard:
    """A picture and what is written under it.

    Attributes:
        source: a data URI.
        caption: of a line or two.
        tone: of the frame.
    """

    source: str
    caption: str
    tone: Tone = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures beside each other.

    Attributes:
        title: a line above them; empty without.
    """

    cards: Sequence[PictureCard]
    title: str = ""


@dataclass(frozen=True)
class Attachment:
    """A file that is written beside the page, and is in the page to download.

    Attributes:
        suffix: of its name, behind the pipeline's, such as `corrections.csv`.
    """

    suffix: str
    text: str


Block = Paragraph | DataTable | Chart | Gallery | Attachment
