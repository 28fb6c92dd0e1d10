"""softvote.scheduling.worker and softvote.scheduling: what is due, why, and doing it once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import projects
import pytest
import torch
from conftest import Digits
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from untrained import write_fold

from softvote import stages
from softvote.config.pipeline import Pipeline
from softvote.config.recipe import Member
from softvote.data.dataset import Dataset
from softvote.data.folds import FoldTable, read_folds
from softvote.data.split import ImageSplit
from softvote.ensembling.predictions import read_predictions, write_predictions
from softvote.errors import UserError
from softvote.scheduling import planner
from softvote.scheduling import worker as jobs_module
from softvote.scheduling.engine import Unfinished
from softvote.scheduling.job import Job
from softvote.scheduling.job_batch import JobBatch
from softvote.scheduling.planner import ensemble_fingerprint, plan
from softvote.scheduling.sequential import run_sequential
from softvote.scheduling.status import is_ready, read_status
from softvote.scheduling.worker import EngineServices, run_job
from softvote.stages.plan import inputs_of_folds, make_plan
from softvote.storage import records
from softvote.storage.files import read_json, write_json
from softvote.storage.fingerprints import sha256_of
from softvote.storage.paths import FoldFolder
from softvote.storage.snapshot import Snapshot
from softvote.task import Task

ROWS = 60


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> tuple[stages.Run, Dataset]:
    """A project whose jobs are all done; no test changes its files."""
    root = projects.write_project(tmp_path_factory.mktemp("jobs"), digits, ROWS, 20)
    for stage in ("folds", "train"):
        assert projects.softvote(root, stage, "tiny", *SHORT) == 0
    run = stages.open_run(root, "tiny", SHORT[1::2])
    return run, make_plan(run).dataset


SHORT = ["--set", "defaults.epochs=1"]


def plan_jobs(finished: tuple[stages.Run, Dataset], settings: list[str], **changed: Any) -> list[Job]:
    """The jobs with further settings, and perhaps another data set."""
    run = stages.open_run(finished[0].workspace.root, "tiny", [*SHORT[1::2], *settings])
    table = read_folds(finished[0].folder, inputs_of_folds(finished[0], finished[1]))
    return plan(run.pipeline, run.workspace, run.folder, replace(finished[1], **changed), table)


def due(jobs: list[Job]) -> dict[str, str]:
    """What is due, by job."""
    return {job.label: read_status(job).due for job in jobs if not read_status(job).is_done}


def due_and_why(job: Job) -> tuple[str, str]:
    """What is to be done of one job, and the reason."""
    status = read_status(job)
    return status.due, status.reason


def test_jobs_come_fold_by_fold(finished: tuple[stages.Run, Dataset]) -> None:
    jobs = plan_jobs(finished, [])
    assert [job.label for job in jobs] == ["cnn fold 0", "resnet5 fold 0", "cnn fold 1", "resnet5 fold 1"]
    assert len({job.training_fingerprint for job in jobs}) == 4


def test_repeats_come_after_all_folds(finished: tuple[stages.Run, Dataset]) -> None:
    jobs = plan_jobs(finished, ["members.cnn.repeats=2"])
    assert [job.label for job in jobs][4:] == ["cnn fold 0 repeat 1", "cnn fold 1 repeat 1"]
    assert len({job.training_fingerprint for job in jobs}) == 6
    assert due(jobs) == {"cnn fold 0 repeat 1": "train", "cnn fold 1 repeat 1": "train"}


def test_those_on_all_rows_come_last(finished: tuple[stages.Run, Dataset]) -> None:
    jobs = plan_jobs(finished, ["members.cnn.refit=true", "members.resnet5.repeats=2"])
    assert [job.label for job in jobs][4:] == [
        "resnet5 fold 0 repeat 1",
        "resnet5 fold 1 repeat 1",
        "cnn refit",
    ]
    assert "cnn refit" in due(jobs) and len(due(jobs)) == 3
    dataset, folds = finished[1], np.arange(ROWS) % 2
    assert jobs_module.training_rows(jobs[-1], dataset, folds).rows.tolist() == list(range(ROWS))


def test_finished_jobs_are_done(finished: tuple[stages.Run, Dataset]) -> None:
    assert due(plan_jobs(finished, [])) == {}


def test_curves_train_nothing_again_and_stand_in_the_log_of_what_is_trained(
    finished: tuple[stages.Run, Dataset], tmp_path: Path
) -> None:
    jobs = plan_jobs(finished, ["defaults.curves=true"])
    assert due(jobs) == {}
    job, folder = jobs[0], FoldFolder(tmp_path / "fold0")
    run_job(replace(job, folder=folder), finished[1], np.arange(ROWS) % 2)
    header, line = folder.log.read_text().splitlines()
    assert header.endswith(",validation_loss,validation_accuracy") and header.count(",") == line.count(",")
    assert "validation" not in job.folder.log.read_text()


CNN = {"cnn fold 0", "cnn fold 1"}
ALL = CNN | {"resnet5 fold 0", "resnet5 fold 1"}


@pytest.mark.parametrize(
    ("setting", "which", "reason"),
    [
        ("members.cnn.epochs=2", CNN, "changed: member.epochs 1 -> 2"),
        ("members.cnn.model=basic_cnn", CNN, 'changed: member.model "cnn" -> "basic_cnn"'),
        ("members.cnn.optimizer.lr=0.5", CNN, "changed: member.optimizer.lr 0.004 -> 0.5"),
        ("members.cnn.augment={rotate: 5}", CNN, 'changed: member.augment default -> {"rotate": 5.0}'),
        ("members.cnn.augment={scale_apart: true}", CNN,
         'changed: member.augment default -> {"scale_apart": true}'),
        ("members.cnn.view={name: crop, size: 6}", CNN,
         'changed: member.view default -> {"name": "crop", "size": 6}'),
        ("members.cnn.normalise=image", CNN, 'changed: member.normalise default -> "image"'),
        ("members.cnn.label_smoothing=0.1", CNN, "changed: member.label_smoothing default -> 0.1"),
        ("members.cnn.precision=bf16", CNN, 'changed: member.precision "fp32" -> "bf16"'),
        ("defaults.batch_size=16", ALL, "changed: member.batch_size 32 -> 16"),
        ("seed=5", ALL, "changed: pipeline_seed 0 -> 5"),
        ("competition.labels.last=10", ALL, "changed: classes"),
    ],
)  # fmt: skip
def test_a_changed_recipe_is_trained_again(
    finished: tuple[stages.Run, Dataset], setting: str, which: set[str], reason: str
) -> None:
    jobs = plan_jobs(finished, [setting])
    assert due(jobs) == dict.fromkeys(which, "train")
    assert {read_status(job).reason for job in jobs if job.label in which} == {reason}


ARGS: dict[str, Callable[[str], dict[str, Any]]] = {
    "weights": lambda file: {"weights": file},
    "checkpoint_path": lambda file: {"checkpoint_path": file},
    "overlay": lambda file: {"pretrained": True, "pretrained_cfg_overlay": {"file": file}},
}


@pytest.mark.parametrize("home", [False, True], ids=["path", "~"])
@pytest.mark.parametrize("args", ARGS.values(), ids=ARGS)
def test_the_content_of_a_file_of_weights_decides_the_weights(
    finished: tuple[stages.Run, Dataset],
    args: Callable[[str], dict[str, Any]],
    home: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "start.pth"
    setting = f"members.cnn.model_args={json.dumps(args('~/start.pth' if home else str(file)))}"
    keys = []
    for content in (None, "one", "other"):
        if content:
            file.write_text(content)
        job = plan_jobs(finished, [setting])[0]
        assert job.inputs.get("weights") == (sha256_of(file) if content else None)
        keys.append(job.training_fingerprint)
    assert len(set(keys)) == 3


def test_a_file_called_none_is_no_weights(
    finished: tuple[stages.Run, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "None").write_text("by chance")
    monkeypatch.chdir(tmp_path)
    assert "weights" not in plan_jobs(finished, [])[0].inputs


def test_several_changes_are_all_named(finished: tuple[stages.Run, Dataset]) -> None:
    jobs = plan_jobs(finished, ["members.cnn.epochs=2", "members.cnn.mixup=0.5"])
    assert read_status(jobs[0]).reason == "changed: member.epochs 1 -> 2; member.mixup default -> 0.5"


def test_changed_training_rows_are_trained_again(finished: tuple[stages.Run, Dataset]) -> None:
    jobs = plan_jobs(finished, [], train_fingerprint="other")
    assert due(jobs) == dict.fromkeys(ALL, "train")
    assert read_status(jobs[0]).reason == "changed: data"


def test_another_fold_table_is_trained_again(finished: tuple[stages.Run, Dataset]) -> None:
    run, dataset = finished
    jobs = plan(
        run.pipeline, run.workspace, run.folder, dataset, FoldTable(np.zeros(ROWS, np.int64), "other")
    )
    assert due(jobs) == dict.fromkeys(ALL, "train") and "folds" in read_status(jobs[0]).reason


@pytest.mark.parametrize(
    ("settings", "changed", "which"),
    [
        (["members.cnn.tta.shift=1"], {}, CNN),
        ([], {"test_fingerprint": "other"}, ALL),
    ],
)
def test_what_does_not_touch_the_weights_is_only_predicted_again(
    finished: tuple[stages.Run, Dataset], settings: list[str], changed: dict[str, Any], which: set[str]
) -> None:
    jobs = plan_jobs(finished, settings, **changed)
    assert due(jobs) == dict.fromkeys(which, "predict")
    reasons = {read_status(job).reason for job in jobs if job.label in which}
    assert reasons == {"test rows or test-time augmentation changed"}


def test_a_prediction_that_stops_leaves_no_scores_of_other_settings(
    finished: tuple[stages.Run, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(finished[0].workspace.root, tmp_path / "copy")
    plans = [make_plan(stages.open_run(root, "tiny", [*SHORT[1::2], *more])) for more in ([], SHIFTED)]
    before, shifted = (made.jobs[0] for made in plans)

    def stop(path: Path, content: dict[str, Any]) -> None:
        write_json(path, content)
        raise KeyboardInterrupt

    monkeypatch.setattr(records, "write_json", stop)
    with pytest.raises(KeyboardInterrupt):
        run_job(shifted, plans[1].dataset, plans[1].folds)
    monkeypatch.undo()
    assert read_json(before.folder.recipe)["member"]["tta"]["shift"] == 1
    assert read_status(before).due == read_status(shifted).due == "predict"
    run_job(before, plans[0].dataset, plans[0].folds)
    assert (read_status(before).due, read_status(shifted).due) == ("done", "predict")
    assert read_json(before.folder.recipe)["member"]["tta"]["shift"] == 0


SHIFTED = ["members.cnn.tta.shift=1"]


@pytest.mark.parametrize("setting", ["ensemble.rule=mean", "competition.solution=null", "folds.train=1"])
def test_what_does_not_touch_a_training_is_not_due(
    finished: tuple[stages.Run, Dataset], setting: str
) -> None:
    assert due(plan_jobs(finished, [setting])) == {}


def test_a_new_member_is_new(finished: tuple[stages.Run, Dataset]) -> None:
    jobs = plan_jobs(finished, ["members={cnn: {model: cnn}, third: {model: cnn}}"])
    assert due(jobs) == {"third fold 0": "train", "third fold 1": "train"}
    assert {read_status(job).reason for job in jobs if read_status(job).due == "train"} == {"new"}


@pytest.mark.parametrize(
    "setting",
    [
        "members.cnn.mixup=0.0",
        "members.cnn.head=softmax",
        "members.cnn.freeze=false",
        "members.cnn.schedule={name: one_cycle, warmup: 0.2}",
        "members.cnn.optimizer={name: adamw, lr: 0.004, weight_decay: 0.01}",
        "members.cnn.model_args={}",
    ],
)
def test_a_default_that_is_written_out_changes_nothing(
    finished: tuple[stages.Run, Dataset], setting: str
) -> None:
    assert due(plan_jobs(finished, [setting])) == {}


def test_an_identity_knows_nothing_of_what_a_recipe_leaves_as_it_is(
    finished: tuple[stages.Run, Dataset],
) -> None:
    """So that a recipe can learn new words, and trainings of before stay done."""
    job = plan_jobs(finished, [])[0]
    assert set(job.inputs["member"]) == {*projects.RECIPE, "model"}
    assert job.inputs["member"]["epochs"] == 1 and "init_from" not in job.inputs
    # A default of the recipe is not the default of its part: this optimizer differs from both.
    other = plan_jobs(finished, ["members.cnn.optimizer={name: adamw, lr: 0.001}"])[0]
    plain = plan_jobs(finished, ["members.cnn.optimizer={name: adamw, lr: 0.002}"])[0]
    assert len({job.training_fingerprint, other.training_fingerprint, plain.training_fingerprint}) == 3


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("optimizer={name: adamw}", "optimizer={name: adamw, lr: 0.002}"),
        ("optimizer={name: adam}", "optimizer={name: adamw}"),
        ("optimizer={name: sgd}", "optimizer={name: adamw}"),
        ("schedule={name: constant}", "schedule={name: cosine}"),
        ("schedule={name: one_cycle}", "schedule={name: cosine}"),
        ("augment={}", "augment={rotate: 1}"),
        ("augment={}", "model_args={}"),
        ("head=regression", "head=digits"),
    ],
)
def test_recipes_that_differ_have_other_identities(
    finished: tuple[stages.Run, Dataset], first: str, second: str
) -> None:
    words = ["competition.hidden_digits=1", "members.cnn.optimizer={lr: 0.001}"]
    keys = {
        plan_jobs(finished, [*words, f"members.cnn.{facts}"])[0].training_fingerprint
        for facts in (first, second)
    }
    assert len(keys) == 2


@pytest.mark.parametrize("setting", ["competition.hidden_digits=1"])
def test_what_the_labels_mean_decides_the_weights(finished: tuple[stages.Run, Dataset], setting: str) -> None:
    jobs = plan_jobs(finished, [setting])
    assert due(jobs) == dict.fromkeys(ALL, "train")
    assert read_status(jobs[0]).reason == "changed: hidden_digits null -> 1"


# ---------------------------------------------------------------- the states of one job


def test_a_job_goes_from_new_to_done_and_back(finished: tuple[stages.Run, Dataset], tmp_path: Path) -> None:
    run, dataset = finished
    folder = replace(run.folder, path=tmp_path)
    table = read_folds(run.folder, inputs_of_folds(run, dataset))
    (job,) = (
        job
        for job in plan(run.pipeline, run.workspace, folder, dataset, table)
        if job.label == "resnet5 fold 0"
    )
    assert due_and_why(job) == ("train", "new")
    run_job(job, dataset, table.folds)
    assert read_status(job).due == "done"

    recipe = read_json(job.folder.recipe)
    assert recipe["images_an_epoch"] == (table.folds != 0).sum()
    assert recipe["execution"]["precision"] == "fp32" and recipe["identity"] == job.inputs
    assert (
        Pipeline.model_validate(run.pipeline.model_dump()).members["resnet5"].model_dump(mode="json")
        == recipe["member"]
    )

    for lost in (job.folder.oof, job.folder.test, job.folder.scores):
        content = lost.read_bytes()
        lost.unlink()
        assert read_status(job).due == "predict", lost
        lost.write_bytes(content)
    assert read_status(job).due == "done"
    for lost, why in ((job.folder.weights, "its weights are damaged or gone"), (job.folder.recipe, "new")):
        content = lost.read_bytes()
        lost.unlink()
        assert due_and_why(job) == ("train", why)
        lost.write_bytes(content)
    for file, state in (
        (job.folder.oof, "predict"),
        (job.folder.test, "predict"),
        (job.folder.weights, "train"),
    ):
        content = file.read_bytes()
        for damaged in (b"", content[:-100], content[:-1] + bytes([content[-1] ^ 1])):
            file.write_bytes(damaged)
            assert read_status(job).due == state, file
            assert "damaged" in read_status(job).reason
        file.write_bytes(content)
    for file, state in ((job.folder.scores, "predict"), (job.folder.recipe, "train")):
        for damaged in ("", "{", "[]", "null"):
            file.write_text(damaged)
            assert read_status(job).due == state, damaged


def test_the_same_job_gives_the_same_weights(finished: tuple[stages.Run, Dataset], tmp_path: Path) -> None:
    run, dataset = finished
    table = read_folds(run.folder, inputs_of_folds(run, dataset))
    (job,) = (
        job
        for job in plan(run.pipeline, run.workspace, replace(run.folder, path=tmp_path), dataset, table)
        if job.label == "cnn fold 1"
    )
    run_job(job, dataset, table.folds)
    weights = load_file(job.folder.weights)
    before = load_file(run.folder.predictions("cnn").fold(1).weights)
    assert all(np.array_equal(weights[name], before[name]) for name in weights)


@pytest.mark.parametrize(
    ("facts", "remedy"),
    [
        ({"batch_size": 128}, "micro_batch: 64"), ({"micro_batch": 8}, "micro_batch: 4"),
        ({"batch_size": 3}, "grad_checkpointing: true"),
        ({"batch_size": 2, "grad_checkpointing": True}, "model to a smaller network"),
    ],
    ids=str,
)  # fmt: skip
def test_a_device_that_is_too_small_gets_half_as_many_images_at_once(
    finished: tuple[stages.Run, Dataset],
    facts: dict[str, Any],
    remedy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, dataset = finished
    table = read_folds(run.folder, inputs_of_folds(run, dataset))
    job = plan(run.pipeline, run.workspace, replace(run.folder, path=tmp_path), dataset, table)[0]
    job = replace(job, member=job.member.model_copy(update=facts))

    def no_memory(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("softvote.training.train.train", no_memory)
    with pytest.raises(UserError) as raised:
        run_job(job, dataset, table.folds)
    what = f"the device's memory is too small; set members.{job.member_name}.{remedy}"
    assert str(raised.value) == f"{job.label}: {what}"


def test_a_training_that_other_threads_began_starts_again(
    finished: tuple[stages.Run, Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, dataset = finished
    table, threads = read_folds(run.folder, inputs_of_folds(run, dataset)), torch.get_num_threads()
    job = plan(run.pipeline, run.workspace, replace(run.folder, path=tmp_path), dataset, table)[0]
    with pytest.raises(KeyboardInterrupt):
        run_job(job, dataset, table.folds, EngineServices(0.0, stop))
    try:
        torch.set_num_threads(threads + 1)
        with pytest.raises(KeyboardInterrupt):
            run_job(job, dataset, table.folds, EngineServices(0.0, stop))
        told = capsys.readouterr().err
        assert f"{job.folder.checkpoint}: threads changed, {threads} -> {threads + 1}, " in told
        assert "goes on" not in told
        run_job(job, dataset, table.folds)
    finally:
        torch.set_num_threads(threads)
    assert "goes on" in capsys.readouterr().err
    assert read_json(job.folder.recipe)["threads"] == threads + 1


def test_a_training_is_watched_on_the_rows_that_validate(
    finished: tuple[stages.Run, Dataset], tmp_path: Path
) -> None:
    """By these heads are calibrated too, and curves drawn."""
    run, dataset = finished
    folds, seen = read_folds(run.folder, inputs_of_folds(run, dataset)).folds, list[ImageSplit]()

    def look(job: Job, left_out: ImageSplit) -> Any:
        seen.append(left_out)
        raise KeyboardInterrupt

    job = replace(plan_jobs(finished, [])[0], folder=FoldFolder(tmp_path / "fold"), observers=[look])
    with pytest.raises(KeyboardInterrupt):
        run_job(job, dataset, folds, due="train")
    np.testing.assert_array_equal(seen[0].labels, dataset.train_labels[folds == job.fold])
    np.testing.assert_array_equal(seen[0].images[:], dataset.train_pixels[folds == job.fold])


def test_a_teacher_predicts_with_the_views_of_its_recipe(tmp_path: Path) -> None:
    """Its folder says those of its last prediction, which the recipe may have left behind."""
    folder = write_fold(tmp_path / "fold0", {"model": "cnn"})
    member = Member.model_validate({"model": "cnn", "tta": {"shift": 1}})
    job = Job("cnn", member, 0, folder, {}, "", Task(10))
    assert jobs_module._teacher(job).tta == member.tta


def test_glyphs_are_not_of_the_rows_that_validate(
    finished: tuple[stages.Run, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, dataset = finished
    folds = read_folds(run.folder, inputs_of_folds(run, dataset)).folds
    source, job = (job for job in plan_jobs(finished, []) if job.fold == 1)
    member = job.member.model_copy(update={"glyphs_from": source.member_name})
    asked: list[Any] = []
    monkeypatch.setattr(jobs_module, "glyphs_of", lambda *of: asked.extend(of))
    jobs_module._prepare(replace(job, member=member, source=source), dataset, folds)
    assert asked[:2] == [source.folder, dataset]
    np.testing.assert_array_equal(asked[2], folds == 1)


@pytest.mark.parametrize(
    ("place", "left"),
    [("inference.loading.save_weights", "train"), ("scheduling.worker._predict", "predict")],
    ids=["weights", "predictions"],
)
def test_what_an_earlier_training_left_is_gone_before_the_weights_are_written(
    finished: tuple[stages.Run, Dataset],
    tmp_path: Path,
    place: str,
    left: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same recipe may give other weights; what was predicted with those before is not done then."""
    run = stages.open_run(
        shutil.copytree(finished[0].workspace.root, tmp_path / "copy"), "tiny", finished[0].settings
    )
    made = make_plan(run)
    job = made.jobs[0]
    job.folder.weights.unlink()
    monkeypatch.setattr(f"softvote.{place}", stop)
    with pytest.raises(KeyboardInterrupt):
        run_job(job, made.dataset, made.folds)
    assert read_status(job).due == left
    assert not job.folder.scores.exists() and job.folder.recipe.exists() == (left == "predict")


