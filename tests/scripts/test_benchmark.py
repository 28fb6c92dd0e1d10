"""scripts/benchmark.py: what it says of two loops follows from what was measured, and ours is our own."""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
import subprocess
import sys
import threading
from argparse import Namespace
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from programs import ROOT, load

from softvote.data.normalisation import Normalisation
from softvote.errors import UserError
from softvote.inference.network import create_network
from softvote.storage.paths import Workspace
from softvote.training.learner import Learner

benchmark = load("benchmark")
sys.modules["benchmark"] = benchmark  # where orders are looked for when they are sent through a pipe

Facts = dict[str, Any]


def start(folder: Path, *words: object) -> subprocess.Popen[str]:
    """The program as a person starts it, where no data is but scikit-learn's digits."""
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), *map(str, words)]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """One network, measured briefly: the folder of results, and what was printed."""
    folder = tmp_path_factory.mktemp("benchmark")
    words = ["--networks", "stn_cnn", "--repeats", "2", "--seconds", "0.3", "--to", "out"]
    process = start(folder, *words)
    printed, told = process.communicate()
    assert process.returncode == 0, told
    return folder / "out", printed, told


@pytest.fixture(scope="module")
def facts(measured: tuple[Path, str, str]) -> Facts:
    found: Facts = json.loads((measured[0] / "benchmark.json").read_text())
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with scikit-learn's digits in it."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        benchmark.lay_out_inputs(folder, {benchmark.FIVE}, Namespace(data=None, sums=None))
    return folder


# ---------------------------------------------------------------- what is written and shown


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
        benchmark.write_speed(facts, tmp_path)
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
    found = benchmark.whole_five(networks)
    follows(found["seconds_an_epoch"]["stock"], [200, 194])
    follows(found["seconds_an_epoch"]["ours"], [50, 56])
    follows(found["ratio"], [200 / 50, 194 / 56])
    follows(found["ratio_alone"], [200 / 65, 194 / 65])


@pytest.mark.parametrize(
    ("before", "after", "told"), [(0.1, 3.0, False), (3.0, 3.0, True), (0.1, 99.0, True)]
)
def test_other_load_is_told(before: float, after: float, told: bool) -> None:
    found = benchmark.notes({"load_average": {"before": before, "after": after}, "networks": {}})
    assert [note.startswith("other programs use this machine") for note in found] == [True] * told


# ---------------------------------------------------------------- ours is softvote's own


def one_lap(body: Callable[..., Facts], *arguments: object) -> tuple[list[Facts], Facts]:
    """What a loop in this process answers to a lap and the large convolution, and says at its end."""
    mine, its = Pipe()
    answers = list[Facts]()

    def order() -> None:
        assert mine.recv() == "ready"
        for what in ("lap", "rest", "limit"):
            mine.send(benchmark.Order(what, 0.05, 1))
            if what != "rest":
                answers.append(mine.recv())
        mine.send(benchmark.Order("stop"))

    thread = threading.Thread(target=order, daemon=True)
    thread.start()
    end = body(its, *arguments)
    thread.join()
    return answers, end


def test_ours_is_a_training_of_softvote_by_the_members_recipe(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, sizes, train, step = list[Any](), list[int](), benchmark.train, Learner.step

    def seen_train(*given: Any) -> Any:
        calls.append(given)
        return train(*given)

    def seen_step(self: Learner, *given: Any) -> Any:
        sizes.append(len(given[-1]))
        return step(self, *given)

    monkeypatch.setattr(benchmark, "train", seen_train)
    monkeypatch.setattr(Learner, "step", seen_step)
    (found, limit), end = one_lap(benchmark.run_ours, benchmark._case("stn_cnn"), root, 1, 0)
    [(spec, rows, *_)] = calls
    member = spec.member
    assert (member.batch_size, member.optimizer.name, member.schedule.name) == (128, "adamw", "one_cycle")
    assert (member.precision, member.augment, member.model) == ("auto", benchmark.AUGMENT, "stn_cnn")
    assert len(rows.values) == 1498 and rows.images.shape[1:] == (1, 28, 28)
    # The first step, those that warm up, and at least one that counts.
    assert len(sizes) >= benchmark.WARM_UP + 2 and set(sizes) <= {124, 125}
    assert found["rate"] > 0 and limit["rate"] > 1e8
    assert end["execution"]["probe"]


def test_a_lap_tells_where_the_time_of_a_training_goes(root: Path) -> None:
    before = [getattr(owner, name) for _, owner, name in benchmark.FUNCTIONS]
    (found, _), _ = one_lap(benchmark.run_ours_in_parts, benchmark._case("stn_cnn"), root)
    shares = found["shares"]
    assert list(shares) == benchmark.PARTS
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0
    assert min(shares["forward"], shares["backward"]) > max(shares["gather"], shares["loss"])
    assert [getattr(owner, name) for _, owner, name in benchmark.FUNCTIONS] == before


def test_a_part_within_another_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: now[0])
    stopwatch = benchmark.Stopwatch()

    def spend(seconds: float) -> None:
        now[0] += seconds

    def forward() -> None:
        spend(3)
        stopwatch.timing("loss", spend)(1)
        spend(2)

    spend(4)
    stopwatch.timing("forward", forward)()
    shares = stopwatch.shares()
    assert {part: share for part, share in shares.items() if share} == {
        "forward": 0.5,
        "loss": 0.1,
        "rest": 0.4,
    }


