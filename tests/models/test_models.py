"""softvote.models: every network of ours, and what create_model says of the others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from softvote.errors import UserError
from softvote.models import count_parameters, create_model, own_models
from softvote.models.layers import conv_bn_relu
from softvote.models.stn_cnn import STNCNN

PARAMETERS = {
    "basic_cnn": 44_426,
    "big_kernel_cnn": 857_930,
    "cnn": 871_530,
    "resnet5": 202_314,
    "stn_cnn": 436_762,
}
"""At 1 x 28 x 28 and 10 classes."""

# Sides at which each network still stands, and just does not; None where one pixel is enough.
SMALLEST = {
    "basic_cnn": (16, 15),
    "big_kernel_cnn": (4, 3),
    "cnn": (4, 3),
    "resnet5": (1, None),
    "stn_cnn": (18, 17),
}

own = pytest.mark.parametrize("name", own_models())


def built(name: str, outputs: int = 10, channels: int = 1, side: int = 28, **args: Any) -> Any:
    torch.manual_seed(0)
    return create_model(name, outputs, channels, (side, side), args)


def images(count: int, channels: int = 1, height: int = 28, width: int = 28) -> Tensor:
    return torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(1))


def test_the_tables_here_cover_every_network() -> None:
    assert sorted(PARAMETERS) == own_models() == sorted(SMALLEST)


@own
def test_parameter_count_is_exact_and_documented(name: str) -> None:
    import timm

    assert count_parameters(built(name)) == PARAMETERS[name]
    assert f"{PARAMETERS[name]:,} parameters" in (timm.model_entrypoint(name).__doc__ or "")


@own
@pytest.mark.parametrize(
    ("outputs", "channels", "height", "width"), [(10, 1, 28, 28), (37, 3, 40, 24), (2, 1, 33, 64)]
)
def test_other_sizes_channels_and_outputs(
    name: str, outputs: int, channels: int, height: int, width: int
) -> None:
    network = create_model(name, outputs, channels, (height, width))
    assert network.training
    found = network(images(3, channels, height, width))
    assert found.shape == (3, outputs) and found.dtype == torch.float32 and found.isfinite().all()


@own
def test_gradient_reaches_every_parameter(name: str) -> None:
    network = built(name)
    if isinstance(network, STNCNN):  # its last layer starts at zero and lets nothing through backwards
        nn.init.normal_(network.transformer.regressor[-1].weight, std=0.01)
    functional.cross_entropy(network(images(16)), torch.arange(16) % 10).backward()
    without = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@own
def test_rows_of_a_batch_are_independent_in_evaluation(name: str) -> None:
    network, batch = built(name).eval(), images(5)
    with torch.no_grad():
        torch.testing.assert_close(network(batch)[3:4], network(batch[3:4]), rtol=1e-4, atol=1e-5)


@own
def test_the_seed_decides_the_weights(name: str) -> None:
    first, second = built(name).state_dict(), built(name).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@own
def test_smallest_image(name: str) -> None:
    fits, too_small = SMALLEST[name]
    assert built(name, side=fits)(images(2, 1, fits, fits)).shape == (2, 10)
    if too_small is not None:
        with pytest.raises(
            UserError, match=rf"^model {name}: images of {too_small} x {too_small} are too small"
        ):
            built(name, side=too_small)


@own
def test_there_are_no_pretrained_weights_of_ours(name: str) -> None:
    with pytest.raises(UserError, match=rf"^model {name}: has no pretrained weights; leave pretrained out$"):
        built(name, pretrained=True)


@own
def test_an_argument_it_does_not_take(name: str) -> None:
    with pytest.raises(UserError, match=rf"^model {name}: cannot be built with .*nonsense") as caught:
        built(name, nonsense=3)
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


@pytest.mark.parametrize("name", ["basic_cnn", "big_kernel_cnn", "cnn"])
def test_pooling_before_relu_is_the_textbook_order(name: str) -> None:
    network, batch = built(name).eval(), images(4)
    with torch.no_grad():
        assert torch.equal(network.features(batch.clone()), textbook(network.features, batch.clone()))


def test_basic_cnn_is_lenet() -> None:
    """LeNet-5 as the textbook writes it, with the same weights, gives the same outputs."""
    network, batch = built("basic_cnn").eval(), images(4)
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
    network = built("resnet5").eval()
    same, wider = network.features[2], network.features[3]
    for block in (same, wider):
        nn.init.zeros_(block.body[-1].weight)  # batch norm's scale: the body then adds nothing
    with torch.no_grad():
        features = torch.rand(2, 32, 6, 6)
        torch.testing.assert_close(same(features), features)
        assert wider(features).shape == (2, 64, 3, 3)
        torch.testing.assert_close(wider(features), functional.relu(wider.shortcut(features)))


@pytest.mark.parametrize(("height", "width"), [(28, 28), (40, 25)])
def test_the_spatial_transformer_starts_as_the_identity(height: int, width: int) -> None:
    torch.manual_seed(0)
    network = STNCNN(img_size=(height, width)).eval()
    batch = images(3, 1, height, width)
    with torch.no_grad():
        torch.testing.assert_close(network.transformer(batch), batch, rtol=0, atol=1e-4)


def test_the_spatial_transformer_resamples_by_its_affine_map() -> None:
    network, batch = built("stn_cnn").eval(), images(2)
    with torch.no_grad():
        network.transformer.regressor[-1].bias[:] = torch.tensor([-1.0, 0, 0, 0, 1, 0])
        torch.testing.assert_close(network.transformer(batch), batch.flip(-1), rtol=0, atol=1e-4)


def test_the_spatial_transformer_keeps_its_digits_under_autocast() -> None:
    transformer = built("stn_cnn", side=64).transformer.eval()
    batch = images(2, 1, 64, 64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(transformer(batch), batch, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("name", "kind", "rates"), [
    ("cnn", nn.Dropout2d, [0.25, 0.25]), ("cnn", nn.Dropout, [0.5]), ("big_kernel_cnn", nn.Dropout, [0.5]),
])  # fmt: skip
def test_dropout_rates(name: str, kind: type[nn.Dropout], rates: list[float]) -> None:
    assert [layer.p for layer in built(name).modules() if type(layer) is kind] == rates


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
        built(name)
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
