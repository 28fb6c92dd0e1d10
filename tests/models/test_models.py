"""softvote.models: every network of ours, and what create_model says of the others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from softvote.compute.precision import ComputeConfig
from softvote.errors import UserError
from softvote.models import (
    count_parameters,
    create_model,
    freeze_backbone,
    load_backbone,
    own_models,
    takes_addend,
    without_published_weights,
)
from softvote.models import published as published_weights
from softvote.models.adder_net import AdderNet
from softvote.models.crop_reader import CropReader
from softvote.models.digit_encoder import DigitEncoder
from softvote.models.doucet_resnet import NormedBlock
from softvote.models.encoder_decoder import EncoderDecoder
from softvote.models.layers import FeaturesThenClassifier, conv_bn_relu
from softvote.models.matuzas_senet import MaxAndMean, SqueezeExcite
from softvote.models.resnet5 import ResNet5
from softvote.models.resnet50_regressor import ResNet50Regressor
from softvote.models.stn_cnn import STNCNN
from softvote.models.sum_decoder import SumDecoder
from softvote.ops import fused_ops

Size = tuple[int, int]
ANY_SIZE = [(10, 1, 28, 28), (37, 3, 40, 24), (2, 1, 33, 64)]


class Facts(NamedTuple):
    """What a network is made for, and what else it takes."""

    parameters: int
    """At the size and outputs here and one channel."""
    size: Size = (28, 28)
    outputs: int = 10
    smallest: tuple[Size, Size | None] = ((1, 1), None)
    """The image at which it still stands, and one at which it just does not."""
    others: list[tuple[int, int, int, int]] = ANY_SIZE
    """Outputs, channels, height and width."""
    batch: int = 16
    """Images enough for a test; few where they cost much."""


def sides(fits: int, too_small: int) -> tuple[Size, Size]:
    return (fits, fits), (too_small, too_small)


DIGITS = (40, 168)
NETWORKS = {
    "adder_net": Facts(
        6_801_186, (28, 28), 19, sides(28, 27), [(20, 1, 28, 28), (19, 3, 31, 29), (2, 1, 30, 28)], batch=4
    ),
    "basic_cnn": Facts(44_426, smallest=sides(16, 15)),
    "big_kernel_cnn": Facts(857_930, smallest=sides(4, 3)),
    "cnn": Facts(871_530, smallest=sides(4, 3)),
    "crop_reader": Facts(
        1_339_082,
        DIGITS,
        40,
        ((28, 168), (27, 168)),
        [(20, 1, 28, 80), (40, 3, 33, 170)],
        batch=4,
    ),
    "deotte_cnn": Facts(
        326_410, smallest=sides(25, 24), others=[(10, 1, 28, 28), (37, 3, 40, 25), (2, 1, 33, 64)]
    ),
    "digit_encoder": Facts(
        21_484_520, DIGITS, 40, sides(32, 31), [(20, 1, 32, 64), (40, 3, 33, 32)], batch=2
    ),
    "doucet_resnet": Facts(4_732_682, smallest=sides(4, 3), batch=4),
    "encoder_decoder": Facts(
        21_503_785, DIGITS, 1, sides(32, 31), [(37, 1, 32, 64), (1, 3, 33, 32)], batch=2
    ),
    "matuzas_senet": Facts(1_188_748, smallest=sides(4, 3), batch=4),
    "multilabel_cnn": Facts(1_046_090, DIGITS, 10, sides(16, 15), batch=8),
    "resnet50_regressor": Facts(23_764_161, DIGITS, 1, batch=2),
    "resnet5": Facts(202_314),
    "simple_cnn_m3": Facts(1_124_180, smallest=sides(21, 20)),
    "simple_cnn_m5": Facts(1_128_180, smallest=sides(21, 20)),
    "slot_cnn": Facts(519_510, DIGITS, 40, sides(3, 2), [(20, 1, 28, 28), (40, 3, 33, 64)], batch=4),
    "slot_resnet5": Facts(811_878, DIGITS, 40, ((1, 1), None), [(20, 1, 28, 28), (40, 3, 33, 64)], batch=4),
    "stn_cnn": Facts(436_762, smallest=sides(18, 17)),
    "sum_cnn": Facts(2_645_157, DIGITS, 37, sides(10, 9), batch=8),
    "sum_decoder": Facts(19_265, (4, 10), 1, ((1, 10), None), [(37, 1, 2, 10), (1, 1, 5, 10)]),
}

# Millions of parameters, which take their time to be drawn.
LARGE = {"adder_net", "digit_encoder", "encoder_decoder", "resnet50_regressor"}

own = pytest.mark.parametrize("name", own_models())
small_ones_soon = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in own_models()]
)


def build(
    name: str, outputs: int | None = None, channels: int = 1, size: Size | None = None, **args: Any
) -> Any:
    """A network for what it is made for, or for something else."""
    if (outputs, channels, size, args) == (None, 1, None, {}):
        return deepcopy(as_made(name))  # quicker than building a large one again
    torch.manual_seed(0)
    facts = NETWORKS[name]
    return create_model(name, outputs or facts.outputs, channels, size or facts.size, args)


@cache
def as_made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return create_model(name, NETWORKS[name].outputs, 1, NETWORKS[name].size)


def outline(name: str) -> nn.Module:
    """A network as it is made, a large one without its weights, which take their time to be drawn."""
    if name not in LARGE:
        return as_made(name)
    with torch.device("meta"):
        return create_model(name, NETWORKS[name].outputs, 1, NETWORKS[name].size)


def images(count: int, channels: int = 1, height: int = 28, width: int = 28) -> Tensor:
    return torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(1))


def batch_for(name: str, count: int | None = None) -> Tensor:
    """Images of the size the network is made for."""
    facts = NETWORKS[name]
    return images(count or facts.batch, 1, *facts.size)


def test_the_table_here_covers_every_network() -> None:
    assert sorted(NETWORKS) == own_models()


@own
def test_parameter_count_is_exact_and_documented(name: str) -> None:
    parameters = NETWORKS[name].parameters
    assert count_parameters(outline(name)) == parameters
    assert f"{parameters:,} parameters" in (timm.model_entrypoint(name).__doc__ or "")


def test_parameter_count_at_half_the_width() -> None:
    assert count_parameters(build("doucet_resnet", width=64)) == 1_186_698


@pytest.mark.parametrize(("name", "outputs", "parameters"), [
    ("multilabel_cnn", 1, 1_044_929), ("adder_net", 20, 6_801_186), ("adder_net", 2, 6_801_186),
])  # fmt: skip
def test_parameter_count_at_other_outputs(name: str, outputs: int, parameters: int) -> None:
    assert count_parameters(build(name, outputs)) == parameters


SMALL = {
    "basic_cnn",
    "big_kernel_cnn",
    "cnn",
    "multilabel_cnn",
    "resnet5",
    "stn_cnn",
    "sum_cnn",
    "sum_decoder",
}


@pytest.mark.parametrize(
    ("name", "outputs", "channels", "height", "width"),
    [
        pytest.param(
            name, *other, marks=() if name in SMALL or other is facts.others[0] else pytest.mark.slow
        )
        for name, facts in NETWORKS.items()
        for other in facts.others
    ],
)
def test_other_sizes_channels_and_outputs(
    name: str, outputs: int, channels: int, height: int, width: int
) -> None:
    network = create_model(name, outputs, channels, (height, width))
    assert network.training
    found = network(images(3, channels, height, width))
    assert found.shape == (3, outputs) and found.dtype == torch.float32 and found.isfinite().all()


def outputs_of(network: nn.Module, batch: Tensor) -> Tensor:
    """All that a network learns by; one that looks for places is taught those."""
    if isinstance(network, CropReader):
        places = torch.tensor([[row, 4 + 30 * row] for row in range(network.digits)]).expand(
            len(batch), -1, -1
        )
        read, improbable = network.teacher_force(batch, places, places)
        return read + improbable
    outputs: Tensor = network(batch)
    return outputs


def let_gradients_through(network: nn.Module) -> None:
    """Some layers start at zero and let nothing through backwards until the first step."""
    if isinstance(network, STNCNN):
        nn.init.normal_(network.transformer.regressor[-1].weight, std=0.01)
    if isinstance(network, DigitEncoder):
        nn.init.normal_(network.classifier[-1].weight, std=0.01)
    if isinstance(network, EncoderDecoder):
        let_gradients_through(network.features)
    if isinstance(network, ResNet50Regressor):
        for name, parameter in network.named_parameters():
            if name.endswith("bn3.weight"):
                nn.init.ones_(parameter)


@small_ones_soon
def test_gradient_reaches_every_parameter(name: str) -> None:
    network = build(name)
    let_gradients_through(network)
    outputs = outputs_of(network, batch_for(name))
    (outputs * torch.randn(outputs.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    without = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


WITHOUT_LOOPS = {
    "basic_cnn", "deotte_cnn", "matuzas_senet", "multilabel_cnn", "resnet50_regressor", "sum_decoder"
}  # fmt: skip
"""Nothing goes in one there, or too few channels are pooled."""


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        pytest.param(name, precision, marks=pytest.mark.slow if name in LARGE or precision == "bf16" else ())
        for name in NETWORKS
        for precision in ("fp32", "bf16")
    ],
)
def test_one_thread_learns_what_pytorchs_layers_learn(
    name: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one thread some layers are loops of ours (softvote.ops.fused_ops)."""
    compute_config = ComputeConfig("cpu", precision, "channels_last")
    network = compute_config.to_device(build(name))
    most = 4 if precision == "fp32" else NETWORKS[name].batch  # few images round less evenly
    batch = compute_config.to_memory_format(batch_for(name, min(most, NETWORKS[name].batch)))
    let_gradients_through(network)
    target = torch.randn(len(batch), NETWORKS[name].outputs, generator=torch.Generator().manual_seed(2))
    threads, gradients, made = torch.get_num_threads(), [], list[Any]()
    loops = fused_ops.norm_pool_relu
    monkeypatch.setattr(fused_ops, "norm_pool_relu", lambda *a, **k: made.append(a) or loops(*a, **k))
    torch.set_num_threads(1)
    try:
        for serves in (fused_ops.can_fuse, lambda *_: False):
            monkeypatch.setattr(fused_ops, "can_fuse", serves)
            torch.manual_seed(0)
            with compute_config.autocast():
                outputs = outputs_of(network, batch)
            network.zero_grad()
            # To a target, because the squares of what ends in batch norm always have the same sum.
            (outputs.float() - target).square().sum().backward()
            gradients.append({key: p.grad.clone() for key, p in network.named_parameters()})
    finally:
        torch.set_num_threads(threads)
    assert bool(made) is (name not in WITHOUT_LOOPS)
    share = {"fp32": 3e-3, "bf16": 0.2}[precision]
    largest = max(gradient.norm() for gradient in gradients[1].values())
    for key, expected in gradients[1].items():  # a bias before a batch norm gets nothing but rounding
        off = (gradients[0][key] - expected).norm()
        assert off <= share * expected.norm() + 1e-2 * share * largest, key


