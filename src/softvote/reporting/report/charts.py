"""Charts as inline SVG whose colours follow the page, so that one drawing serves light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softvote.reporting.report.blocks import Chart

_INK, _FAINT = "#010203", "#010204"
SERIES = tuple(f"#0102{number:02x}" for number in range(16, 26))
"""Ten colours of series: what stands here is replaced by the page's own."""


def _variable(name: str) -> str:
    """What the style sheet of the page defines under a name."""
    return f"var(--{name})"


_VARIABLES = {_INK: _variable("ink"), _FAINT: _variable("line")} | {
    colour: _variable(f"series-{number}") for number, colour in enumerate(SERIES)
}


_WIDTH, _HEIGHT = 4.7, 3.1  # inches; at the width of a phone letters keep the size that they have here


def draw_scores(title: str, scores: Mapping[str, tuple[float, float]], unit: str, marked: int = 1) -> Chart:
    """A dot per name with a bar of one standard error to both sides, the first on top.

    Args:
        scores: value and standard error.
        marked: how many from the top are set off.
    """
    figure, axis = _create_axis(max(1.2, 0.23 * len(scores) + 0.7))
    for place, (value, error) in enumerate(scores.values()):
        colour = SERIES[0] if place < marked or not marked else SERIES[1]
        axis.errorbar(value, -place, xerr=error, fmt="o", color=colour, markersize=4, linewidth=1.3)
    axis.set_yticks(-np.arange(len(scores)), [_shorten(name) for name in scores])
    axis.set(xlabel=unit, ylim=(-len(scores) + 0.4, 0.6))
    axis.grid(axis="x", color=_FAINT, linewidth=0.6)
    return _to_chart(figure, title)


def draw_lines(
    title: str,
    lines: Mapping[str, Sequence[float]],
    labels: tuple[str, str],
    dashed: Mapping[str, Sequence[float]] | None = None,
    logarithmic: bool = False,
) -> Chart:
    """A line per name over 1, 2, 3, ...; a dashed one of the same colour where there is another.

    Args:
        labels: of both axes.
    """
    figure, axis = _create_axis()
    for number, (name, values) in enumerate(lines.items()):
        colour, steps = SERIES[number % len(SERIES)], np.arange(1, len(values) + 1)
        axis.plot(steps, values, color=colour, linewidth=1.4, label=_shorten(name))
        other = (dashed or {}).get(name)
        if other is not None:
            axis.plot(np.arange(1, len(other) + 1), other, color=colour, linewidth=1.2, linestyle="--")
    axis.set(xlabel=labels[0], ylabel=labels[1])
    if logarithmic:
        _scale_logarithmically(axis)
    axis.xaxis.get_major_locator().set_params(integer=True)
    if len(lines) <= len(SERIES):
        axis.legend(fontsize=8, frameon=False, labelcolor=_INK)
    axis.grid(color=_FAINT, linewidth=0.6)
    return _to_chart(figure, title)


def draw_trials(
    title: str,
    numbers: Sequence[int],
    values: Sequence[float],
    errors: Sequence[float],
    best: Sequence[float],
    unit: str,
) -> Chart:
    """A dot per trial with a bar of one standard error, and a step line of the best so far."""
    figure, axis = _create_axis()
    axis.errorbar(numbers, values, yerr=errors, fmt="o", color=SERIES[1], markersize=4, linewidth=1, zorder=1)
    axis.step(numbers, best, where="post", color=SERIES[0], linewidth=1.4, zorder=2)
    axis.set(xlabel="trial", ylabel=unit)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(color=_FAINT, linewidth=0.6)
    return _to_chart(figure, title)


def draw_bars(title: str, shares: Mapping[str, float], unit: str) -> Chart:
    """A bar per name, 0..1, the first on top."""
    figure, axis = _create_axis(max(1.2, 0.26 * len(shares) + 0.7))
    axis.barh([_shorten(name) for name in shares][::-1], list(shares.values())[::-1], color=SERIES[0])
    axis.set(xlabel=unit, xlim=(0, 1))
    axis.grid(axis="x", color=_FAINT, linewidth=0.6)
    return _to_chart(figure, title)


def draw_reliability(
    title: str,
    confidence: NDArray[np.float64],
    right: NDArray[np.float64],
    error: NDArray[np.float64],
    labels: tuple[str, str],
) -> Chart:
    """How often it is so against how probable the voter called it, with the diagonal where both agree.

    Args:
        confidence: floats (B,) in 0..1, how probable, of each bin.
        right: floats (B,) in 0..1, how often it was so.
        error: floats (B,), the standard error of that.
        labels: of both axes.
    """
    figure, axis = _create_axis()
    axis.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle="--")
    axis.errorbar(
        confidence, right, yerr=error, fmt="o-", color=SERIES[0], markersize=4, linewidth=1.3, capsize=2
    )
    axis.set(xlabel=labels[0], ylabel=labels[1], xlim=(0, 1.02), ylim=(0, 1.02))
    axis.grid(color=_FAINT, linewidth=0.6)
    return _to_chart(figure, title)


