"""Show what was measured: a table with exponents, and a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from growth.cases import MEMBERS, STAGES, Axis, Facts
from softvote.reporting.tables import render
from softvote.storage.files import atomic_write


def table(found: Sequence[Facts]) -> str:
    """One stage at one size a line, with the exponent where a stage was measured at two sizes or more."""
    lines = []
    for (axis, kind, stage), group in curves(found):
        slope = exponent(group)
        for each in group:
            image = f"{each['height']} x {each['width']}"
            last = "" if slope is None or each is not group[-1] else f"{slope:.2f}"
            lines.append([
                axis, stage, kind, f"{each['rows']:,}", str(each["members"]), str(each["folds"]), image,
                f"{each['seconds']:.1f}", f"{each['core_seconds']:.1f}", f"{each['peak_mib']:,}", last,
            ])  # fmt: skip
    header = [
        "varies",
        "stage",
        "files",
        "rows",
        "members",
        "folds",
        "image",
        "s",
        "core s",
        "MiB",
        "exponent",
    ]
    return render(header, lines)


def curves(found: Sequence[Facts]) -> list[tuple[tuple[str, str, str], list[Facts]]]:
    """Measurements that differ in their size alone, each group by ascending size."""

    def key(each: Facts) -> tuple[int, int, int]:
        return (Axis.__args__.index(each["axis"]), each["format"] != "npy", STAGES.index(each["stage"]))

    ordered = sorted(found, key=lambda each: (*key(each), each["size"]))
    groups = [list(group) for _, group in groupby(ordered, key)]
    return [((group[0]["axis"], group[0]["format"], group[0]["stage"]), group) for group in groups]


def exponent(group: Sequence[Facts]) -> float | None:
    """Slope of log core seconds over log size between the two largest; None for one size."""
    if len(group) < 2:
        return None
    small, large = group[-2:]
    return math.log(large["core_seconds"] / small["core_seconds"]) / math.log(large["size"] / small["size"])


def draw(path: Path, found: Sequence[Facts]) -> None:
    """Core seconds and memory against what varies, both axes logarithmic; pixel CSVs are dotted."""
    from matplotlib.figure import Figure

    shown = [(key, group) for key, group in curves(found) if len(group) > 1] or curves(found)
    columns = list(dict.fromkeys(axis for (axis, _, _), _ in shown))
    figure = Figure(figsize=(2.9 * len(columns) + 0.8, 5.2), dpi=110)
    grid = figure.subplots(2, len(columns), squeeze=False, sharex="col", sharey="row")
    for (axis, kind, stage), group in shown:
        label, dots = (stage, "-") if kind == "npy" else (f"{stage}, {kind}", ":")
        sizes = [each["size"] for each in group]
        for panel, fact in zip(grid[:, columns.index(axis)], ("core_seconds", "peak_mib"), strict=True):
            values, colour = [each[fact] for each in group], f"C{STAGES.index(stage)}"
            panel.plot(sizes, values, f"o{dots}", color=colour, label=label, markersize=3)
    for (top, bottom), axis in zip(grid.T, columns, strict=True):
        _set_scales(top, bottom, axis, [each["size"] for each in found if each["axis"] == axis])
    grid[0, 0].set_ylabel("core seconds")
    grid[1, 0].set_ylabel("peak memory, MiB")
    lines = {line.get_label(): line for panel in grid.flat for line in panel.lines}
    figure.legend(lines.values(), lines, loc="upper center", ncols=4, fontsize=8)
    figure.tight_layout(rect=(0, 0, 1, 0.9))
    with atomic_write(path) as temporary:
        figure.savefig(temporary)


def _set_scales(top: Any, bottom: Any, axis: str, sizes: Sequence[int]) -> None:
    """Logarithmic, with ticks where something was measured."""
    from matplotlib.ticker import LogLocator

    for panel in (top, bottom):
        panel.set(xscale="log", yscale="log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:,g}")
        panel.minorticks_off()
        panel.grid(color="0.9")
    bottom.set_xticks(sorted(set(sizes)), labels=[f"{size:,}" for size in sorted(set(sizes))])
    bottom.set_xlabel({"image": "pixels per image", "most": f"rows, {max(MEMBERS)} members"}.get(axis, axis))
