"""Report: one page of a pipeline that people open first, and an index over all pipelines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softvote import __version__
from softvote.data.dataset import read_dataset
from softvote.ensembling.ensemble import read_vote
from softvote.ensembling.records import ScoreRecord
from softvote.errors import UserError
from softvote.reporting.report.experiments import Experiment, read_experiment
from softvote.reporting.report.index import list_competitions
from softvote.reporting.report.page import BuiltSection, attachments_of, build_sections, write_page
from softvote.reporting.report.section import ReportData
from softvote.reporting.tables import mark_transductive
from softvote.stages import Run, open_run
from softvote.stages.plan import LEARNED_TEST_IMAGES, Plan, make_plan, read_decision
from softvote.storage.files import write_text
from softvote.storage.paths import Workspace
from softvote.tracking.comparison import LeaderboardComparison, join_ledger
from softvote.tracking.leaderboard import read_leaderboard
from softvote.tracking.ledger import Entry, now, read_ledger
from softvote.tuning.records import TuneRecord
from softvote.words import counted


@dataclass(frozen=True)
class ReportResult:
    """Pages that were written.

    Attributes:
        page: of the pipeline.
        index: over all pipelines.
        attachments: files beside the page.
        left_out: sections that are not there, and why, a line each.
    """

    page: Path
    index: Path
    attachments: tuple[Path, ...]
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        wrote = [f"wrote {path}" for path in (self.page, *self.attachments, self.index)]
        return "\n".join([*(f"left out: {line}" for line in self.left_out), *wrote])


def run(run: Run) -> ReportResult:
    """Write a pipeline's page and the index.

    Members that are not trained as the pipeline says now are left out, and the page says so.

    Raises:
        UserError: no data, no folds, nothing trained, a damaged ledger, or a file that cannot be written.
    """
    plan = make_plan(run)
    ledger = read_ledger(run.workspace.ledger)
    experiments = _list_experiments(run, ledger)
    data = _gather(plan, experiments, ledger)
    sections, folder = build_sections(data), run.workspace.reports
    page, written = run.workspace.report(run.name), []
    for attachment in attachments_of(sections):
        written.append(folder / f"{run.name}-{attachment.suffix}")
        write_text(written[-1], attachment.text)
    write_page(page, "page.html", **_describe(data, sections))
    index = _write_index(run.workspace, experiments)
    left_out = [f"{built.section.title}: {built.left_out}" for built in sections if built.left_out]
    return ReportResult(page, index, tuple(written), tuple(left_out))


def _gather(plan: Plan, experiments: list[Experiment], ledger: list[Entry]) -> ReportData:
    run, ensemble = plan.run, plan.run.pipeline.ensemble.name
    names = [name for name in run.pipeline.voters if plan.is_current(name)]
    if not names:
        raise UserError.at(
            run.folder.path, "no member is trained as the pipeline says now", "run the train stage"
        )
    voted = len(names) == len(run.pipeline.voters) and plan.is_current(ensemble)
    current = [*names, *([ensemble] if voted else [])]
    competition, search = run.pipeline.competition.name, _read_search(run)
    return ReportData(
        name=run.name,
        pipeline=run.pipeline,
        dataset=plan.dataset,
        folds=plan.folds,
        scorer=plan.scorer,
        members={name: plan.predictions(name) for name in names},
        trainings={name: [job.folder for job in plan.jobs_of(name)] for name in names},
        vote=plan.predictions(ensemble) if voted else None,
        vote_record=read_vote(run.folder.predictions(ensemble)) if voted else None,
        vote_scores=_read_scores(run, ensemble) if voted else None,
        unfinished=[name for name in run.pipeline.voters if name not in names],
        experiments=[each for each in experiments if each.competition == competition],
        given_labels=_read_given_labels(plan),
        search=search,
        search_note=_describe_other_rows(plan, search),
        transductive=plan.transductive_among(names),
        settled=plan.settled_note,
        decisions={name: read_decision(run, name) for name in current},
        scores={name: record for name in current if (record := _read_scores(run, name))},
        leaderboard=_find_leaderboard(run, ledger),
    )


def _read_scores(run: Run, voter: str) -> ScoreRecord | None:
    return ScoreRecord.read(run.folder.predictions(voter).scores)


def _read_given_labels(plan: Plan) -> NDArray[np.int64] | None:
    """The training labels as the competition gives them, where the pipeline corrects some."""
    competition = plan.run.pipeline.competition
    if competition.corrections is None:
        return None
    as_given = competition.model_copy(update={"corrections": None})
    return read_dataset(as_given, plan.run.workspace).train_labels


def _read_search(run: Run) -> TuneRecord | None:
    """The search of this pipeline, or the one that it has its values from."""
    tuned = run.pipeline.tuned
    own = TuneRecord.read(run.folder.tune.record)
    return own or (TuneRecord.read(run.workspace.pipeline(tuned.pipeline).tune.record) if tuned else None)


def _describe_other_rows(plan: Plan, search: TuneRecord | None) -> str:
    """What is said of trials that were scored on other folds, or other labels, than there are now."""
    if search is None or search.table == plan.folds_fingerprint:
        return ""
    return (
        f"These trials of {search.pipeline} were scored when its folds were others: other rows, labels or "
        "folds than the pipeline has now. Search anew before you go by them."
    )


def _find_leaderboard(run: Run, ledger: list[Entry]) -> LeaderboardComparison | None:
    competition = run.pipeline.competition
    entries = [entry for entry in ledger if entry.competition == competition.name]
    board = [row for row in read_leaderboard(run.workspace.leaderboard) if row[0] == competition.name]
    shares, rows = {competition.name: competition.public_share}, competition.hidden_test_rows
    return next(iter(join_ledger(entries, board, shares, {competition.name: rows} if rows else {})), None)


def _list_experiments(run: Run, ledger: list[Entry]) -> list[Experiment]:
    """Every pipeline of the workspace that voted or was submitted, this one as it is now."""
    newest = {entry.pipeline: entry for entry in ledger if not entry.settings}
    names = [path.stem for path in sorted(run.workspace.pipelines.glob("*.yaml"))]
    found = []
    for name in dict.fromkeys([*names, run.name]):
        try:
            opened = run if name == run.name else open_run(run.workspace.root, name)
        except UserError:  # a pipeline that is being written does not hide the others
            continue
        base = _name_base(opened)
        found.append(read_experiment(name, opened.pipeline, opened.folder, newest.get(name), base))
    return [each for each in found if each is not None]


def _name_base(run: Run) -> str:
    """The name of the pipeline that a file extends; that of a competition may be called the same."""
    extended = (run.file.parent / f"{run.pipeline.extends}.yaml").resolve()
    pipeline = run.workspace.pipeline_file(extended.stem).resolve()
    return extended.stem if run.pipeline.extends and extended == pipeline else ""


def _describe(data: ReportData, sections: list[BuiltSection]) -> dict[str, object]:
    """What the page's template is filled with."""
    competition, dataset = data.pipeline.competition, data.dataset
    trained = len(data.pipeline.folds.trained)
    tiles = []
    scores, vote = data.vote_scores, data.vote_record
    if scores and vote and scores.accuracy:
        voter = mark_transductive(data.pipeline.ensemble.name, bool(data.transductive))
        rule = f"{voter}, rule {vote.rule}"
        title = data.scorer.metric.title
        tiles.append((f"cross-validation, {title}", str(scores.headline), rule))
        if scores.log_loss and data.scorer.metric.name != "log_loss":
            tiles.append(("log loss", str(scores.log_loss), f"{counted(len(data.rows), 'out-of-fold row')}"))
    of = counted(data.pipeline.folds.count, "fold")
    tiles.append(("members", f"{len(data.members)}", f"{trained} of {of} each"))
    image = competition.image
    size = f"{image.height} × {image.width}, {'grey' if image.channels == 1 else 'colour'}"
    rows = f"{len(dataset.train_pixels):,} + {len(dataset.test_pixels):,}"
    tiles.append(("training + test images", rows, size))
    warnings = []
    if data.unfinished:
        warnings.append(f"Not trained as the pipeline says now, and left out: {', '.join(data.unfinished)}.")
    if data.transductive:
        warnings += [f"{name}: {LEARNED_TEST_IMAGES}." for name in data.transductive]
    if data.settled:
        warnings.append(f"{data.settled[:1].upper()}{data.settled[1:]}.")
    return {
        "name": data.name,
        "subtitle": f"{competition.name} · {len(data.classes)} {_kind_of(data)}",
        "tiles": tiles,
        "sections": sections,
        "warnings": warnings,
        "store": data.pictures.entries,
        "footer": f"softvote {__version__}, {now()}",
    }


def _kind_of(data: ReportData) -> str:
    return {"classes": "classes", "ordered": "ordered classes", "tags": "tags"}.get(
        data.task.kind, "labels of targets"
    )


def _write_index(workspace: Workspace, experiments: list[Experiment]) -> Path:
    competitions = list_competitions(experiments, lambda name: workspace.report(name).is_file())
    subtitle = counted(
        len(experiments), "pipeline that voted or was submitted", "pipelines that voted or were submitted"
    )
    listed = {workspace.report_index.stem, *(each.name for each in experiments)}
    content = {
        "subtitle": subtitle,
        "competitions": competitions,
        "pages": sorted({path.stem for path in workspace.reports.glob("*.html")} - listed),
        "footer": f"softvote {__version__}, {now()}",
    }
    write_page(workspace.report_index, "index.html", **content)
    return workspace.report_index