def test_members_of_one_recipe_differ_by_name_and_fold(finished: tuple[stages.Run, Dataset]) -> None:
    jobs = plan_jobs(finished, ["members={a: {model: cnn}, b: {model: cnn}}"])
    assert len({job.training_fingerprint for job in jobs}) == len(jobs) == 4


# ---------------------------------------------------------------- starting from another member

CHAIN = [
    "members={last: {model: resnet5, init_from: middle, freeze: true}, "
    "middle: {model: resnet5, init_from: first}, first: {model: resnet5}}"
]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> stages.Run:
    """Three members, each of which starts from the next; no test changes its files."""
    root = projects.write_project(tmp_path_factory.mktemp("chain"), digits, ROWS, 20)
    settings = [word for setting in [*SHORT[1::2], *CHAIN] for word in ("--set", setting)]
    for stage in ("folds", "train"):
        assert projects.softvote(root, stage, "tiny", *settings) == 0
    return stages.open_run(root, "tiny", settings[1::2])


def plan_chain(run: stages.Run, *settings: str) -> dict[str, Job]:
    """The jobs by name, with further settings."""
    run = stages.open_run(run.workspace.root, "tiny", [*run.settings, *settings])
    return {job.label: job for job in make_plan(run).jobs}


def test_a_job_starts_from_the_same_fold(chain: stages.Run) -> None:
    jobs = plan_chain(chain)
    assert all(read_status(job).due == "done" for job in jobs.values())
    for fold in (0, 1):
        for name, source in (("last", "middle"), ("middle", "first")):
            job = jobs[f"{name} fold {fold}"]
            assert job.source is jobs[f"{source} fold {fold}"]
            assert job.inputs["init_from"] == job.source.training_fingerprint
        first = load_file(jobs[f"middle fold {fold}"].folder.weights)
        last = load_file(jobs[f"last fold {fold}"].folder.weights)
        for name, value in last.items():
            assert np.array_equal(value, first[name]) != name.startswith("classifier."), name


