"""ops.fused_ops: the same as PyTorch's layers one after the other, forward, back and in what is kept."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from softvote.models.layers import FusedSequential
from softvote.ops import cpu_kernels, fused_ops

LAST = torch.channels_last
SHAPES = [(6, 32, 12, 8), (3, 64, 4, 4), (2, 32, 7, 6), (4, 48, 6, 10), (5, 10, 5, 3), (2, 192, 1, 42)]
"""Pooled by the loops, the same, odd sides, no power of two, few channels, lines of a few pixels."""
WAYS: list[dict[str, Any]] = [{}, {"pool": True}, {"shortcut": True}, {"norm": None, "pool": True}]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def features(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Channels of different means and spreads, in channels_last."""
    random = torch.Generator().manual_seed(seed)
    channels = torch.arange(shape[1])[:, None, None]
    made = torch.randn(shape, generator=random) * (0.5 + channels % 3) + channels % 5 - 2
    return made.to(dtype).contiguous(memory_format=LAST)


def norm(channels: int) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(channels)
    with torch.no_grad():
        made.weight.copy_(0.3 + torch.arange(channels) % 7 * 0.2)
        made.weight[::3] *= -1  # a negative scale turns largest into smallest
        made.bias.copy_(torch.linspace(0.5, -0.5, channels))
    return made


def plainly(x: Tensor, layer: nn.BatchNorm2d | None, pool: bool, shortcut: Tensor | None) -> Tensor:
    """PyTorch's layers, in float64."""
    result = x if layer is None else layer(x)
    if pool:
        result = functional.max_pool2d(result, 2)
    return functional.relu(result if shortcut is None else result + shortcut)


def both(shape: tuple[int, ...], dtype: torch.dtype, way: dict[str, Any]) -> list[dict[str, Tensor]]:
    """What the loops and PyTorch in float64 make of the same features: results, gradients, statistics."""
    pool = way.get("pool", False)
    if pool and 1 in shape[2:]:
        pytest.skip("one row cannot be pooled")
    found = []
    for exact in (False, True):
        x, layer = features(shape, dtype), norm(shape[1])
        other = features(shape, dtype, seed=1) if "shortcut" in way else None
        if exact:
            x, layer, other = x.double(), layer.double(), None if other is None else other.double()
        leaves = [leaf.requires_grad_() for leaf in (x, other) if leaf is not None]
        used = layer if "norm" not in way else None
        result = plainly(x, used, pool, other) if exact else fused_ops.norm_pool_relu(x, used, pool, other)
        slopes = torch.randn(result.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
        result.backward(slopes.to(result.dtype))
        kept = {"result": result.detach(), "mean": layer.running_mean, "variance": layer.running_var}
        kept["batches"] = layer.num_batches_tracked
        if used is not None:
            kept |= {"weight": layer.weight.grad, "bias": layer.bias.grad}
        found.append(kept | {f"leaf {i}": leaf.grad for i, leaf in enumerate(leaves)})
    return found


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(f"{k}" for k in way) or "plain")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_float32_is_as_exact_as_its_digits(shape: tuple[int, ...], way: dict[str, Any]) -> None:
    ours, exact = both(shape, torch.float32, way)
    for name, value in ours.items():
        torch.testing.assert_close(value.double(), exact[name].double(), rtol=2e-5, atol=2e-5, msg=name)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(f"{k}" for k in way) or "plain")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bfloat16_is_rounded_once(shape: tuple[int, ...], way: dict[str, Any]) -> None:
    if "pool" in way and not fused_ops._pools(features(shape)):
        pytest.skip("PyTorch pools what was rounded before, and may take another of two that are equal then")
    ours, exact = both(shape, torch.bfloat16, way)
    for name in ours.keys() & {"mean", "variance", "weight", "bias"}:  # which stay float32
        torch.testing.assert_close(ours[name].double(), exact[name].double(), rtol=1e-4, atol=1e-4, msg=name)
    for name in ours.keys() - {"mean", "variance", "weight", "bias", "batches"}:
        assert ours[name].dtype == torch.bfloat16
        half_a_digit = 2**-8 * exact[name].abs() + 1e-5
        assert ((ours[name].double() - exact[name].double()).abs() <= half_a_digit * 1.01).all(), name


def test_rounding_is_to_even_like_pytorchs() -> None:
    values = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, 1.0, 3.38e38, 1e-40, 0.0])
    x = values.bfloat16().view(-1, 1, 1, 1).expand(-1, 1, 1, 2).contiguous(memory_format=LAST)
    way = cpu_kernels.plain(added=False)
    table = torch.tensor([[1 + 2**-8], [0.0], [0.0]]).numpy()
    result = torch.empty_like(x)
    way.forward(fused_ops._lines(x), fused_ops._lines(x), table, fused_ops._lines(result))
    assert torch.equal(result, (x.float() * (1 + 2**-8)).bfloat16())


def test_a_large_mean_hides_no_small_variance() -> None:
    x = features((8, 32, 6, 6)) + 1e4
    layer = nn.BatchNorm2d(32, momentum=1.0)
    fused_ops.norm_pool_relu(x, layer)
    torch.testing.assert_close(layer.running_var.double(), x.double().var((0, 2, 3)), rtol=1e-3, atol=0)


