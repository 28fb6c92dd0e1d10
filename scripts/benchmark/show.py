"""Tables and the figure of what was measured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmark.cases import EPOCH, NETWORKS, Facts
from benchmark.means import format_mean
from benchmark.parts import PARTS
from softvote.reporting.tables import render
from softvote.storage.files import atomic_write, write_json


def print_progress(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def speed_table(facts: Facts) -> str:
    """A line per network, and one for the whole heterogeneous five."""
    header = ["network", "stock images/s", "ours images/s", "one process", "stock s/epoch", "ours s/epoch"]
    header += ["stock MiB", "ours MiB", "ratio"]
    lines = []
    for name, found in facts["networks"].items():
        stock, ours, alone = found["stock"], found["ours"], found["ours_alone"]
        speeds = [format_mean(each["images_per_second"], 0) for each in (stock, ours, alone)]
        times = [format_mean(each["seconds_an_epoch"], 1) for each in (stock, ours)]
        memory = [f"{each['peak_memory_mib']:,}" for each in (stock, ours)]
        lines.append([name, *speeds, *times, *memory, format_mean(found["ratio"], 2)])
    if five := facts.get("heterogeneous_five"):
        times = [format_mean(five["seconds_an_epoch"][loop], 1) for loop in ("stock", "ours")]
        lines.append(["the whole five", "", "", "", *times, "", "", format_mean(five["ratio"], 2)])
    return render(header, lines)


def time_table(networks: dict[str, Facts]) -> str:
    """Where our time goes, and how far the machine could go."""
    lines = []
    for name, found in networks.items():
        parts = [f"{100 * found['parts'][part]:.1f}" for part in PARTS]
        limit, percent = found["limit"], {key: 100 * value for key, value in _plain(found).items()}
        lines.append(
            [name, *parts, format_mean(limit["images_per_second"], 0), f"{format_mean(percent, 0)} %"]
        )
    return render(["% of our time", *PARTS, "limit images/s", "ours of it"], lines)


def _plain(found: Facts) -> dict[str, float]:
    our_share = found["limit"]["our_share"]
    return {key: our_share[key] for key in ("mean", "standard_error")}


def write_speed(facts: Facts, folder: Path) -> None:
    """benchmark.json and benchmark.png, both or none."""
    with atomic_write(folder / "benchmark.png") as temporary:
        draw_speed(facts["networks"]).savefig(temporary)
        write_json(folder / "benchmark.json", facts)
    print(f"wrote {folder / 'benchmark.json'} and benchmark.png")


def draw_speed(networks: dict[str, Facts]) -> Any:
    """Draw images per second, the ratio on top; a panel per competition, whose images differ in size."""
    from matplotlib.figure import Figure

    shown = [[name for name in networks if NETWORKS[name] == pipeline] for pipeline in EPOCH]
    panels = [names for names in shown if names]
    figure = Figure(figsize=(1.6 * len(networks) + 2.4, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, width_ratios=[len(names) for names in panels])[0]
    for axis, names in zip(axes, panels, strict=True):
        for shift, loop in ((-0.2, "stock"), (0.2, "ours")):
            found = [networks[name][loop]["images_per_second"] for name in names]
            axis.bar(
                [place + shift for place in range(len(names))], [each["mean"] for each in found], 0.38,
                yerr=[each["standard_error"] for each in found], capsize=3, label=loop,
            )  # fmt: skip
        for place, name in enumerate(names):
            speed = networks[name]["ours"]["images_per_second"]
            ratio = format_mean(networks[name]["ratio"], 2)
            top = speed["mean"] + speed["standard_error"]
            axis.annotate(f"{ratio} ×", (place, top), (0, 4), textcoords="offset points", ha="center")
        axis.set_xticks(range(len(names)), labels=names)
        axis.set_xlim(-0.6, len(names) - 0.4)
        axis.margins(y=0.15)
        axis.set_title(NETWORKS[names[0]], fontsize=10)
    axes[0].set_ylabel("images per second, training")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
