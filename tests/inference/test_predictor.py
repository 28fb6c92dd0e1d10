"""softvote.inference.predictor: a fold's folder is all that prediction needs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Digits
from kinds import HEADS_OF_CLASSES
from numpy.typing import NDArray
from projects import softvote, write_project
from trainings import with_torch
from untrained import EXECUTION, write_fold

from softvote.compute.precision import ComputeConfig
from softvote.config.recipe import Member
from softvote.config.views import TestTime
from softvote.data.normalisation import Normalisation
from softvote.data.split import ImageSplit
from softvote.ensembling.ensemble import Ensemble, EnsembleMember
from softvote.ensembling.predict import predict_proba
from softvote.ensembling.vote import Space, soft_vote
from softvote.errors import UserError
from softvote.heads import create_head
from softvote.heads.base import HeadSpec
from softvote.inference import predictor as predictor_module
from softvote.inference.loading import load_predictor
from softvote.inference.network import create_network
from softvote.inference.predictor import Predictor, in_batches
from softvote.storage.files import read_json
from softvote.storage.paths import FoldFolder
from softvote.task import Task

TRAIN, TEST = 120, 30


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> FoldFolder:
    """One trained fold of a network with BatchNorm and dropout, with test-time shifts; never changed."""
    root = write_project(tmp_path_factory.mktemp("inference"), digits, TRAIN, TEST)
    words = [
        "tiny",
        "--set",
        "members={cnn: {model: cnn, tta: {shift: 1}, ema: 0.5}}",
        "--set",
        "folds.train=1",
    ]
    assert softvote(root, "folds", *words) == softvote(root, "train", *words) == 0
    return FoldFolder(root / "models" / "tiny" / "cnn" / "fold0")


@pytest.fixture
def fold(trained: FoldFolder, tmp_path: Path) -> FoldFolder:
    """A copy, somewhere else."""
    return FoldFolder(Path(shutil.copytree(trained.path, tmp_path / "elsewhere")))


def oof(folder: FoldFolder) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    with np.load(folder.oof) as found:
        return found["rows"], found["probabilities"]


def predict(folder: Path, images: Path, found: Path) -> None:
    np.save(found, load_predictor(FoldFolder(folder)).probabilities(np.load(images)))


@pytest.mark.slow
def test_a_fresh_process_predicts_the_same_from_the_folder_alone(
    fold: FoldFolder, digits: Digits, tmp_path: Path
) -> None:
    rows, expected = oof(fold)
    for path in (fold.oof, fold.test, fold.scores, fold.log):
        path.unlink()
    np.save(tmp_path / "images.npy", digits[0][rows][:, None])
    process = with_torch.Process(
        target=predict, args=(fold.path, tmp_path / "images.npy", tmp_path / "found.npy")
    )
    process.start()
    process.join()
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), expected)


def test_test_rows_too(trained: FoldFolder, digits: Digits) -> None:
    images = digits[0][TRAIN : TRAIN + TEST][:, None]
    np.testing.assert_array_equal(load_predictor(trained).probabilities(images), np.load(trained.test))


def test_probabilities(trained: FoldFolder, digits: Digits) -> None:
    found = load_predictor(trained).probabilities(digits[0][:50][:, None])
    assert found.shape == (50, 10) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert load_predictor(trained).probabilities(digits[0][:0][:, None]).shape == (0, 10)


def test_predicting_twice_changes_nothing(trained: FoldFolder, digits: Digits) -> None:
    predictor, images = load_predictor(trained), digits[0][:50][:, None]
    first = predictor.probabilities(images)
    np.testing.assert_array_equal(predictor.probabilities(images), first)


def test_batches_do_not_matter(trained: FoldFolder, digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, images = load_predictor(trained), digits[0][:50][:, None]
    whole = predictor.probabilities(images)
    monkeypatch.setattr(predictor_module, "_PIXELS_PER_BATCH", 7 * 64)
    np.testing.assert_allclose(predictor.probabilities(images), whole, atol=1e-5)


def test_no_images_are_none_of_each_thing(digits: Digits) -> None:
    number, none = predictor("regression", ADDER), digits[0][:0][:, None]
    for addends in (None, np.zeros(0, np.int64)):
        assert number.outputs(none, addends).shape == (0, 1)
    assert number.probabilities(none, np.zeros(0, np.int64)).shape == (0, 19)
    network = create_network(Member(model="slot_cnn", head="digits"), Task(37, 4), (1, 40, 40))
    looking = Predictor(network, number.normalisation, number.compute_config)
    images = np.zeros((2, 1, 40, 40), np.uint8)
    some, nowhere = looking.attention(images), looking.attention(images[:0])
    assert some is not None and nowhere is not None and nowhere.shape == (0, *some.shape[1:])


def test_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor_module, "_PIXELS_PER_BATCH", 3 * 64)
    sizes = []

    def sums(images: NDArray[np.uint8], addends: NDArray[np.int64] | None) -> NDArray[np.float32]:
        sizes.append(len(images))
        return images[:, 0, 0, :1] + np.float32(0 if addends is None else addends[:, None])

    images = np.zeros((7, 1, 8, 8), np.uint8)
    images[:, 0, 0, 0] = range(7)
    assert in_batches(sums, images, None).ravel().tolist() == list(range(7))
    assert in_batches(sums, images, np.arange(7)).ravel().tolist() == list(range(0, 14, 2))
    assert sizes == [3, 3, 1] * 2


def test_shift_zero_is_the_plain_prediction(trained: FoldFolder, digits: Digits) -> None:
    images = digits[0][:50][:, None]
    assert load_predictor(trained).tta == TestTime(shift=1)  # as the recipe says
    plain = replace(load_predictor(trained), tta=TestTime())
    model = plain.network.model.eval()
    with torch.no_grad():
        expected = torch.softmax(model(plain.normalisation(torch.from_numpy(images).float())), 1).numpy()
    np.testing.assert_allclose(plain.probabilities(images), expected, atol=1e-6)


def test_shifted_views_are_averaged(trained: FoldFolder, digits: Digits) -> None:
    images = digits[0][:50][:, None]
    plain, shifted = (replace(load_predictor(trained), tta=TestTime(shift=pixels)) for pixels in (0, 2))
    views = [images]
    for axis in (2, 3):
        for step in (2, -2):
            view = np.roll(images, step, axis)
            edge = [slice(None)] * 4
            edge[axis] = slice(0, 2) if step > 0 else slice(-2, None)
            view[tuple(edge)] = 0
            views.append(view)
    expected = np.mean([plain.probabilities(view) for view in views], axis=0)
    np.testing.assert_allclose(shifted.probabilities(images), expected, atol=1e-6)
    assert not np.allclose(expected, plain.probabilities(images), atol=1e-3)


def test_the_recipe_says_how_to_predict(trained: FoldFolder) -> None:
    predictor = load_predictor(trained)
    assert (predictor.compute_config.precision, predictor.compute_config.memory_format) == (
        "fp32",
        "contiguous",
    )
    assert replace(predictor, tta=TestTime()).normalisation.mean[0] > 0


# ---------------------------------------------------------------- damage


def test_no_finished_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fold0: holds no finished training; run the train stage$"):
        load_predictor(FoldFolder(tmp_path / "fold0"))


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "changed", "text"])
def test_damaged_weights_are_one_line(fold: FoldFolder, damage: str) -> None:
    content = bytearray(fold.weights.read_bytes())
    fold.weights.unlink()
    if damage != "missing":
        content[-5] ^= 1
        damaged = {"empty": b"", "cut": bytes(content[:1000]), "changed": bytes(content), "text": b"nonsense"}
        fold.weights.write_bytes(damaged[damage])
    with pytest.raises(UserError, match=r"weights.safetensors: ") as caught:
        load_predictor(fold)
    assert "\n" not in str(caught.value) and "train" in str(caught.value)


def test_weights_of_another_network(fold: FoldFolder) -> None:
    recipe = json.loads(fold.recipe.read_text())
    recipe["member"]["model"] = "resnet5"
    fold.recipe.write_text(json.dumps(recipe))
    with pytest.raises(UserError, match=r"weights.safetensors: ") as caught:
        load_predictor(fold)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- what is measured out of fold

ADDER = Task(19, 1, addend=True)
Rows = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]


def predictor(head: str, task: Task, shift: int = 0) -> Predictor:
    """An untrained network with outputs that differ from image to image."""
    torch.manual_seed(0)
    network = create_network(Member(model="cnn", head=head), task, (1, 8, 8))
    return Predictor(
        network,
        Normalisation((78.0,), (96.0,)),
        ComputeConfig("cpu", "fp32", "contiguous"),
        TestTime(shift=shift),
    )


@pytest.fixture
def rows(digits: Digits) -> Rows:
    """Images, addends and labels of a fold."""
    addends = np.arange(61) * 7 % 10
    return digits[0][:61][:, None], addends, digits[1][:61] + addends


@pytest.mark.slow_but("regression-1", "softmax-1", "softmax-0", "digits-0")
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("head", HEADS_OF_CLASSES)
def test_a_row_has_no_part_in_its_own_probabilities(head: str, shift: int, rows: Rows) -> None:
    images, addends, labels = rows
    trained = predictor(head, ADDER, shift)
    before = trained.out_of_fold(ImageSplit(images, labels, addends=addends))
    for row in (0, 1, 30, 60):
        other = labels.copy()
        other[row] = addends[row] + (labels[row] - addends[row] + 5) % 10
        after = trained.out_of_fold(ImageSplit(images, other, addends=addends))
        np.testing.assert_array_equal(after[row], before[row])
        changed = (after != before).any(axis=1)
        # Only a head that measures looks at labels at all, and at every other row's.
        assert changed.any() == trained.network.head.needs_calibration
        assert not changed[row % 2 :: 2].any()


@pytest.mark.parametrize("head", [head for head in HEADS_OF_CLASSES if head != "regression"])
def test_heads_without_anything_to_measure_predict_plainly(head: str, rows: Rows) -> None:
    trained = predictor(head, ADDER)
    np.testing.assert_array_equal(
        trained.out_of_fold(ImageSplit(rows[0], rows[2], addends=rows[1])), trained.probabilities(*rows[:2])
    )


def test_each_half_is_measured_on_the_other(
    rows: Rows,
) -> None:
    images, addends, labels = rows
    trained, found = predictor("regression", ADDER), np.zeros((61, 19), np.float32)
    for half, other in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        outputs = torch.from_numpy(trained.outputs(images[other], addends[other]))
        values = torch.from_numpy(labels[other] - addends[other])
        measured = trained.network.head.calibrate(outputs, values)
        network = replace(trained.network, head=measured)
        found[half] = replace(trained, network=network).probabilities(images[half], addends[half])
    np.testing.assert_array_equal(trained.out_of_fold(ImageSplit(images, labels, addends=addends)), found)
    assert not np.allclose(found, trained.probabilities(images, addends), atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_fold_of_few_rows(count: int, rows: Rows) -> None:
    images, addends, labels = (part[:count] for part in rows)
    found = predictor("regression", ADDER).out_of_fold(ImageSplit(images, labels, addends=addends))
    assert found.shape == (count, 19)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_a_single_row_has_no_part_in_its_own_probabilities(rows: Rows) -> None:
    """Not even where the head was fitted on it, as that of a fold of one row is."""
    images, addends, labels = (part[:1] for part in rows)
    plain = predictor("regression", ADDER)
    found = plain.calibrate(ImageSplit(images, labels, addends=addends)).out_of_fold(
        ImageSplit(images, labels, addends=addends)
    )
    np.testing.assert_array_equal(found, plain.probabilities(images, addends))


def test_without_addends(digits: Digits) -> None:
    trained = predictor("regression", Task(10))
    found = trained.out_of_fold(ImageSplit(digits[0][:40][:, None], digits[1][:40]))
    fitted = trained.calibrate(ImageSplit(digits[0][:40][:, None], digits[1][:40]))
    assert found.shape == (40, 10) and fitted.network.head.calibration()["width"] > 1


def test_addends_go_with_their_images(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    images, addends, _ = rows
    trained = predictor("softmax", ADDER)
    monkeypatch.setattr(predictor_module, "_PIXELS_PER_BATCH", 7 * 64)
    found = trained.probabilities(images, addends)
    for row in (0, 8, 60):
        alone = trained.probabilities(images[row : row + 1], addends[row : row + 1])[0]
        np.testing.assert_allclose(found[row], alone, atol=1e-6)


def test_a_regression_keeps_what_all_of_its_fold_measured(tmp_path: Path, digits: Digits) -> None:
    root = write_project(tmp_path, digits, TRAIN, TEST)
    words = ["tiny", "--set", "members={number: {model: cnn, head: regression}}", "--set", "folds.train=1"]
    assert softvote(root, "folds", *words) == softvote(root, "train", *words) == 0
    folder = FoldFolder(root / "models" / "tiny" / "number" / "fold0")
    where, found = oof(folder)
    images, labels, trained = digits[0][where][:, None], digits[1][where], load_predictor(folder)
    unmeasured = create_head("regression", HeadSpec(10))
    plain = replace(trained, network=replace(trained.network, head=unmeasured))
    measured = plain.calibrate(ImageSplit(images, labels)).network.head.calibration()
    assert read_json(folder.recipe)["head"] == pytest.approx(measured)
    np.testing.assert_array_equal(found, plain.out_of_fold(ImageSplit(images, labels)))
    test_images = digits[0][TRAIN : TRAIN + TEST][:, None]
    np.testing.assert_array_equal(np.load(folder.test), trained.probabilities(test_images))
    assert not np.allclose(np.load(folder.test), plain.probabilities(test_images), atol=1e-4)


# ---------------------------------------------------------------- by a voter


@pytest.fixture
def members(tmp_path: Path) -> list[EnsembleMember]:
    """Two members of two networks each, of which the second ran in bfloat16; a third that is not there."""
    rounded = EXECUTION | {"precision": "bf16"}
    plain = [write_fold(tmp_path / f"a{fold}", {"model": "cnn"}, seed=fold) for fold in (0, 1)]
    half = [
        write_fold(tmp_path / f"b{fold}", {"model": "resnet5"}, seed=fold, execution=rounded)
        for fold in (0, 1)
    ]
    gone = [FoldFolder(tmp_path / "gone")]
    return [EnsembleMember("a", 0.75, plain), EnsembleMember("b", 0.25, half), EnsembleMember("c", 0.0, gone)]


def mean_of(member: EnsembleMember, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """As the train stage puts folds together: summed in double precision."""
    found = [load_predictor(fold).probabilities(images).astype(np.float64) for fold in member.folds]
    return ((found[0] + found[1]) / 2).astype(np.float32)


@pytest.mark.parametrize("space", ["probability", "logit"])
def test_a_voter_votes_by_its_networks(members: list[EnsembleMember], digits: Digits, space: Space) -> None:
    images = digits[0][:40][:, None]
    each = [mean_of(member, images) for member in members[:2]]
    expected = soft_vote(each, np.array([0.75, 0.25]), space)
    found = predict_proba(Ensemble("vote", members, "greedy", space), images)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32


def test_a_member_alone_is_the_mean_of_its_networks(members: list[EnsembleMember], digits: Digits) -> None:
    images, alone = digits[0][:40][:, None], replace(members[1], weight=1.0)
    found = predict_proba(Ensemble("b", [alone]), images)
    np.testing.assert_array_equal(found, mean_of(alone, images))
    for fold in alone.folds:  # the same in float32 differs, so it was computed as it was trained
        fold.recipe.write_text(json.dumps(read_json(fold.recipe) | {"execution": EXECUTION}))
    assert (predict_proba(Ensemble("b", [alone]), images) != found).any()


def test_a_voter_of_sums_is_told_the_addends(tmp_path: Path, digits: Digits) -> None:
    images, addends = digits[0][:20][:, None], np.arange(20) % 10
    fold = write_fold(tmp_path / "sum", {"model": "cnn", "head": "digits"}, task=ADDER)
    voter = Ensemble("sum", [EnsembleMember("sum", 1.0, [fold])])
    expected = load_predictor(fold).probabilities(images, addends)
    np.testing.assert_array_equal(predict_proba(voter, images, addends), expected)
    assert (predict_proba(voter, images, (addends + 1) % 10) != expected).any()


# ---------------------------------------------------------------- where bf16 is only imitated


@pytest.mark.parametrize(
    ("device", "native", "precision", "predicts_in"),
    [
        ("cuda", False, "bf16", "fp16"), ("cuda", True, "bf16", "bf16"), ("cuda", False, "fp32", "fp32"),
        ("cpu", False, "bf16", "bf16"),
    ],
)  # fmt: skip
def test_a_gpu_without_bf16_predicts_in_fp16(
    monkeypatch: pytest.MonkeyPatch, device: str, native: bool, precision: str, predicts_in: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert ComputeConfig(device, precision, "contiguous").to_predict().precision == predicts_in


@pytest.mark.parametrize("scale", [1.0, 1e7])
def test_what_overflows_in_fp16_is_computed_again(trained: FoldFolder, digits: Digits, scale: float) -> None:
    images = digits[0][:50][:, None]
    full = load_predictor(trained)
    with torch.no_grad():
        for layer in full.network.model.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.weight *= scale
    half = replace(full, compute_config=replace(full.compute_config, precision="fp16"))
    expected, found = full.outputs(images), half.outputs(images)
    assert np.isfinite(found).all()
    if scale == 1:
        assert (found != expected).any()
        np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())
    else:
        np.testing.assert_array_equal(found, expected)
