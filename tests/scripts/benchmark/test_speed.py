"""What the benchmark says of two loops follows from what was measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark import show, speed

from softvote.errors import UserError

Facts = dict[str, Any]


def follows(found: Facts, each: list[float]) -> None:
    """These numbers, their mean and its standard error."""
    assert found["each"] == pytest.approx(each, rel=1e-12)
    assert found["mean"] == pytest.approx(sum(each) / len(each))
    assert found["standard_error"] == pytest.approx(np.std(each, ddof=1) / math.sqrt(len(each)))


@pytest.mark.slow
def test_ratios_and_times_follow_from_the_rates(facts: Facts) -> None:
    found = facts["networks"]["stn_cnn"]
    stock, ours, alone = (
        found[loop]["images_per_second"]["each"] for loop in ("stock", "ours", "ours_alone")
    )
    assert len(stock) == len(ours) == len(alone) == 2 and min(*stock, *ours, *alone) > 0
    follows(found["ratio"], [b / a for a, b in zip(stock, ours, strict=True)])
    follows(found["ratio_alone"], [b / a for a, b in zip(stock, alone, strict=True)])
    for loop, rates in (("stock", stock), ("ours", ours), ("ours_alone", alone)):
        follows(found[loop]["images_per_second"], rates)
        follows(found[loop]["seconds_an_epoch"], [42_000 / each for each in rates])


@pytest.mark.slow
def test_the_limit_follows_from_the_large_convolution(facts: Facts) -> None:
    found = facts["networks"]["stn_cnn"]
    limit, ours = found["limit"], found["ours"]["images_per_second"]["each"]
    at_limit = [each / (3 * limit["convolution_flops_forward"]) for each in limit["flops_per_second"]["each"]]
    follows(limit["images_per_second"], at_limit)
    follows(limit["our_share"], [each / most for each, most in zip(ours, at_limit, strict=True)])


@pytest.mark.slow
def test_what_ran_is_written_down(facts: Facts) -> None:
    found = facts["networks"]["stn_cnn"]
    assert (found["stock"]["batch_size"], found["ours"]["batch_size"]) == (64, 128)
    assert len(found["ours"]["executions"]) == found["ours"]["processes"] >= 1
    assert all(each["probe"] for each in found["ours"]["executions"])  # precision: auto
    # A process with torch in it holds more than 100 MiB, and the stock loop has two workers.
    assert found["stock"]["peak_memory_mib"] > 300
    assert found["ours"]["peak_memory_mib"] > 100 * found["ours"]["processes"]
    assert sum(found["parts"].values()) == pytest.approx(1)
    assert {"machine", "versions", "date", "load_average", "notes"} <= facts.keys()
    assert facts["augmentation"] == {"rotate": 10, "scale": 0.1, "shift": 2}
    assert "heterogeneous_five" not in facts  # for one network of four says nothing of it


@pytest.mark.slow
def test_the_tables_show_what_is_written(measured: tuple[Path, str, str], facts: Facts) -> None:
    folder, printed, told = measured
    ratio = facts["networks"]["stn_cnn"]["ratio"]
    assert f"{ratio['mean']:.2f} ± {ratio['standard_error']:.2f}" in printed
    assert "is missing: scikit-learn's digits, enlarged to 28 x 28" in printed
    assert [line for line in told.splitlines() if "repeat 2 of 2" in line]
    assert (folder / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in folder.iterdir()) == ["benchmark.json", "benchmark.png"]


@pytest.mark.slow
def test_json_and_picture_are_written_both_or_not_at_all(facts: Facts, tmp_path: Path) -> None:
    (tmp_path / "benchmark.json").mkdir()  # cannot be replaced by a file
    with pytest.raises(UserError, match=r"benchmark\.json: cannot be written"):
        show.write_speed(facts, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["benchmark.json"]


def test_an_epoch_of_the_whole_five_is_the_sum_of_its_members() -> None:
    networks = {
        name: {
            "times_in_the_five": times,
            **{loop: {"seconds_an_epoch": {"each": each}} for loop, each in seconds.items()},
        }
        for name, times, seconds in (
            ("cnn", 2, {"stock": [60.0, 62.0], "ours": [15.0, 16.0], "ours_alone": [20.0, 20.0]}),
            ("resnet5", 1, {"stock": [80.0, 70.0], "ours": [20.0, 24.0], "ours_alone": [25.0, 25.0]}),
            ("slot_cnn", 0, {"stock": [900.0, 9.0], "ours": [1.0, 2.0], "ours_alone": [3.0, 4.0]}),
        )
    }
    found = speed.whole_five(networks)
    follows(found["seconds_an_epoch"]["stock"], [200, 194])
    follows(found["seconds_an_epoch"]["ours"], [50, 56])
    follows(found["ratio"], [200 / 50, 194 / 56])
    follows(found["ratio_alone"], [200 / 65, 194 / 65])


@pytest.mark.parametrize(
    ("before", "after", "told"), [(0.1, 3.0, False), (3.0, 3.0, True), (0.1, 99.0, True)]
)
def test_other_load_is_told(before: float, after: float, told: bool) -> None:
    found = speed.notes({"load_average": {"before": before, "after": after}, "networks": {}})
    assert [note.startswith("other programs use this machine") for note in found] == [True] * told
