"""Whether a member fits its competition: head, test-time views, augmentation, extra rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from softvote.config.augment import Augment
from softvote.config.competition import Competition
from softvote.config.image import Image
from softvote.config.recipe import Member
from softvote.config.registry import HEADS_PLACE, load_registry
from softvote.config.views import Box, Crop, TestTime
from softvote.errors import Problem


def find_misfits_of_member(member: Member, competition: Competition) -> Iterator[Problem]:
    """Find what a member asks of labels and images that they do not give; problems name its keys."""
    hidden, extra = competition.hidden_digits, member.extra_train
    yield from _views_that_do_not_fit(member, competition)
    yield from find_changes_that_do_not_fit("augment", member.augment, competition.image)
    yield from find_changes_that_do_not_fit("tta", member.tta, competition.image)
    head = load_registry(HEADS_PLACE)[member.head]
    yield from member.misfits_of_weights(competition.task, competition.classes)
    misfits = member.misfits_of_head(competition.task.kind)
    yield from misfits
    if any(problem.where == "head" for problem in misfits):
        return
    if head.needs_numbers and isinstance(competition.labels, list) and not competition.ordered:
        yield Problem("head", f"{member.head} needs labels that are numbers, not names", "use softmax")
    if member.curves and competition.labels is None:
        yield Problem("curves", "show accuracy, which is for one label per image", "leave it out")
    if head.needs_hidden_digits and hidden is None:
        yield Problem(
            "head", f"{member.head} needs to know how many digits hide", "set competition.hidden_digits"
        )
    elif head.needs_known_digits and hidden != 1 and not (extra and extra.digits):
        yield Problem(
            "head", f"{member.head} learns from rows whose digits are known", "give extra_train with digits"
        )
    if member.glyphs_from and ((hidden or 0) < 2 or competition.addend or competition.image.channels != 1):
        yield Problem(
            "glyphs_from",
            "composes grey images of several hidden digits, and there are none here",
            "leave it out",
        )
    if extra and extra.digits and hidden is None:
        yield Problem(
            "extra_train.digits", "mean nothing here", "set competition.hidden_digits, or leave them out"
        )


def _views_that_do_not_fit(member: Member, competition: Competition) -> Iterator[Problem]:
    image, view = competition.image, member.view
    if isinstance(view, Crop) and view.size > (side := min(image.height, image.width)):
        yield Problem("view.size", f"{view.size} is more than the {side} pixels of the images", "use fewer")
    if isinstance(view, Box) and view.width > image.width:
        yield Problem(
            "view.width", f"{view.width} is more than the {image.width} pixels of the images", "use fewer"
        )


def find_changes_that_do_not_fit(
    key: str, changes: Augment | TestTime | None, image: Image
) -> Iterator[Problem]:
    """What `augment` or `tta` of a member cannot do to images; the place is a key of the member."""
    for problem in changes.find_misfits(image.channels, image.height, image.width) if changes else ():
        yield replace(problem, where=f"{key}.{problem.where}")
