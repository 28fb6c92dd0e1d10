"""training.cuda_graphs: recorded steps do what steps do that are taken one by one; on a CPU, from a tape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits
from digit_images import compose_rows, reader
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from softvote.config.recipe import Member
from softvote.task import Task
from softvote.training import cuda_graphs
from softvote.training.checkpoint import Checkpoints
from softvote.training.cuda_graphs import StepGraphs
from softvote.training.learner import Learner
from softvote.training.rows import SoftTargets, Split
from softvote.training.train import TrainedNetwork, TrainingSpec, train

ROWS = 100
"""Seven batches of two sizes."""


class Tape(TorchDispatchMode):
    """Every operation on tensors, with the tensors it reads and writes; nothing else can be done again."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, found))
        return found

    def replay(self) -> None:
        """Read from the same memory, and leave the results where they were."""
        with torch.no_grad():
            for func, args, kwargs, found in self.calls:
                again = func(*args, **kwargs)
                for old, new in zip(tree_leaves(found), tree_leaves(again), strict=True):
                    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


class TapeRecorder:
    """Records as a device does: what is recorded is not done."""

    def __init__(self, memory: Callable[[], list[Tensor]]) -> None:
        self.memory, self.records, self.replays = memory, 0, 0

    def record(self, step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        before = [value.detach().clone() for value in self.memory()]
        random = torch.get_rng_state()
        with Tape() as tape:
            result = step()
        for value, old in zip(self.memory(), before, strict=True):
            value.data.copy_(old)
        torch.set_rng_state(random)
        self.records += 1

        def replay() -> None:
            self.replays += 1
            tape.replay()

        return replay, result


class FailingRecorder:
    """Nothing can be recorded."""

    def __init__(self) -> None:
        self.tries = 0

    def record(self, step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        self.tries += 1
        raise RuntimeError("operation not permitted\nand more")


def member(**facts: Any) -> Member:
    usual = {
        "model": "cnn", "epochs": 3, "batch_size": 16, "precision": "fp32", "memory_format": "contiguous",
        "optimizer": {"name": "adam", "lr": 0.004},
    }  # fmt: skip
    return Member.model_validate(usual | facts)


@pytest.fixture(scope="module")
def data(digits: Digits) -> Split:
    images, labels = digits
    said = torch.rand(ROWS, 10, generator=torch.Generator().manual_seed(0))
    soft = SoftTargets(said / said.sum(1, keepdim=True), torch.arange(ROWS) % 3 > 0)
    return Split(
        torch.from_numpy(images[:ROWS, None]), torch.from_numpy(labels[:ROWS]), np.arange(ROWS), soft=soft
    )


def there(data: Split, device: str) -> Split:
    """As on a device that computes apart from the processor."""
    return Split(data.images, data.image_labels, torch.as_tensor(data.rows), data.digits, soft=data.soft)


Recorders = list[Any]


@pytest.fixture
def with_graphs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Recorders]:
    """Let trainings take their steps through graphs, with the given class of recorder or None."""

    def use(kind: Any) -> Recorders:
        made: Recorders = []

        def create(this: Learner, label: str) -> StepGraphs:
            def memory() -> list[Tensor]:
                model = this.network.model
                states = [value for each in this.optimizer.state.values() for value in each.values()]
                return [*model.parameters(), *model.buffers(), *states]

            made.append(kind(memory) if kind is TapeRecorder else kind and kind())
            return StepGraphs(torch.device("cpu"), this.optimizer, made[-1], label)

        monkeypatch.setattr(Learner, "create_graphs", create)
        monkeypatch.setattr(Split, "to", there)
        return made

    return use


def run(data: Split, checkpoints: Checkpoints | None = None, **facts: Any) -> TrainedNetwork:
    callbacks = [checkpoints] if checkpoints else []
    return train(
        TrainingSpec(member(**facts), Task(10), 0, "tiny fold 0"),
        data,
        callbacks,
        checkpoints and checkpoints.read(),
    )


def assert_same(one: TrainedNetwork, other: TrainedNetwork) -> None:
    """To the last bit."""
    expected = other.network.model.state_dict()
    for name, value in one.network.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert_alike(one, other, within=0)


def assert_alike(one: TrainedNetwork, other: TrainedNetwork, within: float) -> None:
    for row, other_row in zip(one.log, other.log, strict=True):
        for fact in ("loss", "accuracy", "watched_loss", "learning_rate", "augmented"):
            assert row[fact] == pytest.approx(other_row[fact], rel=within, abs=within), fact


CASES: dict[str, dict[str, Any]] = {
    "one_cycle": {},  # momentum moves: the optimiser's step is taken as it is
    "constant": {"schedule": {"name": "constant"}},
    "cosine": {"schedule": {"name": "cosine"}},
    "crop": {"view": {"name": "crop", "size": 7}, "augment": {"scale": 0.1, "scale_apart": True}},
    "deskew": {"view": {"name": "deskew"}, "normalise": "image"},
    "augmented": {"augment": {"rotate": 10, "elastic": 1, "horizontal_flip": 0.3}, "no_aug_epochs": 1},
    "mixup": {"mixup": 0.5, "no_aug_epochs": 1, "schedule": {"name": "cosine"}},
    "cutmix": {"cutmix": 1.0, "mixup": 0.5, "schedule": {"name": "cosine"}},
    "light": {
        "augment": {"random_resized_crop": {"scale": [0.5, 1]}, "brightness": 0.2, "trivial_augment": True},
        "schedule": {"name": "cosine"},
    },
    "ema": {"ema": 0.9, "schedule": {"name": "cosine"}},
    "sgd": {"optimizer": {"name": "sgd", "lr": 0.02}, "schedule": {"name": "cosine"}},
    "held_out": {"schedule": {"name": "plateau", "watch": "held_out", "held_out": 0.2, "patience": 0}},
    "fp16": {
        "precision": "fp16",
        "schedule": {"name": "cosine"},
    },  # skipped steps are not recorded
    "micro_batch": {"micro_batch": 6, "mixup": 0.5, "schedule": {"name": "cosine"}},
    "taught": {
        "teacher": {"member": "other", "temperature": 2},
        "cutmix": 1.0,
        "schedule": {"name": "cosine"},
    },  # of whom rows of the other cases are told in vain
}


SOON = {"augmented", "mixup", "ema", "held_out"}


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param(facts, id=name, marks=[] if name in SOON else pytest.mark.slow)
        for name, facts in CASES.items()
    ],
)
def test_recorded_steps_train_as_plain_ones(
    data: Split, with_graphs: Callable[[Any], Recorders], facts: dict[str, Any]
) -> None:
    """Dropout and augmentation are drawn anew in each replay; a rate in memory has seven digits."""
    plain = run(data, **facts)
    with_graphs(None)
    from_memory = run(data, **facts)
    made = with_graphs(TapeRecorder)
    assert_same(run(data, **facts), from_memory)
    assert_alike(from_memory, plain, within=0.011 if "schedule" in facts else 0)
    assert made[-1].replays > 8 and 1 <= made[-1].records <= 4


