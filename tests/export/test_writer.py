"""export.writer: a voter as one program without softvote, and its numbers are those of the stages."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import projects
import pytest
import torch
from conftest import Digits
from kinds import HEADS_OF_CLASSES
from numpy.typing import NDArray
from projects import softvote, times, write_project
from torch import Tensor, nn
from untrained import EXECUTION, write_fold

import softvote as package
from softvote import models
from softvote.config.competition import Image
from softvote.ensembling.ensemble import Ensemble, EnsembleMember
from softvote.ensembling.predictions import Predictions, merge_folds, read_predictions, write_predictions
from softvote.ensembling.vote import Blocks, Space, soft_vote
from softvote.errors import UserError
from softvote.export import program, writer
from softvote.export.program import (
    METADATA_IN_ONNX,
    EnsembleModule,
    Signature,
    as_predict_fn,
    create_module,
    load_exported,
)
from softvote.export.writer import Check, write_program
from softvote.heads import create_head
from softvote.heads.base import HeadSpec
from softvote.inference import predictor
from softvote.inference.loading import load_predictor
from softvote.models import own_models
from softvote.storage.files import read_json
from softvote.storage.paths import ExportFolder, FoldFolder
from softvote.task import Task

TRAIN, TEST = 160, 40
SIDE = 16


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """Three members on a fold, and the vote of two, exported; test.npy holds the test images.

    One member sees shifted views; another, outside the vote, was trained in bfloat16.
    """
    large = np.kron(digits[0][: TRAIN + TEST], np.ones((1, 2, 2), np.uint8))
    root = tmp_path_factory.mktemp("export")
    write_project(
        root, (large, digits[1]), TRAIN, TEST,
        competition=projects.competition(image={"height": SIDE, "width": SIDE}),
        defaults=projects.RECIPE | {"epochs": 4, "memory_format": "channels_last"},
        members={
            "shifted": {"model": "basic_cnn", "tta": {"shift": 1}},
            "cropped": {"model": "basic_cnn", "view": {"name": "crop", "size": 13}, "normalise": "image"},
            "rounded": {"model": "basic_cnn", "precision": "bf16"},
        },
        folds={"count": 2, "train": 1},
        ensemble={"rule": "mean_logits", "members": ["shifted", "cropped"]},
    )  # fmt: skip
    for stage in ("folds", "train", "ensemble", "export"):
        assert softvote(root, stage, "tiny") == 0
    np.save(root / "test.npy", large[TRAIN:])
    return root


@pytest.fixture(scope="module")
def programs(finished: Path) -> dict[str, Any]:
    """Both programs as they are read from their files, which takes a second, by the names of the files."""
    folder = export_folder(finished)
    return {path.name: load_exported(path) for path in (folder.torch, folder.onnx)}


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "project"))


def export_folder(root: Path, voter: str = "vote") -> ExportFolder:
    return ExportFolder(root / "models" / "tiny" / voter / "export")


def load_stored(root: Path, voter: str = "vote") -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.load(root / "models" / "tiny" / voter / "test.npy")
    return found


# ---------------------------------------------------------------- elsewhere

ELSEWHERE = """
import sys
sys.modules["softvote"] = None
sys.path.append(sys.argv[1])
try:
    import softvote
except ImportError:
    print("softvote is not here")
import json
from pathlib import Path
facts = json.loads(Path("program.json").read_text())
for name, library in (("program.pt2", "torch"), ("program.onnx", "numpy")):
    known = {}
    exec("\\n".join(facts["how_to_call"][name]), known)
    assert known["probabilities"].shape == (1, 10), known["probabilities"].shape
    import numpy
    images = numpy.load(sys.argv[2])[:, None]
    if library == "torch":
        found = known["program"](known["torch"].from_numpy(images)).detach().numpy()
    else:
        (found,) = known["program"].run(None, {"images": images})
    numpy.save(name + ".npy", found)
