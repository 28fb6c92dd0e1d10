"""How trainings share the GPUs of this machine: as many at once as fit into their memory.

Tried with one GPU at a time, an H100 and an H200; of several the arithmetic alone is tested, on processors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from softvote.config.recipe import Member
from softvote.scheduling.job import Job
from softvote.scheduling.job_batch import JobBatch

if TYPE_CHECKING:
    import torch
    from torch import nn

    from softvote.inference.network import Network

_CONTEXT = 700 << 20  # bytes; of CUDA, its libraries and what the allocator leaves unused


_OPTIMIZER_STATES = {"sgd": 1, "adam": 2, "adamw": 2}  # values kept for each weight


_WORKSPACE = 1.5  # of activations, with what convolutions take for themselves


_BATCH_COPIES = 8  # of a batch as float32, while it is augmented


_FLOAT = 4  # bytes


_AT_ONCE = 4  # on a GPU; they take turns on it, and these already fill the pauses of each other


def assign_gpus(free: Sequence[int], need: int, most: int) -> list[int]:
    """The GPU of each place where a job can run, dealt in turns as long as jobs fit and pay.

    Args:
        free: bytes of each GPU.
        need: bytes of a job.
        most: places at most.

    Returns:
        numbers of GPUs; where no job fits anywhere, the emptiest GPU alone, for a job to say so itself.
    """
    room = [min(_AT_ONCE, bytes_ // need) for bytes_ in free]
    turns = [gpu for turn in range(max(room)) for gpu in range(len(free)) if turn < room[gpu]]
    return turns[:most] or [max(range(len(free)), key=free.__getitem__)]


def free_gpu_memory() -> list[int]:
    """Bytes free on each GPU, in their order; empty without one."""
    import torch

    if not torch.cuda.is_available():
        return []
    return [torch.cuda.mem_get_info(gpu)[0] for gpu in range(torch.cuda.device_count())]


def largest_training_bytes(work: JobBatch, free: int) -> int:
    """Bytes that the largest of the trainings takes on a GPU, about; at least one is due.

    Args:
        free: bytes of the GPU, by which images lie there as a whole or come in batches.
    """
    members = {job.member_name: job for job in work.jobs}
    return max(_bytes_of(job, work, free) for job in members.values())


def _bytes_of(job: Job, work: JobBatch, free: int) -> int:
    from softvote.inference.network import create_network
    from softvote.training.rows import lie_on_device

    channels, height, width = job.inputs["image"]
    network = create_network(job.member, job.task, (channels, height, width), with_weights=False)
    test = len(work.dataset().test_pixels) if job.member.learns_test_rows else 0
    stored = len(work.folds) + work.extra_rows(job) + test  # of which it takes some
    held = lie_on_device(stored * channels * height * width, free)
    return training_bytes(job.member, network, (channels, height, width), work.rows(job), held)


def training_bytes(
    member: Member, network: Network, image: tuple[int, int, int], rows: int, held: bool = True
) -> int:
    """Bytes that a training takes on a GPU, about: data, weights and all that goes with them, activations.

    Args:
        image: channels, height and width.
        rows: of the training set.
        held: whether they lie there as uint8; else they stay where they are, and batches of them come.
    """
    weights = sum(parameter.numel() for parameter in network.model.parameters())
    values_per_weight = (
        2 + _OPTIMIZER_STATES[member.optimizer.name] + bool(member.ema)
    )  # itself and its gradient
    pixels = math.prod(image)
    bytes_per_image = _WORKSPACE * measure_saved_bytes(network, image) + _BATCH_COPIES * _FLOAT * pixels
    batch = min(member.images_at_once, rows)
    return (
        _CONTEXT
        + held * rows * pixels
        + _FLOAT * weights * values_per_weight
        + round(batch * bytes_per_image)
    )


def measure_saved_bytes(network: Network, image: tuple[int, int, int]) -> float:
    """Bytes per image that a training step keeps for its backward pass, measured on a pair in float32."""
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    own = {value.untyped_storage().data_ptr() for value in _state(network.model)}
    saved = dict[int, int]()

    def note(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return value

    network.model.train()
    addends = torch.zeros(2, dtype=torch.int64) if network.takes_addend else None
    with saved_tensors_hooks(note, lambda value: value):
        outputs = network.outputs(torch.zeros(2, *image), addends)
    assert outputs.grad_fn is not None, "what is saved must live until here, or storages come back"
    return sum(count for pointer, count in saved.items() if pointer not in own) / 2


def _state(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]
