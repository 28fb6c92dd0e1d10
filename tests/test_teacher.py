"""Soft targets from a teacher: what a student learns and never hears of, and what is said of test images."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import projects
import pytest
from conftest import Digits
from numpy.typing import NDArray
from projects import softvote
from safetensors.numpy import load_file

from softvote import stages
from softvote.data.dataset import Dataset
from softvote.data.split import ImageSplit
from softvote.inference.record import TrainingRecord
from softvote.scheduling.job import Job
from softvote.scheduling.status import read_status
from softvote.scheduling.worker import EngineServices, run_job
from softvote.stages.plan import Plan, make_plan
from softvote.storage.paths import FoldFolder
from softvote.tracking.ledger import read_ledger
from softvote.training.callbacks import Callback
from softvote.training.state import TrainingState

TRAIN, TEST = 80, 30
MEMBERS: dict[str, Any] = {
    "student": {"model": "cnn", "teacher": {"member": ["a", "b"], "weight": 0.7, "temperature": 2.0}},
    "a": {"model": "cnn", "epochs": 1},
    "b": {"model": "resnet5", "epochs": 1},
    "heir": {"model": "cnn", "init_from": "student", "epochs": 1},
}
TRANSDUCTIVE = ["--set", "members.student.teacher.test_rows=true"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """A project whose trainings are all done; no test changes its files."""
    root = projects.write_project(tmp_path_factory.mktemp("taught"), digits, TRAIN, TEST, members=MEMBERS)
    for stage in ("folds", "train"):
        assert softvote(root, stage, "tiny") == 0
    return root


@pytest.fixture
def own(root: Path, tmp_path: Path) -> Path:
    """A copy of the project."""
    return Path(shutil.copytree(root, tmp_path / "own"))


def plan_of(root: Path, *settings: str) -> Plan:
    return make_plan(stages.open_run(root, "tiny", settings))


def job_of(plan: Plan, label: str) -> Job:
    return next(job for job in plan.jobs if job.label == label)


def due(plan: Plan) -> set[str]:
    """Members with something to be trained."""
    return {status.job.member_name for status in plan.statuses() if status.due == "train"}


def weights_of(folder: FoldFolder) -> dict[str, NDArray[np.float32]]:
    return dict(load_file(folder.weights))


def assert_same(one: FoldFolder, other: FoldFolder, same: bool = True) -> None:
    theirs = weights_of(other)
    assert all(np.array_equal(value, theirs[name]) for name, value in weights_of(one).items()) == same


def elsewhere(job: Job, place: Path) -> Job:
    """The same training in another folder, with those that it builds on."""
    folder = replace(job.folder, path=place / job.label.replace(" ", "-"))
    folder.path.mkdir(parents=True, exist_ok=True)
    teachers = tuple(elsewhere(teacher, place) for teacher in job.teachers)
    source = job.source and elsewhere(job.source, place)
    return replace(job, folder=folder, teachers=teachers, source=source)


def run_all(job: Job, dataset: Dataset, folds: NDArray[np.int64]) -> Job:
    """Train a job after all that it builds on."""
    for source in job.sources:
        run_all(source, dataset, folds)
    run_job(job, dataset, folds)
    return job


# ---------------------------------------------------------------- what a student hears of


@pytest.mark.slow_but("plain")
@pytest.mark.parametrize("settings", [(), tuple(TRANSDUCTIVE[1:])], ids=["plain", "transductive"])
def test_no_label_that_validates_reaches_a_student_through_its_teachers(
    root: Path, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    """Whatever the labels of a fold are, its networks are the same to the bit."""
    plan = plan_of(root, *settings)
    job, dataset = job_of(plan, "heir fold 1"), plan.dataset
    labels = dataset.train_labels.copy()
    labels[plan.folds == 1] = (labels[plan.folds == 1] + 1) % 10
    changed = replace(dataset, train_labels=labels)
    here = run_all(elsewhere(job, tmp_path / "given"), dataset, plan.folds)
    there = run_all(elsewhere(job, tmp_path / "changed"), changed, plan.folds)
    assert_same(here.folder, there.folder)
    assert here.source is not None and there.source is not None
    assert_same(here.source.folder, there.source.folder)
    labels[plan.folds == 0] = (labels[plan.folds == 0] + 1) % 10  # which would be noticed
    other = run_all(elsewhere(job, tmp_path / "other"), replace(dataset, train_labels=labels), plan.folds)
    assert_same(here.folder, other.folder, same=False)


def test_a_teacher_that_counts_alone_leaves_labels_unread(root: Path, tmp_path: Path) -> None:
    settings = ("members.student.teacher.weight=1", "members.student.teacher.temperature=1")
    plan = plan_of(root, *settings)
    job = job_of(plan, "student fold 0")
    wrong = replace(plan.dataset, train_labels=(plan.dataset.train_labels + 3) % 10)
    folders = []
    for name, dataset in (("given", plan.dataset), ("wrong", wrong)):
        moved = replace(
            job, folder=elsewhere(job, tmp_path / name).folder
        )  # with the teachers that are there
        run_job(moved, dataset, plan.folds)
        folders.append(moved.folder)
    assert_same(*folders)


def test_a_student_learns_what_its_teachers_say(root: Path) -> None:
    plan = plan_of(root)
    student = job_of(plan, "student fold 0")
    assert [teacher.label for teacher in student.teachers] == ["a fold 0", "b fold 0"]
    record = TrainingRecord.read(student.folder.recipe)
    assert record is not None and record.images_per_epoch == np.count_nonzero(plan.folds != 0)
    assert record.source_weights_sha256 and record.inputs["teacher"]


def test_a_killed_student_goes_on_to_the_same_bits(root: Path, tmp_path: Path) -> None:
    plan = plan_of(root, *TRANSDUCTIVE[1:])
    job = job_of(plan, "student fold 0")
    undisturbed, stopped = (
        replace(job, folder=elsewhere(job, tmp_path / name).folder) for name in ("undisturbed", "stopped")
    )
    run_job(undisturbed, plan.dataset, plan.folds)

    class Kill(Callback):
        def on_step(self, state: TrainingState) -> None:
            if state.steps == 3:
                raise KeyboardInterrupt

    def observe(job: Job, left_out: ImageSplit) -> Callback:
        return Kill()

    with pytest.raises(KeyboardInterrupt):
        run_job(replace(stopped, observers=[observe]), plan.dataset, plan.folds, EngineServices(0.0))
    assert stopped.folder.checkpoint.is_file()
    run_job(stopped, plan.dataset, plan.folds)
    assert_same(undisturbed.folder, stopped.folder)


# ---------------------------------------------------------------- what is due


@pytest.mark.parametrize(
    ("setting", "retrained"),
    [
        ("members.a.epochs=2", {"a", "student", "heir"}),
        ("members.b.tta.shift=1", {"student", "heir"}),
        ("members.student.teacher.weight=0.2", {"student", "heir"}),
        ("members.student.teacher.member=b", {"student", "heir"}),
        ("members.student.teacher.test_rows=true", {"student", "heir"}),
        ("members.student.tta.shift=1", set()),
        ("members.heir.epochs=2", {"heir"}),
    ],
)
def test_what_learns_from_a_changed_training_is_due(root: Path, setting: str, retrained: set[str]) -> None:
    assert due(plan_of(root, setting)) == retrained


def test_other_test_images_are_another_training_where_they_are_learned(root: Path) -> None:
    for settings, differs in ((TRANSDUCTIVE[1:], True), ((), False)):
        plan = plan_of(root, *settings)
        other = replace(plan.dataset, test_fingerprint="another")
        jobs = stages.plan.plan(
            plan.run.pipeline,
            plan.run.workspace,
            plan.run.folder,
            other,
            stages.plan.folds.read_folds(
                plan.run.folder, stages.plan.inputs_of_folds(plan.run, plan.dataset)
            ),
        )
        before, now = ({job.label: job.training_fingerprint for job in each} for each in (plan.jobs, jobs))
        assert (before["student fold 0"] != now["student fold 0"]) == differs
        assert before["a fold 0"] == now["a fold 0"]


def test_a_teacher_is_trained_first_and_trained_again(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(own)
    for status in plan.statuses():
        status.job.folder.recipe.unlink()
    assert softvote(own, "train", "tiny", "--member", "student") == 1
    said = capsys.readouterr().err
    assert "members.student: learns from a fold 0, which is not trained; add --member a" in said
    assert "members.student: learns from b fold 0, which is not trained; add --member b" in said
    before = {job.label: weights_of(job.folder) for job in plan.jobs}
    assert softvote(own, "train", "tiny") == 0
    for job in plan_of(own).jobs:
        assert all(
            np.array_equal(value, before[job.label][name]) for name, value in weights_of(job.folder).items()
        )
    taught = job_of(plan_of(own), "student fold 0")
    teacher = taught.teachers[1].folder
    record = TrainingRecord.read(teacher.recipe)
    assert record is not None
    record.model_copy(update={"weights_sha256": "0" * 64}).write(teacher.recipe)  # as if others had come
    assert read_status(taught).reason == "what it starts from was trained again"


# ---------------------------------------------------------------- test images


def test_test_images_are_learned_and_it_is_said_everywhere(
    own: Path, capsys: pytest.CaptureFixture[str], known_throughput: None
) -> None:
    assert softvote(own, "check", "tiny", *TRANSDUCTIVE) == 0
    said = capsys.readouterr().out
    assert "\nstudent, transductive " in said and "taught by a and b " in said
    assert "\nheir, transductive " in said and "\na  " in said
    assert softvote(own, "train", "tiny", *TRANSDUCTIVE) == 0
    said = capsys.readouterr().out
    for name in ("student", "heir"):
        assert f"\n{name}, transductive " in said and f"\n{name}: transductive: its training, or one" in said
    assert "a, transductive" not in said
    plan = plan_of(own, *TRANSDUCTIVE[1:])
    for fold in (0, 1):
        record = TrainingRecord.read(job_of(plan, f"student fold {fold}").folder.recipe)
        assert record is not None
        assert record.images_per_epoch == np.count_nonzero(plan.folds != fold) + TEST
    for stage in ("ensemble", "submit", "leaderboard", "report"):
        assert softvote(own, stage, *(["tiny", *TRANSDUCTIVE] if stage != "leaderboard" else [])) == 0
        said = capsys.readouterr().out
        if stage == "ensemble":
            assert "\nstudent, transductive " in said and "\n= mean, transductive " in said
            assert "\na  " in said and "vote, transductive: mean" in said and "expected" not in said
        elif stage == "submit":
            assert "vote: mean, transductive" in said and "\ntransductive: networks learned these" in said
        elif stage == "leaderboard":
            assert "vote: mean, transductive" in said
    (entry,) = read_ledger(own / "submissions" / "ledger.csv")
    assert entry.folds == "2/2 + transductive" and entry.expected is None
    page = (own / "reports" / "tiny.html").read_text(encoding="utf-8")
    assert "student: transductive: its training" in page and "vote, transductive, rule mean" in page
    index = (own / "reports" / "index.html").read_text(encoding="utf-8")
    assert ", transductive" in index
    assert softvote(own, "submit", "tiny", "--member", "a", *TRANSDUCTIVE) == 0  # which learned none
    assert "transductive" not in capsys.readouterr().out
    assert read_ledger(own / "submissions" / "ledger.csv")[-1].folds == "2/2"


def test_what_builds_on_a_student_needs_its_teachers_too(root: Path) -> None:
    """What kernels and trials take along, and what is marked."""
    pipeline = stages.open_run(root, "tiny", TRANSDUCTIVE[1:]).pipeline
    assert pipeline.with_sources(["heir"]) == ["heir", "student", "a", "b"]
    assert pipeline.with_sources(["b", "a"]) == ["b", "a"]
    assert pipeline.transductive == ["student", "heir"]


def test_without_test_images_nothing_is_marked(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert softvote(root, "train", "tiny") == 0
    assert "transductive" not in capsys.readouterr().out
    assert plan_of(root).run.pipeline.transductive == []


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"student": {"teacher": {"member": "c"}}}, "members.student.teacher.member: no member 'c'"),
        ({"student": {"teacher": {"member": ["a", "a"]}}}, "a member is named twice"),
        ({"student": {"teacher": {"member": "student"}}}, "is circular: student <- student"),
        ({"a": {"teacher": {"member": "heir"}}}, "a.teacher.member: is circular: a <- heir <- student <- a"),
        ({"student": {"teacher": {"member": "a", "weight": 0}}}, "teacher.weight"),
        ({"student": {"teacher": {"member": "a", "temperature": 0}}}, "teacher.temperature"),
        ({"student": {"head": "regression"}}, "student.teacher: is for head: softmax, digits, ordinal, "),
        ({"b": {"head": "regression"}}, "head: regression of b is measured on rows that validate"),
        ({"student": {"refit": True}}, "members.student.refit: starts from a, which has none"),
    ],
)  # fmt: skip
def test_what_cannot_be_taught_is_told_at_once(
    tmp_path: Path, digits: Digits, members: dict[str, Any], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {name: each | members.get(name, {}) for name, each in MEMBERS.items()}
    projects.write_project(tmp_path, digits, TRAIN, TEST, members=changed)
    assert softvote(tmp_path, "check", "tiny") == 1
    said = capsys.readouterr().err
    assert problem in said and "Traceback" not in said
