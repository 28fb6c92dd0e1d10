"""Draw the plan of the packages for docs/architecture.md: which there are, and which may import which.

    python scripts/draw_packages.py

writes docs/images/packages.svg. A test holds the plan against the code: every package is in it, and imports
only what comes after it.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import NamedTuple

PLAN = Path(__file__).parents[1] / "docs" / "images" / "packages.svg"


class Row(NamedTuple):
    """Packages side by side.

    Attributes:
        label: what they have in common.
        colours: of their boxes, inside and around.
        packages: what each holds, in two or three words, by its name.
    """

    label: str
    colours: tuple[str, str]
    packages: dict[str, str]


_DOOR, _SIDE, _CORE, _GROUND = (
    ("#eff6ff", "#2563eb"), ("#fff7ed", "#ea580c"), ("#ecfdf5", "#059669"), ("#f1f5f9", "#6b7280")
)  # fmt: skip

ROWS = [
    Row(
        "what a person calls",
        _DOOR,
        {
            "softvote": "the Python face",
            "cli": "words to calls",
            "kernel_entry": "runs on Kaggle",
            "shell": "how programs end",
            "api": "what softvote names",
        },
    ),
    Row(
        "one step each", _DOOR, {"stages": "folds, train, ensemble, submit, leaderboard, report, kernel ..."}
    ),
    Row(
        "what people look at",
        _SIDE,
        {
            "reporting": "plots, tables, pages",
            "tracking": "ledger, leaderboard",
            "kaggle": "transport, kernels",
        },
    ),
    Row(
        "what runs, where",
        _SIDE,
        {
            "tuning": "trials of a search",
            "scheduling": "processes, Ray, throughput",
            "export": "an ensemble as one program",
        },
    ),
    Row(
        "learning and voting",
        _CORE,
        {
            "ensembling": "vote, rules",
            "training": "trainer, augmentation",
            "trackers": "one file per tracker",
            "inference": "predictor, tta",
        },
    ),
    Row(
        "networks",
        _CORE,
        {
            "models": "one file per network",
            "heads": "one file per head",
            "ops": "fused operations",
            "compute": "device, precision",
        },
    ),
    Row(
        "data and recipe",
        _GROUND,
        {"data": "readers, cache, folds", "metrics": "scores", "config": "what a YAML file says"},
    ),
    Row(
        "ground",
        _GROUND,
        {
            "storage": "files, locks",
            "progress": "bars, notes",
            "task": "kinds of labels",
            "machine": "cores, memory",
            "seeds": "random numbers",
            "errors": "one line each",
            "words": "1 row, 2 rows",
        },
    ),
]
"""From the door to the cellar; within a row from left to right."""

_WIDTH, _LEFT, _RIGHT = 900, 180, 870
_TOP, _HEIGHT, _GAP, _SPACE = 28, 52, 14, 10
_SANS = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
_MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"
_GREY, _INK = "#6b7280", "#1f2937"


def main() -> None:
    PLAN.write_text(render(), encoding="utf-8")


def render() -> str:
    """Render the plan as an SVG."""
    bottom = _TOP + len(ROWS) * (_HEIGHT + _GAP)
    height = bottom + 40
    rows = "; ".join(", ".join(row.packages) for row in ROWS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" role="img" aria-labelledby="t d">',
        '<title id="t">The packages of softvote</title>',
        f'<desc id="d">A package imports only packages after it: {rows}.</desc>',
        '<defs><marker id="a" viewBox="0 0 10 10" refX="6" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z" fill="{_GREY}"/></marker></defs>',
        f'<rect width="{_WIDTH}" height="{height}" rx="12" fill="#f8fafc"/>',
    ]
    for number, row in enumerate(ROWS):
        parts += _render_row(row, _TOP + number * (_HEIGHT + _GAP))
    foot = (
        "A package imports only what comes after it, from top to bottom and left to right; a test holds it."
    )
    end = bottom - _GAP - 6
    parts += [
        f'<path d="M24 40 L24 {end}" stroke="{_GREY}" stroke-width="1.8" marker-end="url(#a)"/>',
        _text(18, bottom / 2, "imports", 12, _GREY, turned=True),
        _text((_LEFT + _RIGHT) / 2, bottom + 24, foot, 12, _GREY),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _render_row(row: Row, top: float) -> list[str]:
    width = (_RIGHT - _LEFT - _SPACE * (len(row.packages) - 1)) / len(row.packages)
    inside, around = row.colours
    parts = [_text(_LEFT - 20, top + 32, row.label, 12.5, _GREY, anchor="end")]
    for number, (name, holds) in enumerate(row.packages.items()):
        left = _LEFT + number * (width + _SPACE)
        parts += [
            f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_HEIGHT}" rx="8" fill="{inside}" '
            f'stroke="{around}" stroke-width="1.3"/>',
            _text(left + width / 2, top + 23, name, 14, _INK, weight=600, family=_MONO),
            _text(left + width / 2, top + 41, holds, 11, _GREY),
        ]
    return parts


def _text(
    x: float, y: float, words: str, size: float, colour: str, *, weight: int = 400, family: str = _SANS,
    anchor: str = "middle", turned: bool = False,
) -> str:  # fmt: skip
    turn = f' transform="rotate(-90 {x:g} {y:g})"' if turned else ""
    return (
        f'<text x="{x:.1f}" y="{y:g}" font-size="{size:g}" fill="{colour}" text-anchor="{anchor}" '
        f'font-weight="{weight}" font-family="{family}"{turn}>{escape(words)}</text>'
    )


if __name__ == "__main__":
    main()
