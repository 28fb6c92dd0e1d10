"""training.train: a tiny network on real digits learns, repeatably, and from nothing but its rows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits
from data_fixtures import side_by_side
from kinds import HEADS_OF_CLASSES
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from softvote.compute import draws
from softvote.compute.device import to_device
from softvote.compute.draws import Augmenter
from softvote.compute.precision import ComputeConfig
from softvote.config.augment import Augment
from softvote.config.recipe import Member
from softvote.data.normalisation import Normalisation
from softvote.data.split import ImageSplit
from softvote.errors import UserError
from softvote.heads import create_head
from softvote.heads.base import HeadSpec
from softvote.heads.digits import DigitsHead as DigitsHead
from softvote.heads.softmax import SoftmaxHead
from softvote.inference import views
from softvote.inference.network import Network, create_network
from softvote.inference.predictor import Predictor
from softvote.models.layers import FeaturesThenClassifier
from softvote.progress import TrainingProgress
from softvote.task import Task
from softvote.training import learner as learner_module
from softvote.training import rows as rows_module
from softvote.training import train as train_module
from softvote.training import trainer
from softvote.training.augment import create_device_augmenter
from softvote.training.callbacks import ShowProgress
from softvote.training.cuda_graphs import StepGraphs
from softvote.training.learner import Learner
from softvote.training.mixing import Mixing
from softvote.training.optim import LearningRate
from softvote.training.rows import Split
from softvote.training.state import TrainingState
from softvote.training.train import TrainedNetwork, TrainingSpec, train

ROWS = 200
PLATEAU = {"name": "plateau", "watch": "held_out", "held_out": 0.2}


def member(**facts: Any) -> Member:
    usual = {
        "model": "resnet5", "epochs": 2, "batch_size": 32, "optimizer": {"name": "adamw", "lr": 0.004},
        "precision": "fp32", "memory_format": "contiguous",
    }  # fmt: skip
    return Member.model_validate(usual | facts)


def rows_of(digits: Digits, rows: NDArray[np.int64]) -> Split:
    images, labels = digits
    return Split(torch.from_numpy(images[rows][:, None]), torch.from_numpy(labels[rows]), rows)


@pytest.fixture(scope="module")
def data(digits: Digits) -> Split:
    return rows_of(digits, np.arange(ROWS))


def run(data: Split, seed: int = 0, **facts: Any) -> TrainedNetwork:
    return train(TrainingSpec(member(**facts), Task(10), seed, "tiny fold 0"), data, [ShowProgress()])


def weights(trained: TrainedNetwork) -> Tensor:
    return torch.cat([value.double().reshape(-1) for value in trained.network.model.state_dict().values()])


def accuracy(
    trained: TrainedNetwork, digits: Digits, rows: NDArray[np.int64], view: dict[str, Any] | None = None
) -> float:
    seen = member(view=view).view
    predictor = Predictor(trained.network, trained.normalisation, trained.compute_config, view=seen)
    found = predictor.probabilities(digits[0][rows][:, None]).argmax(axis=1)
    return float((found == digits[1][rows]).mean())


UNSEEN = np.arange(1000, 1797)


@pytest.fixture(scope="module")
def plain(data: Split) -> TrainedNetwork:
    """Two epochs without any extras."""
    return run(data)


# ---------------------------------------------------------------- learning


def test_the_loss_falls_and_unseen_digits_are_named_right(plain: TrainedNetwork, digits: Digits) -> None:
    assert [row["epoch"] for row in plain.log] == [1, 2]
    assert plain.log[1]["loss"] < plain.log[0]["loss"] / 2
    assert plain.log[1]["accuracy"] > 0.9
    assert accuracy(plain, digits, UNSEEN) > 0.7


EXTRAS: dict[str, dict[str, Any]] = {
    "label_smoothing": {"label_smoothing": 0.2},
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0, "epochs": 3},
    "ema": {"ema": 0.9},
    "augment": {"augment": {"rotate": 10, "shift": 1}},
    "apart": {"augment": {"scale": 0.1, "scale_apart": True}},
    "crop": {"view": {"name": "crop", "size": 7}},
    "deskew": {"view": {"name": "deskew"}, "epochs": 3},
    "box": {"view": {"name": "box", "width": 6}},
    "normalise": {"normalise": "image"},
    "albumentations": {"augment": {"engine": "albumentations", "rotate": 10, "shift": 1}},
    "by_name": {"augment": {"albumentations": [{"Affine": {"rotate": [-10, 10], "p": 0.9}}]}},
    "light": {"augment": {"brightness": 0.3, "erasing": 0.2}},
    "plateau": {"schedule": PLATEAU},
    "cosine": {"schedule": {"name": "cosine"}},
    "sgd": {"optimizer": {"name": "sgd", "lr": 0.02}},
    "batch_size": {"batch_size": 50},
    "model": {"model": "cnn", "epochs": 4},
}


@pytest.mark.slow_but("ema", "mixup", "augment", "crop", "label_smoothing", "sgd")
@pytest.mark.parametrize("extra", EXTRAS.values(), ids=EXTRAS)
def test_every_extra_changes_the_outcome_and_learns(
    plain: TrainedNetwork, data: Split, digits: Digits, extra: dict[str, Any]
) -> None:
    trained = run(data, **extra)
    assert weights(trained).shape != weights(plain).shape or not torch.equal(weights(trained), weights(plain))
    assert accuracy(trained, digits, UNSEEN, extra.get("view")) > 0.5


def test_the_last_epochs_see_what_prediction_sees(data: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen backbone sees it at once, unless views are drawn anew each time."""
    drawn = list[bool]()
    see = views.apply_view

    def spy(spec: Any, images: Tensor, drawn_numbers: Tensor | None = None) -> Tensor:
        drawn.append(drawn_numbers is not None)
        return see(spec, images, drawn_numbers)

    monkeypatch.setattr(views, "apply_view", spy)
    run(data, view={"name": "crop", "size": 7}, no_aug_epochs=1)
    batches = -(-ROWS // 32)
    assert drawn == [True] * batches + [False] * batches
    few = run(data, model="cnn", view={"name": "crop", "size": 7}, freeze=True, init_from="other")
    assert len(few.log) == 2 and drawn[2 * batches :] == [True] * 2 * batches


def test_label_smoothing_keeps_the_network_unsure(plain: TrainedNetwork, data: Split) -> None:
    smooth = run(data, label_smoothing=0.3)
    assert smooth.log[-1]["loss"] > plain.log[-1]["loss"] + 0.3
    assert smooth.log[-1]["accuracy"] > 0.8


def test_the_moving_average_predicts_and_not_the_last_weights(
    plain: TrainedNetwork, data: Split, digits: Digits
) -> None:
    """The training itself goes the same way; only what predicts differs, and forgets how it was drawn."""
    averaged = run(data, ema=0.999)
    assert [row["loss"] for row in averaged.log] == [row["loss"] for row in plain.log]
    assert not torch.equal(weights(averaged), weights(plain))
    assert accuracy(averaged, digits, UNSEEN) > 0.5


# ---------------------------------------------------------------- seeds


SEEDED = {"mixup", "augment", "albumentations"}
"""The others draw nothing that these and the plain one do not, or as these."""


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({}, id="plain"),
        *(
            pytest.param(extra, id=name, marks=[] if name in SEEDED else pytest.mark.slow)
            for name, extra in EXTRAS.items()
        ),
    ],
)
def test_the_same_seed_gives_the_same_weights_to_the_last_bit(data: Split, extra: dict[str, Any]) -> None:
    first = run(data, **(extra | {"epochs": 1}))
    torch.manual_seed(12345)  # whatever was drawn in between
    np.random.seed(1)
    assert torch.equal(weights(first), weights(run(data, **(extra | {"epochs": 1}))))