# ---------------------------------------------------------------- the stock loop, and accuracy


def test_stock_images_are_normalised_and_moved_within_the_same_ranges() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 1, 28, 28), dtype=np.uint8)
    images = benchmark.Images(pixels, np.arange(50) % 10)
    mean, std = float(pixels.mean()), float(pixels.std())
    data = benchmark.PilImages(images, Normalisation((mean,), (std,)))
    affine = data.transform.transforms[0]
    assert tuple(affine.degrees) == (-10, 10) and tuple(affine.scale) == (0.9, 1.1)
    assert [28 * share for share in affine.translate] == [2, 2]
    data.transform.transforms.pop(0)
    image, label = data[13]
    assert label == 3
    np.testing.assert_allclose(image.numpy(), (pixels[13] - mean) / std, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_both_loops_learn(root: Path) -> None:
    case = benchmark._case("cnn")
    learnt, scored = benchmark.slices(1498, 600)
    arguments = (None, case, root, learnt, scored, 3, 0)
    for body in (benchmark.accuracy_of_stock, benchmark.accuracy_of_ours):
        assert body(*arguments) > 0.5


@pytest.mark.parametrize("network", ["cnn", "big_kernel_cnn"])
def test_stock_pools_last_and_computes_the_same(network: str) -> None:
    case, shape = benchmark._case(network), (1, 28, 28)
    ours = create_network(case.member, case.competition.task, shape).model.eval()
    theirs = create_network(case.member, case.competition.task, shape).model.eval()
    theirs.load_state_dict(ours.state_dict())
    assert benchmark.as_people_write_it(theirs) is theirs
    names = [type(layer).__name__ for layer in theirs.modules()]
    after = [names[place - 1] for place, name in enumerate(names) if name == "MaxPool2d"]
    assert after == ["ReLU", "ReLU"]
    images = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


def test_rows_that_are_scored_are_never_learnt() -> None:
    learnt, scored = benchmark.slices(42_000, 8000)
    assert (len(learnt), len(scored)) == (8000, 10_000)
    assert len(np.unique(np.concatenate([learnt, scored]))) == 18_000
    assert [len(part) for part in benchmark.slices(900, 8000)] == [600, 300]


@pytest.mark.parametrize(
    ("stock", "ours", "words"),
    [
        ([0.980, 0.982, 0.981], [0.981, 0.979, 0.982], "ours differs by noise"),
        ([0.970, 0.971, 0.972], [0.981, 0.980, 0.982], "ours is better by more than two standard errors"),
    ],
)
def test_accuracy_is_compared_in_words(
    stock: list[float],
    ours: list[float],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    each = {"stock": benchmark.summary(stock), "ours": benchmark.summary(ours)}
    monkeypatch.setattr(benchmark, "_accuracies", lambda *_: {"rows": 8000, "scored": 10_000} | each)
    asked = Namespace(seeds=3, epochs=2, rows=8000)
    facts = benchmark.compare_accuracy([benchmark._case("cnn")], Path(), asked)
    found = facts["networks"]["cnn"]
    error = math.sqrt((statistics.variance(stock) + statistics.variance(ours)) / 3)
    difference = statistics.fmean(ours) - statistics.fmean(stock)
    assert found["difference"] == pytest.approx({"mean": difference, "standard_error": error})
    assert found["in_words"].startswith(words)
    printed = capsys.readouterr().out
    assert f"{100 * difference:.3f} ± {100 * error:.3f}" in printed and found["in_words"] in printed


# ---------------------------------------------------------------- the machine's limit


def flops_of(layers: list[tuple[int, int, int, int]]) -> int:
    """Of layers (values an output channel, channels in, channels out, kernel)."""
    return sum(2 * places * before * after * kernel**2 for places, before, after, kernel in layers)


@pytest.mark.parametrize(
    ("network", "layers"),
    [
        ("cnn", [(28 * 28, 1, 32, 3), (28 * 28, 32, 32, 3), (14 * 14, 32, 64, 3), (14 * 14, 64, 64, 3)]),
        ("stn_cnn", [(22 * 22, 1, 8, 7), (7 * 7, 8, 10, 5), (26 * 26, 1, 32, 3), (11 * 11, 32, 64, 3)]),
    ],
)
def test_convolutions_are_counted_as_by_hand(network: str, layers: list[tuple[int, int, int, int]]) -> None:
    case = benchmark._case(network)
    model = create_network(case.member, case.competition.task, (1, 28, 28)).model
    assert benchmark.convolution_flops(model, (1, 28, 28)) == flops_of(layers)


def test_the_five_have_two_cnn_as_their_pipeline_says() -> None:
    cases = [benchmark._case(network) for network in benchmark.NETWORKS]
    assert [case.times for case in cases if case.competition.name == benchmark.FIVE] == [2, 1, 1, 1]
    assert cases[0].trainings == 25
    assert (cases[-1].network, cases[-1].member.head, cases[-1].epoch) == ("slot_cnn", "digits", 24_000)


# ---------------------------------------------------------------- data and mistakes


def test_sums_are_made_of_the_digits_where_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))  # as it is where the program runs
    asked = Namespace(data=None, sums=None)
    [(name, origin)] = benchmark.lay_out_inputs(tmp_path / "root", {benchmark.SUMS}, asked).items()
    assert name == benchmark.SUMS and "is missing: made of the digits" in origin
    images = benchmark.images_of(benchmark._case("slot_cnn"), tmp_path / "root")
    assert images.pixels.shape == (1500, 1, 40, 168) and images.values.max() <= 36


