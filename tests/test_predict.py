"""softvote.stages.predict and softvote.data.inference_inputs: any images, any model, one table."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Digits
from data_fixtures import write_csv
from numpy.typing import NDArray
from PIL import Image
from projects import softvote
from untrained import write_fold

from softvote.ensembling.ensemble import load_ensemble
from softvote.ensembling.predictions import Predictions, write_predictions
from softvote.ensembling.records import DecisionRecord
from softvote.export.program import Signature, as_predict_fn, create_module
from softvote.export.record import SignatureRecord
from softvote.inference.loading import load_predictor, read_training
from softvote.storage.paths import FoldFolder, PredictionsFolder
from softvote.task import Task

ADDER = Task(19, 1, addend=True)
PIXELS = [f"pixel{index}" for index in range(64)]


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> FoldFolder:
    """A network for grey images of 8 x 8 and ten classes with names."""
    names = ["naught", *(f"no. {number}" for number in range(1, 9)), 'the "nine", last']
    return write_fold(tmp_path_factory.mktemp("grey") / "cnn" / "fold0", {"model": "cnn"}, classes=names)


@pytest.fixture(scope="module")
def adder(tmp_path_factory: pytest.TempPathFactory) -> FoldFolder:
    """One that needs an addend with each image."""
    return write_fold(tmp_path_factory.mktemp("adder") / "cnn" / "fold0", {"model": "cnn"}, task=ADDER)


@pytest.fixture
def images(digits: Digits) -> NDArray[np.uint8]:
    return digits[0][:5]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: NDArray[np.uint8]) -> None:
    """A folder with the images in every format."""
    monkeypatch.chdir(tmp_path)
    np.save("five.npy", images)
    flat = images.reshape(5, -1).tolist()
    write_csv(Path("plain.csv"), PIXELS, flat)
    write_csv(Path("more.csv"), ["ImageId", "Label", *PIXELS, "addend"], [
        [f"x{row}", 3, *pixels, row] for row, pixels in enumerate(flat)
    ])  # fmt: skip
    for row, image in enumerate(images):
        Image.fromarray(image).save(f"{row}.png")
    Image.fromarray(images[0]).convert("RGB").save("colour.png")
    Image.fromarray(images[0]).resize((20, 12)).save("large.jpg")


def predict_rows(
    capsys: pytest.CaptureFixture[str], model: FoldFolder | Path, *words: str
) -> list[list[str]]:
    """The rows that are printed, under their header."""
    path = model.path if isinstance(model, FoldFolder) else model
    capsys.readouterr()
    assert softvote(Path(), "predict", "--model", str(path), *words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return list(csv.reader(io.StringIO(out)))


def refusals_of(capsys: pytest.CaptureFixture[str], model: FoldFolder | Path, *words: str) -> list[str]:
    """The lines of the mistakes."""
    path = model.path if isinstance(model, FoldFolder) else model
    capsys.readouterr()
    assert softvote(Path(), "predict", "--model", str(path), *words) == 1
    out, err = capsys.readouterr()
    assert out == "" and all(line.startswith("softvote: ") for line in err.splitlines())
    return [line.removeprefix("softvote: ") for line in err.splitlines()]


def table(rows: list[list[str]]) -> NDArray[np.float64]:
    """The columns of the classes."""
    return np.array([row[4:] for row in rows[1:]], float)


# ---------------------------------------------------------------- images


def test_every_format_gives_the_same(
    grey: FoldFolder, images: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    expected = load_predictor(grey).probabilities(images[:, None])
    files = [f"{row}.png" for row in range(5)]
    for names in (["five.npy"], ["plain.csv"], ["more.csv"], files):
        rows = predict_rows(capsys, grey, *names, "--probabilities")
        np.testing.assert_allclose(table(rows), expected, atol=1e-6)
        alone = names == files
        places = [(files[row] if alone else names[0], "0" if alone else str(row)) for row in range(5)]
        assert [(row[0], row[1]) for row in rows[1:]] == places
    classes = [name.removeprefix("probability of ") for name in rows[0][4:]]
    assert classes[0] == "naught" and classes[-1] == 'the "nine", last'
    for row, line in zip(rows[1:], expected, strict=True):
        assert row[2] == classes[line.argmax()] and abs(float(row[3]) - line.max()) < 1e-6
    assert len({row[3] for row in rows[1:]}) > 1


def test_several_files_in_the_order_they_are_named(
    grey: FoldFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = predict_rows(capsys, grey, "4.png", "plain.csv", "0.png")
    assert rows[0] == ["source", "row", "label", "probability"]
    assert [row[0] for row in rows[1:]] == ["4.png", *["plain.csv"] * 5, "0.png"]
    assert rows[1][2:] == rows[6][2:] and rows[2][2:] == rows[7][2:]


def test_grey_and_colour_as_the_model_wants(
    grey: FoldFolder, tmp_path: Path, images: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict_rows(capsys, grey, "colour.png")[1][2:] == predict_rows(capsys, grey, "0.png")[1][2:]
    colour = write_fold(tmp_path / "colour" / "fold0", {"model": "cnn"}, (3, 8, 8))
    draw = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    np.save("colours.npy", draw)
    write_csv(Path("colours.csv"), [f"p{index}" for index in range(192)], draw.reshape(4, -1).tolist())
    Image.fromarray(draw[0]).save("first.png")
    expected = load_predictor(colour).probabilities(np.ascontiguousarray(draw.transpose(0, 3, 1, 2)))
    for name, count in (("colours.npy", 4), ("colours.csv", 4), ("first.png", 1)):
        rows = predict_rows(capsys, colour, name, "--probabilities")
        np.testing.assert_allclose(table(rows), expected[:count], atol=1e-6)
    repeated = np.repeat(images[:1, None], 3, axis=1)
    rows = predict_rows(capsys, colour, "0.png", "--probabilities")
    np.testing.assert_allclose(table(rows), load_predictor(colour).probabilities(repeated), atol=1e-6)
    (line,) = refusals_of(capsys, colour, "five.npy")
    assert "five.npy: has images of 1 channel, the model takes 3" in line


def test_other_sizes_only_when_asked(
    grey: FoldFolder, images: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("large.npy", np.kron(images, np.ones((1, 3, 3), np.uint8)))
    assert refusals_of(capsys, grey, "large.jpg", "large.npy") == [
        "large.jpg: is 12 x 20, the model takes 8 x 8; pass --resize to bring it there",
        "large.npy: is 24 x 24, the model takes 8 x 8; pass --resize to bring it there",
    ]
    rows = predict_rows(capsys, grey, "large.jpg", "large.npy", "0.png", "--resize", "--probabilities")
    assert len(rows) == 8
    small = np.array(Image.open("large.jpg").resize((8, 8), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(
        table(rows)[:1], load_predictor(grey).probabilities(small[None, None]), atol=1e-6
    )


def test_every_problem_of_every_file_is_named(
    grey: FoldFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.png").write_text("nonsense")
    Path("text.npy").write_text("nonsense")
    Path("notes.txt").write_text("nonsense")
    Path("empty.csv").write_text("")
    Path("folder").mkdir()
    np.save("floats.npy", np.zeros((2, 8, 8)))
    np.save("flat.npy", np.zeros((8, 8), np.uint8))
    np.save("none.npy", np.zeros((0, 8, 8), np.uint8))
    write_csv(Path("short.csv"), ["label", *PIXELS[1:]], [[0] * 64])
    write_csv(Path("wild.csv"), PIXELS, [[0] * 64, [256, "x", *[0] * 62]])
    names = sorted(str(path) for path in Path().iterdir())
    bad = [name for name in names if not name[0].isdigit() and name not in GOOD]
    lines = refusals_of(capsys, grey, *bad, "missing.png", "--output", "out.csv")
    expected = {
        "text.png": "is damaged (not an image)", "text.npy": "is not an .npy file",
        "notes.txt": "is neither .npy, .csv nor an image", "empty.csv": "has no content",
        "folder": "holds no images (.png, .jpg, .jpeg",
        "floats.npy": "holds float64 (2, 8, 8); images must be uint8",
        "flat.npy": "holds uint8 (8, 8); images must be uint8 (N, H, W)",
        "none.npy": "holds uint8 (0, 8, 8)",
        "short.csv": "63 columns beside label, id, imageid, image_id and addend, but the model takes",
        "wild.csv, row 3, column pixel0": "'256' is not a whole number from 0 to 255",
        "wild.csv, row 3, column pixel1": "'x' is not a whole number from 0 to 255",
        "missing.png": "no such file; fix the path",
    }  # fmt: skip
    assert len(lines) == len(expected)
    for where, what in expected.items():
        assert any(where in line and what in line for line in lines), (where, lines)
    assert not Path("out.csv").exists()


GOOD = ("five.npy", "plain.csv", "more.csv", "colour.png", "large.jpg")


def test_a_csv_without_a_header_is_refused(grey: FoldFolder, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bare.csv").write_text("\n".join(Path("plain.csv").read_text().splitlines()[1:]))
    assert "holds only numbers where the column names should be" in refusals_of(capsys, grey, "bare.csv")[0]


# ---------------------------------------------------------------- addends


def test_addends_from_the_file_or_for_all(
    adder: FoldFolder, images: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    predictor = load_predictor(adder)
    rows = predict_rows(capsys, adder, "more.csv", "--probabilities")
    expected = predictor.probabilities(images[:, None], np.arange(5))
    np.testing.assert_allclose(table(rows), expected, atol=1e-6)
    for names in (["five.npy"], ["plain.csv"], [f"{row}.png" for row in range(5)]):
        rows = predict_rows(capsys, adder, *names, "--addend", "7", "--probabilities")
        expected = predictor.probabilities(images[:, None], np.full(5, 7))
        np.testing.assert_allclose(table(rows), expected, atol=1e-6)
    assert not table(rows)[:, :7].any()  # nothing adds up to less than the addend


def test_a_files_own_addends_go_before_the_one_for_all(
    adder: FoldFolder, images: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = predict_rows(capsys, adder, "more.csv", "five.npy", "--addend", "7", "--probabilities")
    twice, addends = np.concatenate([images, images])[:, None], np.array([0, 1, 2, 3, 4, 7, 7, 7, 7, 7])
    np.testing.assert_allclose(table(rows), load_predictor(adder).probabilities(twice, addends), atol=1e-6)


def test_addends_that_are_missing_or_none(
    grey: FoldFolder, adder: FoldFolder, images: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusals_of(capsys, adder, "five.npy", "0.png", "more.csv") == [
        "five.npy: the model takes an addend with each image; pass --addend 0..9",
        "0.png: the model takes an addend with each image; pass --addend 0..9",
    ]
    for wrong in ("10", "-1", "x", "1.5"):
        (line,) = refusals_of(capsys, adder, "five.npy", f"--addend={wrong}")
        assert line == f"--addend: addend '{wrong}' is not an integer 0..9; fix it"
    (line,) = refusals_of(capsys, grey, "five.npy", "--addend", "3")
    assert line == "--addend: the model takes none; leave it out"
    flat = images.reshape(5, -1).tolist()
    write_csv(Path("wrong.csv"), [*PIXELS, "addend"], [[*flat[0], 10], [*flat[1], ""]])
    assert refusals_of(capsys, adder, "wrong.csv") == [
        "wrong.csv, row 2, column addend: addend '10' is not an integer 0..9; fix it",
        "wrong.csv, row 3, column addend: the addend is empty; fix it",
    ]


# ---------------------------------------------------------------- models and output


def test_to_a_file(grey: FoldFolder, capsys: pytest.CaptureFixture[str]) -> None:
    rows = predict_rows(capsys, grey, "five.npy")
    assert softvote(Path(), "predict", "--model", str(grey.path), "five.npy", "--output", "a/out.csv") == 0
    assert capsys.readouterr().out == "wrote a/out.csv  5 rows\n"
    with Path("a/out.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == rows


def test_a_folder_stands_for_the_images_in_it(grey: FoldFolder, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("scans")
    (folder / "older").mkdir(parents=True)
    for row, name in [("0", "1.png"), ("3", "10.PNG"), ("3", "2.png")]:
        shutil.copy(f"{row}.png", folder / name)
    (folder / "notes.txt").write_text("no image")
    Path("4.png").rename(folder / "older" / "4.png")
    rows = predict_rows(capsys, grey, "scans", "five.npy")[1:]
    assert [row[0] for row in rows] == ["scans/1.png", "scans/10.PNG", "scans/2.png"] + ["five.npy"] * 5
    assert [row[2] for row in rows[:3]] == [rows[index][2] for index in (3, 6, 6)]


def test_models_that_are_none(grey: FoldFolder, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    for path, says in {
        "nowhere/program.pt2": "no such model; make one with: softvote export PIPELINE",
        "0.png": "is not a model; name a program.pt2",
        "empty": "holds no model; name a program.pt2",
    }.items():
        (line,) = refusals_of(capsys, Path(path), "five.npy")
        assert line.startswith(f"{path}: ") and says in line
    Path("program.pt2").write_text("nonsense")
    for path in ("program.pt2", "."):
        (line,) = refusals_of(capsys, Path(path), "five.npy")
        assert "program.pt2: is not a program of softvote export, or damaged" in line


def test_damaged_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fold = write_fold(tmp_path / "damaged" / "fold0", {"model": "cnn"})
    fold.weights.write_bytes(b"nonsense")
    (line,) = refusals_of(capsys, fold, "five.npy")
    assert "weights.safetensors: cannot be used" in line


def test_a_typing_error_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from softvote.cli import main\n"
        "assert main(['predict', '--model', 'nowhere', '0.png']) == 1\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_networks_from_a_folder_compute_in_float32(tmp_path: Path, images: NDArray[np.uint8]) -> None:
    rounded = {"device": "cpu", "precision": "bf16", "memory_format": "channels_last"}
    plain = write_fold(tmp_path / "plain" / "fold0", {"model": "cnn"})
    other = write_fold(tmp_path / "rounded" / "fold0", {"model": "cnn"}, execution=rounded)
    found = as_predict_fn(create_module(load_ensemble(other.path), "cpu")[0])(images[:, None], None)
    np.testing.assert_allclose(found, load_predictor(plain).probabilities(images[:, None]), atol=1e-6)


def test_images_are_decoded_as_in_training(
    grey: FoldFolder, images: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(images[0].astype(np.uint16) * 16).save("deep.png")
    ink = Image.new("RGBA", (8, 8), (255, 255, 255))
    ink.putalpha(Image.fromarray(images[0]))
    ink.save("ink.png")
    assert refusals_of(capsys, grey, "deep.png", "ink.png") == [
        f"deep.png: images of 16 bits hold no value above {int(images[0].max()) * 16}, so all would be dark; "
        "write image.value_range: [0, 4095]",
        "ink.png: is transparent and vanishes on white; set image.background: black",
    ]
    fold = FoldFolder(Path(shutil.copytree(grey.path, tmp_path / "other" / "cnn" / "fold0")))
    record = json.loads(fold.recipe.read_text())
    record["decoding"] = {"value_range": [0, 255 * 16], "background": "black"}
    fold.recipe.write_text(json.dumps(record))
    found = predict_rows(capsys, fold, "0.png", "deep.png", "ink.png")
    assert [row[2:] for row in found[2:]] == [found[1][2:]] * 2


# ---------------------------------------------------------------- decisions


TAGS = Task(3, kind="tags")


@pytest.fixture
def tagger(tmp_path: Path) -> FoldFolder:
    """A network for three tags, in the folder of its member."""
    return write_fold(
        tmp_path / "tags" / "fold0", {"model": "cnn", "head": "tags"}, task=TAGS, classes=["a", "b", "c"],
        kind="tags",
    )  # fmt: skip


def write_decision(model: FoldFolder, decision: dict[str, object], fitted: list[float]) -> None:
    """What the train stage keeps beside the folds of a member: how it decides, and what it predicted."""
    member, columns = PredictionsFolder(model.path.parent), len(read_training(model).classes)
    task = Task(columns)
    rows, said = np.arange(2), np.full((2, columns), 1 / columns, np.float32)
    for folder in (model, member):
        write_predictions(folder, Predictions(rows, said, said), np.zeros(2, np.int64), task, "")
    DecisionRecord(decision=decision, fitted=fitted).write(member.decision)


def predict_with_note(
    capsys: pytest.CaptureFixture[str], model: FoldFolder | Path
) -> tuple[list[list[str]], str]:
    """The rows under their header, and what was said beside them."""
    capsys.readouterr()
    path = model.path if isinstance(model, FoldFolder) else model
    assert softvote(Path(), "predict", "--model", str(path), "five.npy") == 0
    out, err = capsys.readouterr()
    return list(csv.reader(io.StringIO(out)))[1:], err


def test_tags_are_named_by_the_thresholds_that_submit_decides_by(
    tagger: FoldFolder, images: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    found = load_predictor(tagger).probabilities(images[:, None])
    cuts = [float(column.max() + column.min()) / 2 for column in found.T]  # some images on either side
    write_decision(tagger, {"name": "thresholds", "at_least_one": False}, cuts)
    rows, said = predict_with_note(capsys, tagger)
    named = [";".join(np.array(["a", "b", "c"])[line > cuts]) for line in found]
    assert [row[2] for row in rows] == named and len(set(named)) > 1
    assert said.startswith("named by thresholds a ") and "fitted" in said


def test_tags_without_a_decision_are_named_from_one_half_and_it_is_said(
    tagger: FoldFolder, images: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    found = load_predictor(tagger).probabilities(images[:, None])
    rows, said = predict_with_note(capsys, tagger)
    assert [row[2] for row in rows] == [";".join(np.array(["a", "b", "c"])[line >= 0.5]) for line in found]
    assert "at least one half" in said and "no decision" in said


def test_grades_are_named_by_cut_points(
    tmp_path: Path, images: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    task = Task(10, kind="ordered")
    model = write_fold(tmp_path / "grades" / "fold0", {"model": "cnn"}, task=task, kind="ordered")
    expected = load_predictor(model).probabilities(images[:, None]).astype(float) @ np.arange(10)
    cuts = [float(expected.max() + expected.min()) / 2, *range(20, 28)]
    write_decision(model, {"name": "cut_points"}, cuts)
    rows, said = predict_with_note(capsys, model)
    assert [row[2] for row in rows] == [str(int(value >= cuts[0])) for value in expected]
    assert "cut points" in said


def test_a_damaged_decision_is_not_passed_over(
    tagger: FoldFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    PredictionsFolder(tagger.path.parent).decision.write_text("{", encoding="utf-8")
    assert "decision.json: is damaged" in refusals_of(capsys, tagger, "five.npy")[0]


def test_thresholds_of_a_fold_that_was_trained_anew_are_refused(
    tagger: FoldFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    write_decision(tagger, {"name": "thresholds", "at_least_one": False}, [0.9, 0.8, 0.7])
    said = np.full((2, 3), 0.9, np.float32)
    anew = Predictions(np.arange(2), said, np.full((2, 3), 1 / 3, np.float32))  # as of the test rows before
    write_predictions(tagger, anew, np.zeros(2, np.int64), Task(3), "")
    (line,) = refusals_of(capsys, tagger, "five.npy")
    assert "decision.json: was fitted for other networks than lie beside it" in line
    assert "not the mean of the folds in it; " in line and "run the train stage" in line
    write_decision(tagger, {"name": "argmax"}, [])  # nothing was fitted, so nothing can be of others
    write_predictions(tagger, anew, np.zeros(2, np.int64), Task(3), "")
    assert len(predict_with_note(capsys, tagger)[0]) == 5


def test_a_program_carries_the_decision_of_its_voter(
    tagger: FoldFolder, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    write_decision(tagger, {"name": "thresholds", "at_least_one": True}, [0.9, 0.8, 0.7])
    _, signature = create_module(load_ensemble(tagger.path), "cpu")
    carried = Signature.from_record(SignatureRecord.model_validate(signature.to_record().to_json()))
    assert carried.decision is not None and carried.decision.fitted == (0.9, 0.8, 0.7)