assert [name for name in sys.modules if name.startswith("softvote")] == ["softvote"]
assert sys.modules["softvote"] is None
"""


@pytest.mark.slow
def test_a_process_without_softvote_predicts_the_same(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(export_folder(finished).path, tmp_path / "elsewhere"))
    libraries = Path(torch.__file__).parents[1]
    # -I and -S: neither this folder, nor PYTHONPATH, nor what site adds for an editable installation.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ELSEWHERE, str(libraries), str(finished / "test.npy")],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[:1]) == (0, ["softvote is not here"]), done.stderr
    expected = load_stored(finished)
    assert softvote(finished, "predict", "--model", str(finished / "models" / "tiny" / "vote"),
                    str(finished / "test.npy"), "--probabilities") == 0  # fmt: skip
    lines = list(csv.reader(capsys.readouterr().out.splitlines()))[1:]
    told = np.array([line[4:] for line in lines], np.float32)
    for name in ("program.pt2", "program.onnx"):
        found = np.load(folder / f"{name}.npy")
        assert found.shape == expected.shape == (TEST, 10) and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(found, told, atol=1e-5)
    assert np.ptp(expected[:, 0]) > 1e-3  # images make a difference


# ---------------------------------------------------------------- what is written


def test_the_record_travels_with_each_file(finished: Path, programs: dict[str, Any]) -> None:
    folder = export_folder(finished)
    facts = json.loads(folder.record.read_text())
    assert facts["classes"] == [str(label) for label in range(10)]
    assert facts["image"] == {"channels": 1, "height": SIDE, "width": SIDE} and facts["addend"] is False
    assert (facts["pipeline"], facts["voter"], facts["rule"]) == ("tiny", "vote", "mean_logits")
    assert [member["name"] for member in facts["members"]] == ["shifted", "cropped"]
    (shift,) = {fold["shift"] for fold in facts["members"][0]["folds"]}
    assert shift == 1 and facts["precision"] == "float32"
    recipe = json.loads((finished / "models" / "tiny" / "shifted" / "fold0" / "recipe.json").read_text())
    assert facts["members"][0]["folds"][0]["weights_sha256"] == recipe["weights_sha256"]
    for name, (signature, _) in programs.items():
        assert signature.to_record().to_json() == {key: facts[key] for key in ("classes", "image", "addend")}
        assert facts["largest_difference_from_test"][name] < 1e-5
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "program.json", "program.onnx", "program.pt2",
    ]  # fmt: skip


def test_no_file_names_a_folder_of_this_machine(finished: Path) -> None:
    folder = export_folder(finished)
    with zipfile.ZipFile(folder.torch) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    content += folder.onnx.read_bytes() + folder.record.read_bytes()
    for place in (Path(package.__file__).parent, Path(torch.__file__).parent, finished):
        assert str(place).encode() not in content


def test_any_number_of_images(finished: Path, programs: dict[str, Any]) -> None:
    images = np.load(finished / "test.npy")[:, None]
    for _, run in programs.values():
        for count in (1, 2, 33):
            np.testing.assert_allclose(run(images[:count], None), load_stored(finished)[:count], atol=1e-5)


def test_batches_do_not_matter(
    finished: Path, programs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "_PIXELS_PER_BATCH", 7 * SIDE**2)
    found = programs["program.onnx"][1](np.load(finished / "test.npy")[:, None], None)
    np.testing.assert_allclose(found, load_stored(finished), atol=1e-5)


@pytest.mark.slow
def test_a_member_trained_in_bfloat16_in_another_folder(project: Path, tmp_path: Path) -> None:
    words = ["export", "tiny", "--member", "rounded", "--output", str(tmp_path / "here")]
    assert softvote(project, *words) == 0
    folder = ExportFolder(tmp_path / "here")
    facts = json.loads(folder.record.read_text())
    assert [fold["trained_in"] for fold in facts["members"][0]["folds"]] == ["bf16 on cpu"]
    found = load_exported(folder.torch)[1](np.load(project / "test.npy")[:, None], None)
    off = np.abs(found - load_stored(project, "rounded")).max()
    assert 1e-6 < off < 0.02  # rounded to 8 bits, and yet the same networks
    assert not export_folder(project, "rounded").path.exists()


# ---------------------------------------------------------------- done work, mistakes


def test_done_work_is_left_alone_and_changed_work_is_done_again(
    project: Path,
    programs: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = times(export_folder(project).path)
    assert softvote(project, "export", "tiny") == 0
    assert "is there and unchanged" in capsys.readouterr().out
    assert times(export_folder(project).path) == before

    written: list[Any] = []

    def write(voter: Ensemble, *_: Any) -> dict[str, float]:
        assert "networks, in float32" in capsys.readouterr().out, "before the long work, not after it"
        written.append(
            [writer._record(voter, signature, "tiny", "").members[k].networks[0].shift for k in (0, 1)]
        )
        return NO_DIFFERENCES

    signature, _ = programs["program.pt2"]
    monkeypatch.setattr(writer, "write_program", write)
    onnx = export_folder(project).onnx
    onnx.write_bytes(onnx.read_bytes()[:-1])
    assert softvote(project, "export", "tiny") == 0
    other = ["--set", "members.cropped.tta.shift=2"]
    capsys.readouterr()
    assert softvote(project, "export", "tiny", *other) == 1
    assert "run the ensemble stage" in capsys.readouterr().err
    for stage in ("train", "ensemble", "export"):
        assert softvote(project, stage, "tiny", *other) == 0
    assert written == [[1, 0], [1, 2]]  # the test-time shifts


NO_DIFFERENCES = {"program.pt2": 0.0, "program.onnx": 0.0}


@pytest.mark.parametrize("which", ["program.pt2", "program.onnx"])
def test_a_file_with_other_numbers_does_not_take_its_place(
    tmp_path: Path, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ExportFolder(tmp_path / "export")
    folder.path.mkdir()
    for path in (folder.torch, folder.onnx):
        path.write_bytes(b"before")
    fold = write_fold(tmp_path / "cnn" / "fold0", {"model": "cnn"})
    check = check_of(fold)

    def some_file(exported: Any, record: Any, path: Path) -> None:
        path.write_bytes(b"a program")

    def bad(path: Path) -> Any:
        wrong = 0.5 if path.suffix == Path(which).suffix else 0.0
        return None, lambda images, addends: check.stored + np.float32(wrong)

    monkeypatch.setattr(writer, "_write_torch", some_file)
    monkeypatch.setattr(writer, "_write_onnx", some_file)
    monkeypatch.setattr(writer, "load_exported", bad)
    with pytest.raises(UserError, match=rf"{which}: would differ from the networks by 0.5"):
        write_program(of(fold), folder, "tiny", "", check)
    assert {path.read_bytes() for path in folder.path.iterdir()} == {b"before"}
    assert len(list(folder.path.iterdir())) == 2


def test_without_the_packages(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (writer, program):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs onnx, onnxscript, onnxruntime; install with: pip install"):
        writer.require_packages()
    with pytest.raises(UserError, match=r"program.onnx: needs onnxruntime; install with"):
        load_exported(export_folder(finished).onnx)


def test_too_large_for_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_MOST_BYTES", 1000)
    fold = write_fold(tmp_path / "cnn" / "fold0", {"model": "cnn"})
    with pytest.raises(UserError, match="do not fit one ONNX file"):
        write_program(of(fold), ExportFolder(tmp_path / "export"), "tiny", "", check_of(fold))
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_networks_that_do_not_give_what_is_stored(tmp_path: Path, precision: str) -> None:
    compute_config = EXECUTION | {"precision": precision}
    fold = write_fold(tmp_path / "cnn" / "fold0", {"model": "cnn"}, execution=compute_config)
    check = check_of(fold)
    writer.refuse_others(of(fold), check)
    for wrong in (0.005, np.nan):
        store(fold, check.stored + np.float32(wrong))
        with pytest.raises(
            UserError, match=r"fold0: its network, run as it has predicted, differs"
        ) as caught:
            write_program(of(fold), ExportFolder(tmp_path / "export"), "tiny", "", check)
        assert "\n" not in str(caught.value) and not (tmp_path / "export").exists()
        assert f"delete {tmp_path / 'cnn'}/fold*/scores.json, run train and ensemble again" in str(
            caught.value
        )


def test_networks_that_predicted_on_another_device(tmp_path: Path) -> None:
    fold = write_fold(tmp_path / "cnn" / "fold0", {"model": "cnn"}, execution=EXECUTION | {"device": "cuda"})
    check = check_of(fold)
    for wrong, refused in ((0.01, False), (0.3, True)):
        store(fold, check.stored + np.float32([wrong, -wrong] * 5))
        check = replace(check, stored=read_predictions(fold).test)
        with pytest.raises(UserError) if refused else contextlib.nullcontext():
            writer.refuse_others(of(fold), check)


def test_a_vote_that_is_not_of_what_is_stored(tmp_path: Path) -> None:
    one = write_fold(tmp_path / "one" / "fold0", {"model": "cnn"})
    two = write_fold(tmp_path / "two" / "fold0", {"model": "cnn"}, seed=1)
    checks = check_of(one), check_of(two)
    members = [EnsembleMember("one", 0.25, [one]), EnsembleMember("two", 0.75, [two])]
    right = soft_vote([check.stored for check in checks], np.array([0.25, 0.75]), "logit")
    writer.refuse_others(Ensemble("vote", members, "greedy", "logit"), replace(checks[0], stored=right))
    for wrong in (right + np.float32(0.005), right * np.float32(np.nan)):
        with pytest.raises(UserError, match=r"vote: its test.npy differs by .* from those of its folds; del"):
            writer.refuse_others(
                Ensemble("vote", members, "greedy", "logit"), replace(checks[0], stored=wrong)
            )


def test_what_the_refusal_says_mends_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check_only(
        voter: Ensemble, folder: ExportFolder, pipeline: str, fingerprint: str, check: Check
    ) -> dict[str, float]:
        writer.refuse_others(voter, check)
        return NO_DIFFERENCES

    monkeypatch.setattr(writer, "write_program", check_only)
    member = project / "models" / "tiny" / "cropped"
    fold = FoldFolder(member / "fold0")
    found = read_predictions(fold)
    store(fold, found.test[::-1], found, read_json(fold.scores)["key"])
    assert softvote(project, "train", "tiny") == softvote(project, "ensemble", "tiny") == 0
    capsys.readouterr()
    assert softvote(project, "export", "tiny") == 1
    told = capsys.readouterr().err
    assert f"delete {member}/fold*/scores.json, run train and ensemble again" in told
    for path in member.glob("fold*/scores.json"):
        path.unlink()
    for stage in ("train", "ensemble", "export"):
        assert softvote(project, stage, "tiny") == 0
    np.testing.assert_array_equal(read_predictions(fold).test, found.test)


# ---------------------------------------------------------------- every head, view and network

ADDER, SUM = Task(19, 1, addend=True), Task(37, 4)


def of(*folds: FoldFolder) -> Ensemble:
    return Ensemble("one", [EnsembleMember("one", 1.0, list(folds))])


def check_of(fold: FoldFolder, task: Task | None = None, image: tuple[int, int, int] = (1, 8, 8)) -> Check:
    """Five random images and what inference gives for them, which it stores in the fold."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (5, *image), dtype=np.uint8)
    addends = draw.integers(0, 10, 5) if task and task.addend else None
    found = load_predictor(fold).probabilities(images, addends)
    store(fold, found)
    return Check(np.arange(5), images, addends, found)


