"""softvote.training: a tiny network on real digits learns, repeatably, and from nothing but its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits
from numpy.typing import NDArray
from torch import Tensor, nn

from softvote import training
from softvote.augment import Augmenter, create_augmenter
from softvote.errors import UserError
from softvote.heads import Head, Softmax, create_head
from softvote.inference import Predictor
from softvote.recipe import Augment, Member
from softvote.training import Trained, TrainingRows, train

ROWS = 300
PLATEAU = {"name": "plateau", "watch": "held_out", "held_out": 0.2}


def member(**facts: Any) -> Member:
    usual = {
        "model": "resnet5", "epochs": 2, "batch_size": 32, "optimizer": {"name": "adamw", "lr": 0.004},
        "precision": "fp32", "memory_format": "contiguous",
    }  # fmt: skip
    return Member.model_validate(usual | facts)


def rows_of(digits: Digits, rows: NDArray[np.int64]) -> TrainingRows:
    images, labels = digits
    return TrainingRows(torch.from_numpy(images[rows][:, None]), torch.from_numpy(labels[rows]), rows)


@pytest.fixture(scope="module")
def data(digits: Digits) -> TrainingRows:
    return rows_of(digits, np.arange(ROWS))


def run(data: TrainingRows, seed: int = 0, **facts: Any) -> Trained:
    return train(member(**facts), data, 10, seed, "tiny fold 0")


def weights(trained: Trained) -> Tensor:
    return torch.cat([value.double().reshape(-1) for value in trained.model.state_dict().values()])


def accuracy(trained: Trained, digits: Digits, rows: NDArray[np.int64]) -> float:
    predictor = Predictor(trained.model, create_head("softmax", 10), trained.normalisation, trained.execution)
    found = predictor.probabilities(digits[0][rows][:, None]).argmax(axis=1)
    return float((found == digits[1][rows]).mean())


UNSEEN = np.arange(1000, 1797)


@pytest.fixture(scope="module")
def plain(data: TrainingRows) -> Trained:
    """Two epochs without any extras."""
    return run(data)


# ---------------------------------------------------------------- learning


def test_the_loss_falls_and_unseen_digits_are_named_right(plain: Trained, digits: Digits) -> None:
    assert [row["epoch"] for row in plain.log] == [1, 2]
    assert plain.log[1]["loss"] < plain.log[0]["loss"] / 2
    assert plain.log[1]["accuracy"] > 0.9
    assert accuracy(plain, digits, UNSEEN) > 0.7


EXTRAS: dict[str, dict[str, Any]] = {
    "label_smoothing": {"label_smoothing": 0.2},
    "mixup": {"mixup": 0.4},
    "ema": {"ema": 0.9},
    "augment": {"augment": {"rotate": 10, "shift": 1}},
    "albumentations": {"augment": {"engine": "albumentations", "rotate": 10, "shift": 1}},
    "plateau": {"schedule": PLATEAU},
    "cosine": {"schedule": {"name": "cosine"}},
    "sgd": {"optimizer": {"name": "sgd", "lr": 0.02}},
    "batch_size": {"batch_size": 50},
    "model": {"model": "cnn", "epochs": 4},
}


@pytest.mark.parametrize("extra", EXTRAS.values(), ids=EXTRAS)
def test_every_extra_changes_the_outcome_and_learns(
    plain: Trained, data: TrainingRows, digits: Digits, extra: dict[str, Any]
) -> None:
    trained = run(data, **extra)
    assert weights(trained).shape != weights(plain).shape or not torch.equal(weights(trained), weights(plain))
    assert accuracy(trained, digits, UNSEEN) > 0.5


def test_label_smoothing_keeps_the_network_unsure(plain: Trained, data: TrainingRows) -> None:
    smooth = run(data, label_smoothing=0.3)
    assert smooth.log[-1]["loss"] > plain.log[-1]["loss"] + 0.3
    assert smooth.log[-1]["accuracy"] > 0.8


def test_the_moving_average_predicts_and_not_the_last_weights(plain: Trained, data: TrainingRows) -> None:
    """The training itself goes the same way; only what predicts differs."""
    averaged = run(data, ema=0.9)
    assert [row["loss"] for row in averaged.log] == [row["loss"] for row in plain.log]
    assert not torch.equal(weights(averaged), weights(plain))


# ---------------------------------------------------------------- seeds


@pytest.mark.parametrize("extra", [{}, *EXTRAS.values()], ids=["plain", *EXTRAS])
def test_the_same_seed_gives_the_same_weights_to_the_last_bit(
    data: TrainingRows, extra: dict[str, Any]
) -> None:
    first = run(data, **(extra | {"epochs": 1}))
    torch.manual_seed(12345)  # whatever was drawn in between
    np.random.seed(1)
    assert torch.equal(weights(first), weights(run(data, **(extra | {"epochs": 1}))))


def test_an_epoch_draws_the_same_whatever_was_drawn_before(
    data: TrainingRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout, too, is seeded by its epoch."""
    first = run(data, model="cnn")
    monkeypatch.setattr(training.TrainingProgress, "epoch_ended", lambda *arguments: torch.rand(99))
    assert torch.equal(weights(first), weights(run(data, model="cnn")))


