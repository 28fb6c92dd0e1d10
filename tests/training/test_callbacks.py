"""training.callbacks: who looks on is told of every step and epoch, may stop, and changes no bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits

from softvote.config.recipe import Member
from softvote.data.split import ImageSplit
from softvote.errors import UserError
from softvote.inference.predictor import Predictor
from softvote.metrics.scores import accuracy, log_loss
from softvote.task import Task
from softvote.training.callbacks import Callback, LogLeftOut, ShowProgress
from softvote.training.rows import Split
from softvote.training.state import TrainingState
from softvote.training.train import TrainedNetwork, TrainingSpec, train

ROWS, BATCHES, EPOCHS = 100, 4, 3


def learn(digits: Digits, *callbacks: Callback, lr: float = 0.004, **recipe_of: Any) -> TrainedNetwork:
    recipe = {
        "model": "cnn", "epochs": EPOCHS, "batch_size": 25, "optimizer": {"name": "adamw", "lr": lr},
        "precision": "fp32", "memory_format": "contiguous",
    } | recipe_of  # fmt: skip
    data = Split(
        torch.from_numpy(digits[0][:ROWS, None]), torch.from_numpy(digits[1][:ROWS]), np.arange(ROWS)
    )
    return train(TrainingSpec(Member.model_validate(recipe), Task(10), 0, "tiny fold 0"), data, callbacks)


class Notes(Callback):
    """Everything that is heard; looks at figures after every step, if asked to."""

    def __init__(self, looks: bool = False) -> None:
        self.heard, self.looks = list[tuple[Any, ...]](), looks

    def on_start(self, state: TrainingState) -> None:
        self.heard.append(("start", state.label, state.rows, state.batches, state.epochs))

    def on_step(self, state: TrainingState) -> None:
        self.heard.append(("step", state.epoch.number, state.epoch.batches, state.steps, state.batch_rows))
        if self.looks:
            assert all(np.isfinite(state.figures()))
            assert state.state_dict()["steps"] == state.steps

    def on_epoch(self, state: TrainingState) -> None:
        self.heard.append(("epoch", state.log[-1]["epoch"], len(state.log)))

    def on_end(self, state: TrainingState) -> None:
        self.heard.append(("end",))


class StopAt(Callback):
    """Stops after so many steps, or epochs."""

    def __init__(self, steps: int = 0, epochs: int = 0) -> None:
        self.steps, self.epochs = steps, epochs

    def on_step(self, state: TrainingState) -> None:
        if state.steps == self.steps:
            state.stop()

    def on_epoch(self, state: TrainingState) -> None:
        if len(state.log) == self.epochs:
            state.stop()


def test_every_step_and_epoch_is_told_in_order(digits: Digits) -> None:
    notes = Notes()
    learn(digits, notes)
    expected: list[tuple[Any, ...]] = [("start", "tiny fold 0", ROWS, BATCHES, EPOCHS)]
    for epoch in range(EPOCHS):
        expected += [("step", epoch, b + 1, epoch * BATCHES + b + 1, 25) for b in range(BATCHES)]
        expected.append(("epoch", epoch + 1, epoch + 1))
    assert notes.heard == [*expected, ("end",)]


def test_who_looks_on_changes_no_bit(digits: Digits) -> None:
    alone, seen = learn(digits), learn(digits, ShowProgress(), Notes(looks=True))
    expected = seen.network.model.state_dict()
    for name, value in alone.network.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    figures = ["epoch", "learning_rate", "loss", "accuracy", "watched_loss"]
    assert [[row[name] for name in figures] for row in alone.log] == [
        [row[name] for name in figures] for row in seen.log
    ]


RECIPES: list[dict[str, Any]] = [
    {}, {"ema": 0.9}, {"model": "resnet5"}, {"mixup": 0.4}, {"init_from": "other", "freeze": True},
    {"init_from": "other", "freeze": True, "ema": 0.9},
]  # fmt: skip


@pytest.mark.slow_but("{}", "{'ema': 0.9}")
@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_curves_of_left_out_rows_change_no_bit(digits: Digits, recipe: dict[str, Any]) -> None:
    left_out = ImageSplit(digits[0][ROWS : 2 * ROWS, None], digits[1][ROWS : 2 * ROWS])
    alone, seen = learn(digits, **recipe), learn(digits, LogLeftOut(left_out), **recipe)
    expected = seen.network.model.state_dict()
    for name, value in alone.network.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert [row["loss"] for row in alone.log] == [row["loss"] for row in seen.log]
    predictor = Predictor(seen.network, seen.normalisation, seen.compute_config)
    last = predictor.probabilities(left_out.images)
    assert seen.log[-1]["validation_loss"] == log_loss(last, left_out.known_labels).value
    assert seen.log[-1]["validation_accuracy"] == accuracy(last, left_out.known_labels).value


def test_nothing_is_shown_unless_asked_for(digits: Digits, capsys: pytest.CaptureFixture[str]) -> None:
    learn(digits)
    assert capsys.readouterr() == ("", "")
    learn(digits, ShowProgress())
    assert "tiny fold 0: epoch 3/3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stop", "steps", "epochs"),
    [(StopAt(steps=6), 6, 1), (StopAt(steps=8), 8, 2), (StopAt(epochs=2), 8, 2)],
    ids=["within_an_epoch", "at_its_end", "after_it"],
)
def test_a_callback_can_stop(digits: Digits, stop: StopAt, steps: int, epochs: int) -> None:
    """The weights are those of the last step; an epoch that is cut short is not in the log."""
    notes = Notes()
    trained = learn(digits, stop, notes)
    assert [what for what, *_ in notes.heard].count("step") == steps
    assert len(trained.log) == epochs and notes.heard[-1] == ("end",)
    assert not torch.equal(
        next(trained.network.model.parameters()), next(learn(digits).network.model.parameters())
    )


def test_what_is_stopped_is_never_lost_without_a_word(digits: Digits) -> None:
    notes = Notes()
    with pytest.raises(UserError, match="tiny fold 0: the loss is nan"):
        learn(digits, StopAt(steps=6), notes, lr=1e30)
    assert notes.heard[-1] == ("end",)


def test_the_end_is_told_to_those_who_heard_of_the_start(digits: Digits) -> None:
    class Failing(Callback):
        def on_start(self, state: TrainingState) -> None:
            raise InterruptedError

    first, last = Notes(), Notes()
    with pytest.raises(InterruptedError):
        learn(digits, first, Failing(), last)
    assert [what for what, *_ in first.heard] == ["start", "end"] and not last.heard


def test_no_step_fetches_figures(digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are fetched once per epoch, when it ends."""
    figures, fetched = TrainingState.figures, list[int]()

    def note(this: TrainingState) -> tuple[float, float]:
        fetched.append(this.steps)
        return figures(this)

    monkeypatch.setattr(TrainingState, "figures", note)
    learn(digits, Notes())
    assert fetched == [BATCHES * (epoch + 1) for epoch in range(EPOCHS)]
