"""One network trained by several processes, each on its share of every batch.

Every process draws the same order, augmentation and first weights, for all of that depends on seed, epoch
and row alone. Each computes the gradients of its share, torch's `DistributedDataParallel` (Li et al. 2020)
gives all of them the gradients of the whole batch, and each takes the same step. The first process alone
looks on, writes and predicts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from softvote.compute.device import find_device
from softvote.compute.draws import Rows
from softvote.errors import UserError
from softvote.inference.network import Network
from softvote.training.parts import split_batch
from softvote.words import counted

Said = TypeVar("Said")

Forward = Callable[[Tensor, Tensor | None], Tensor]
"""As `Network.outputs`."""


class Alone:
    """The one process that trains a network.

    Attributes:
        rank: of this process, from 0.
        size: how many there are.
    """

    rank, size = 0, 1

    def share(self, which: Rows) -> Rows:
        """What this process feeds of a batch of rows, int64 (B,)."""
        return which

    def prepare(self, model: nn.Module) -> nn.Module:
        """The network as its steps need it, before an optimiser knows its weights."""
        return model

    def forward_of(self, network: Network) -> Forward:
        """How a step calls the network."""
        return network.outputs

    def collecting(self, last: bool) -> AbstractContextManager[Any]:
        """Where a part of a batch is fed; with the last, gradients become those of all processes."""
        return contextlib.nullcontext()

    def total(self, totals: Tensor) -> Tensor:
        """The sum of what all processes counted, float (n,)."""
        return totals

    def agree(self, value: Said) -> Said:
        """What the first process says."""
        return value


class ProcessGroup(Alone):
    """Several processes of one machine, each with its device; gloo connects processors, NCCL connects GPUs.

    Args:
        rank: of this process, from 0.
        size: how many there are.
        meeting: a file that none of them wrote before, where they find each other.
    """

    def __init__(self, rank: int, size: int, meeting: Path) -> None:
        self.rank, self.size = rank, size
        self._parallel: DistributedDataParallel | None = None
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            init_method=meeting.absolute().as_uri(),
            rank=rank,
            world_size=size,
        )

    def leave(self) -> None:
        """End the connection."""
        self._parallel = None
        distributed.destroy_process_group()

    def share(self, which: Rows) -> Rows:
        """What this process feeds of a batch of rows, int64 (B,).

        Raises:
            UserError: there are not two rows for each process.
        """
        parts = split_batch(which, self.size)
        if len(parts) < self.size:
            what = f"{self.size} devices cannot share a batch of {counted(len(which), 'row')}"
            raise UserError.at("engine.devices_per_training", what, "name fewer, or raise batch_size")
        return parts[self.rank]

    def prepare(self, model: nn.Module) -> nn.Module:
        """On GPUs, let batch norm see the whole batch; on processors it sees the share of each process."""
        if find_device() != "cuda":
            return model
        from timm.layers.norm_act import convert_sync_batchnorm  # which knows timm's own kinds of it

        converted: nn.Module = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted

    def forward_of(self, network: Network) -> Forward:
        """How a step calls the network, so that gradients are exchanged while they are computed."""
        device = next(network.model.parameters()).device
        ids = [device.index] if device.type == "cuda" else None
        self._parallel = parallel = DistributedDataParallel(network.model, device_ids=ids)

        def forward(images: Tensor, addends: Tensor | None) -> Tensor:
            outputs: Tensor = parallel(images, addends) if network.takes_addend else parallel(images)
            return outputs

        return forward

    def collecting(self, last: bool) -> AbstractContextManager[Any]:
        """Where a part of a batch is fed; with the last, gradients become those of all processes."""
        assert self._parallel is not None
        context: AbstractContextManager[Any] = contextlib.nullcontext() if last else self._parallel.no_sync()
        return context

    def total(self, totals: Tensor) -> Tensor:
        """The sum of what all processes counted, float (n,)."""
        distributed.all_reduce(totals)
        return totals

    def agree(self, value: Said) -> Said:
        """What the first process says."""
        said = [value if self.rank == 0 else None]
        distributed.broadcast_object_list(said, device=torch.device("cpu"))
        return said[0]  # type: ignore[return-value]