@small_ones_soon
def test_rows_of_a_batch_are_independent_in_evaluation(name: str) -> None:
    network, batch = build(name).eval(), batch_for(name, 3)
    with torch.no_grad():
        torch.testing.assert_close(network(batch)[1:2], network(batch[1:2]), rtol=1e-4, atol=1e-5)


@small_ones_soon
def test_the_seed_decides_the_weights(name: str) -> None:
    first, second = as_made(name).state_dict(), as_made.__wrapped__(name).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@own
def test_classifier_and_backbone_are_told_apart_by_name(name: str) -> None:
    """What is not under `classifier` is the backbone; a sum decoder has no weights there."""
    parts = {key.split(".")[0] for key, _ in outline(name).named_parameters()}
    backbone = {
        "sum_decoder": set(),
        "stn_cnn": {"transformer", "features"},
        "crop_reader": {"locator"},
        "slot_cnn": {"features", "finder"},
        "slot_resnet5": {"features", "finder"},
    }
    assert parts == {"classifier"} | backbone.get(name, {"features"})


@small_ones_soon
def test_smallest_image(name: str) -> None:
    fits, too_small = NETWORKS[name].smallest
    assert build(name, size=fits)(images(2, 1, *fits)).shape == (2, NETWORKS[name].outputs)
    if too_small is not None:
        shown = f"{too_small[0]} x {too_small[1]}"
        with pytest.raises(UserError, match=rf"^model {name}: images of {shown} are too small"):
            build(name, size=too_small)


