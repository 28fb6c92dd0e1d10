"""scripts/scale.py: what it reckons out of rates, by hand."""

from __future__ import annotations

import pytest
from programs import load

scale = load("scale")

RATES = scale.Rates(
    decoded=100, file_bytes=100_000, core_trained=5, mmac=1000, gpu_flops=6e12, stages_core_seconds=3600,
    stages_gib=2,
)  # fmt: skip


def plan(*words: str) -> object:
    return scale._parser().parse_args(["--folds", "5", "--members", "2", "--epochs", "10", *words])


def test_a_gpu_trains_by_three_passes_of_two_operations() -> None:
    assert RATES.gpu_trained == pytest.approx(1000)


def test_figures_are_the_arithmetic_of_rates() -> None:
    found = scale.reckon(1_000_000, RATES, plan("--gpus", "4", "--gpu-price", "2", "--store-price", "10"))
    # 5 folds of 2 members see four fifths of a million images in 10 epochs.
    assert found["gpu_hours"] == pytest.approx(80e6 / 1000 / 3600)
    assert found["days"] == pytest.approx(found["gpu_hours"] / 4 / 24)
    assert found["cpu_training_core_hours"] == pytest.approx(80e6 / 5 / 3600)
    assert found["files_tb"] == pytest.approx(0.1)
    assert found["traffic_tb"] == pytest.approx(0.4)
    assert found["decoding_core_hours"] == pytest.approx(1e6 / 100 / 3600)
    assert found["stages_core_hours"] == pytest.approx(1)
    assert found["cost"] == pytest.approx(2 * found["gpu_hours"] + 1)


def test_no_more_gpus_work_than_there_are_trainings() -> None:
    many, enough = (scale.reckon(1000, RATES, plan("--gpus", gpus)) for gpus in ("50", "10"))
    assert many == enough


def test_limits_come_in_the_order_in_which_they_break() -> None:
    limits = scale.first_to_break(RATES, plan("--memory", "128", "--disk", "4"))
    assert list(limits.values()) == sorted(limits.values())
    by_first_word = {what.split(":")[0]: images for what, images in limits.items()}
    assert by_first_word["JPEG files fill a disk of 4 TB"] == 40_000_000
    assert by_first_word["the stages of one process fill 128 GiB"] == 64_000_000


def test_table_has_a_column_for_each_number_of_images() -> None:
    columns = [scale.reckon(images, RATES, plan()) for images in (42_000, 100_000_000)]
    lines = scale.table(columns).splitlines()
    assert lines[0] == "|  | 42,000 | 100,000,000 |"
    assert len(lines) == 2 + len(scale.ROWS)