@pytest.mark.parametrize(
    ("setting", "retrained"),
    [
        ("members.first.epochs=2", {"first", "middle", "last"}),
        ("members.middle.epochs=2", {"middle", "last"}),
        ("members.last.epochs=2", {"last"}),
        ("members.last.freeze=false", {"last"}),
        ("members.last.init_from=first", {"last"}),
        ("members.first.tta.shift=1", set()),
    ],
)
def test_what_starts_from_a_changed_training_is_due(
    chain: stages.Run, setting: str, retrained: set[str]
) -> None:
    jobs = plan_chain(chain, setting)
    found = {job.member_name for job in jobs.values() if read_status(job).due == "train"}
    assert found == retrained
    if "middle" in retrained and "first" in retrained:
        assert read_status(jobs["middle fold 0"]).reason.startswith("changed: init_from")


def test_a_source_trained_again_makes_what_starts_from_it_due(chain: stages.Run, tmp_path: Path) -> None:
    """The same recipe may give other weights, on another machine."""
    run = stages.open_run(shutil.copytree(chain.workspace.root, tmp_path / "copy"), "tiny", chain.settings)
    jobs = plan_chain(run)
    train_otherwise(jobs["middle fold 0"].folder)
    due = {label for label, job in jobs.items() if read_status(job).due == "train"}
    assert due == {"last fold 0"}
    assert read_status(jobs["last fold 0"]).reason == "what it starts from was trained again"


