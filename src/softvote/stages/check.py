"""Check: what a pipeline would run, without running it."""

from __future__ import annotations

from collections import Counter

from softvote.competition import Competition
from softvote.dataset import load_dataset
from softvote.jobs import Job
from softvote.models import count_parameters
from softvote.networks import build_networks
from softvote.stages import Run
from softvote.stages.plan import make_plan
from softvote.tables import render


def run(run: Run) -> None:
    """Build every network, look for what is done already, and show both as a table.

    Raises:
        UserError: every network that cannot be built or cannot take the images.
    """
    competition, spec = run.pipeline.competition, run.pipeline.folds
    networks = build_networks(run.pipeline, list(run.pipeline.members), with_weights=False)
    jobs, missing = _jobs(run)
    done = Counter(job.member_name for job in jobs if job.state() == "done")
    image, classes = competition.image, competition.classes
    print(
        f"{run.name}: {competition.name}, images {image.height} x {image.width} x {image.channels}, "
        f"{len(classes)} classes {classes[0]}..{classes[-1]}{_hidden(competition)}, {competition.metric}"
    )
    lines = [
        [
            name,
            member.model,
            member.head,
            f"{count_parameters(networks[name].model):,}",
            str(member.epochs),
            f"{member.optimizer.name}, {member.schedule.name}",
            member.augment.amounts() if member.augment else "none",
            str(len(spec.trained) - done[name]),
            str(len(spec.trained)),
        ]
        for name, member in run.pipeline.members.items()
    ]
    header = ["member", "model", "head", "parameters", "epochs", "trained with", "augmentation", "due", "of"]
    print(render(header, lines), end="")
    trainings = len(lines) * len(spec.trained)
    epochs = sum(member.epochs for member in run.pipeline.members.values()) * len(spec.trained)
    print(f"{trainings} trainings on {len(spec.trained)} of {spec.count} folds, {epochs} epochs in all")
    print(f"then a vote of {len(run.pipeline.voters)}, rule: {run.pipeline.ensemble.rule}")
    if missing:
        print(f"before training: {missing}")


def _hidden(competition: Competition) -> str:
    if competition.hidden_digits is None:
        return ""
    digits = f"{competition.hidden_digits} hidden digit{'s' if competition.hidden_digits > 1 else ''}"
    return f" ({digits}{' and an addend' if competition.addend else ''})"


def _jobs(run: Run) -> tuple[list[Job], str]:
    """The jobs, and what is missing before they can be planned: data or folds.

    Raises:
        UserError: data that cannot be read, or folds that cannot be used.
    """
    folder = run.workspace.input(run.pipeline.competition.name)
    if not folder.is_dir():
        return [], f"put the competition's files into {folder}: make data ZIP=path/to/the.zip"
    if not run.folder.folds.is_file():
        load_dataset(run.pipeline.competition, run.workspace)
        return [], "make folds"
    return make_plan(run).jobs, ""