def test_another_seed_gives_other_weights(data: TrainingRows) -> None:
    first, second = (run(data, seed, epochs=1) for seed in (0, 1))
    assert not torch.equal(weights(first), weights(second))


# ---------------------------------------------------------------- what is fed


class Feeds:
    """Notes what goes into the network and the augmenter while a training runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: dict[int, list[list[int]]] = {}
        self.batches: list[tuple[bool, Tensor]] = []
        self.augmented: list[int] = []
        batch, create = training.Training._batch, training.create_network

        def noted_batch(
            this: training.Training, epoch: int, images: Tensor, rows: NDArray[np.int64]
        ) -> Tensor:
            self.rows.setdefault(epoch, []).append(rows.tolist())
            return batch(this, epoch, images, rows)

        def noted_network(*arguments: Any) -> tuple[nn.Module, Head]:
            model, head = create(*arguments)
            model.register_forward_pre_hook(
                lambda module, inputs: self.batches.append((module.training, inputs[0].clone()))
            )
            return model, head

        monkeypatch.setattr(training.Training, "_batch", noted_batch)
        monkeypatch.setattr(training, "create_network", noted_network)


@pytest.fixture
def feeds(monkeypatch: pytest.MonkeyPatch) -> Feeds:
    return Feeds(monkeypatch)


def flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


@pytest.mark.parametrize("batch_size", [7, 32, 299, 300, 1000])
def test_every_row_is_fed_once_an_epoch(data: TrainingRows, feeds: Feeds, batch_size: int) -> None:
    run(data, batch_size=batch_size)
    assert sorted(feeds.rows) == [0, 1]
    for batches in feeds.rows.values():
        assert sorted(flat(batches)) == list(range(ROWS))
        sizes = [len(batch) for batch in batches]
        assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1
    assert feeds.rows[0] != feeds.rows[1]


def test_only_the_given_rows_are_seen(digits: Digits, feeds: Feeds) -> None:
    """Rows outside the training folds are in no batch, and change nothing."""
    rows = np.flatnonzero(np.arange(ROWS) % 3 != 0)
    given = rows_of(digits, rows)
    trained = run(given, schedule=PLATEAU, epochs=1)
    fed = set(flat(feeds.rows[0]))
    assert fed < set(rows.tolist())
    possible = {tuple(image.reshape(-1).tolist()) for image in given.images}
    for _, batch in feeds.batches:
        mean, std = trained.normalisation.mean[0], trained.normalisation.std[0]
        levels = (batch * std + mean).round().int()
        assert {tuple(image.reshape(-1).tolist()) for image in levels} <= possible


def test_the_normalisation_is_of_the_fed_rows(plain: Trained, data: TrainingRows) -> None:
    assert plain.normalisation.mean[0] == pytest.approx(float(data.images.double().mean()))
    assert plain.normalisation.std[0] == pytest.approx(float(data.images.double().std(correction=0)))


def test_held_out_rows_are_never_fed(data: TrainingRows, feeds: Feeds) -> None:
    trained = run(data, schedule=PLATEAU)
    fed = [set(flat(batches)) for batches in feeds.rows.values()]
    assert fed[0] == fed[1] and len(fed[0]) == round(0.8 * ROWS)
    held_out = sorted(set(range(ROWS)) - fed[0])
    watched = [batch for in_training, batch in feeds.batches if not in_training]
    seen = trained.normalisation(data.images[torch.tensor(held_out)].float())
    torch.testing.assert_close(watched[-1], seen)
    assert trained.log[-1]["watched_loss"] != trained.log[-1]["loss"]


def test_a_plateau_lowers_the_rate_by_the_watched_loss(
    data: TrainingRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.Training, "_loss_on", lambda this, watched: 1.0)
    trained = run(data, epochs=4, schedule=PLATEAU | {"patience": 0, "factor": 0.5})
    assert [row["learning_rate"] for row in trained.log] == [0.004, 0.004, 0.002, 0.001]
    assert {row["watched_loss"] for row in trained.log} == {1.0}


# ---------------------------------------------------------------- augmentation


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, int]]:
    """For every batch: whether it went through an augmentation, and the seed."""
    noted: list[tuple[bool, int]] = []

    def create(spec: Augment | None) -> Augmenter:
        augment = create_augmenter(spec)

        def noting(images: Tensor, rows: NDArray[np.int64], seed: int) -> Tensor:
            noted.append((spec is not None, seed))
            return augment(images, rows, seed)

        return noting

    monkeypatch.setattr(training, "create_augmenter", create)
    return noted


@pytest.mark.parametrize("plain_epochs", [0, 1, 3, 5])
def test_the_last_epochs_are_plain(
    data: TrainingRows, calls: list[tuple[bool, int]], feeds: Feeds, plain_epochs: int
) -> None:
    trained = run(
        data, epochs=3, plain_epochs=plain_epochs, augment={"rotate": 90}, mixup=1.0, batch_size=100
    )
    augmented = [epoch < 3 - plain_epochs for epoch in range(3)]
    assert [row["augmented"] for row in trained.log] == augmented
    assert [call[0] for call in calls] == [a for a in augmented for _ in range(3)]
    order = [row for batches in feeds.rows.values() for batch in batches for row in batch]
    fed = torch.cat([batch for _, batch in feeds.batches])
    as_they_are = trained.normalisation(data.images[torch.tensor(order)].float())
    same = (fed == as_they_are).flatten(1).all(1).view(3, ROWS).float().mean(1)
    assert [bool(share == 1) for share in same] == [not a for a in augmented]
    assert all(share < 0.2 for share, a in zip(same, augmented, strict=True) if a)


def test_each_epoch_is_augmented_by_its_own_seed(data: TrainingRows, calls: list[tuple[bool, int]]) -> None:
    run(data, epochs=3, augment={"rotate": 10}, batch_size=150)
    seeds = [seed for _, seed in calls]
    assert seeds[0] == seeds[1] and len(set(seeds)) == 3


def test_mixup_mixes_images_and_losses_alike(
    data: TrainingRows, feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three quarters of each image and of its label's loss, one quarter of its partner's."""
    losses: list[tuple[list[int], float]] = []

    def noted(this: Softmax, outputs: Tensor, labels: Tensor) -> Tensor:
        value = loss(this, outputs, labels)
        losses.append((labels.tolist(), value.item()))
        return value

    loss = Softmax.loss
    monkeypatch.setattr(Softmax, "loss", noted)
    monkeypatch.setattr(training.Training, "_mixing_share", lambda *arguments: 0.75)
    trained = run(data, epochs=1, mixup=1.0)
    total = 0.0
    for step, rows in enumerate(feeds.rows[0]):
        plainly = trained.normalisation(data.images[torch.tensor(rows)].float())
        torch.testing.assert_close(feeds.batches[step][1], 0.75 * plainly + 0.25 * plainly.flip(0))
        (own, own_loss), (other, other_loss) = losses[2 * step : 2 * step + 2]
        assert own == data.labels[torch.tensor(rows)].tolist() == other[::-1]
        total += len(rows) * (0.75 * own_loss + 0.25 * other_loss)
    assert trained.log[0]["loss"] == pytest.approx(total / ROWS, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_the_share_of_mixup_is_drawn_for_each_batch(data: TrainingRows, alpha: float) -> None:
    state = training.Training.__new__(training.Training)
    state.member, state.seed = member(mixup=alpha, epochs=5, plain_epochs=1), 0
    shares = [[state._mixing_share(epoch, number) for number in range(200)] for epoch in range(5)]
    assert shares[4] == [1.0] * 200
    assert len({share for epoch in shares[:4] for share in epoch}) == 800
    assert all(0 <= share <= 1 for epoch in shares for share in epoch)
    state.seed = 0
    assert shares[2] == [state._mixing_share(2, number) for number in range(200)]


# ---------------------------------------------------------------- the log, and what goes wrong


def test_the_log_names_everything(plain: Trained) -> None:
    assert list(plain.log[0]) == [
        "epoch", "learning_rate", "augmented", "loss", "accuracy", "watched_loss", "seconds",
        "images_per_second",
    ]  # fmt: skip


def nan_after(steps: int) -> Callable[..., tuple[nn.Module, Head]]:
    """A network whose output is no number from that step on."""

    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.calls = nn.Linear(64, 10), 0

        def forward(self, images: Tensor) -> Tensor:
            self.calls += 1
            found: Tensor = self.linear(images.flatten(1))
            return found * (float("nan") if self.calls > steps else 1)

    return lambda *arguments: (Broken(), create_head("softmax", 10))


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_loss_that_is_no_number_stops_with_epoch_step_and_rate(
    data: TrainingRows, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    batches = -(-ROWS // 32)
    monkeypatch.setattr(training, "create_network", nan_after((epoch - 1) * batches + 3))
    says = rf"^tiny fold 0: the loss is nan in epoch {epoch} \(step {epoch * batches}, learning rate 0.004\)"
    with pytest.raises(UserError, match=says) as caught:
        run(data, schedule={"name": "constant"})
    assert "lower the learning rate" in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_network(data: TrainingRows) -> None:
    with pytest.raises(UserError, match="did you mean 'resnet5'"):
        run(data, model="resnet_5")


@pytest.mark.parametrize(("rows", "batch_size"), [(33, 32), (5, 2), (2, 2), (3, 128)])
def test_no_batch_of_a_single_row(digits: Digits, feeds: Feeds, rows: int, batch_size: int) -> None:
    """Batch norm cannot learn from one."""
    run(rows_of(digits, np.arange(rows)), epochs=1, batch_size=batch_size, model="cnn")
    assert sorted(flat(feeds.rows[0])) == list(range(rows))
    assert min(len(batch) for batch in feeds.rows[0]) >= 2


def test_a_single_batch_smaller_than_the_batch_size(digits: Digits) -> None:
    assert len(run(rows_of(digits, np.arange(3)), epochs=1).log) == 1