@pytest.mark.parametrize("pool", [False, True])
def test_what_is_no_number_stays_so(pool: bool) -> None:
    """Or a loss that diverged would look like one that did not."""
    x = features((2, 32, 4, 4))
    x[1, 5, 2, 3] = torch.nan
    found = fused_ops.norm_pool_relu(x, norm(32), pool)
    assert found[:, 5].isnan().all() and not found[:, :5].isnan().any() and not found[:, 6:].isnan().any()


@pytest.mark.parametrize(("row", "column"), [(2, 2), (2, 3), (3, 2), (3, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling_keeps_what_is_no_number(row: int, column: int, dtype: torch.dtype) -> None:
    x = features((2, 32, 4, 4), dtype)
    x[1, 5, row, column] = torch.nan
    found = fused_ops.norm_pool_relu(x.requires_grad_(), None, pool=True)
    assert found.isnan().nonzero().tolist() == [[1, 5, 1, 1]]


def test_what_no_pooling_takes_gets_no_gradient() -> None:
    x = features((2, 32, 5, 4))
    for channel, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        x[0, channel, row, column] = -torch.inf
    fused_ops.norm_pool_relu(x.requires_grad_(), None, pool=True).sum().backward()
    assert (x.grad[x == -torch.inf] == 0).all() and (x.grad[:, :, 4] == 0).all() and x.grad.isfinite().all()


def test_one_row_cannot_be_pooled() -> None:
    with pytest.raises(RuntimeError, match="too small"):
        fused_ops.norm_pool_relu(features((2, 32, 1, 8)), norm(32), pool=True)


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_shortcut_need_not_learn_and_may_be_of_other_digits(learns: bool, dtype: torch.dtype) -> None:
    """A shortcut that needs no gradient shares the memory that its gradient would take."""
    x, layer = features((3, 32, 4, 6), torch.bfloat16).requires_grad_(), norm(32)
    shortcut = features((3, 32, 4, 6), dtype, seed=1).requires_grad_(learns)
    fused_ops.norm_pool_relu(x, layer, shortcut=shortcut).sum().backward()
    exact, added = (each.detach().double().requires_grad_() for each in (x, shortcut.bfloat16()))
    functional.relu(norm(32).double()(exact) + added).sum().backward()
    torch.testing.assert_close(x.grad.double(), exact.grad, rtol=2**-7, atol=1e-3)
    if learns:
        assert shortcut.grad.dtype == dtype
        torch.testing.assert_close(shortcut.grad.double(), added.grad)
    else:
        assert shortcut.grad is None


def test_a_norm_whose_weights_stay_hands_the_same_gradient_on() -> None:
    gradients = []
    for learns in (True, False):
        x, layer = features((3, 32, 4, 6)).requires_grad_(), norm(32).requires_grad_(learns)
        fused_ops.norm_pool_relu(x, layer).pow(2).sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)


def test_a_gradient_may_lie_otherwise() -> None:
    x = features((3, 32, 4, 6)).requires_grad_()
    fused_ops.norm_pool_relu(x, norm(32)).flatten(1).pow(2).sum().backward()
    y = x.detach().double().requires_grad_()
    functional.relu(norm(32).double()(y)).flatten(1).pow(2).sum().backward()
    torch.testing.assert_close(x.grad.double(), y.grad, rtol=1e-4, atol=1e-4)


def test_pytorchs_layers_stay_where_the_loops_do_not_serve() -> None:
    x, layer = features((2, 32, 4, 4)), norm(32)
    assert fused_ops.can_fuse(x, layer)
    assert not fused_ops.can_fuse(x, norm(32).eval())
    assert not fused_ops.can_fuse(x.contiguous(), layer)
    assert not fused_ops.can_fuse(x.double(), layer)
    assert not fused_ops.can_fuse(x.to("meta"), layer)
    assert not fused_ops.can_fuse(x[:1, :, :1, :1].contiguous(memory_format=LAST), layer)
    assert not fused_ops.can_fuse(x, norm(32).bfloat16())
    assert not fused_ops.can_fuse(x, None) and not fused_ops.can_fuse(
        x, None, pool=True
    )  # nothing is to be learned
    assert fused_ops.can_fuse(features((2, 32, 4, 4)).requires_grad_(), None, pool=True)
    assert not fused_ops.can_fuse(features((2, 10, 4, 4)).requires_grad_(), None, pool=True)
    for options in ({"affine": False}, {"bias": False}, {"track_running_stats": False}, {"momentum": None}):
        assert not fused_ops.can_fuse(x, nn.BatchNorm2d(32, **options))
    with torch.no_grad():
        assert not fused_ops.can_fuse(x, layer)
    torch.set_num_threads(2)
    assert not fused_ops.can_fuse(x, layer)


@pytest.fixture
def no_numba(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where it is not installed, for a module that nobody has imported."""
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "softvote.ops.cpu_kernels")
    monkeypatch.delattr("softvote.ops.cpu_kernels")
    fused_ops._loops.cache_clear()
    yield
    fused_ops._loops.cache_clear()


def test_pytorchs_layers_stay_where_numba_is_missing(no_numba: None) -> None:
    x = features((2, 32, 4, 4))
    assert FusedSequential(norm(32), nn.ReLU())(x).grad_fn.name() == "ReluBackward0"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_lines_are_short_and_lose_no_pixel(shape: tuple[int, ...]) -> None:
    x = features(shape)
    lines = fused_ops._lines(x)
    assert lines.shape[2] % shape[1] == 0 and lines.shape[2] <= 1024
    assert (lines.reshape(-1) == x.permute(0, 2, 3, 1).reshape(-1).numpy()).all()
