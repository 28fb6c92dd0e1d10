"""Where a network looks when it names a class, a tag or what a target is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from softvote.inference.loading import load_predictor
from softvote.inference.predictor import Predictor
from softvote.reporting.report.blocks import Block, Gallery, Paragraph, PictureCard, Tone
from softvote.reporting.report.gradcam import class_activation_maps, overlay
from softvote.reporting.report.images import encode_image
from softvote.reporting.report.questions import Question, list_questions
from softvote.reporting.report.section import LeftOutError, ReportData, needs_members, section
from softvote.storage.paths import FoldFolder
from softvote.task import TaskKind

_PICTURES = 12
_PICTURES_OF_SEVERAL = 6  # of each tag or target
_MOST_TARGETS = 6
_MOST_TAGS = 6
_HEADS: dict[TaskKind, str] = {"tags": "tags", "targets": "targets"}


@dataclass(frozen=True)
class _Look:
    """A picture to come: the row at a position of `rows`, and the output of the network that is explained."""

    position: int
    output: int
    caption: str
    is_right: bool


@section(
    "attention",
    "Where a network looks",
    "Does it look at what a person would look at?",
    needs_members,
    rank=140,
)
def build_attention(data: ReportData) -> Sequence[Block]:
    """Build Grad-CAM of the surest mistakes and of right answers, by networks that had not seen them."""
    name = _choose_member(data)
    oof = data.members[name].oof
    planned = dict(_plan_tags(data, oof) if data.task.kind == "tags" else _plan_answers(data, oof))
    looks = [look for part in planned.values() for look in part]
    if not looks:
        raise LeftOutError("no tag is named")
    maps = iter(_look(data, name, looks))
    galleries = [
        Gallery(
            [_draw(data, look, seen) for look, seen in zip(part, islice(maps, len(part)), strict=True)], title
        )
        for title, part in planned.items()
    ]
    note = (
        f"Grad-CAM (as HiResCAM, Draelos and Carin 2020) of a late feature map of {name}: bright is what "
        f"speaks for {'the tag' if data.task.kind == 'tags' else 'the answer it gave'}. Each image is shown "
        "to the network of the fold that left it out."
    )
    return [*(gallery for gallery in galleries if gallery.cards), Paragraph(note, "note")]


def _choose_member(data: ReportData) -> str:
    """The member of classes, tags or targets that has most to say in the vote."""
    weights = data.vote_record.weights if data.vote_record else {}
    head = _HEADS.get(data.task.kind, "softmax")
    fitting = [name for name in data.members if data.pipeline.members[name].head == head]
    if not fitting:
        raise LeftOutError(f"it is for members with head: {head}, and there are none")
    return max(fitting, key=lambda name: weights.get(name, 0.0))


def _plan_answers(data: ReportData, oof: NDArray[np.float32]) -> Iterator[tuple[str, list[_Look]]]:
    """The surest mistakes and some right answers, of each target where there are several."""
    questions = list_questions(data.scorer.space, oof, data.task.name(oof), data.labels)
    count = _PICTURES if len(questions) == 1 else _PICTURES_OF_SEVERAL
    for asked, block in list(zip(questions, data.task.blocks, strict=True))[:_MOST_TARGETS]:
        wrong, right = np.flatnonzero(~asked.right), np.flatnonzero(asked.right)
        surest = wrong[np.argsort(-asked.confidence[wrong], kind="stable")][:count]
        some = np.sort(np.random.default_rng(0).permutation(right)[:count])
        for title, positions in (("Surest mistakes", surest), ("Right answers, at random", some)):
            looks = [_look_at_answer(data, asked, block.start, position) for position in positions.tolist()]
            yield asked.title(title), looks


def _look_at_answer(data: ReportData, asked: Question, first: int, position: int) -> _Look:
    row, label, guess = data.rows[position], asked.labels[position], asked.guesses[position]
    caption = (
        f"row {row}, {asked.confidence[position]:.0%}\n"
        f"label {asked.classes[label]}, answer {asked.classes[guess]}"
    )
    return _Look(position, first + int(guess), caption, bool(asked.right[position]))


def _plan_tags(data: ReportData, oof: NDArray[np.float32]) -> Iterator[tuple[str, list[_Look]]]:
    """The tags that are named most surely where they are not, and of the surest tags the surest images."""
    named = oof >= 0.5
    wrong = np.argwhere(named & (data.labels == 0))
    surest = wrong[np.argsort(-oof[tuple(wrong.T)], kind="stable")][:_PICTURES]
    looks = [_look_at_tag(data, oof, position, tag) for position, tag in surest.tolist()]
    yield "Surest mistakes: tags that are named and are not there", looks
    order = np.argsort(-oof, axis=0, kind="stable")[:_PICTURES_OF_SEVERAL]
    sureness = np.take_along_axis(oof, order, axis=0).mean(axis=0)
    tags = [tag for tag in np.argsort(-sureness, kind="stable").tolist() if named[order[0, tag], tag]]
    for tag in tags[:_MOST_TAGS]:
        positions = [position for position in order[:, tag].tolist() if named[position, tag]]
        looks = [_look_at_tag(data, oof, position, tag) for position in positions]
        yield f"{data.classes[tag]}: named most surely", looks


def _look_at_tag(data: ReportData, oof: NDArray[np.float32], position: int, tag: int) -> _Look:
    is_there = bool(data.labels[position, tag])
    said = "" if is_there else ", not there"
    caption = f"row {data.rows[position]}, {oof[position, tag]:.0%}\n{data.classes[tag]}{said}"
    return _Look(position, tag, caption, is_there)


def _draw(data: ReportData, look: _Look, seen: NDArray[np.float32]) -> PictureCard:
    tone: Tone = "good" if look.is_right else "bad"
    picture = overlay(data.dataset.train_pixels[data.rows[look.position]], seen)
    return PictureCard(encode_image(picture), look.caption, tone)


def _look(data: ReportData, name: str, looks: Sequence[_Look]) -> list[NDArray[np.float32]]:
    """A map float32 (H, W) each, by the network of the fold that the row is in."""
    positions, outputs = np.array([(look.position, look.output) for look in looks]).T
    folds, maps = data.fold_of_row[positions], dict[int, NDArray[np.float32]]()
    for fold in np.unique(folds).tolist():
        which = np.flatnonzero(folds == fold)
        rows, shown = data.rows[positions[which]], outputs[which]
        addends = data.dataset.train_addends
        if addends is not None:
            shown = shown - addends[rows]
        predictor = _load(data.trainings[name], fold)
        found = class_activation_maps(predictor, data.dataset.train_pixels[rows], shown)
        maps |= dict(zip(which.tolist(), found, strict=True))
    return [maps[place] for place in range(len(looks))]


def _load(folders: Sequence[FoldFolder], fold: int) -> Predictor:
    folder = next((folder for folder in folders if folder.path.name == f"fold{fold}"), None)
    if folder is None:
        raise LeftOutError(f"no training of fold {fold} is there")
    return load_predictor(folder)
