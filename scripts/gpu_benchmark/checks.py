"""See that the device computes what the processor does, and that recorded steps learn."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from gpu_benchmark.cases import IMAGE
from softvote.compute.autotune import choose_compute_config
from softvote.compute.device import find_device, for_training
from softvote.compute.draws import SeedInMemory, draw_uniforms
from softvote.config.recipe import Member
from softvote.data.normalisation import Normalisation
from softvote.errors import UserError
from softvote.inference.network import Network, create_network
from softvote.seeds import uniforms
from softvote.task import Task
from softvote.training.cuda_graphs import StepGraphs
from softvote.training.learner import Learner
from softvote.training.rows import Split
from softvote.training.trainer import Trainer


def check_draws() -> list[str]:
    """See that the device draws what the processor draws; in words.

    Raises:
        UserError: it does not.
    """
    device, rows = torch.device(find_device()), np.arange(5000) * 977
    there = torch.from_numpy(rows).to(device)
    for seed in (0, 2**63 - 1, 1234567890123456789):
        drawn = draw_uniforms(SeedInMemory(seed, device), there, 40, device).cpu()
        if not torch.equal(drawn, torch.from_numpy(uniforms(seed, rows, 40))):
            raise UserError(f"draws on {device} differ from those of the processor")
    return [f"{device} draws the same bits as the processor"]


def check_learning(seconds: float) -> list[str]:
    """Train on digits that come with scikit-learn, with steps as they are and recorded; in words."""
    from sklearn.datasets import load_digits
    from torch.nn import functional

    digits, found = load_digits(), []
    images = torch.from_numpy(digits.images * (255 / 16)).float()[:, None]
    pixels = functional.interpolate(images, (28, 28), mode="bilinear").round().byte()
    labels = torch.from_numpy(digits.target).long()
    began = time.perf_counter()
    for name, facts in (("cnn", {}), ("cnn", {"schedule": {"name": "cosine"}, "ema": 0.9, "mixup": 0.2})):
        for recorded in (False, True):
            if time.perf_counter() - began > seconds:
                return [*found, "no time was left to see more of it learn"]
            member = Member.model_validate({"model": name, "augment": {"shift": 1}, "epochs": 4} | facts)
            accuracy = _learn(member, pixels, labels, recorded)
            schedule = member.schedule.name
            found.append(f"{name}, {schedule}, recorded {recorded}: accuracy in epoch 4 {accuracy:.2%}")
            if accuracy < 0.7:  # of images that are mixed in the second case
                found[-1] += ": IT DOES NOT LEARN"
    return found


def _learn(member: Member, pixels: Tensor, labels: Tensor, recorded: bool) -> float:
    torch.manual_seed(0)
    network: Network = create_network(member, Task(10), IMAGE)
    compute_config = choose_compute_config(
        network.model, (member.batch_size, *IMAGE), member.precision, member.memory_format, {}
    )
    compute_config.to_device(network.model)
    learner = Learner(member, network, compute_config, Normalisation.of(pixels), 0)
    if not recorded and compute_config.device == "cuda":
        learner.create_graphs = lambda label: StepGraphs(  # type: ignore[method-assign]
            torch.device("cuda"), learner.optimizer, None, label
        )
    with for_training(compute_config.device):
        state = Trainer(learner, f"check {recorded}").run(Split(pixels, labels, np.arange(len(labels))))
    return float(state.log[-1]["accuracy"])