@pytest.mark.parametrize("name", sorted(set(own_models()) - {"resnet50_regressor"}))
def test_there_are_no_pretrained_weights_of_ours(name: str) -> None:
    with pytest.raises(UserError, match=rf"^model {name}: has no pretrained weights; leave pretrained out$"):
        build(name, pretrained=True)


@own
def test_an_argument_it_does_not_take(name: str) -> None:
    with pytest.raises(UserError, match=rf"^model {name}: cannot be built with .*nonsense") as caught:
        build(name, nonsense=3)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- what the layers are


def textbook(features: nn.Sequential, batch: Tensor) -> Tensor:
    """The same layers with each max pooling moved behind the ReLU that follows it."""
    layers = [layer for layer in features.modules() if not list(layer.children())]
    for first, second in [(i, i + 1) for i in range(len(layers) - 1)]:
        if isinstance(layers[first], nn.MaxPool2d) and isinstance(layers[second], nn.ReLU):
            layers[first], layers[second] = layers[second], layers[first]
    for layer in layers:
        batch = layer(batch)
    return batch


@pytest.mark.parametrize(
    "name",
    [
        "adder_net", "basic_cnn", "big_kernel_cnn", "cnn",
        pytest.param("digit_encoder", marks=pytest.mark.slow), "sum_cnn",
    ],
)  # fmt: skip
def test_pooling_before_relu_is_the_textbook_order(name: str) -> None:
    network, batch = build(name).eval(), batch_for(name, 2)
    with torch.no_grad():
        assert torch.equal(network.features(batch.clone()), textbook(network.features, batch.clone()))


def test_basic_cnn_is_lenet() -> None:
    """LeNet-5 as the textbook writes it, with the same weights, gives the same outputs."""
    network, batch = build("basic_cnn").eval(), images(4)
    weights = network.state_dict()

    def layer(group: str, index: int) -> tuple[Tensor, Tensor]:
        return weights[f"{group}.{index}.weight"], weights[f"{group}.{index}.bias"]

    with torch.no_grad():
        x = functional.max_pool2d(functional.relu(functional.conv2d(batch, *layer("features", 0))), 2)
        x = functional.max_pool2d(functional.relu(functional.conv2d(x, *layer("features", 3))), 2)
        x = functional.relu(functional.linear(x.flatten(1), *layer("classifier", 0)))
        x = functional.relu(functional.linear(x, *layer("classifier", 2)))
        torch.testing.assert_close(network(batch), functional.linear(x, *layer("classifier", 4)))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("pool", [False, True])