def test_an_epoch_draws_the_same_whatever_was_drawn_before(
    data: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout, too, is seeded by its epoch."""
    first = run(data, model="cnn")
    monkeypatch.setattr(ShowProgress, "on_epoch", lambda *arguments: torch.rand(99))
    assert torch.equal(weights(first), weights(run(data, model="cnn")))


def test_another_seed_gives_other_weights(data: Split) -> None:
    first, second = (run(data, seed, epochs=1) for seed in (0, 1))
    assert not torch.equal(weights(first), weights(second))


# ---------------------------------------------------------------- what is fed


class Feeds:
    """Notes what goes into the network and the augmenter while a training runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: dict[int, list[list[int]]] = {}
        self.batches: list[tuple[bool, Tensor]] = []
        self.augmented: list[int] = []
        batch, create = Learner._batch, train_module.create_network

        def note_batch(this: Learner, epoch: int, images: Tensor, rows: NDArray[np.int64]) -> Tensor:
            self.rows.setdefault(epoch, []).append(rows.tolist())
            return batch(this, epoch, images, rows)

        def note_network(*arguments: Any, **more: Any) -> Network:
            network = create(*arguments, **more)
            network.model.register_forward_pre_hook(
                lambda module, inputs: self.batches.append((module.training, inputs[0].clone()))
            )
            return network

        monkeypatch.setattr(Learner, "_batch", note_batch)
        monkeypatch.setattr(train_module, "create_network", note_network)


@pytest.fixture
def feeds(monkeypatch: pytest.MonkeyPatch) -> Feeds:
    return Feeds(monkeypatch)


def flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


@pytest.mark.slow_but("32", "199", "1000")
@pytest.mark.parametrize("batch_size", [7, 32, 199, 200, 1000])
def test_every_row_is_fed_once_an_epoch(data: Split, feeds: Feeds, batch_size: int) -> None:
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


def test_the_normalisation_is_of_the_fed_rows(plain: TrainedNetwork, data: Split) -> None:
    assert plain.normalisation.mean[0] == pytest.approx(float(data.images.double().mean()))
    assert plain.normalisation.std[0] == pytest.approx(float(data.images.double().std(correction=0)))


def test_held_out_rows_are_never_fed(data: Split, feeds: Feeds) -> None:
    trained = run(data, schedule=PLATEAU)
    fed = [set(flat(batches)) for batches in feeds.rows.values()]
    assert fed[0] == fed[1] and len(fed[0]) == round(0.8 * ROWS)
    held_out = sorted(set(range(ROWS)) - fed[0])
    watched = [batch for in_training, batch in feeds.batches if not in_training]
    seen = trained.normalisation(data.images[torch.tensor(held_out)].float())
    torch.testing.assert_close(watched[-1], seen)
    assert trained.log[-1]["watched_loss"] != trained.log[-1]["loss"]


def test_a_plateau_lowers_the_rate_by_the_watched_loss(data: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Learner, "mean_loss", lambda this, watched: 1.0)
    trained = run(data, epochs=4, schedule=PLATEAU | {"patience": 0, "factor": 0.5})
    assert [row["learning_rate"] for row in trained.log] == [0.004, 0.004, 0.002, 0.001]
    assert {row["watched_loss"] for row in trained.log} == {1.0}


# ---------------------------------------------------------------- augmentation


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, int]]:
    """For every batch: whether it went through an augmentation, and the seed."""
    noted: list[tuple[bool, int]] = []

    def create(spec: Augment | None) -> Augmenter:
        augment = create_device_augmenter(spec)

        def noting(images: Tensor, rows: NDArray[np.int64], seed: int) -> Tensor:
            noted.append((spec is not None, seed))
            return augment(images, rows, seed)

        return noting

    monkeypatch.setattr(learner_module, "create_device_augmenter", create)
    return noted