def store(
    fold: FoldFolder, test: NDArray[np.float32], beside: Predictions | None = None, fingerprint: str = ""
) -> None:
    """Write probabilities of test rows into a fold, beside its out-of-fold ones where there are any."""
    labels = test.shape[1]
    beside = beside or Predictions(np.arange(1), np.full((1, labels), 1 / labels, np.float32), test)
    stored = replace(beside, test=np.ascontiguousarray(test))
    write_predictions(fold, stored, np.zeros(TRAIN, np.int64), Task(labels), fingerprint)


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network is a linear layer, for what goes before it or follows."""

    def create_model(
        name: str, outputs: int, channels: int, size: tuple[int, int], args: dict[str, Any], *_: object
    ) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], outputs))

    monkeypatch.setattr(models, "create_model", create_model)


def together(tmp_path: Path, folds: list[FoldFolder], images: NDArray[np.uint8], task: Task) -> Path:
    """The program of a vote of trainings, which is written in the time of one; each has its say."""
    addends = np.arange(len(images)) % 10 if task.addend else None
    each = [load_predictor(fold).probabilities(images, addends) for fold in folds]
    for fold, found in zip(folds, each, strict=True):
        store(fold, found)
    assert not any(np.allclose(one, other) for one, other in combinations(each, 2))
    weights = np.full(len(each), 1 / len(each))
    members = [EnsembleMember(fold.path.name, 1 / len(each), [fold]) for fold in folds]
    check = Check(np.arange(len(images)), images, addends, soft_vote(each, weights, "probability"))
    found = write_program(Ensemble("vote", members), ExportFolder(tmp_path / "export"), "tiny", "", check)
    assert sorted(found) == ["program.onnx", "program.pt2"] and max(found.values()) < 1e-6
    return tmp_path / "export"


@pytest.mark.slow
def test_every_head_of_classes_and_an_addend(
    linear: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, image = Task(46, 4, addend=True), (3, 4, 4)
    folds = [
        write_fold(tmp_path / head, {"model": "cnn", "head": head}, image, task, head={"width": 3.0})
        for head in HEADS_OF_CLASSES
    ]
    images = np.random.default_rng(0).integers(0, 256, (5, *image), dtype=np.uint8)
    monkeypatch.chdir(together(tmp_path, folds, images, task))
    for lines in json.loads(Path("program.json").read_text())["how_to_call"].values():
        known: dict[str, Any] = {}
        exec("\n".join(lines), known)
        assert "addends" in str(lines) and known["probabilities"].shape == (1, 46)


VIEWS: list[dict[str, Any]] = [
    {"name": "crop", "size": 25},
    {"name": "deskew"},
    {"name": "box", "width": 20},
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "normalise",
    [
        ("image", "dataset", "image"),
        ("dataset", "image", "dataset"),
    ],
)
def test_every_view_and_normalisation(linear: None, tmp_path: Path, normalise: tuple[str, ...]) -> None:
    """On images that are not noise: a box or a slant there would be none."""
    images = np.zeros((6, 1, 28, 28), np.uint8)
    for row in range(5):  # the last one is blank
        images[row, 0, 4 : 15 + row, 6 + row : 11 + 2 * row] = 200
        images[row, 0, 12:20, 13:18] = 250
    folds = [
        write_fold(
            tmp_path / view["name"], {"model": "cnn", "view": view, "normalise": name}, (1, 28, 28), seed=7
        )
        for view, name in zip(VIEWS, normalise, strict=True)
    ]
    together(tmp_path, folds, images, Task(10))


# What differs from a softmax over ten classes of 28 x 28 images.
NETWORKS: dict[str, tuple[str, Task, tuple[int, int, int]]] = {
    "adder_net": ("softmax", ADDER, (1, 28, 28)),
    "cnn": ("regression", ADDER, (3, 8, 8)),
    "crop_reader": ("digits", SUM, (1, 28, 168)),
    "encoder_decoder": ("regression", SUM, (1, 32, 32)),
    "multilabel_cnn": ("multilabel", SUM, (1, 16, 40)),
    "resnet50_regressor": ("regression", SUM, (1, 32, 32)),
    "slot_cnn": ("digits", SUM, (1, 40, 40)),
    "sum_decoder": ("softmax", SUM, (1, 4, 10)),
    "test_convnext": ("softmax", Task(10), (3, 32, 32)),
}
# Half of encoder_decoder; that one is tested.
NAMES = [name for name in [*own_models(), "test_convnext"] if name != "digit_encoder"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_network(name: str, tmp_path: Path) -> None:
    head, task, image = NETWORKS.get(name, ("softmax", Task(10), (1, 28, 28)))
    member = {"model": name, "head": head}
    fold = write_fold(tmp_path / name / "fold0", member, image, task, head={"width": 0.3})
    check = check_of(fold, task, image)
    found = write_program(of(fold), ExportFolder(tmp_path / "export"), "tiny", "", check)
    assert sorted(found) == ["program.onnx", "program.pt2"] and max(found.values()) < 1e-5
    calls = json.loads((tmp_path / "export" / "program.json").read_text())["how_to_call"]
    assert ("addends" in str(calls)) == task.addend
    if name == "cnn":  # a vote of logits looks at the small shares of a number as well
        small = (check.stored < 1e-20) & (check.stored > 1e-36)
        given = load_exported(tmp_path / "export" / "program.onnx")[1](check.images, check.addends)
        assert small[:, :9].any() and small[:, 9:].any()
        np.testing.assert_allclose(np.log(given[small]), np.log(check.stored[small]), atol=1e-3)


def test_the_error_function_of_plain_operators() -> None:
    values = torch.linspace(-4, 25, 4001, dtype=torch.float64)
    exact = torch.special.erfc(values)
    assert float(((writer._erfc(values) - exact).abs() / exact).max()) < 1.2e-7


def test_small_shares_keep_their_digits_on_both_sides() -> None:
    head = create_head("regression", HeadSpec(11, calibration={"width": 0.4}))
    (shares,) = head.probabilities(torch.zeros(1, 1))
    assert 1e-20 > shares[0] > 0
    torch.testing.assert_close(shares, shares.flip(0), rtol=1e-5, atol=0.0)


# ---------------------------------------------------------------- the vote


class Fixed(nn.Module):
    """Gives the probabilities it was made with, whatever it sees."""

    def __init__(self, probabilities: NDArray[np.float32]) -> None:
        super().__init__()
        self.network = type("Network", (), {"model": nn.Identity()})
        self.probabilities = torch.from_numpy(probabilities)

    def of_batch(self, images: Tensor, addends: Tensor | None) -> Tensor:
        return self.probabilities


@pytest.mark.parametrize("space", ["probability", "logit"])
def test_the_vote_is_that_of_the_ensemble_stage(space: Space) -> None:
    draw = np.random.default_rng(0)
    folds = draw.dirichlet(np.full(7, 0.1), (3, 2, 50)).astype(np.float32)  # 3 members of 2 folds
    folds[0, :, :5] = np.eye(7, dtype=np.float32)[:5]  # sure to the last bit, and they contradict
    folds[1, :, :5] = np.eye(7, dtype=np.float32)[1:6]
    none = np.zeros(0, np.int64), np.zeros((0, 7), np.float32)
    members = [merge_folds([Predictions(*none, test) for test in member]).test for member in folds]
    weights = np.array([0.5, 0.3, 0.2])
    predictors: Any = [[Fixed(test) for test in member] for member in folds]
    found = EnsembleModule(predictors, weights.tolist(), space)(torch.zeros(50, 1, 2, 2))
    np.testing.assert_allclose(found.numpy(), soft_vote(members, weights, space), atol=2e-6)


@pytest.mark.parametrize("space", ["probability", "logit"])
@pytest.mark.parametrize("blocks", [(), (slice(0, 2), slice(2, 5))], ids=["tags", "targets"])
def test_so_it_is_of_tags_and_of_targets(space: Space, blocks: Blocks) -> None:
    members = np.random.default_rng(0).random((3, 50, 5)).astype(np.float32)
    for block in blocks:
        members[..., block] /= members[..., block].sum(axis=2, keepdims=True)
    weights = np.array([0.5, 0.3, 0.2])
    predictors: Any = [[Fixed(member)] for member in members]
    found = EnsembleModule(predictors, weights.tolist(), space, blocks)(torch.zeros(50, 1, 2, 2))
    expected = soft_vote(list(members), weights, space, blocks=blocks)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)


def test_a_program_asks_for_the_addends_of_its_task(tmp_path: Path) -> None:
    fold = write_fold(tmp_path / "fold0", {"model": "cnn", "head": "digits"}, task=ADDER)
    check = check_of(fold, ADDER)
    program, signature = create_module(of(fold), "cpu")
    assert signature.addend
    assert Signature.from_record(signature.to_record()) == signature
    np.testing.assert_allclose(as_predict_fn(program)(check.images, check.addends), check.stored, atol=1e-6)
    of_torch, of_onnx = (lines[-1] for lines in writer.how_to_call(signature).values())
    assert "program(images, addends)" in of_torch and '"addends": addends' in of_onnx
    of_torch, of_onnx = (lines[-1] for lines in writer.how_to_call(replace(signature, addend=False)).values())
    assert "program(images)" in of_torch and "addends" not in of_onnx


@pytest.mark.parametrize("addends", [None, np.array([7, 2])], ids=["images", "addends"])
def test_onnx_is_given_what_it_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, addends: NDArray[np.int64] | None
) -> None:
    import onnxruntime

    signature = Signature(["a", "b"], Image(height=1, width=2), addends is not None, Task(2))
    metadata = {METADATA_IN_ONNX: signature.to_record().model_dump_json()}
    given: dict[str, Any] = {}

    class Session:
        def __init__(self, path: Path, *_: Any, **more: Any) -> None:
            assert path == tmp_path / "program.onnx"

        def get_modelmeta(self) -> Any:
            return SimpleNamespace(custom_metadata_map=metadata)

        def run(self, names: None, inputs: dict[str, Any]) -> list[Any]:
            given.update(inputs)
            return [np.zeros((2, 2), np.float32)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    images = np.ones((2, 1, 1, 2), np.uint8)
    _, run = load_exported(tmp_path / "program.onnx")
    run(images, addends)
    expected = {"images": images} | ({} if addends is None else {"addends": addends})
    np.testing.assert_equal(given, expected)


def test_a_member_without_weight_is_left_out(tmp_path: Path) -> None:
    one = write_fold(tmp_path / "one" / "fold0", {"model": "cnn"})
    two = write_fold(tmp_path / "two" / "fold0", {"model": "cnn"}, seed=1)
    voter = Ensemble("vote", [EnsembleMember("one", 0.0, [one]), EnsembleMember("two", 1.0, [two])], "greedy")
    check = check_of(two)
    found, _ = create_module(voter, "cpu")
    np.testing.assert_allclose(as_predict_fn(found)(check.images, None), check.stored, atol=1e-6)
    assert len(found.networks) == 1


def test_trainings_of_other_classes_do_not_vote_together(tmp_path: Path) -> None:
    one = write_fold(tmp_path / "one" / "fold0", {"model": "cnn"})
    two = write_fold(tmp_path / "one" / "fold1", {"model": "cnn"}, task=Task(9))
    with pytest.raises(UserError, match=r"fold1: has other classes or images than .*fold0; run the train"):
        create_module(of(one, two), "cpu")


# ---------------------------------------------------------------- what is not a program


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
@pytest.mark.parametrize("damage", ["text", "empty", "cut"])
def test_damaged_programs_are_one_line(finished: Path, tmp_path: Path, suffix: str, damage: str) -> None:
    whole = next(export_folder(finished).path.glob(f"*{suffix}")).read_bytes()
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes({"text": b"nonsense", "empty": b"", "cut": whole[: len(whole) // 2]}[damage])
    with pytest.raises(UserError, match=r"is not a program of softvote export, or damaged") as caught:
        load_exported(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["program.pt2", "program.onnx"])
def test_a_changed_byte_among_the_weights_is_noticed(
    name: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both formats open it and predict other numbers."""
    program = export_folder(project).path / name
    content = bytearray(program.read_bytes())
    content[len(content) // 2] ^= 0xFF
    program.write_bytes(content)
    np.save(project / "images.npy", np.zeros((1, 8, 8), np.uint8))
    assert softvote(project, "predict", "--model", str(program), str(project / "images.npy")) == 1
    assert capsys.readouterr().err == (
        f"softvote: {program}: is not the file that softvote export wrote; export it again\n"
    )


def test_another_program_is_refused(tmp_path: Path) -> None:
    other = torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(other, tmp_path / "other.pt2")
    with pytest.raises(UserError, match=r"it names no classes"):
        load_exported(tmp_path / "other.pt2")