def test_conv_bn_relu(kernel: int, pool: bool) -> None:
    block, batch = conv_bn_relu(3, 8, kernel, pool), images(2, 3, 12, 10)
    found = block(batch)
    conv = block[0]
    expected = functional.conv2d(batch, conv.weight, conv.bias, padding=kernel // 2)
    expected = functional.relu(functional.batch_norm(expected, None, None, training=True))
    torch.testing.assert_close(found, functional.max_pool2d(expected, 2) if pool else expected)
    assert found.shape == ((2, 8, 6, 5) if pool else (2, 8, 12, 10))
    assert (found >= 0).all() and (found > 0).any()
    assert len([layer for layer in block if isinstance(layer, nn.BatchNorm2d)]) == 1


def test_residual_blocks_add_their_input() -> None:
    network = build("resnet5").eval()
    same, wider = network.features[2], network.features[3]
    for block in (same, wider):
        nn.init.zeros_(block.body[-1].weight)  # batch norm's scale: the body then adds nothing
    with torch.no_grad():
        features = torch.rand(2, 32, 6, 6)
        torch.testing.assert_close(same(features), features)
        assert wider(features).shape == (2, 64, 3, 3)
        torch.testing.assert_close(wider(features), functional.relu(wider.shortcut(features)))


def test_a_normed_block_adds_to_what_it_normalised() -> None:
    block, features = NormedBlock(4), 3 + 2 * torch.randn(8, 4, 5, 5)
    normed = functional.batch_norm(features, None, None, training=True)
    expected = normed + functional.conv2d(normed, block.conv.weight, block.conv.bias, padding=1).clamp_min(0)
    torch.testing.assert_close(block(features), expected)


def test_squeeze_and_excitation_weights_whole_channels() -> None:
    block, features = SqueezeExcite(32), torch.rand(3, 32, 4, 5) + 0.1
    hidden = functional.relu(block.excitation[0](features.flatten(2).mean(2)))
    weights = torch.sigmoid(block.excitation[2](hidden))
    torch.testing.assert_close((block(features) / features).amin((2, 3)), weights)
    torch.testing.assert_close((block(features) / features).amax((2, 3)), weights)


def test_maximum_and_mean_stand_side_by_side() -> None:
    features = torch.arange(24.0).view(1, 2, 3, 4)
    assert MaxAndMean()(features).tolist() == [[11.0, 23.0, 5.5, 17.5]]


@pytest.mark.parametrize(("height", "width"), [(28, 28), (40, 25)])
def test_the_spatial_transformer_starts_as_the_identity(height: int, width: int) -> None:
    torch.manual_seed(0)
    network = STNCNN(img_size=(height, width)).eval()
    batch = images(3, 1, height, width)
    with torch.no_grad():
        torch.testing.assert_close(network.transformer(batch), batch, rtol=0, atol=1e-4)


def test_the_spatial_transformer_resamples_by_its_affine_map() -> None:
    network, batch = build("stn_cnn").eval(), images(2)
    with torch.no_grad():
        network.transformer.regressor[-1].bias[:] = torch.tensor([-1.0, 0, 0, 0, 1, 0])
        torch.testing.assert_close(network.transformer(batch), batch.flip(-1), rtol=0, atol=1e-4)


def test_the_spatial_transformer_keeps_its_digits_under_autocast() -> None:
    transformer = build("stn_cnn", size=(64, 64)).transformer.eval()
    batch = images(2, 1, 64, 64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(transformer(batch), batch, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("name", "kind", "rates"), [
    ("cnn", nn.Dropout2d, [0.25, 0.25]), ("cnn", nn.Dropout, [0.5]), ("big_kernel_cnn", nn.Dropout, [0.5]),
])  # fmt: skip
def test_dropout_rates(name: str, kind: type[nn.Dropout], rates: list[float]) -> None:
    assert [layer.p for layer in build(name).modules() if type(layer) is kind] == rates


def describe_layers(module: nn.Module) -> str:
    """Layers in the words of papers, with each max pooling moved behind the ReLU that follows it."""
    layers = [layer for layer in module.modules() if not list(layer.children())]
    words = [word for layer in layers if (word := in_a_word(layer))]
    return " ".join(words).replace("MP2 ReLU", "ReLU MP2")


def in_a_word(layer: nn.Module) -> str:
    match layer:
        case nn.Conv2d():
            stride = "" if layer.stride == (1, 1) else f"/{layer.stride[0]}"
            return (
                f"C{layer.kernel_size[0]}{stride}:{layer.in_channels}>{layer.out_channels}:{layer.padding[0]}"
                + (":unbiased" if layer.bias is None else "")
            )
        case nn.Linear():
            return f"FC:{layer.in_features}>{layer.out_features}" + (
                ":unbiased" if layer.bias is None else ""
            )
        case nn.MaxPool2d(kernel_size=2, stride=2, padding=0):
            return "MP2:ceil" if layer.ceil_mode else "MP2"
        case nn.AvgPool2d(kernel_size=2, stride=2, padding=0):
            return "AP2"
        case nn.BatchNorm2d() | nn.BatchNorm1d():
            return "BN"
        case nn.Dropout():
            return f"DO{layer.p}"
        case nn.ReLU():
            return "ReLU"
        case nn.Flatten():
            return ""
    return str(layer)


PUBLISHED = {
    "multilabel_cnn": """
        C5:1>32:2 ReLU BN MP2 C3:32>64:1 ReLU BN MP2 C3:64>128:1 ReLU BN MP2 C3:128>256:1 ReLU BN MP2
        FC:5120>128 ReLU DO0.5 FC:128>10""",
    "digit_encoder": """
        C3:1>64:1 ReLU C3:64>64:1 ReLU MP2 DO0.1
        C3:64>128:1 ReLU C3:128>128:1 ReLU MP2 DO0.1
        C3:128>256:1 ReLU C3:256>256:1 ReLU MP2 DO0.1
        C3:256>512:1 ReLU C3:512>512:1 ReLU MP2 DO0.1
        C3:512>1024:1 ReLU C3:1024>1024:1 ReLU MP2 DO0.1
        FC:5120>512 ReLU DO0.1 FC:512>40""",
    "sum_decoder": "Distributions() FC:40>64 ReLU FC:64>128 ReLU FC:128>64 ReLU FC:64>1",
    "sum_cnn": "C3:1>32:0 ReLU MP2 C3:32>64:0 ReLU MP2 FC:20480>128 ReLU FC:128>37",
    "adder_net": """
        C3:1>32:1 ReLU C3:32>64:1 ReLU MP2 C3:64>128:1 ReLU C3:128>256:1 ReLU MP2
        C3:256>512:0 ReLU C3:512>1024:0 ReLU C3:1024>10:0
        FC:20>200 ReLU FC:200>400 ReLU FC:400>800 ReLU FC:800>20:unbiased""",
    "doucet_resnet": """
        C5:1>128:2 ReLU BN C3:128>128:1 MP2 BN C3:128>128:1 BN C3:128>256:1 ReLU MP2
        BN C3:256>256:1 BN C3:256>512:1 MP2:ceil ReLU BN C3:512>512:1
        BN AdaptiveAvgPool2d(output_size=1) FC:512>10""",
    "matuzas_senet": """
        C3:1>128:1 ReLU C3:128>128:1 ReLU C3:128>128:1 ReLU BN FC:128>4 ReLU FC:4>128 Sigmoid()
        C3:128>128:1 ReLU C3:128>128:1 ReLU C3:128>128:1 ReLU BN FC:128>4 ReLU FC:4>128 Sigmoid() AP2
        C3:128>128:1 ReLU C3:128>128:1 ReLU C3:128>128:1 ReLU BN FC:128>4 ReLU FC:4>128 Sigmoid() AP2
        MaxAndMean() FC:256>10:unbiased""",
    "deotte_cnn": """
        C3:1>32:0 ReLU BN C3:32>32:0 ReLU BN C5/2:32>32:2 ReLU BN DO0.4
        C3:32>64:0 ReLU BN C3:64>64:0 ReLU BN C5/2:64>64:2 ReLU BN DO0.4
        C4:64>128:0 ReLU BN DO0.4 FC:128>10""",
    "simple_cnn_m5": """
        C5:1>32:0:unbiased BN ReLU C5:32>64:0:unbiased BN ReLU C5:64>96:0:unbiased BN ReLU
        C5:96>128:0:unbiased BN ReLU C5:128>160:0:unbiased BN ReLU FC:10240>10:unbiased BN""",
}
"""Convolutions are kernel/stride:in>out:padding; a stride of 1 is left out."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_layers_are_the_published_ones(name: str) -> None:
    assert describe_layers(build(name)) == " ".join(PUBLISHED[name].split())


# ---------------------------------------------------------------- digits and their sums


def test_the_digit_encoder_starts_with_he_weights_and_believes_nothing() -> None:
    network = build("digit_encoder", size=(32, 32))
    *layers, last = (layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    assert not last.weight.any() and not last.bias.any()
    for layer in layers:
        expected = (2 / layer.weight[0].numel()) ** 0.5
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.1)
        assert not layer.bias.any()


def test_the_digit_encoder_tells_images_apart_from_the_start() -> None:
    network = build("digit_encoder", size=(32, 32)).eval()
    believes = nn.Sequential(network.features, network.classifier[:-1])
    with torch.no_grad():
        assert believes(images(4, 1, 32, 32)).std(0).mean() > 0.1


def test_the_sum_decoder_sees_a_softmax_for_each_digit() -> None:
    network, logits = build("sum_decoder").eval(), images(3, 1, 4, 10) * 3
    with torch.no_grad():
        expected = network.classifier(logits.softmax(-1).flatten(1))
        torch.testing.assert_close(network(logits), expected)
        torch.testing.assert_close(network(logits.flatten(1)), expected)
        shifted = logits + torch.tensor([5.0, -3.0, 0.0, 7.0])[:, None]
        torch.testing.assert_close(network(shifted), expected)
        assert not torch.allclose(network(logits.flip(-1)), expected)


@pytest.mark.parametrize(("channels", "size"), [(1, (10, 4)), (3, (4, 10))])
def test_the_sum_decoder_takes_rows_of_ten_only(channels: int, size: Size) -> None:
    shown = f"{size[0]} x {size[1]} x {channels}"
    with pytest.raises(UserError, match=rf"^model sum_decoder: images of {shown} .* are not rows of ten"):
        build("sum_decoder", channels=channels, size=size)


def test_encoder_and_decoder_fit_into_one_network() -> None:
    encoder, decoder = (
        build("digit_encoder", 20, size=(32, 48)).eval(),
        build("sum_decoder", size=(2, 10)).eval(),
    )
    both, batch = build("encoder_decoder", size=(32, 48), digits=2).eval(), images(2, 1, 32, 48)
    both.features.load_state_dict(encoder.state_dict())
    both.classifier.load_state_dict(decoder.state_dict())
    assert isinstance(both.classifier, SumDecoder)
    with torch.no_grad():
        logits = encoder(batch).view(2, 1, 2, 10)
        torch.testing.assert_close(both(batch), decoder(logits))


@pytest.mark.parametrize("digits", [0, -1])
def test_there_is_a_digit_at_least(digits: int) -> None:
    with pytest.raises(UserError, match=f"^model encoder_decoder: digits must be 1 or more, not {digits}$"):
        build("encoder_decoder", digits=digits)


# ---------------------------------------------------------------- image plus integer


def test_the_adder_joins_image_and_one_hot_integer() -> None:
    network, batch = build("adder_net").eval(), images(4)
    addends = torch.tensor([0, 9, 3, 3])
    with torch.no_grad():
        expected = network.classifier(torch.cat([network.features(batch), torch.eye(10)[addends]], dim=1))
        assert expected.shape == (4, 20)
        torch.testing.assert_close(network(batch, addends), expected[:, :19])
        assert torch.equal(network(batch), network(batch, torch.zeros(4, dtype=torch.int64)))
        assert not torch.allclose(network(batch, addends)[1], network(batch)[1], rtol=1e-3)
    assert network.features(batch).shape == (4, 10) and (network.features(batch) < 0).any()


def test_the_adder_under_autocast() -> None:
    network = build("adder_net").eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert network(images(2), torch.tensor([1, 2])).shape == (2, 19)


@pytest.mark.parametrize("hints", [{"return": nn.Module}, {}])
def test_what_a_function_says_it_returns_is_what_it_returns(
    hints: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a member could be given a head for images alone and a network that takes addends."""
    monkeypatch.setattr(timm.model_entrypoint("adder_net"), "__annotations__", hints)
    with pytest.raises(AssertionError, match=r"^def adder_net\(\) -> AdderNet: annotate it so"):
        build("adder_net", 19, size=(28, 29))


def test_only_the_adder_takes_an_integer() -> None:
    assert AdderNet.takes_addend and takes_addend(build("adder_net")) and not takes_addend(build("resnet5"))
    assert [name for name in own_models() if takes_addend(name)] == ["adder_net"]
    # What is fed features alone would feed them to its classifier without the integer.
    assert not isinstance(build("adder_net"), FeaturesThenClassifier)


@pytest.mark.parametrize("size", [(32, 32), (28, 40)])
def test_images_the_adder_cannot_bring_down_to_one_pixel(size: Size) -> None:
    with pytest.raises(
        UserError, match=f"^model adder_net: images of {size[0]} x {size[1]} are too large for this network$"
    ):
        build("adder_net", size=size)


def test_the_adder_has_twenty_outputs() -> None:
    with pytest.raises(UserError, match=r"^model adder_net: has 20 outputs and cannot tell 21 classes"):
        build("adder_net", 21)


# ---------------------------------------------------------------- ResNet50 and its weights


@pytest.fixture(scope="module")
def reference() -> Any:
    """torchvision's ResNet50 with a colour stem, a classifier and statistics that are not all alike."""
    torch.manual_seed(3)
    network = torchvision.models.resnet50()
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="module", params=["safetensors", pytest.param("pth", marks=pytest.mark.slow)])
def weights(
    request: pytest.FixtureRequest, reference: nn.Module, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The reference's checkpoint as a file; removed afterwards, for it is large."""
    file: Path = tmp_path_factory.mktemp("weights") / f"resnet50.{request.param}"
    if request.param == "pth":
        torch.save({"state_dict": reference.state_dict(), "epoch": 3}, file)
    else:
        save_file(reference.state_dict(), file)
    yield file
    file.unlink()


def pool_features(reference: Any, batch: Tensor) -> Tensor:
    """What the reference gives before its classifier."""
    x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(batch))))
    for layer in (reference.layer1, reference.layer2, reference.layer3, reference.layer4):
        x = layer(x)
    return x.mean((2, 3))