def train_otherwise(folder: FoldFolder) -> str:
    """Give a training other weights under its recipe; their sha256."""
    weights = load_file(folder.weights)
    name = next(name for name in weights if name.endswith("weight") and "classifier" not in name)
    save_file(weights | {name: weights[name] + 1}, folder.weights)
    sha256 = sha256_of(folder.weights)
    write_json(folder.recipe, read_json(folder.recipe) | {"weights_sha256": sha256})
    return sha256


def test_a_source_trained_again_meanwhile_is_not_what_it_starts_from(
    chain: stages.Run, tmp_path: Path
) -> None:
    run = stages.open_run(shutil.copytree(chain.workspace.root, tmp_path / "copy"), "tiny", chain.settings)
    jobs, made = plan_chain(run), make_plan(run)
    last, middle = jobs["last fold 0"], jobs["middle fold 0"]
    last.folder.weights.unlink()
    started_from, meanwhile = sha256_of(middle.folder.weights), list[str]()
    services = EngineServices(0.0, lambda content: meanwhile.append(train_otherwise(middle.folder)))
    run_job(last, made.dataset, made.folds, services)
    assert meanwhile and sha256_of(middle.folder.weights) != started_from
    assert read_json(last.folder.recipe)["source_weights_sha256"] == started_from
    assert due_and_why(last) == (
        "train",
        "what it starts from was trained again",
    )


