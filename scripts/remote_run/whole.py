"""The most of a pipeline that is whole where not all of it was trained."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softvote.stages import Run


def whole_part(run: Run) -> list[str] | None:
    """The settings under which all of a pipeline is trained: fewer folds, members or repeats, no refit.

    Of the choices that there are, the one with the most trainings; of as many, that of more members.

    Returns:
        none where it is as it stands; None where not even one member has learned the first fold.
    """
    from softvote.stages.plan import make_plan

    done = {
        (status.job.member_name, status.job.fold, status.job.repeat)
        for status in make_plan(run).statuses()
        if status.is_done
    }
    folds = run.pipeline.folds.trained
    choices = [(count, _whole_members(run, done, folds[:count])) for count in range(1, len(folds) + 1)]
    count, names = max(choices, key=lambda choice: (choice[0] * len(choice[1]), len(choice[1])))
    voters = [name for name in run.pipeline.voters if name in names]
    if not voters:
        return None
    settings = [f"folds.train={count}"] if count < len(folds) else []
    return settings + _without(run, names, voters) + _less_of(run, done, names, folds[:count])


Done = set[tuple[str, int, int]]
"""Member, fold and repeat of trainings."""


def _whole_members(run: Run, done: Done, folds: list[int]) -> list[str]:
    """The members that have learned all of these folds, and what they start from too."""
    names = [name for name in run.pipeline.members if all((name, fold, 0) in done for fold in folds)]
    while lost := [name for name in names if not set(names).issuperset(run.pipeline.members[name].sources)]:
        names = [name for name in names if name not in lost]
    return names


def _without(run: Run, names: list[str], voters: list[str]) -> list[str]:
    """The settings that leave out all members but these."""
    dropped = [name for name in run.pipeline.members if name not in names]
    settings = [f"members.{name}=null" for name in dropped]
    ensemble = run.pipeline.ensemble
    if dropped and ensemble.members:
        settings.append(f"ensemble.members=[{','.join(voters)}]")
    if dropped and ensemble.shares:
        settings.append("ensemble.shares=null")
    return settings


def _less_of(run: Run, done: Done, names: list[str], folds: list[int]) -> list[str]:
    """The settings that leave out repeats and refits that were not reached."""
    from softvote.scheduling.job import REFIT

    settings = list[str]()
    for name in names:
        member = run.pipeline.members[name]
        repeats = list(
            takewhile(lambda r, n=name: all((n, fold, r) in done for fold in folds), range(member.repeats))
        )
        if len(repeats) < member.repeats:
            settings.append(f"members.{name}.repeats={len(repeats)}")
        if member.refit and (name, REFIT, 0) not in done:
            settings.append(f"members.{name}.refit=false")
    return settings