def agrees_with(reference: Any, network: Any) -> bool:
    """A grey image gives what the reference makes of the same image in three equal colours."""
    batch = images(2, 1, 40, 56)
    with torch.no_grad():
        expected = pool_features(reference, batch.expand(-1, 3, -1, -1))
        assert expected.std(0).mean() > 0.1  # not silent, else all would agree
        found = network.eval().features(batch)
        return torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_resnet50_on_one_channel() -> None:
    network = build("resnet50_regressor")
    stem = network.features.conv1
    assert (stem.in_channels, stem.kernel_size, stem.stride, stem.padding) == (1, (7, 7), (2, 2), (3, 3))
    assert stem.bias is None
    assert describe_layers(network.classifier) == "FC:2048>128 ReLU FC:128>1"


def test_a_file_of_weights_fits_and_its_stem_is_summed(reference: Any, weights: Path) -> None:
    network = build("resnet50_regressor", weights=str(weights))
    torch.testing.assert_close(network.features.conv1.weight, reference.conv1.weight.sum(1, keepdim=True))
    assert agrees_with(reference, network)
    assert not agrees_with(reference, build("resnet50_regressor"))


def test_three_channels_keep_the_stem(reference: Any, weights: Path) -> None:
    network = build("resnet50_regressor", channels=3, size=(28, 28), weights=str(weights), pretrained=True)
    assert torch.equal(network.features.conv1.weight, reference.conv1.weight)