@pytest.mark.slow_but("0", "3")
@pytest.mark.parametrize("no_aug_epochs", [0, 1, 3, 5])
def test_the_last_epochs_are_plain(
    data: Split, calls: list[tuple[bool, int]], feeds: Feeds, no_aug_epochs: int
) -> None:
    trained = run(
        data, epochs=3, no_aug_epochs=no_aug_epochs, augment={"rotate": 90}, mixup=1.0, batch_size=67
    )
    augmented = [epoch < 3 - no_aug_epochs for epoch in range(3)]
    assert [row["augmented"] for row in trained.log] == augmented
    assert [call[0] for call in calls] == [a for a in augmented for _ in range(3)]
    order = [row for batches in feeds.rows.values() for batch in batches for row in batch]
    fed = torch.cat([batch for _, batch in feeds.batches])
    identity = trained.normalisation(data.images[torch.tensor(order)].float())
    same = (fed == identity).flatten(1).all(1).view(3, ROWS).float().mean(1)
    assert [bool(share == 1) for share in same] == [not a for a in augmented]
    assert all(share < 0.2 for share, a in zip(same, augmented, strict=True) if a)


def test_each_epoch_is_augmented_by_its_own_seed(data: Split, calls: list[tuple[bool, int]]) -> None:
    run(data, epochs=3, augment={"rotate": 10}, batch_size=100)
    seeds = [seed for _, seed in calls]
    assert seeds[0] == seeds[1] and len(set(seeds)) == 3


