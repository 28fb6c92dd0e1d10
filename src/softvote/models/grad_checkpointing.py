"""Activations that are computed again in the backward pass (Chen et al. 2016, arXiv:1604.06174)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from softvote.errors import UserError


def enable_grad_checkpointing(model: nn.Module, name: str) -> None:
    """Let a backbone of timm keep in training no more than the inputs of its blocks.

    Args:
        name: of the network, for messages.

    Raises:
        UserError: it cannot.
    """
    try:
        model.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AttributeError, AssertionError):  # one of ours, or one that timm says it of
        what = f"{name} cannot compute activations again"
        raise UserError.at("grad_checkpointing", what, "leave it out and set micro_batch") from None


@contextlib.contextmanager
def keep_statistics(model: nn.Module, enabled: bool) -> Iterator[None]:
    """Let batch norm keep its running statistics in a backward pass, which sees the same batch once more.

    Args:
        enabled: False changes nothing.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)] if enabled else []
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, batches in before:
            norm.momentum, norm.num_batches_tracked = momentum, batches
