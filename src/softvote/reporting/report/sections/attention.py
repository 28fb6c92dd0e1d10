"""Where a network looks when it names a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from softvote.inference.loading import load_predictor
from softvote.inference.predictor import Predictor
from softvote.reporting.report.blocks import Block, Gallery, Paragraph, PictureCard, Tone
from softvote.reporting.report.gradcam import class_activation_maps, overlay
from softvote.reporting.report.images import encode_image
from softvote.reporting.report.section import (
    LeftOutError,
    ReportData,
    needs_members,
    needs_one_label,
    section,
)
from softvote.storage.paths import FoldFolder

_PICTURES = 12


@section(
    "attention",
    "Where a network looks",
    "Does it look at what a person would look at?",
    needs_members,
    needs_one_label,
    rank=140,
)
def build_attention(data: ReportData) -> Sequence[Block]:
    """Build Grad-CAM of the surest mistakes and of right answers, by networks that had not seen them."""
    name = _choose_member(data)
    oof = data.members[name].oof
    guesses, sureness = oof.argmax(axis=1), oof.max(axis=1)
    wrong, right = np.flatnonzero(guesses != data.labels), np.flatnonzero(guesses == data.labels)
    surest = wrong[np.argsort(-sureness[wrong], kind="stable")][:_PICTURES]
    some = np.sort(np.random.default_rng(0).permutation(right)[:_PICTURES])
    positions = np.concatenate([surest, some])
    maps = _look(data, name, positions, guesses[positions])
    cards = []
    for position, seen in zip(positions.tolist(), maps, strict=True):
        row, label, guess = data.rows[position], data.labels[position], guesses[position]
        tone: Tone = "good" if label == guess else "bad"
        caption = (
            f"row {row}, {sureness[position]:.0%}\nlabel {data.classes[label]}, answer {data.classes[guess]}"
        )
        picture = overlay(data.dataset.train_pixels[row], seen)
        cards.append(PictureCard(encode_image(picture), caption, tone))
    note = (
        f"Grad-CAM (as HiResCAM, Draelos and Carin 2020) of a late feature map of {name}: bright is what "
        "speaks for the answer it gave. Each image is shown to the network of the fold that left it out."
    )
    galleries = [
        Gallery(cards[: len(surest)], "Surest mistakes"),
        Gallery(cards[len(surest) :], "Right answers, at random"),
    ]
    return [*(gallery for gallery in galleries if gallery.cards), Paragraph(note, "note")]


def _choose_member(data: ReportData) -> str:
    """The member of classes that has most to say in the vote."""
    weights = data.vote_record.weights if data.vote_record else {}
    softmax = [name for name in data.members if data.pipeline.members[name].head == "softmax"]
    if not softmax:
        raise LeftOutError("it is for members with head: softmax, and there are none")
    return max(softmax, key=lambda name: weights.get(name, 0.0))


def _look(
    data: ReportData, name: str, positions: NDArray[np.int64], answers: NDArray[np.int64]
) -> list[NDArray[np.float32]]:
    """A map float32 (H, W) per position, by the network of the fold that the row is in."""
    folds, maps = data.fold_of_row[positions], dict[int, NDArray[np.float32]]()
    for fold in np.unique(folds).tolist():
        which = np.flatnonzero(folds == fold)
        rows, shown = data.rows[positions[which]], answers[which]
        addends = data.dataset.train_addends
        if addends is not None:
            shown = shown - addends[rows]
        predictor = _load(data.trainings[name], fold)
        found = class_activation_maps(predictor, data.dataset.train_pixels[rows], shown)
        maps |= dict(zip(which.tolist(), found, strict=True))
    return [maps[place] for place in range(len(positions))]


def _load(folders: Sequence[FoldFolder], fold: int) -> Predictor:
    folder = next((folder for folder in folders if folder.path.name == f"fold{fold}"), None)
    if folder is None:
        raise LeftOutError(f"no training of fold {fold} is there")
    return load_predictor(folder)