def test_mixup_mixes_images_and_losses_alike(
    data: Split, feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three quarters of each image and of its label's loss, one quarter of its partner's."""
    losses: list[tuple[list[int], float]] = []

    def note(this: SoftmaxHead, outputs: Tensor, values: Tensor, digits: Tensor | None = None) -> Tensor:
        value = loss(this, outputs, values, digits)
        losses.append((values.tolist(), value.item()))
        return value

    loss = SoftmaxHead.loss
    monkeypatch.setattr(SoftmaxHead, "loss", note)
    monkeypatch.setattr(learner_module, "draw_mixing", lambda *arguments: Mixing("mixup", 0.75))
    trained = run(data, epochs=1, mixup=1.0)
    total = 0.0
    for step, rows in enumerate(feeds.rows[0]):
        plainly = trained.normalisation(data.images[torch.tensor(rows)].float())
        torch.testing.assert_close(feeds.batches[step][1], 0.75 * plainly + 0.25 * plainly.flip(0))
        (own, own_loss), (other, other_loss) = losses[2 * step : 2 * step + 2]
        assert own == data.image_labels[torch.tensor(rows)].tolist() == other[::-1]
        total += len(rows) * (0.75 * own_loss + 0.25 * other_loss)
    assert trained.log[0]["loss"] == pytest.approx(total / ROWS, rel=1e-5)


# ---------------------------------------------------------------- the log, and what goes wrong


def test_the_log_names_everything(plain: TrainedNetwork) -> None:
    assert list(plain.log[0]) == [
        "epoch", "learning_rate", "augmented", "loss", "accuracy", "watched_loss", "seconds",
        "images_per_second",
    ]  # fmt: skip


def test_an_epoch_ends_when_the_device_has_done_its_steps(
    data: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing before makes the processor wait for it."""
    clock = [0.0]

    def wait(device: str) -> None:
        clock[0] += 3.0

    monkeypatch.setattr(trainer.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(trainer, "synchronize", wait)
    log = run(data).log
    assert [row["seconds"] for row in log] == [3.0, 3.0]
    assert {row["images_per_second"] for row in log} == {ROWS / 3.0}


def nan_after(steps: int) -> Callable[..., Network]:
    """A network whose output is not a number from that step on."""

    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.calls = nn.Linear(64, 10), 0

        def forward(self, images: Tensor) -> Tensor:
            self.calls += 1
            found: Tensor = self.linear(images.flatten(1))
            return found * (float("nan") if self.calls > steps else 1)

    return lambda *arguments, **more: Network(Broken(), create_head("softmax", HeadSpec(10)), Task(10))


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("looks", [True, False])
def test_a_loss_that_is_no_number_stops_with_epoch_step_and_rate(
    data: Split, monkeypatch: pytest.MonkeyPatch, epoch: int, looks: bool
) -> None:
    """At once where somebody looks; otherwise when the epoch ends."""
    batches = -(-ROWS // 32)
    monkeypatch.setattr(TrainingProgress, "wants_figures", looks)
    monkeypatch.setattr(train_module, "create_network", nan_after((epoch - 1) * batches + 3))
    step = (epoch - 1) * batches + 4 if looks else epoch * batches
    says = rf"^tiny fold 0: the loss is nan in epoch {epoch} \(step {step}, learning rate 0.004\)"
    with pytest.raises(UserError, match=says) as caught:
        run(data, schedule={"name": "constant"})
    assert "lower the learning rate" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("looks", "times"), [(True, 2 * (25 + 1)), (False, 2)])
def test_figures_are_fetched_within_an_epoch_only_where_somebody_looks(
    data: Split, monkeypatch: pytest.MonkeyPatch, looks: bool, times: int
) -> None:
    """Of 50 steps every second, and once when the epoch ends: each time the device is waited for."""
    figures, fetched = TrainingState.figures, list[int]()

    def note(this: TrainingState) -> tuple[float, float]:
        fetched.append(this.steps)
        return figures(this)

    monkeypatch.setattr(TrainingState, "figures", note)
    monkeypatch.setattr(TrainingProgress, "wants_figures", looks)
    run(data, batch_size=4)
    assert len(fetched) == times and fetched[-1] == 100


def test_the_processor_is_told_before_the_network_is_made(
    data: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To take the smallest numbers for zero, with which it is slow, and to keep the memory it was given."""
    told: list[object] = []
    create = train_module.create_network

    def note(*arguments: Any, **more: Any) -> Network:
        told.append("network")
        return create(*arguments)

    monkeypatch.setattr(train_module, "create_network", note)
    monkeypatch.setattr(torch, "set_flush_denormal", lambda flush: told.append(("flush", flush)))
    monkeypatch.setattr(train_module.machine, "keep_freed_memory", lambda: told.append("memory"))
    run(data, epochs=1)
    assert set(told[:2]) == {("flush", True), "memory"} and told[2:] == ["network"]


def test_an_unknown_network(data: Split) -> None:
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


# ---------------------------------------------------------------- sums


def predictor_of(trained: TrainedNetwork) -> Predictor:
    return Predictor(trained.network, trained.normalisation, trained.compute_config)


@pytest.fixture(scope="module")
def pairs(digits: Digits) -> Split:
    """Two digits side by side, with the sum and the digits."""
    images, hidden = side_by_side((digits[0][:1000], digits[1][:1000]), 800)
    return Split(
        torch.from_numpy(images[:, None]), torch.from_numpy(hidden.sum(1)), np.arange(800),
        torch.from_numpy(hidden),
    )  # fmt: skip


@pytest.mark.parametrize(
    "head",
    [pytest.param(head, marks=[] if head == "digits" else pytest.mark.slow) for head in HEADS_OF_CLASSES],
)
def test_every_head_learns_sums_of_two_digits(pairs: Split, digits: Digits, head: str) -> None:
    """From sums alone, but for the one that needs to be told the digits. Always saying 9 is right 10 %."""
    data = pairs if head == "digit_set" else replace(pairs, digits=None)
    trained = train(TrainingSpec(member(head=head, epochs=3), Task(19, 2), 0, "pairs"), data)
    images, hidden = side_by_side((digits[0][UNSEEN], digits[1][UNSEEN]), 300, seed=1)
    sums = hidden.sum(axis=1)
    found = predictor_of(trained).out_of_fold(ImageSplit(images[:, None], sums))
    likely = np.bincount(pairs.image_labels.numpy(), minlength=19) / len(pairs.rows)
    guessed = -np.log(likely[sums]).mean()
    assert (found.argmax(axis=1) == sums).mean() > 0.2
    assert -np.log(found[np.arange(300), sums]).mean() < guessed - 0.25
    assert trained.log[-1]["loss"] < trained.log[0]["loss"]


@pytest.mark.slow
def test_known_digits_teach_more_than_their_sum(pairs: Split) -> None:
    """The accuracy is that of the sum in either case."""
    alone, told = (
        train(TrainingSpec(member(head="digits", epochs=2), Task(19, 2), 0, "pairs"), data).log[-1][
            "accuracy"
        ]
        for data in (replace(pairs, digits=None), pairs)
    )
    assert told > alone + 0.2


@pytest.mark.slow_but("digits")
@pytest.mark.parametrize("head", ["digits", "digit_set"])
def test_held_out_rows_are_watched_with_their_digits(pairs: Split, head: str) -> None:
    trained = train(
        TrainingSpec(member(head=head, schedule=PLATEAU, epochs=1), Task(19, 2), 0, "pairs"), pairs
    )
    row = trained.log[0]
    assert np.isfinite(row["watched_loss"]) and row["watched_loss"] != row["loss"]


def test_mixup_mixes_the_losses_of_digits_too(
    pairs: Split, feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[tuple[Tensor, Tensor]] = []

    def note(this: DigitsHead, outputs: Tensor, values: Tensor, digits: Tensor | None = None) -> Tensor:
        assert digits is not None
        losses.append((values, digits))
        return loss(this, outputs, values, digits)

    loss = DigitsHead.loss
    monkeypatch.setattr(DigitsHead, "loss", note)
    monkeypatch.setattr(learner_module, "draw_mixing", lambda *arguments: Mixing("mixup", 0.75))
    train(TrainingSpec(member(head="digits", epochs=1, mixup=1.0), Task(19, 2), 0, "pairs"), pairs)
    for step, rows in enumerate(feeds.rows[0]):
        (own, own_digits), (other, other_digits) = losses[2 * step : 2 * step + 2]
        assert pairs.digits is not None and torch.equal(own_digits, pairs.digits[torch.tensor(rows)])
        assert torch.equal(other_digits, own_digits.flip(0)) and torch.equal(other, own.flip(0))
        assert torch.equal(own, own_digits.sum(1))


# ---------------------------------------------------------------- image plus integer

ADDER_TASK = Task(19, 1, addend=True)


class Adder(nn.Module):
    """A small network that takes an integer with each image."""

    takes_addend = True

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU())
        self.classifier = nn.Sequential(nn.Linear(74, 128), nn.ReLU(), nn.Linear(128, 19))
        self.given: list[tuple[Tensor, Tensor]] = []

    def forward(self, images: Tensor, addends: Tensor) -> Tensor:
        self.given.append((images, addends))
        found: Tensor = self.classifier(torch.cat([self.features(images), torch.eye(10)[addends]], 1))
        return found


@pytest.fixture
def adder(monkeypatch: pytest.MonkeyPatch) -> Adder:
    """Every training trains this network."""
    torch.manual_seed(0)
    model = Adder()

    def create(member: Member, task: Task, image: tuple[int, int, int], **more: Any) -> Network:
        return Network(model, create_head(member.head, HeadSpec(task.num_classes)), task)

    monkeypatch.setattr(train_module, "create_network", create)
    return model


@pytest.mark.slow_but("regression")
@pytest.mark.parametrize("head", ["digits", "softmax", "regression"])
def test_a_network_of_images_adds_the_addend_it_never_saw(data: Split, digits: Digits, head: str) -> None:
    trained = train(TrainingSpec(member(head=head, epochs=6), ADDER_TASK, 0, "adder"), data)
    addends = np.arange(len(UNSEEN)) % 10
    images, labels = digits[0][UNSEEN][:, None], digits[1][UNSEEN] + addends
    found = predictor_of(trained).out_of_fold(ImageSplit(images, labels, addends=addends))
    assert found.shape == (len(UNSEEN), 19)
    assert (found.argmax(axis=1) == labels).mean() > (0.3 if head == "regression" else 0.7)


@pytest.mark.slow_but("regression")
@pytest.mark.parametrize("head", ["softmax", "regression"])
def test_a_network_that_takes_the_addend_learns_to_add(digits: Digits, adder: Adder, head: str) -> None:
    adder.classifier[-1] = nn.Linear(128, 19 if head == "softmax" else 1)
    trained = train(
        TrainingSpec(member(head=head, epochs=15), ADDER_TASK, 0, "adder"), rows_of(digits, np.arange(1000))
    )
    addends = np.arange(len(UNSEEN)) % 10
    images, labels = digits[0][UNSEEN][:, None], digits[1][UNSEEN] + addends
    found = predictor_of(trained).out_of_fold(ImageSplit(images, labels, addends=addends))
    assert (found.argmax(axis=1) == labels).mean() > 0.25
    others = predictor_of(trained).probabilities(images, (addends + 5) % 10)
    assert (others.argmax(axis=1) == labels).mean() < 0.15


def test_addends_are_drawn_anew_in_every_epoch_and_the_label_goes_with_them(
    data: Split, adder: Adder, feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets: list[Tensor] = []

    def note(this: SoftmaxHead, outputs: Tensor, values: Tensor, digits: Tensor | None = None) -> Tensor:
        targets.append(values)
        return loss(this, outputs, values, digits)

    loss = SoftmaxHead.loss
    monkeypatch.setattr(SoftmaxHead, "loss", note)
    train(TrainingSpec(member(epochs=3), ADDER_TASK, 0, "adder"), data)
    steps = len(feeds.rows[0])
    drawn: list[dict[int, int]] = []
    for epoch, batches in feeds.rows.items():
        given = [addends for _, addends in adder.given[epoch * steps : (epoch + 1) * steps]]
        rows = torch.tensor(flat(batches))
        assert torch.equal(
            torch.cat(targets[epoch * steps : (epoch + 1) * steps]),
            data.image_labels[rows] + torch.cat(given),
        )
        drawn.append(dict(zip(rows.tolist(), torch.cat(given).tolist(), strict=True)))
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert 0.8 < np.mean([drawn[one][row] != drawn[other][row] for row in range(ROWS)]) < 0.98
    counts = np.bincount([addend for epoch in drawn for addend in epoch.values()], minlength=10)
    assert len(counts) == 10 and (counts > 0.06 * 3 * ROWS).all()


# ---------------------------------------------------------------- on an accelerator


class Copies(TorchDispatchMode):
    """Counts what is copied from the processor to the device "meta", or made there from numbers of Python."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.device.type == "meta":
            given = [each.device.type for each in args if isinstance(each, Tensor)]
            moved = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default) and "cpu" in given
            self.count += moved or func is torch.ops.aten.lift_fresh.default
        return found


STEPS: dict[str, tuple[dict[str, Any], Task, int]] = {
    "plain": ({}, Task(10), 1),  # row numbers
    "augmented": ({"augment": {"rotate": 9, "elastic": 1, "horizontal_flip": 0.1}}, Task(10), 2),  # and draws
    "digit_set": ({"head": "digit_set"}, Task(10, 1), 1),
    "cropped": ({"view": {"name": "crop", "size": 25}, "normalise": "image"}, Task(10), 2),
    "deskewed": ({"view": {"name": "deskew"}}, Task(10), 1),
    "boxed": ({"view": {"name": "box", "width": 18}}, Task(10), 1),
    "digits": ({"head": "digits"}, Task(10, 1), 1),
    "regression": ({"head": "regression", "optimizer": {"name": "sgd", "lr": 0.02}}, Task(10), 1),
    "balanced": ({"sampling": "balanced", "class_weights": "balanced", "loss": "focal"}, Task(10), 1),
    "ordinal": ({"head": "ordinal"}, Task(10, kind="ordered"), 1),
    "tags": ({"head": "tags", "loss": "asymmetric", "class_weights": "balanced"}, Task(3, kind="tags"), 1),
    "targets": ({"head": "targets"}, Task(5, kind="targets", target_sizes=(2, 3)), 1),
    "addend": ({"model": "adder_net"}, Task(19, 1, addend=True), 2),  # and addends
}


@pytest.mark.slow_but(
    "plain-True",
    "plain-False",
    "augmented-True",
    "digits-True",
    "tags-True",
    "targets-False",
    "balanced-True",
    "addend-False",
    "deskewed-False",
)
@pytest.mark.parametrize("recordable", [False, True])
@pytest.mark.parametrize(("facts", "task", "copies"), STEPS.values(), ids=STEPS)
def test_a_step_waits_for_no_copy(
    digits: Digits,
    monkeypatch: pytest.MonkeyPatch,
    facts: dict[str, Any],
    task: Task,
    copies: int,
    recordable: bool,
) -> None:
    """What must be copied goes through `to_device`; all else is on the device, or made there.

    In a step that can be recorded nothing is copied.
    """
    sent: list[None] = []

    def note(tensor: Tensor, device: torch.device) -> Tensor:
        sent.append(None)
        return to_device(tensor, device)

    for module in (draws, rows_module, trainer):
        monkeypatch.setattr(module, "to_device", note)
    monkeypatch.setattr(ComputeConfig, "autocast", lambda this: contextlib.nullcontext())
    images = digits[0][:60].repeat(3, axis=1).repeat(3, axis=2)
    images = np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None]
    labels = digits[1][:60].reshape(60, *[1] * len(task.label_shape)) // np.ones(task.label_shape, int)
    data = Split(torch.from_numpy(images), torch.from_numpy(labels % 2), np.arange(60))
    recipe, compute_config = member(**facts), ComputeConfig("meta", "fp32", "contiguous")
    network = create_network(recipe, task, (1, 28, 28))
    compute_config.to_device(network.model)
    state = Learner(recipe, network, compute_config, Normalisation.of(data.images), 0)
    state.rate = LearningRate(recipe.schedule, state.optimizer, 10)
    there, which = state.prepare(data), np.arange(32)
    if recordable:
        state.graphs = StepGraphs(torch.device("meta"), state.optimizer, None, "tiny")
        there = replace(there, rows=torch.arange(60, device="meta"))
        which, copies = torch.arange(32, device="meta"), 0  # type: ignore[assignment]
    state.step(0, 0, there, which)  # tables of a head move once
    sent.clear()
    with Copies() as counted:
        state.step(0, 1, there, which)
    assert counted.count == len(sent) == copies


# ---------------------------------------------------------------- starting from another network


def state(network: Network) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.model.state_dict().items()}