def stop(*_: object, **__: object) -> None:
    """Stands where a run is stopped."""
    raise KeyboardInterrupt


def test_a_training_that_was_stopped_does_not_go_on_from_another_source(
    chain: stages.Run, tmp_path: Path
) -> None:
    run = stages.open_run(shutil.copytree(chain.workspace.root, tmp_path / "copy"), "tiny", chain.settings)
    jobs, made = plan_chain(run), make_plan(run)
    last, middle = jobs["last fold 0"], jobs["middle fold 0"]
    last.folder.weights.unlink()
    with pytest.raises(KeyboardInterrupt):
        run_job(last, made.dataset, made.folds, EngineServices(0.0, stop))
    assert last.folder.checkpoint.is_file()
    train_otherwise(middle.folder)
    run_job(last, made.dataset, made.folds)
    found = last.folder.weights.read_bytes()
    last.folder.weights.unlink()
    run_job(last, made.dataset, made.folds)
    assert last.folder.weights.read_bytes() == found


def do_here(run: stages.Run, folds: NDArray[np.int64], jobs: list[Job]) -> list[Unfinished]:
    """Do jobs in this process; those that were left."""
    return run_sequential(JobBatch(run.workspace, run.pipeline.competition, jobs, len(jobs), folds, 60))


def test_a_job_waits_for_its_source(chain: stages.Run, tmp_path: Path) -> None:
    run = stages.open_run(shutil.copytree(chain.workspace.root, tmp_path / "copy"), "tiny", chain.settings)
    jobs = plan_chain(run)
    last, middle = jobs["last fold 0"], jobs["middle fold 0"]
    assert is_ready(last) and is_ready(middle)
    middle.folder.weights.unlink()
    assert read_status(last).due == "done" and is_ready(
        last
    )  # it is trained, and so no longer needs its source
    last.folder.weights.unlink()
    assert not is_ready(last) and is_ready(middle)
    before = projects.times(last.folder.path)
    plan = make_plan(run)
    assert [left.job for left in do_here(run, plan.folds, [last])] == [last]
    assert projects.times(last.folder.path) == before
    assert do_here(run, plan.folds, [last, middle]) == []  # the source is made in between
    assert read_status(last).due == read_status(middle).due == "done"
    for job in (last, middle):
        kept = load_file(chain.folder.predictions(job.member_name).fold(0).weights)
        again = load_file(job.folder.weights)
        assert all(np.array_equal(again[name], kept[name]) for name in kept)


