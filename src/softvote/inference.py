"""From images to probabilities, with a network in hand or from a fold's folder alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from softvote.artifacts import FoldFolder, read_json, sha256_of
from softvote.augment import shifted_views
from softvote.errors import UserError
from softvote.execution import Execution, find_device
from softvote.heads import Head
from softvote.networks import create_network
from softvote.normalise import Normalisation
from softvote.recipe import Member

_PIXELS_A_BATCH = 1 << 19  # bounds the memory of a forward pass, whatever the image size


@dataclass(frozen=True)
class Predictor:
    """A trained network with all it needs to turn raw images into probabilities."""

    model: nn.Module
    head: Head
    normalisation: Normalisation
    execution: Execution
    shift: int = 0

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Predict.

        Args:
            images: uint8 (N, C, H, W).

        Returns:
            float32 (N, K), rows that sum to 1; the mean over the shifted views where there are any.
        """
        self.model.eval()
        batch = max(1, _PIXELS_A_BATCH // int(np.prod(images.shape[1:])))
        parts = [self._batch(torch.from_numpy(images[i : i + batch])) for i in range(0, len(images), batch)]
        return torch.cat(parts).numpy() if parts else np.zeros((0, self.head.num_outputs), np.float32)

    @torch.inference_mode()
    def _batch(self, images: Tensor) -> Tensor:
        views = shifted_views(images.to(self.execution.device), self.shift)
        return torch.stack([self._view(view) for view in views]).mean(0).cpu()

    def _view(self, images: Tensor) -> Tensor:
        with self.execution.autocast():
            outputs = self.model(self.execution.lay_out(self.normalisation(images.float())))
        return self.head.probabilities(outputs)


def load_predictor(folder: FoldFolder, shift: int | None = None) -> Predictor:
    """The predictor of a trained fold, from the recipe and the weights in its folder.

    Args:
        folder: of the fold.
        shift: pixels of test-time shifts; left out, as the recipe says.

    Raises:
        UserError: the folder holds no finished training, or weights that do not fit the recipe.
    """
    recipe = read_json(folder.recipe)
    if not recipe:
        raise UserError(f"{folder.path}: holds no finished training; run the train stage")
    member, image = Member.model_validate(recipe["member"]), tuple(recipe["image"])
    model, head = create_network(member, len(recipe["classes"]), image, with_weights=False)
    _load_weights(model, folder, recipe["weights_sha256"])
    ran = recipe["execution"]
    execution = Execution(find_device(), ran["precision"], ran["memory_format"])
    normalisation = Normalisation(tuple(recipe["mean"]), tuple(recipe["std"]))
    shift = member.tta.shift if shift is None else shift
    return Predictor(execution.place(model), head, normalisation, execution, shift)


def _load_weights(model: nn.Module, folder: FoldFolder, sha256: str) -> None:
    try:
        if sha256_of(folder.weights) != sha256:
            raise ValueError("not the file that was written")
        model.load_state_dict(load_file(folder.weights))
    except Exception as error:  # whatever the file holds, the remedy is the same
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{folder.weights}: cannot be used ({reason}); delete {folder.path} and run the train stage"
        ) from None