def fresh(**facts: Any) -> dict[str, Tensor]:
    """The weights a training starts from."""
    torch.manual_seed(99)
    return state(create_network(member(**facts), Task(10), (1, 8, 8)))


class Starts:
    """Notes the weights with which the first step of a training is taken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.first: list[dict[str, Tensor]] = []
        begin = Learner.start

        def note(this: Learner, *arguments: Any) -> None:
            whole = getattr(this, "whole", this.network.model)
            self.first.append({name: value.clone() for name, value in whole.state_dict().items()})
            begin(this, *arguments)

        monkeypatch.setattr(Learner, "start", note)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Starts:
    return Starts(monkeypatch)


def start(data: Split, weights: dict[str, Tensor], classes: int = 10, **facts: Any) -> TrainedNetwork:
    return train(
        TrainingSpec(member(init_from="other", **facts), Task(classes), 0, "tiny fold 0", weights), data
    )


@pytest.mark.parametrize("freeze", [False, True])
def test_a_like_network_starts_from_all_weights(data: Split, starts: Starts, freeze: bool) -> None:
    source = fresh()
    trained = start(data, source, epochs=1, freeze=freeze)
    assert all(torch.equal(value, source[name]) for name, value in starts.first[0].items())
    assert not all(torch.equal(value, source[name]) for name, value in state(trained.network).items())


@pytest.mark.parametrize("classes", [4, 19])
def test_another_classifier_starts_afresh_on_the_same_backbone(
    digits: Digits, starts: Starts, classes: int
) -> None:
    source = fresh()
    few = np.flatnonzero(digits[1] < 4)[:60]
    trained = start(rows_of(digits, few), source, classes, epochs=1, freeze=True)
    for weights in (starts.first[0], state(trained.network)):
        for name, value in weights.items():
            if name.startswith("classifier."):
                assert value.shape[0] == classes
            else:
                assert torch.equal(value, source[name]), name


@pytest.mark.parametrize("cached", [True, False])
def test_what_is_frozen_stays_and_the_classifier_learns(
    plain: TrainedNetwork, data: Split, digits: Digits, cached: bool
) -> None:
    """Statistics of batch norm, too, whether features are computed once or each time."""
    before = state(plain.network)
    for name in before:
        if name.startswith("classifier."):
            before[name] = torch.zeros_like(before[name])
    extra = {} if cached else {"augment": {"shift": 1}, "no_aug_epochs": 3}
    trained = start(data, before, freeze=True, epochs=4, **extra)
    after = state(trained.network)
    assert any("running_mean" in name for name in after)
    for name, value in after.items():
        assert torch.equal(value, before[name]) != name.startswith("classifier."), name
    assert trained.log[-1]["accuracy"] > 0.8 and accuracy(trained, digits, UNSEEN) > 0.7


def test_what_is_not_frozen_learns_as_a_whole(plain: TrainedNetwork, data: Split) -> None:
    before = state(plain.network)
    after = state(start(data, before, epochs=1).network)
    assert not any(torch.equal(before[name], after[name]) for name in before)


SAME = {"plain": {}, "ema": {"ema": 0.5}, "plateau": {"schedule": PLATEAU}, "sgd": EXTRAS["sgd"]}


@pytest.mark.slow_but("plain", "ema")
@pytest.mark.parametrize("extra", SAME.values(), ids=SAME)
def test_features_computed_once_train_the_classifier_just_the_same(
    plain: TrainedNetwork, data: Split, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]
) -> None:
    before = state(plain.network)
    once = start(data, before, freeze=True, **extra)
    monkeypatch.setattr(train_module, "_create_learner", Learner)
    always = start(data, before, freeze=True, **extra)
    expected = state(always.network)
    for name, value in state(once.network).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-5)
    for one, other in zip(once.log, always.log, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)
        assert one["watched_loss"] == pytest.approx(other["watched_loss"], rel=1e-3)
        assert one["accuracy"] == pytest.approx(other["accuracy"], abs=0.01)
        assert one["learning_rate"] == other["learning_rate"]


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_classifier_that_predicts_is_put_in_when_training_ends(data: Split, ema: float) -> None:
    recipe = member(init_from="other", freeze=True, ema=ema, epochs=1)
    network = create_network(recipe, Task(10), (1, 8, 8))
    made = train_module._create_learner(
        recipe, network, ComputeConfig("cpu", "fp32", "contiguous"), Normalisation.of(data.images), 0
    )
    model: Any = network.model
    learning = model.classifier
    predicts = made.average.module if made.average else learning
    shown: Any = made.predictor
    assert shown.classifier is predicts and shown.features is model.features and model.classifier is learning
    trainer.Trainer(made, "tiny").run(data)
    expected = made.average.module if made.average else learning
    assert model.classifier is expected and made.predictor is model and model.classifier is expected


def backbone_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images go through the features, call by call."""
    noted: list[int] = []

    def create(*arguments: Any, **more: Any) -> Network:
        network = create_network(*arguments)
        features: Any = network.model.features
        features.register_forward_hook(lambda module, inputs, outputs: noted.append(len(inputs[0])))
        return network

    monkeypatch.setattr(train_module, "create_network", create)
    return noted


