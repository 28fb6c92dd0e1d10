"""data.extra_rows: rows from elsewhere teach, and neither validate nor slip in what they must not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import projects
import pytest
from conftest import Digits
from data_fixtures import side_by_side
from safetensors.numpy import load_file

from softvote import stages
from softvote.config.competition import Competition
from softvote.config.recipe import ExtraTrain
from softvote.data.dataset import Dataset, read_dataset
from softvote.data.extra_rows import fingerprint_of, load_extra
from softvote.errors import UserError
from softvote.scheduling.job import Job
from softvote.scheduling.status import read_status
from softvote.scheduling.worker import training_rows
from softvote.stages.plan import make_plan
from softvote.storage.files import read_json
from softvote.storage.paths import Workspace

TRAIN, TEST, EXTRA = 80, 20, 40
SPEC = ExtraTrain(images="more/i.npy", labels="more/l.npy", digits="more/d.npy")
PAIRS: dict[str, Any] = {
    "image": {"height": 8, "width": 16}, "labels": {"first": 0, "last": 18}, "hidden_digits": 2,
}  # fmt: skip


def save(folder: Path, **arrays: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def write_pairs(root: Path, digits: Digits) -> None:
    """Sums of two digits as a competition, and more of the like under input/more/."""
    images, hidden = side_by_side(digits, TRAIN + TEST + EXTRA)
    projects.write_digits(root, (images[: TRAIN + TEST], hidden[: TRAIN + TEST].sum(1)), TRAIN, TEST)
    more = slice(TRAIN + TEST, None)
    save(root / "input" / "more", i=images[more], l=hidden[more].sum(axis=1), d=hidden[more])
    facts = projects.pipeline(
        competition=projects.competition(**PAIRS),
        members={
            "plain": {"model": "resnet5"},
            "more": {"model": "resnet5", "extra_train": SPEC.model_dump(include={"images", "labels"})},
            "named": {"model": "resnet5", "head": "digits", "extra_train": SPEC.model_dump()},
        },
        defaults=projects.RECIPE | {"epochs": 1},
    )
    projects.write_pipeline(root, facts)


@pytest.fixture
def project(tmp_path: Path, digits: Digits) -> Path:
    write_pairs(tmp_path, digits)
    return tmp_path


@pytest.fixture
def competition() -> Competition:
    return Competition.model_validate(projects.competition(**PAIRS))


@pytest.fixture
def dataset(project: Path, competition: Competition) -> Dataset:
    return read_dataset(competition, Workspace(project))


def jobs_of(root: Path, *settings: str) -> dict[str, Job]:
    """The jobs by name, with settings."""
    return {job.label: job for job in make_plan(stages.open_run(root, "tiny", settings)).jobs}


# ---------------------------------------------------------------- reading


def test_extra_rows_are_what_the_files_say(
    project: Path, competition: Competition, dataset: Dataset, digits: Digits
) -> None:
    found = load_extra(SPEC, Workspace(project), competition, dataset)
    images, hidden = side_by_side(digits, TRAIN + TEST + EXTRA)
    assert np.array_equal(found.images, images[-EXTRA:, None]) and found.images.dtype == np.uint8
    assert np.array_equal(found.values, hidden[-EXTRA:].sum(axis=1)) and found.values.dtype == np.int64
    assert found.digits is not None and np.array_equal(found.digits, hidden[-EXTRA:])
    without = SPEC.model_copy(update={"digits": None})
    assert load_extra(without, Workspace(project), competition, dataset).digits is None


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint64])
def test_integers_of_any_width(kind: Any, project: Path, competition: Competition, dataset: Dataset) -> None:
    expected = load_extra(SPEC, Workspace(project), competition, dataset)
    for name in ("l", "d"):
        save(project / "input" / "more", **{name: np.load(project / f"input/more/{name}.npy").astype(kind)})
    found = load_extra(SPEC, Workspace(project), competition, dataset)
    assert np.array_equal(found.values, expected.values) and found.values.dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "written", "values"),
    [
        ({"first": 3, "last": 6}, [3, 6, 4], [0, 3, 1]),
        ({"first": -1, "last": 1}, [-1, 1, 0], [0, 2, 1]),
        (["cat", "dog", "owl"], [0, 2, 1], [0, 2, 1]),
    ],
)
def test_labels_are_written_as_the_competition_writes_them(
    labels: Any, written: list[int], values: list[int], project: Path, dataset: Dataset
) -> None:
    competition = Competition.model_validate(
        projects.competition(labels=labels, image={"height": 8, "width": 16})
    )
    images = np.load(project / "input/more/i.npy")[:3]
    save(project / "input" / "more", i=images, l=np.array(written))
    spec = ExtraTrain(images="more/i.npy", labels="more/l.npy")
    assert load_extra(spec, Workspace(project), competition, dataset).values.tolist() == values


MANY: dict[str, tuple[dict[str, Any], list[int], list[int], str]] = {
    "tags": ({"tags": ["a", "b", "c"]}, [0, 1, 1], [0, 1, 1], "index 1, 2: 7 is not in 0..1"),
    "targets": (
        {"targets": {"root": {"first": 3, "last": 5}, "vowel": ["x", "y", "z"]}},
        [5, 2], [2, 2], "index 1, 1: 7 is not in 0..2",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("facts", "written", "values", "problem"), MANY.values(), ids=MANY)
def test_extra_tags_and_targets(
    facts: dict[str, Any],
    written: list[int],
    values: list[int],
    problem: str,
    project: Path,
    dataset: Dataset,
) -> None:
    usual = projects.competition(image={"height": 8, "width": 16})
    del usual["labels"]
    asked = Competition.model_validate(usual | facts)
    count = len(np.load(project / "input/more/i.npy"))
    spec = ExtraTrain(images="more/i.npy", labels="more/l.npy")
    save(project / "input/more", l=np.tile(written, (count, 1)))
    found = load_extra(spec, Workspace(project), asked, dataset)
    assert found.values.tolist() == [values] * count
    wrong = np.tile(written, (count, 1))
    wrong[1, -1] = 7
    save(project / "input/more", l=wrong)
    with pytest.raises(UserError, match=problem):
        load_extra(spec, Workspace(project), asked, dataset)


def test_extra_labels_leave_the_addend_out(project: Path, dataset: Dataset) -> None:
    """An image shows 0..18 here, whatever the addend, which goes to 27 in all."""
    facts = PAIRS | {"labels": {"first": 0, "last": 27}, "addend": True}
    competition = Competition.model_validate(projects.competition(**facts))
    save(project / "input" / "more", l=np.full(EXTRA, 19))
    with pytest.raises(Exception, match=r"l\.npy, index 0: 19 is not in 0\.\.18; fix it"):
        load_extra(SPEC, Workspace(project), competition, dataset)


def test_the_digest_is_of_the_content(project: Path) -> None:
    workspace, folder = Workspace(project), project / "input" / "more"
    before = fingerprint_of(SPEC, workspace)
    for name in "ild":
        content = (folder / f"{name}.npy").read_bytes()
        (folder / f"{name}.npy").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert fingerprint_of(SPEC, workspace) != before
        (folder / f"{name}.npy").write_bytes(content)
    assert fingerprint_of(SPEC, workspace) == before
    assert fingerprint_of(SPEC.model_copy(update={"digits": None}), workspace) != before
    # That the recipe holds already.
    assert fingerprint_of(SPEC.model_copy(update={"only": True}), workspace) == before


# ---------------------------------------------------------------- what is fed


@pytest.mark.parametrize("fold", [0, 1])
def test_extra_rows_come_after_those_of_the_training_folds(
    project: Path, dataset: Dataset, fold: int
) -> None:
    assert projects.softvote(project, "folds", "tiny") == 0
    plan = make_plan(stages.open_run(project, "tiny"))
    jobs = {job.label: job for job in plan.jobs}
    own = np.flatnonzero(plan.folds != fold)
    plain, more, named = (
        training_rows(jobs[f"{name} fold {fold}"], plan.dataset, plan.folds)
        for name in ("plain", "more", "named")
    )
    assert np.array_equal(plain.rows, own) and plain.digits is None and more.digits is None
    for rows in (more, named):
        assert np.array_equal(rows.rows, [*own, *range(TRAIN, TRAIN + EXTRA)])
        images = rows.take(np.arange(len(rows.rows))).images.numpy()
        assert np.array_equal(images[: len(own)], dataset.train_pixels[own])
        assert np.array_equal(images[len(own) :, 0], np.load(project / "input/more/i.npy"))
        assert rows.image_labels.tolist()[len(own) :] == np.load(project / "input/more/l.npy").tolist()
    assert named.digits is not None and (named.digits[: len(own)] == -1).all()
    assert np.array_equal(named.digits[len(own) :], np.load(project / "input/more/d.npy"))


@pytest.mark.parametrize("name", ["more", "named"])
def test_alone_only_extra_rows_are_fed(project: Path, name: str) -> None:
    assert projects.softvote(project, "folds", "tiny") == 0
    plan = make_plan(stages.open_run(project, "tiny", [f"members.{name}.extra_train.only=true"]))
    (job,) = (job for job in plan.jobs if job.label == f"{name} fold 1")
    rows = training_rows(job, plan.dataset, plan.folds)
    assert np.array_equal(rows.rows, range(TRAIN, TRAIN + EXTRA)) and len(rows.images) == EXTRA
    assert (rows.digits is None) == (name == "more")


def test_extra_rows_teach_and_never_validate(project: Path) -> None:
    for stage in ("folds", "train"):
        assert projects.softvote(project, stage, "tiny") == 0
    folder = project / "models" / "tiny"
    weights = {}
    for name in ("plain", "more", "named"):
        with np.load(folder / name / "oof.npz") as oof:
            assert np.array_equal(oof["rows"], np.arange(TRAIN))
        assert read_json(folder / name / "scores.json")["accuracy"]["rows"] == TRAIN
        recipe = read_json(folder / name / "fold0" / "recipe.json")
        with np.load(folder / name / "fold0" / "oof.npz") as oof:
            own = TRAIN - len(oof["rows"])
        assert recipe["images_an_epoch"] == own + (0 if name == "plain" else EXTRA)
        weights[name] = load_file(folder / name / "fold0" / "weights.safetensors")["features.0.weight"]
    assert not np.array_equal(weights["plain"], weights["more"])


# ---------------------------------------------------------------- what is due


def change_label(folder: Path) -> None:
    labels = np.load(folder / "l.npy")
    labels[3] = (labels[3] + 1) % 19
    save(folder, l=labels)


def change_pixel(folder: Path) -> None:
    images = np.load(folder / "i.npy")
    images[3, 0, 0] ^= 1
    save(folder, i=images)


def change_digits(folder: Path) -> None:
    save(folder, d=np.load(folder / "d.npy")[:, ::-1])


@pytest.mark.parametrize(
    ("change", "which"),
    [
        (change_label, {"more", "named"}),
        (change_pixel, {"more", "named"}),
        (change_digits, {"named"}),
    ],
)
def test_changed_content_is_trained_again(
    project: Path, change: Callable[[Path], None], which: set[str]
) -> None:
    assert projects.softvote(project, "folds", "tiny") == 0
    before = {label: job.training_fingerprint for label, job in jobs_of(project).items()}
    assert {label: job.training_fingerprint for label, job in jobs_of(project).items()} == before
    change(project / "input" / "more")
    jobs = jobs_of(project)
    assert {
        job.member_name for label, job in jobs.items() if job.training_fingerprint != before[label]
    } == which


def test_the_reason_names_the_extra_rows(project: Path) -> None:
    for stage in ("folds", "train"):
        assert projects.softvote(project, stage, "tiny", "--set", "folds.train=1") == 0
    assert {read_status(job).due for job in jobs_of(project, "folds.train=1").values()} == {"done"}
    change_label(project / "input" / "more")
    jobs = jobs_of(project, "folds.train=1")
    assert read_status(jobs["plain fold 0"]).due == "done" and read_status(jobs["more fold 0"]).due == "train"
    assert read_status(jobs["more fold 0"]).reason.startswith("changed: extra_train ")


def test_learning_from_them_alone_is_another_training(project: Path) -> None:
    assert projects.softvote(project, "folds", "tiny") == 0
    before, after = (
        jobs_of(project, f"members.more.extra_train.only={alone}")["more fold 0"].training_fingerprint
        for alone in ("false", "true")
    )
    assert before != after and before == jobs_of(project)["more fold 0"].training_fingerprint


def test_rows_that_taught_its_source_make_a_member_due(project: Path) -> None:
    assert projects.softvote(project, "folds", "tiny") == 0
    chain = "members.plain.init_from=more"
    before = jobs_of(project, chain)["plain fold 0"].training_fingerprint
    change_label(project / "input" / "more")
    assert jobs_of(project, chain)["plain fold 0"].training_fingerprint != before


# ---------------------------------------------------------------- what is refused


def lose(name: str) -> Callable[[Path], None]:
    return lambda more: (more / f"{name}.npy").unlink()


def replace_rows(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda more: save(more, **{name: change(np.load(more / f"{name}.npy"))})


def with_item(index: Any, value: int) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array[index] = value
        return array

    return change


def with_image_of(file: str, row: int) -> Callable[[Path], None]:
    """Let the extra image 7 be that of a row of the competition."""

    def change(more: Path) -> None:
        lines = (more.parent / "digits" / file).read_text().splitlines()
        cells = np.array(lines[row + 1].split(","), np.uint8)
        images = np.load(more / "i.npy")
        images[7] = cells[-128:].reshape(8, 16)
        save(more, i=images)

    return change


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "images missing": (lose("i"), "i.npy: is missing; add it, or fix extra_train.images"),
    "labels missing": (lose("l"), "l.npy: is missing; add it, or fix extra_train.labels"),
    "digits missing": (lose("d"), "d.npy: is missing; add it, or fix extra_train.digits"),
    "images of another size": (
        replace_rows("i", lambda images: images[:, :, 1:]),
        "i.npy: has images of 8 x 15 x 1 (H x W x C), competition.image says 8 x 16 x 1; fix one",
    ),
    "images in colour": (
        replace_rows("i", lambda images: np.stack([images] * 3, axis=3)),
        "i.npy: has images of 8 x 16 x 3 (H x W x C), competition.image says 8 x 16 x 1; fix one",
    ),
    "images of floats": (
        replace_rows("i", lambda images: images / 255),
        "i.npy: holds float64, not uint8; write image.value_range: [0, 1], or",
    ),
    "flat images": (
        replace_rows("i", lambda images: images.reshape(EXTRA, -1)),
        "i.npy: has shape (40, 128); images need",
    ),
    "no images": (replace_rows("i", lambda images: images[:0]), "i.npy: holds no images"),
    "no array": (lambda more: (more / "i.npy").write_text("text") and None, "i.npy: is not an .npy file"),
    "labels of floats": (
        replace_rows("l", lambda labels: labels / 2),
        "l.npy: holds float64 of shape (40,), not integers of shape (40,); save it so",
    ),
    "too few labels": (
        replace_rows("l", lambda labels: labels[1:]),
        "l.npy: holds int64 of shape (39,), not integers of shape (40,); save it so",
    ),
    "a label too large": (replace_rows("l", with_item(5, 19)), "l.npy, index 5: 19 is not in 0..18; fix it"),
    "a label below": (replace_rows("l", with_item(5, -1)), "l.npy, index 5: -1 is not in 0..18; fix it"),
    "too many digits": (
        replace_rows("d", lambda digits: np.pad(digits, ((0, 0), (0, 1)))),
        "d.npy: holds int64 of shape (40, 3), not integers of shape (40, 2); save it so",
    ),
    "a digit too large": (replace_rows("d", with_item((6, 1), 10)), "d.npy, index 6, 1: 10 is not in 0..9"),
    "an unknown digit": (replace_rows("d", with_item((6, 1), -1)), "d.npy, index 6, 1: -1 is not in 0..9"),
    "another sum": (
        replace_rows("l", lambda labels: with_item(9, (labels[9] + 1) % 19)(labels)),
        "d.npy, index 9: digits sum to 8, the label is 9; fix one",
    ),
    "a test image": (with_image_of("test.csv", 4), "i.npy, index 7: is the image of test row 4; remove it"),
    "a training image": (
        with_image_of("train.csv", 11), "i.npy, index 7: is the image of training row 11; remove it",
    ),
}  # fmt: skip


@pytest.mark.slow_but("a digit too large", "another sum", "a test image", "a training image")
@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_one_line_and_leave_nothing(
    case: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert projects.softvote(project, "folds", "tiny") == 0
    damage, expected = BAD[case]
    damage(project / "input" / "more")
    before = projects.times(project)
    capsys.readouterr()
    # Nor is the member trained that would come first and has no part in it.
    assert projects.softvote(project, "train", "tiny", "--member", "plain", "--member", "named") == 1
    out, err = capsys.readouterr()
    (line,) = [line for line in err.splitlines() if line.startswith("softvote: ")]
    assert line.startswith(f"softvote: {project / 'input' / 'more'}/{expected}")
    assert "Traceback" not in out + err and projects.times(project) == before


def test_every_bad_row_is_told_at_once(project: Path, competition: Competition, dataset: Dataset) -> None:
    more = project / "input" / "more"
    labels, digits = np.load(more / "l.npy"), np.load(more / "d.npy")
    labels[[2, 8]], digits[4, 0] = [-3, 40], 11
    save(more, l=labels, d=digits)
    with pytest.raises(Exception, match="fix it") as caught:
        load_extra(SPEC, Workspace(project), competition, dataset)
    assert str(caught.value).replace(f"{more}/", "").splitlines() == [
        "l.npy, index 2: -3 is not in 0..18; fix it",
        "l.npy, index 8: 40 is not in 0..18; fix it",
        "d.npy, index 4, 0: 11 is not in 0..9; fix it",
    ]


def test_missing_files_are_told_at_once_by_every_stage_that_needs_them(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert projects.softvote(project, "folds", "tiny") == 0
    shutil.rmtree(project / "input" / "more")
    capsys.readouterr()
    for stage in ("train", "ensemble", "check"):
        assert projects.softvote(project, stage, "tiny", "--set", "members.more=null") == 1
        lines = capsys.readouterr().err.splitlines()
        assert [line.split(": ")[1] for line in lines] == [
            str(project / "input" / "more" / f"{name}.npy") for name in "ild"
        ]
