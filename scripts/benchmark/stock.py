"""The stock loop, as people write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmark.cases import AUGMENT, Case
from benchmark.inputs import Images
from softvote.compute.device import find_device
from softvote.compute.precision import ComputeConfig
from softvote.data.normalisation import Normalisation
from softvote.inference.network import create_network
from softvote.inference.predictor import Predictor

STOCK_BATCH, STOCK_RATE, STOCK_WORKERS, STOCK_EPOCHS = 64, 1e-3, 2, 30


class PilImages(Dataset[tuple[Tensor, int]]):
    """A data set as notebooks write it: one PIL image at a time, transformed."""

    def __init__(self, images: Images, normalisation: Normalisation) -> None:
        height, width = images.pixels.shape[2:]
        zoom, shift = AUGMENT.scale, AUGMENT.shift
        self.images = images
        self.transform = transforms.Compose(
            [
                transforms.RandomAffine(
                    AUGMENT.rotate, translate=(shift / width, shift / height), scale=(1 - zoom, 1 + zoom)
                ),
                transforms.ToTensor(),
                transforms.Normalize(*(
                    [level / 255 for level in levels] for levels in (normalisation.mean, normalisation.std)
                )),
            ]
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.images.values)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images.pixels[row, 0])), int(self.images.values[row])


def as_people_write_it(model: nn.Module) -> nn.Module:
    """The network with each ReLU before the pooling that stands before it in ours: the same function."""
    for block in [module for module in model.modules() if isinstance(module, nn.Sequential)]:
        if [type(layer) for layer in block[1:]] == [nn.BatchNorm2d, nn.MaxPool2d, nn.ReLU]:
            block[2], block[3] = block[3], block[2]
    return model


def train_stock(
    case: Case, images: Images, epochs: int, seed: int, after_step: Callable[[int], None]
) -> Predictor:
    """The loop that people write; `after_step` is told how many images each step had."""
    torch.manual_seed(seed)
    device, normalisation = find_device(), Normalisation.of(torch.from_numpy(images.pixels))
    network = create_network(case.member, case.competition.task, images.pixels.shape[1:])
    model = as_people_write_it(network.model).to(device)
    left_over = len(images.values) % STOCK_BATCH == 1  # batch norm cannot learn from one image
    loader: DataLoader[Any] = DataLoader(
        PilImages(images, normalisation), STOCK_BATCH, shuffle=True, num_workers=STOCK_WORKERS,
        drop_last=left_over,
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), STOCK_RATE)
    model.train()
    for _ in range(epochs):
        for inputs, labels in loader:
            inputs, labels = inputs.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = network.head.loss(model(inputs), labels)  # cross-entropy; of sums where digits hide
            loss.backward()
            optimizer.step()
            after_step(len(labels))
    return Predictor(network, normalisation, ComputeConfig(device, "fp32", "contiguous"))