@pytest.mark.parametrize(
    ("facts", "once"),
    [
        ({"freeze": True}, True),
        ({"freeze": True, "schedule": PLATEAU}, True),
        ({"freeze": True, "augment": {"shift": 1}}, False),
        ({"freeze": True, "mixup": 0.5}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_frozen_backbone_sees_every_image_once_unless_it_changes(
    data: Split, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], once: bool
) -> None:
    source = fresh()
    noted = backbone_calls(monkeypatch)
    start(data, source, epochs=3, **facts)
    assert (sum(noted) == ROWS) == once and sum(noted) >= ROWS


def test_a_frozen_network_that_takes_addends_still_gets_them(data: Split, adder: Adder) -> None:
    before = {name: value.clone() for name, value in adder.state_dict().items()}
    train(TrainingSpec(member(init_from="other", freeze=True), ADDER_TASK, 0, "adder", before), data)
    after = adder.state_dict()
    for name, value in after.items():
        assert torch.equal(value, before[name]) != name.startswith("classifier."), name
    assert len({addend for _, addends in adder.given for addend in addends.tolist()}) == 10


def test_a_backbone_can_be_another_network_as_a_whole(data: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    source = fresh()

    class Whole(FeaturesThenClassifier):
        def __init__(self) -> None:
            super().__init__()
            self.features = create_network(member(), Task(10), (1, 8, 8)).model
            self.classifier = nn.Linear(10, 10)

    def create(*arguments: Any, **more: Any) -> Network:
        return Network(Whole(), create_head("softmax", HeadSpec(10)), Task(10))

    monkeypatch.setattr(train_module, "create_network", create)
    after = state(start(data, source, freeze=True, epochs=1).network)
    assert all(torch.equal(after[f"features.{name}"], value) for name, value in source.items())


@pytest.mark.parametrize(
    ("model", "source", "first"),
    [("cnn", "resnet5", "features.0.0.weight"), ("resnet5", "cnn", "features.0.weight")],
)
def test_weights_that_do_not_fit_name_the_first_layers_in_one_line(
    data: Split, model: str, source: str, first: str
) -> None:
    with pytest.raises(UserError) as caught:
        start(data, fresh(model=source), model=model)
    text = str(caught.value)
    assert text.startswith(f"tiny fold 0: init_from: its weights do not fit: {first} is not there; ")
    assert text.endswith("; use a similar network")
    assert "\n" not in text and text.count("is not there") == 3


def test_weights_of_another_size_name_both_sizes(data: Split) -> None:
    source = fresh()
    source["features.0.weight"] = torch.zeros(16, 1, 3, 3)
    says = r"features\.0\.weight is \(16, 1, 3, 3\), expected \(32, 1, 3, 3\); use a similar network$"
    with pytest.raises(UserError, match=says):
        start(data, source)
