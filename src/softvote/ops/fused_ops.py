"""Batch norm, max pooling or a shortcut, and ReLU in one go over a processor's memory.

A batch's features do not fit into a core's cache, and PyTorch goes through all of them once and more for
each of these layers. Here they are read once for their moments and once for the result, and twice on the way
back, where the choice of pooling and of ReLU is worked out again instead of being kept.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

if TYPE_CHECKING:
    from softvote.ops.cpu_kernels import Loops


_Array = NDArray[Any]


_LINE = 1024  # numbers; five float32 a number, and the features, stay in a core's first cache


def can_fuse(features: Tensor, norm: nn.Module | None, pool: bool = False) -> bool:
    """Whether `norm_pool_relu` can take the place of PyTorch's layers: for gradients, on one thread.

    Args:
        features: (B, C, H, W), any dtype, device and memory format.
        norm: the batch norm that they come to; None where they come to none.
        pool: whether max pooling by 2 follows.
    """
    return (
        torch.is_grad_enabled()
        and torch.get_num_threads() == 1
        and features.device.type == "cpu"
        and features.dtype in (torch.float32, torch.bfloat16)
        and features.ndim == 4
        and features.is_contiguous(memory_format=torch.channels_last)
        and (_is_usual(norm) if norm else pool and features.requires_grad and _pools(features))
        and features.numel() > features.shape[1]  # of a single value PyTorch says what is wrong
        and _loops() is not None
    )


@cache
def _loops() -> ModuleType | None:
    """The loops; None where Numba is missing, or not made for this Python or NumPy yet.

    Only training imports them.
    """
    try:
        from softvote.ops import cpu_kernels
    except ImportError:
        return None
    return cpu_kernels


def _is_usual(norm: nn.Module) -> bool:
    return (
        type(norm) is nn.BatchNorm2d  # another may do something else
        and norm.training
        and norm.affine
        and norm.bias is not None
        and norm.weight.dtype == torch.float32
        and norm.track_running_stats
        and norm.momentum is not None
    )


def norm_pool_relu(
    features: Tensor,
    norm: nn.Module | None,
    pool: bool = False,
    shortcut: Tensor | None = None,
) -> Tensor:
    """relu(max_pool2d(norm(features), 2)) or relu(norm(features) + shortcut); running statistics move on.

    Batch norm is that of Ioffe and Szegedy 2015. PyTorch pools what was rounded to bfloat16 before; here the
    largest is found before it is rounded.

    Args:
        features: (B, C, H, W) for which `can_fuse` is true.
        norm: the batch norm, in training; None leaves it out, not together with a shortcut.
        pool: max pooling by 2; not together with a shortcut.
        shortcut: of the features' shape, any floating dtype.

    Returns:
        (B, C, H, W), or (B, C, H // 2, W // 2) after pooling, in the features' dtype and channels_last.
    """
    cpu_kernels, channels = _loops(), features.shape[1]
    assert cpu_kernels is not None and (shortcut is None or shortcut.shape == features.shape)
    pooling = pool and _pools(features)
    way = (
        cpu_kernels.pooling(channels, norm is not None)
        if pooling
        else cpu_kernels.plain(shortcut is not None)
    )
    mean, variance, weight, bias = np.zeros(channels), np.zeros(channels), None, None
    if norm is not None:
        assert isinstance(norm, nn.BatchNorm2d)
        cpu_kernels.moments(_lines(features), mean, variance)
        _update_statistics(norm, mean, variance, features.numel() // channels)
        variance += norm.eps
        weight, bias = norm.weight, norm.bias
    result: Tensor = _NormPoolReLU.apply(features, shortcut, weight, bias, mean, variance, way, pooling)
    return functional.max_pool2d(result, 2) if pool and not pooling else result


def _pools(features: Tensor) -> bool:
    """Whether the loops pool these features (B, C, H, W): processors' vectors hold powers of two."""
    _, channels, height, width = features.shape
    return channels >= 32 and channels.bit_count() == 1 and min(height, width) > 1


@torch.no_grad()
def _update_statistics(norm: nn.BatchNorm2d, mean: _Array, variance: _Array, pixels: int) -> None:
    """As PyTorch does: with the mean, and the variance of a sample."""
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    norm.running_mean.lerp_(_float32(mean), norm.momentum)
    norm.running_var.lerp_(_float32(variance * (pixels / (pixels - 1))), norm.momentum)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)


def _float32(numbers: _Array) -> Tensor:
    return torch.from_numpy(numbers.astype(np.float32))


def _lines(features: Tensor, rows: bool = False) -> _Array:
    """(B, C, H, W) in channels_last -> a view (B, lines, pixels * C), a row per line where asked for."""
    batch, channels, height, width = features.shape
    line = width if rows else _pixels_per_line(height * width, channels)
    last = features.detach().permute(0, 2, 3, 1).view(batch, -1, line * channels)
    return (last.view(torch.uint16) if last.dtype == torch.bfloat16 else last).numpy()


def _pixels_per_line(pixels: int, channels: int) -> int:
    """The most that divide an image and make no more than `_LINE` numbers; at least one."""
    most = max(1, min(pixels, _LINE // channels))
    return next(line for line in range(most, 0, -1) if pixels % line == 0)


def _like(features: Tensor, other: Tensor) -> Tensor:
    return other.to(features.dtype).contiguous(memory_format=torch.channels_last)


class _NormPoolReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        shortcut: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: _Array,
        variance: _Array,
        way: Loops,
        pool: bool,
    ) -> Tensor:
        spread, scale, shift = np.zeros_like(mean), np.ones_like(mean), np.zeros_like(mean)
        if weight is not None and bias is not None:
            spread = 1 / np.sqrt(variance)
            scale = weight.detach().numpy() * spread
            shift = bias.detach().numpy() - mean * scale
        table = np.stack([scale, shift, mean]).astype(np.float32)
        beside = features if shortcut is None else _like(features, shortcut)
        batch, channels, height, width = features.shape
        shape = (batch, channels, height // 2, width // 2) if pool else features.shape
        result = torch.empty(shape, dtype=features.dtype, memory_format=torch.channels_last)
        way.forward(_lines(features, pool), _lines(beside, pool), table, _lines(result, pool))
        ctx.save_for_backward(features, beside)
        ctx.table, ctx.spread, ctx.way, ctx.pool, ctx.normed = table, spread, way, pool, weight is not None
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, beside = ctx.saved_tensors
        given = [_lines(each, ctx.pool) for each in (features, beside, _like(features, gradient))]
        slopes, products = totals = np.zeros((2, features.shape[1]))
        if ctx.normed:
            ctx.way.sums(*given, ctx.table, totals)
        pixels, scale = features.numel() // features.shape[1], ctx.table[0]
        linear, constant = -scale * ctx.spread**2 * products / pixels, -scale * slopes / pixels
        table = np.stack([*ctx.table, linear, constant]).astype(np.float32)
        of_features = torch.empty_like(features)
        of_shortcut = torch.empty_like(features) if ctx.needs_input_grad[1] else None
        of_beside = of_features if of_shortcut is None else of_shortcut  # read before it is written over
        ctx.way.backward(*given, table, _lines(of_features, ctx.pool), _lines(of_beside, ctx.pool))
        of_norm = (_float32(products * ctx.spread), _float32(slopes)) if ctx.normed else (None, None)
        return of_features, of_shortcut, *of_norm, None, None, None, None