def draw_histograms(
    title: str,
    groups: Mapping[str, NDArray[np.float64]],
    unit: str,
    span: tuple[float, float] = (0.0, 1.0),
    what: str = "images",
) -> Chart:
    """How values are spread in each group, as shares of the group.

    Args:
        groups: floats (n,) of each group, by its name.
        span: from where to where values go.
        what: is counted.
    """
    figure, axis = _create_axis()
    edges = np.linspace(*span, 31)
    for colour, (name, values) in zip(SERIES, groups.items(), strict=False):
        shares = np.histogram(values, edges)[0] / max(1, len(values))
        axis.stairs(shares, edges, color=colour, fill=True, alpha=0.35)
        axis.stairs(shares, edges, color=colour, linewidth=1.2, label=name)
    axis.set(xlabel=unit, ylabel=f"share of {what}", xlim=span)
    if len(groups) > 1:
        axis.legend(fontsize=8, frameon=False, labelcolor=_INK)
    axis.grid(color=_FAINT, linewidth=0.6)
    return _to_chart(figure, title)


def draw_quantiles(
    title: str,
    places: NDArray[np.float64],
    quantiles: NDArray[np.float64],
    labels: tuple[str, str],
) -> Chart:
    """The median of what is said at each true value, with bars to both quantiles, and where both agree.

    Args:
        places: (P,), true values, ascending.
        quantiles: (3, P), the lower one, the median and the upper one.
        labels: of both axes.
    """
    figure, axis = _create_axis()
    low, middle, high = quantiles
    ends = [float(places.min()), float(places.max())]
    axis.plot(ends, ends, color=_INK, linewidth=0.8, linestyle="--")
    axis.errorbar(
        places, middle, yerr=[middle - low, high - middle], fmt="o", color=SERIES[0], markersize=4,
        linewidth=1.3, capsize=2,
    )  # fmt: skip
    axis.set(xlabel=labels[0], ylabel=labels[1])
    axis.margins(0.06)
    axis.grid(color=_FAINT, linewidth=0.6)
    return _to_chart(figure, title)


def draw_points(
    title: str,
    points: Mapping[str, tuple[float, float]],
    labels: tuple[str, str],
    errors: Mapping[str, tuple[float, float]] | None = None,
    diagonal: bool = False,
) -> Chart:
    """A named point per name, with bars of one standard error where they are known.

    Args:
        labels: of both axes.
        diagonal: whether to draw where both axes agree.
    """
    figure, axis = _create_axis()
    for number, (name, (x, y)) in enumerate(points.items()):
        x_error, y_error = (errors or {}).get(name, (0.0, 0.0))
        colour = SERIES[number % len(SERIES)]
        axis.errorbar(x, y, xerr=x_error, yerr=y_error, fmt="o", color=colour, markersize=4, linewidth=1)
    if len(points) <= 14:
        for name, (x, y) in points.items():
            axis.annotate(_shorten(name), (x, y), (4, 4), textcoords="offset points", fontsize=8, color=_INK)
    if diagonal and points:
        axis.axline((x, x), slope=1, color=_INK, linestyle="--", linewidth=0.8)
    axis.set(xlabel=labels[0], ylabel=labels[1])
    axis.margins(0.12)
    axis.grid(color=_FAINT, linewidth=0.6)
    return _to_chart(figure, title)


def _create_axis(height: float = _HEIGHT) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axis = figure.subplots()
    axis.set_facecolor("none")
    axis.set_axisbelow(True)
    axis.tick_params(which="both", colors=_INK, labelsize=9)
    for side, spine in axis.spines.items():
        spine.set(color=_INK, linewidth=0.8, visible=side in ("left", "bottom"))
    axis.xaxis.label.set(color=_INK, size=9.5)
    axis.yaxis.label.set(color=_INK, size=9.5)
    return figure, axis


def _scale_logarithmically(axis: Any) -> None:
    """Let values grow by factors, and write them as people do: 60 and not 6 x 10^1."""
    from matplotlib.ticker import LogLocator

    axis.set_yscale("log")
    axis.minorticks_off()
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")


def _to_chart(figure: Any, title: str) -> Chart:
    """The figure as an SVG element that takes colours and letters from the page, the same in every run."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "softvote"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # nothing leads there, and two charts would share them
    font = _variable("font")
    svg = re.sub(r"font-family: [^;\"]*", f"font-family: {font}", svg)
    svg = re.sub(r"font: ([^;\"]*?)([\d.]+px) [^;\"]*", rf"font: \1\2 {font}", svg)  # before 3.10
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return Chart(re.sub(r"\n\s*", "\n", svg), title)


def _shorten(name: str, most: int = 22) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