def hollow(**changed: Tensor | None) -> dict[str, Tensor]:
    """A ResNet50 checkpoint of zeros that takes no room as a file, but for what is changed or left out."""
    with torch.device("meta"):
        whole = timm.create_model("resnet50").state_dict()
    state = {key: torch.zeros((), dtype=value.dtype).expand(value.shape) for key, value in whole.items()}
    return {key: value for key, value in (state | changed).items() if value is not None}


@pytest.mark.parametrize(("changed", "said"), [
    ({"fc.weight": torch.zeros(3, 2048), "fc.bias": None}, None),  # the classifier is of no use here
    ({"layer3.5.bn2.running_var": None}, r"Missing key\(s\) in state_dict: \"layer3.5.bn2.running_var\""),
    pytest.param(
        {"layer5.conv.weight": torch.zeros(2)}, r"Unexpected key\(s\) in state_dict: \"layer5.conv.weight\"",
        marks=pytest.mark.slow,
    ),
    ({"conv1.weight": torch.zeros(64, 3, 3, 3)}, "size mismatch for conv1.weight"),
    pytest.param(
        {"layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)}, "size mismatch for layer1.0.conv1.weight",
        marks=pytest.mark.slow,
    ),
])  # fmt: skip
def test_every_weight_of_the_file_must_fit(
    changed: dict[str, Tensor | None], said: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "resnet50.pth"
    torch.save(hollow(**changed), file)
    if said is None:
        assert not build("resnet50_regressor", weights=str(file)).features.conv1.weight.any()
        return
    with pytest.raises(
        UserError, match=rf"^model resnet50_regressor: weights {file}: do not fit a ResNet50 \(.*{said}"
    ) as caught:
        build("resnet50_regressor", weights=str(file))
    one_line_with_a_remedy(caught.value)


@pytest.mark.slow_but("resnet5")
@pytest.mark.parametrize("content", [{}, ResNet5().state_dict()], ids=["nothing", "resnet5"])
def test_weights_of_another_network(content: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth: do not fit a ResNet50") as caught:
        build("resnet50_regressor", weights=str(tmp_path / "other.pth"))
    one_line_with_a_remedy(caught.value)


@pytest.mark.slow_but("text-x.safetensors", "zip-x.pth")
@pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
@pytest.mark.parametrize("content", [b"", b"no weights\n" * 100, b"PK\x03\x04"], ids=["empty", "text", "zip"])
def test_damaged_weights(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"weights {tmp_path / name}: cannot be read \(.+\); ") as caught:
        build("resnet50_regressor", weights=str(tmp_path / name))
    one_line_with_a_remedy(caught.value)


@pytest.mark.slow_but("gone.pth")
@pytest.mark.parametrize("name", ["gone.pth", "."])
def test_weights_that_are_no_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"weights {tmp_path / name}: no such file; ") as caught:
        build("resnet50_regressor", weights=str(tmp_path / name))
    one_line_with_a_remedy(caught.value)


def one_line_with_a_remedy(error: UserError) -> None:
    assert "\n" not in str(error) and len(str(error)) < 500
    assert "model_args: {weights: PATH}, or leave" in str(error)


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A hub where nobody answers, and its cache, which is empty."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(published_weights, "hf_hub_url", lambda *names: "http://127.0.0.1:9/nobody")
    return tmp_path


@pytest.mark.parametrize("switched_off", [False, True])
def test_a_hub_that_cannot_be_reached(
    switched_off: bool, no_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", switched_off)
    began = time.monotonic()
    with pytest.raises(
        UserError, match=r"^model resnet50_regressor: no published weights: timm/resnet50.a1_in1k/"
    ) as caught:
        build("resnet50_regressor", pretrained=True)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("weights", ["safetensors"], indirect=True)
def test_weights_in_the_cache_need_no_hub(reference: Any, weights: Path, no_hub: Path) -> None:
    folder = no_hub / "models--timm--resnet50.a1_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (folder / "snapshots" / ("0" * 40) / "model.safetensors").symlink_to(weights)
    assert agrees_with(reference, build("resnet50_regressor", pretrained=True))


def test_what_comes_from_hub_or_file_is_left_out_of_a_trained_network(tmp_path: Path) -> None:
    args = {"pretrained": True, "weights": str(tmp_path / "gone.pth")}
    assert count_parameters(build("resnet50_regressor", **without_published_weights(args))) == 23_764_161


@pytest.mark.parametrize("which", ["checkpoint_path", "pretrained_cfg_overlay"])
def test_a_timm_network_leaves_its_file_out_as_well(which: str, tmp_path: Path) -> None:
    file, args = tmp_path / "weights.pth", dict[str, Any](drop_rate=0.25)
    if which == "checkpoint_path":
        args[which] = str(file)
    else:
        args |= {"pretrained": True, which: {"file": str(file), "custom_load": False, "interpolation": "x"}}
    torch.save(timm.create_model("resnet10t", num_classes=10, in_chans=1).state_dict(), file)
    create_model("resnet10t", 10, 1, (28, 28), args)
    file.unlink()
    with pytest.raises(UserError, match=r"^model resnet10t: cannot be built"):
        create_model("resnet10t", 10, 1, (28, 28), args)
    network = create_model("resnet10t", 10, 1, (28, 28), without_published_weights(args))
    assert network.drop_rate == 0.25
    if which == "pretrained_cfg_overlay":
        assert network.pretrained_cfg["interpolation"] == "x"


# ---------------------------------------------------------------- networks of timm, and mistakes


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050"])
def test_a_timm_backbone(name: str) -> None:
    network = create_model(name, 10, 1, (28, 28))
    assert network(images(2)).shape == (2, 10)


def test_arguments_reach_the_network() -> None:
    assert create_model("resnet18", 10, 1, (28, 28), {"drop_rate": 0.3}).drop_rate == 0.3


@pytest.mark.parametrize(
    ("name", "suggested"), [("cnnn", "cnn"), ("resnet_5", "resnet5"), ("stncnn", "stn_cnn")]
)
def test_an_unknown_name_lists_ours_and_suggests(name: str, suggested: str) -> None:
    with pytest.raises(UserError) as caught:
        create_model(name, 10, 1, (28, 28))
    message = str(caught.value)
    assert f"did you mean '{suggested}'?" in message and ", ".join(own_models()) in message
    assert "timm.list_models()" in message


def test_images_a_timm_backbone_cannot_take() -> None:
    with pytest.raises(UserError, match=r"^model vit_tiny_patch16_224: cannot take images of \(1, 28, 28\)"):
        create_model("vit_tiny_patch16_224", 10, 1, (28, 28))


def test_arguments_are_not_changed() -> None:
    args = {"drop_rate": 0.1}
    create_model("resnet18", 10, 1, (28, 28), args)
    assert args == {"drop_rate": 0.1}


def test_frozen_parameters_do_not_count() -> None:
    network = nn.Linear(3, 2)
    network.bias.requires_grad_(False)
    assert count_parameters(network) == 6


# ---------------------------------------------------------------- backbone and classifier

DISTILLED = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2}


def create_distilled(outputs: int) -> nn.Module:
    """A small network of timm's with two classifiers."""
    torch.manual_seed(outputs)
    return create_model("deit_tiny_distilled_patch16_224", outputs, 1, (32, 32), DISTILLED)


@pytest.mark.parametrize(
    ("network", "classifier"),
    [
        (lambda: build("cnn"), {"classifier"}),
        (lambda: create_model("resnet10t", 10, 1, (28, 28)), {"fc"}),
        (lambda: create_distilled(10), {"head", "head_dist"}),
    ],
    ids=["cnn", "resnet10t", "distilled"],
)
def test_a_frozen_network_learns_in_its_classifiers_alone(network: Any, classifier: set[str]) -> None:
    model = network()
    freeze_backbone(model)
    assert {key.split(".")[0] for key, p in model.named_parameters() if p.requires_grad} == classifier
    assert {key.split(".")[0] for key, part in model.named_modules() if part.training} == classifier


def test_both_classifiers_start_afresh_where_they_do_not_fit() -> None:
    source, model = create_distilled(4).state_dict(), create_distilled(10)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_backbone(model, source)
    for name, value in model.state_dict().items():
        expected = before if name.startswith(("head.", "head_dist.")) else source
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("classifier", ["gone", "", None, ()])
def test_freezing_all_is_refused(classifier: Any) -> None:
    network: Any = ResNet5()
    network.default_cfg = {"classifier": classifier}
    with pytest.raises(UserError, match=r"^freeze: leaves nothing to learn; leave it out$"):
        freeze_backbone(network)
