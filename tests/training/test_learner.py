"""training.learner: ways of taking a step that leave the step as it is; fp16, really, on the processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits
from timm.models import register_model
from torch import Tensor, nn

from softvote.config.recipe import Member
from softvote.task import Task
from softvote.training.callbacks import Callback
from softvote.training.checkpoint import Checkpoints
from softvote.training.loss_scaling import LossScaler
from softvote.training.rows import Split
from softvote.training.state import TrainingState
from softvote.training.train import TrainedNetwork, TrainingSpec, train

ROWS = 101
"""Seven batches of two sizes, one of them odd."""


@register_model
def plain_cnn(
    pretrained: bool = False, num_classes: int = 10, in_chans: int = 1, **kwargs: Any
) -> nn.Module:  # neither batch norm nor dropout, which know of batches
    return nn.Sequential(
        nn.Conv2d(in_chans, 8, 3), nn.GELU(), nn.Conv2d(8, 16, 3, stride=2), nn.GELU(), nn.Flatten(),
        nn.LazyLinear(num_classes),
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(digits: Digits) -> Split:
    images, labels = digits
    return Split(torch.from_numpy(images[:ROWS, None]), torch.from_numpy(labels[:ROWS]), np.arange(ROWS))


def member(**facts: Any) -> Member:
    usual = {
        "model": "plain_cnn", "epochs": 2, "batch_size": 15, "precision": "fp32",
        "memory_format": "contiguous", "optimizer": {"name": "sgd", "lr": 0.02},
    }  # fmt: skip
    return Member.model_validate(usual | facts)


def run(
    data: Split, *callbacks: Callback, resume: dict[str, Any] | None = None, **facts: Any
) -> TrainedNetwork:
    return train(TrainingSpec(member(**facts), Task(10), 0, "tiny fold 0"), data, callbacks, resume)


def state(trained: TrainedNetwork) -> dict[str, Tensor]:
    return trained.network.model.state_dict()


def assert_close(one: TrainedNetwork, other: TrainedNetwork, within: float) -> None:
    for name, value in state(one).items():
        torch.testing.assert_close(value, state(other)[name], rtol=within, atol=within)
    for row, other_row in zip(one.log, other.log, strict=True):
        assert row["loss"] == pytest.approx(other_row["loss"], rel=10 * within)
        assert row["accuracy"] == pytest.approx(other_row["accuracy"], abs=0.011)


# ---------------------------------------------------------------- gradients that are added up


@pytest.mark.slow_but("2-plain", "4-augmented", "7-mixup", "4-balanced")
@pytest.mark.parametrize(
    "facts",
    [{}, {"mixup": 0.5}, {"ema": 0.9, "augment": {"rotate": 10}}, {"sampling": "balanced"}],
    ids=["plain", "mixup", "augmented", "balanced"],
)
@pytest.mark.parametrize("micro_batch", [2, 4, 7])
def test_micro_batches_take_the_steps_of_the_whole_batch(
    data: Split, facts: dict[str, Any], micro_batch: int
) -> None:
    assert_close(run(data, micro_batch=micro_batch, **facts), run(data, **facts), within=1e-4)


def test_batch_norm_sees_the_micro_batch(data: Split) -> None:
    whole, parts = (run(data, model="resnet5", epochs=1, micro_batch=size) for size in (None, 8))
    assert not torch.allclose(next(iter(state(whole).values())), next(iter(state(parts).values())), atol=1e-4)
    assert next(value for name, value in state(parts).items() if "num_batches" in name) == 14


def test_no_forward_pass_sees_more_images_than_are_wanted(
    data: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    from softvote.inference.network import Network

    seen, outputs = list[int](), Network.outputs

    def spy(this: Network, images: Tensor, addends: Tensor | None) -> Tensor:
        seen.append(len(images))
        return outputs(this, images, addends)

    monkeypatch.setattr(Network, "outputs", spy)
    run(data, micro_batch=4, epochs=1)
    assert max(seen) <= 5 and sum(seen) == ROWS


@pytest.mark.parametrize("facts", [{"micro_batch": 4}, {"precision": "fp16"}], ids=str)
def test_gradients_are_clipped_as_those_of_the_whole_batch(data: Split, facts: dict[str, Any]) -> None:
    """Added up and unscaled first; a norm so small that every step is clipped."""
    clipped = run(data, clip_grad=0.05, **facts)
    within = 1e-4 if "micro_batch" in facts else 5e-3
    assert_close(clipped, run(data, clip_grad=0.05), within)
    moved = [torch.dist(state(clipped)[name], value) for name, value in state(run(data)).items()]
    assert max(moved) > 0.01


# ---------------------------------------------------------------- activations that are computed again


def test_activations_computed_again_train_the_same_network(data: Split) -> None:
    """To the last bit, with the statistics of batch norm, which must not count a batch twice."""
    large = Split(data.images.repeat(1, 1, 4, 4), data.image_labels, data.rows)
    facts: dict[str, Any] = {"model": "test_resnet", "epochs": 1}
    kept, again = (run(large, grad_checkpointing=wanted, **facts) for wanted in (False, True))
    assert any("running_mean" in name for name in state(kept))
    for name, value in state(kept).items():
        assert torch.equal(value, state(again)[name]), name


# ---------------------------------------------------------------- fp16


def test_fp16_learns_and_says_so(data: Split) -> None:
    adam: dict[str, Any] = {"optimizer": {"name": "adam", "lr": 0.01}, "epochs": 3}
    trained, plain = run(data, precision="fp16", **adam), run(data, **adam)
    assert trained.compute_config.precision == "fp16"
    assert trained.log[-1]["loss"] < 0.7 * trained.log[0]["loss"]
    assert trained.log[-1]["loss"] == pytest.approx(plain.log[-1]["loss"], rel=0.1)
    assert all(value.dtype != torch.float16 for value in state(trained).values())


class Overflowing(Callback):
    """Raise the scale of the loss beyond what gradients can bear, before every other step."""

    def __init__(self) -> None:
        self.unchanged = 0

    def on_start(self, state: TrainingState) -> None:
        self.before = self.weights(state)

    def on_step(self, state: TrainingState) -> None:
        now = self.weights(state)
        self.unchanged += torch.equal(now, self.before)
        self.before = now
        scale = 2.0**40 if state.steps % 2 else 2.0**8
        state.learner.scaler.update(scale)

    @staticmethod
    def weights(state: TrainingState) -> Tensor:
        return nn.utils.parameters_to_vector(state.learner.network.model.parameters()).detach().clone()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_steps_that_overflow_are_skipped_and_told_once(
    data: Split, optimizer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    overflowing = Overflowing()
    run(data, overflowing, precision="fp16", optimizer={"name": optimizer, "lr": 0.01})
    assert overflowing.unchanged == 7
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "skipped" in line]
    assert line.startswith("tiny fold 0: 7 of 14 steps were skipped, because gradients overflowed in fp16")


def test_a_loss_that_overflows_says_what_to_do(data: Split) -> None:
    from softvote.errors import UserError

    with pytest.raises(UserError, match="precision: fp32"):
        run(data, precision="fp16", optimizer={"name": "sgd", "lr": 1e6}, epochs=3)


@pytest.mark.slow_but("{}", "{'micro_batch': 4}")
@pytest.mark.parametrize(
    "facts",
    [
        {}, {"micro_batch": 4}, {"ema": 0.9}, {"mixup": 0.5}, {"optimizer": {"name": "adamw", "lr": 0.01}},
        {"schedule": {"name": "plateau", "watch": "held_out", "held_out": 0.2, "patience": 0}},
    ],
    ids=str,
)  # fmt: skip
def test_fp16_goes_on_to_the_same_bits_after_a_stop(
    data: Split, facts: dict[str, Any], tmp_path: Path
) -> None:
    class Stopping(Checkpoints):
        def is_due(self) -> bool:
            self.seen = getattr(self, "seen", 0) + 1
            return self.seen == 4

        def write(self, state: dict[str, Any]) -> None:
            super().write(state)
            raise InterruptedError

    expected = run(data, Grown(), precision="fp16", **facts)
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(InterruptedError):
        run(data, Grown(), Stopping(path, "key", 0), precision="fp16", **facts)
    kept = Checkpoints(path, "key", 1e9).read()
    assert kept is not None and kept["scaler"]["scale"] > 0
    resumed = run(data, resume=kept, precision="fp16", **facts)
    for name, value in state(expected).items():
        assert torch.equal(value, state(resumed)[name]), name


class Grown(Callback):
    """A scale other than that of a new scaler, and small enough that one more doubling is harmless."""

    def on_start(self, state: TrainingState) -> None:
        state.learner.scaler.scale(torch.ones(()))
        state.learner.scaler.update(2.0**11)


def test_a_scaler_of_other_precisions_changes_nothing() -> None:
    scaler, loss = LossScaler("cpu", enabled=False), torch.ones(())
    assert scaler.scale(loss) is loss and scaler.state_dict() == {} and scaler.skipped == 0
