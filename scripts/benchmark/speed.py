"""Speed: both loops on each network, by turns."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmark.bodies import run_ours, run_ours_in_parts, run_stock
from benchmark.cases import AUGMENT, FIVE, NETWORKS, Case, Facts
from benchmark.laps import WARM_UP, Order
from benchmark.limit import convolution_flops
from benchmark.means import divide_each, summary
from benchmark.ours import as_the_command_does
from benchmark.processes import dismiss, lap, loops, rate
from benchmark.show import print_progress, speed_table, time_table
from benchmark.stock import STOCK_BATCH, STOCK_WORKERS
from softvote.inference.network import create_network
from softvote.scheduling.resources import split_cores


def compare_speed(cases: Sequence[Case], root: Path, parsed: argparse.Namespace) -> Facts:
    """Measure, and print the tables."""
    before, networks = os.getloadavg()[0], dict[str, Facts]()
    for case in cases:
        networks[case.network] = _speed(case, root, parsed.repeats, parsed.seconds)
    facts: Facts = {
        "settings": {"repeats": parsed.repeats, "seconds": parsed.seconds, "warm_up_steps": WARM_UP},
        "augmentation": AUGMENT.model_dump(exclude_defaults=True),
        "networks": networks,
    }
    if {name for name, pipeline in NETWORKS.items() if pipeline == FIVE} <= networks.keys():
        facts["heterogeneous_five"] = whole_five(networks)
    facts["load_average"] = {"before": round(before, 2), "after": round(os.getloadavg()[0], 2)}
    facts["notes"] = notes(facts)
    print(speed_table(facts))
    print(time_table(networks), end="")
    for note in facts["notes"]:
        print(note)
    return facts


def _speed(case: Case, root: Path, repeats: int, seconds: float) -> Facts:
    """Both loops on one network, by turns."""
    (at_once, threads), all_threads = split_cores(case.trainings), split_cores(1)[1]
    rates = dict[str, list[float]](stock=[], ours=[], alone=[], limit=[])
    print_progress(
        f"{case.network}: stock loop, and ours in {at_once} x {threads} (processes x threads), warm up"
    )
    with ExitStack() as stack:
        stock = stack.enter_context(loops((f"{case.network}, stock", run_stock, case, root)))
        with as_the_command_does():
            starts = [
                (f"{case.network}, ours", run_ours, case, root, threads, seed) for seed in range(at_once)
            ]
            ours = stack.enter_context(loops(*starts))
        for repeat in range(repeats):
            rates["stock"].append(rate(stock, Order("lap", seconds)))
            rates["ours"].append(rate(ours, Order("lap", seconds, threads)))
            rates["alone"].append(rate(ours[:1], Order("lap", seconds, all_threads)))
            rates["limit"].append(rate(ours, Order("limit", threads=threads)))
            print_progress(_in_a_line(case, repeat, repeats, rates))
        of_stock, of_ours = dismiss(stock), dismiss(ours)
    with as_the_command_does(), loops((case.network, run_ours_in_parts, case, root)) as running:
        [found] = lap(running, Order("lap", seconds, 1))
        dismiss(running)
    return _speed_facts(case, rates, of_stock, of_ours, all_threads) | {"parts": found["shares"]}


def _in_a_line(case: Case, repeat: int, repeats: int, rates: dict[str, list[float]]) -> str:
    stock, ours, alone, limit = (each[-1] for each in rates.values())
    return (
        f"{case.network}, repeat {repeat + 1} of {repeats}: stock {stock:,.0f}, ours {ours:,.0f} images/s "
        f"({alone:,.0f} alone), {ours / stock:.2f} times; large convolution {limit / 1e9:,.0f} GFLOP/s"
    )


def _speed_facts(
    case: Case,
    rates: dict[str, list[float]],
    of_stock: list[Facts],
    of_ours: list[Facts],
    all_threads: int,
) -> Facts:
    """All that was found of one network; a standard error beside every mean."""
    task, image = case.competition.task, case.competition.image
    shape = (image.channels, image.height, image.width)
    flops = convolution_flops(create_network(case.member, task, shape).model, shape)
    at_limit = [each / (3 * flops) for each in rates["limit"]]
    return {
        "times_in_the_five": case.times if NETWORKS[case.network] == FIVE else 0,
        "images_an_epoch": case.epoch,
        "stock": _loop_facts(case, rates["stock"], of_stock)
        | {"batch_size": STOCK_BATCH, "data_workers": STOCK_WORKERS},
        "ours": _loop_facts(case, rates["ours"], of_ours)
        | {"batch_size": case.member.batch_size, "executions": [each["execution"] for each in of_ours]},
        "ours_alone": _rates(case, rates["alone"]) | {"threads": all_threads},
        "ratio": summary(divide_each(rates["ours"], rates["stock"])),
        "ratio_alone": summary(divide_each(rates["alone"], rates["stock"])),
        "limit": {
            "convolution_flops_forward": flops,
            "flops_per_second": summary(rates["limit"]),
            "images_per_second": summary(at_limit),
            "our_share": summary(divide_each(rates["ours"], at_limit)),
        },
    }


def _loop_facts(case: Case, rates: list[float], processes: list[Facts]) -> Facts:
    return _rates(case, rates) | {
        "processes": len(processes),
        "threads": processes[0]["threads"],
        "peak_memory_mib": sum(each["peak_memory_mib"] for each in processes),
    }


def _rates(case: Case, rates: list[float]) -> Facts:
    return {
        "images_per_second": summary(rates),
        "seconds_an_epoch": summary([case.epoch / each for each in rates]),
    }


def whole_five(networks: dict[str, Facts]) -> Facts:
    """An epoch of every member of the heterogeneous five, repeat by repeat."""
    sums = {}
    for loop in ("stock", "ours", "ours_alone"):
        each = [
            [facts["times_in_the_five"] * seconds for seconds in facts[loop]["seconds_an_epoch"]["each"]]
            for facts in networks.values()
        ]
        sums[loop] = [sum(repeat) for repeat in zip(*each, strict=True)]
    return {
        "seconds_an_epoch": {loop: summary(seconds) for loop, seconds in sums.items()},
        "ratio": summary(divide_each(sums["stock"], sums["ours"])),
        "ratio_alone": summary(divide_each(sums["stock"], sums["ours_alone"])),
    }


def notes(facts: Facts) -> list[str]:
    """What a reader of the tables must know."""
    load, own = facts["load_average"], split_cores(1)[1] + STOCK_WORKERS
    found = []
    if load["before"] > 0.5 or load["after"] > own + 1:
        found.append(
            f"other programs use this machine: load average {load['before']:g} before the first lap, "
            f"{load['after']:g} after the last, where ours cause {own} at most; the stock loop's threads and "
            "workers wait for each other and lose more by it than ours do: measure again on an idle machine"
        )
    for name, network in facts["networks"].items():
        ran = {f"{each['precision']} {each['memory_format']}" for each in network["ours"]["executions"]}
        if len(ran) > 1:
            found.append(
                f"{name}: the processes of ours chose different precisions: {', '.join(sorted(ran))}"
            )
    return found