def test_data_that_is_there_is_taken(root: Path, tmp_path: Path) -> None:
    asked = Namespace(data=Workspace(root).input(benchmark.FIVE), sums=None)
    assert benchmark.lay_out_inputs(tmp_path, {benchmark.FIVE}, asked) == {benchmark.FIVE: str(asked.data)}
    assert len(benchmark.images_of(benchmark._case("cnn"), tmp_path).values) == 1498


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--networks cnm", "--networks cnm: no such network; did you mean 'cnn'? known: cnn, "),
        ("--repeats 1", "--repeats 1: too few; give 2 or more"),
        ("--accuracy --seeds 1", "--seeds 1: too few; give 2 or more"),
        ("--seconds 0", "--seconds 0: no time to measure in; give 10"),
        ("--seconds soon", "argument --seconds: invalid float value: 'soon'; --help says what there is"),
        ("--accuracy --to-vote", "argument --to-vote: not allowed with argument --accuracy"),
        ("--speed", "unrecognized arguments: --speed"),
        ("--data absent", "absent: no such folder; "),
        (
            "--to-vote --set members.cnn_a.epoch=2",
            "--set members.cnn_a.epoch=2: members.cnn_a.epoch: unknown key; ",
        ),
    ],
)
def test_a_mistake_is_one_line(
    words: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert benchmark.main(words.split()) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"benchmark: {told}")
    assert not list(tmp_path.iterdir())


def test_a_loop_that_ends_without_a_word_is_told() -> None:
    # The name that the program has here is none that a new process can import, so that one ends at once.
    loop = benchmark.Loop("cnn, stock", os._exit, 3)
    try:
        with pytest.raises(UserError, match=r"cnn, stock: its process ended with exit code \d+"):
            loop.receive()
    finally:
        loop.close()


A_LOOP_SAYS_HOW_ITS_CHILDREN_START = """
import multiprocessing
import sys

sys.path.insert(0, sys.argv[1])
import benchmark

def body(line):
    return multiprocessing.get_start_method()

if __name__ == "__main__":
    loop = benchmark.Loop("cnn, stock", body)
    print(multiprocessing.get_start_method(), loop.receive())
    loop.close()
"""


@pytest.mark.slow
def test_workers_of_a_loop_start_as_those_of_a_notebook_do(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(A_LOOP_SAYS_HOW_ITS_CHILDREN_START)
    command = [sys.executable, str(program), str(ROOT / "scripts")]
    here, there = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert here == there


@pytest.mark.slow
def test_ctrl_c_ends_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    process = start(tmp_path, "--networks", "stn_cnn", "--to", "out")
    assert process.stderr
    assert "warm up" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to every process
    _, told = process.communicate()
    assert process.returncode == 130
    assert told == "benchmark: stopped; nothing was written\n"
    assert not list(tmp_path.iterdir())