def test_a_job_without_its_source_is_refused(
    chain: stages.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(chain.workspace.root, tmp_path / "copy")
    settings = [word for setting in chain.settings for word in ("--set", setting)]
    shutil.rmtree(root / "models" / "tiny" / "middle" / "fold1")
    shutil.rmtree(root / "models" / "tiny" / "last")
    words = ["train", "tiny", *settings, "--member", "last"]
    assert projects.softvote(root, *words) == 1
    out, err = capsys.readouterr()
    assert err == (
        "softvote: members.last: starts from middle fold 1, which is not trained; add --member middle\n"
    )
    assert not (root / "models" / "tiny" / "last").exists() and "Traceback" not in out
    assert projects.softvote(root, *words, "--fold", "0") == 0
    assert projects.softvote(root, *words, "--member", "middle") == 0
    told = capsys.readouterr().out
    assert "middle: train fold 1 (new)" in told and "last: train fold 1 (new)" in told


def test_what_needs_no_training_needs_no_source(chain: stages.Run, tmp_path: Path) -> None:
    root = shutil.copytree(chain.workspace.root, tmp_path / "copy")
    settings = [word for setting in chain.settings for word in ("--set", setting)]
    shutil.rmtree(root / "models" / "tiny" / "middle")
    oof = root / "models" / "tiny" / "last" / "fold0" / "oof.npz"
    oof.unlink()
    assert projects.softvote(root, "train", "tiny", *settings, "--member", "last") == 0
    assert oof.exists()


@pytest.mark.parametrize("stage", ["train", "check"])
def test_weights_that_do_not_fit_are_told_before_any_training(
    tmp_path: Path, digits: Digits, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    members = {"cnn": {"model": "cnn", "init_from": "resnet5"}, "resnet5": {"model": "resnet5"}}
    root = projects.write_project(tmp_path, digits, ROWS, 20, members=members)
    assert projects.softvote(root, "folds", "tiny", *SHORT) == 0
    assert projects.softvote(root, stage, "tiny", *SHORT) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("softvote: members.cnn: init_from: its weights do not fit: features.0.0.weight")
    assert {path.name for path in (root / "models" / "tiny").iterdir()} == {"folds.csv", "folds.json"}


# ---------------------------------------------------------------- keys of voters


def voter_fingerprints(pipeline: Pipeline, jobs: list[Job]) -> dict[str, str]:
    """Of two members and the ensemble, for the files as they are now."""
    files = Snapshot()
    return {name: ensemble_fingerprint(pipeline, jobs, name, files) for name in ("cnn", "resnet5", "vote")}


def test_a_voter_changes_with_what_it_depends_on(finished: tuple[stages.Run, Dataset]) -> None:
    def keys(*settings: str) -> dict[str, str]:
        pipeline = stages.open_run(finished[0].workspace.root, "tiny", [*SHORT[1::2], *settings]).pipeline
        jobs = plan_jobs(finished, list(settings))
        return voter_fingerprints(pipeline, jobs)

    def find_changes(*settings: str) -> set[str]:
        return {name for name, key in keys(*settings).items() if key != before[name]}

    before = keys()
    assert find_changes() == set()
    assert find_changes("members.cnn.epochs=2") == {"cnn", "vote"}
    assert find_changes("members.cnn.tta.shift=1") == {"cnn", "vote"}
    assert find_changes("ensemble.rule=greedy") == {"vote"}
    assert find_changes("ensemble.members=[cnn]") == {"vote"}
    assert find_changes("folds.train=1") == {"cnn", "resnet5", "vote"}


def test_a_voter_changes_with_the_predictions_of_its_folds(
    finished: tuple[stages.Run, Dataset], tmp_path: Path
) -> None:
    """A fold that was trained again counts as new, even where its recipe is the same."""
    run, dataset = finished
    shutil.copytree(run.folder.path, tmp_path, dirs_exist_ok=True)
    table = read_folds(run.folder, inputs_of_folds(run, dataset))
    jobs = plan(run.pipeline, run.workspace, replace(run.folder, path=tmp_path), dataset, table)
    before = voter_fingerprints(run.pipeline, jobs)
    folder = jobs[0].folder
    found = read_predictions(folder)
    other = replace(found, test=found.test[::-1].copy())
    write_predictions(folder, other, dataset.train_labels, jobs[0].task, jobs[0].prediction_fingerprint)
    assert read_status(jobs[0]).due == "done"
    after = voter_fingerprints(run.pipeline, jobs)
    changed = {name for name, key in before.items() if after[name] != key}
    assert changed == {"cnn", "vote"}
    write_predictions(folder, found, dataset.train_labels, jobs[0].task, jobs[0].prediction_fingerprint)
    assert voter_fingerprints(run.pipeline, jobs) == before


def test_another_way_of_training_is_trained_again(
    finished: tuple[stages.Run, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "TRAINING_VERSION", planner.TRAINING_VERSION + 1)
    jobs = plan_jobs(finished, [])
    assert due(jobs) == dict.fromkeys(ALL, "train") and "training_version" in read_status(jobs[0]).reason


# ---------------------------------------------------------------- engines

HOLD = """
import sys
from pathlib import Path
from softvote.storage.locks import try_lock
with try_lock(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


def test_a_job_that_another_process_claims_is_left_and_told(
    tmp_path: Path, digits: Digits, capsys: pytest.CaptureFixture[str]
) -> None:
    root = projects.write_project(tmp_path, digits, ROWS, 20)
    assert projects.softvote(root, "folds", "tiny", *SHORT) == 0
    lock = root / "models" / "tiny" / "cnn" / "fold1" / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout and other.stdout.readline() == "True\n"
        assert projects.softvote(root, "train", "tiny", *SHORT) == 0
        told = capsys.readouterr().out
        other.communicate("")
    assert "cnn fold 1: another run is busy with it" in told and "unfinished" in told
    assert not (lock.parent / "weights.safetensors").exists()
    assert (root / "models" / "tiny" / "resnet5" / "scores.json").is_file()
    assert not (root / "models" / "tiny" / "cnn" / "scores.json").exists()
    assert projects.softvote(root, "train", "tiny", *SHORT) == 0
    told = capsys.readouterr().out
    assert "3 of 4 trainings are there and unchanged" in told and "cnn: train fold 1 (new)" in told


def test_finished_jobs_are_not_run_again(finished: tuple[stages.Run, Dataset]) -> None:
    before = projects.times(finished[0].folder.path)
    assert do_here(finished[0], np.zeros(ROWS, np.int64), plan_jobs(finished, [])) == []
    assert projects.times(finished[0].folder.path) == before