@pytest.mark.slow
def test_images_are_composed_anew_in_each_replay(with_graphs: Callable[[Any], Recorders]) -> None:
    recipe = reader(
        schedule={"name": "cosine"}, augment={"rotate": 10, "shift": 2}, no_aug_epochs=1, epochs=5
    )

    def learn() -> TrainedNetwork:
        return train(TrainingSpec(recipe, Task(19, 2), 0, "tiny fold 0"), compose_rows(32))

    plain = learn()
    with_graphs(None)
    from_memory = learn()
    made = with_graphs(TapeRecorder)
    assert_same(learn(), from_memory)
    assert_alike(from_memory, plain, within=0.01)
    assert made[-1].replays >= 4 and made[-1].records == 1


def test_a_training_that_was_stopped_goes_on_to_the_same_bits(
    data: Split, with_graphs: Callable[[Any], Recorders], tmp_path: Path
) -> None:
    """What the optimiser keeps is that of a training without graphs, so either can go on."""
    facts = {"schedule": {"name": "cosine"}, "augment": {"shift": 1}, "ema": 0.9}
    with_graphs(None)  # from memory, as the others
    expected = run(data, **facts)

    class Stopping(Checkpoints):
        def is_due(self) -> bool:
            self.seen = getattr(self, "seen", 0) + 1
            return self.seen == 11

        def write(self, state: dict[str, Any]) -> None:
            super().write(state)
            raise InterruptedError

    path = tmp_path / "checkpoint.pt"
    with_graphs(TapeRecorder)
    with pytest.raises(InterruptedError):
        run(data, Stopping(path, "key", 0), **facts)
    state = Checkpoints(path, "key", 1e9).read()
    assert state is not None
    (group,) = state["optimizer"]["param_groups"]
    assert isinstance(group["lr"], float) and not group["capturable"]
    made = with_graphs(TapeRecorder)
    assert_same(run(data, Checkpoints(path, "key", 1e9), **facts), expected)
    assert made[-1].replays > 4


def test_what_cannot_be_recorded_goes_on_as_it_is(
    data: Split, with_graphs: Callable[[Any], Recorders], capsys: pytest.CaptureFixture[str]
) -> None:
    with_graphs(None)
    expected = run(data)
    made = with_graphs(FailingRecorder)
    assert_same(run(data), expected)
    assert made[0].tries == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "recorded" in line]
    says = "tiny fold 0: steps cannot be recorded (operation not permitted); it goes on without CUDA graphs"
    assert line == says


def test_numbers_are_written_where_they_change() -> None:
    number = cuda_graphs._Number(torch.zeros(()))
    memory = number.memory
    for value in (0, 0.5, 0.5, 5):
        number.become(value)
        assert number.memory is memory and float(memory) == value
    memory.fill_(7)
    number.become(5)  # as it was told before: nothing is written
    assert int(memory) == 7


@pytest.mark.parametrize(("device", "switch"), [("cpu", "1"), ("mps", "1"), ("cuda", "0")])
def test_no_graphs_where_there_are_none_or_nobody_wants_them(
    device: str, switch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cuda_graphs.SWITCH, switch)
    assert cuda_graphs.create_recorder(device) is None
