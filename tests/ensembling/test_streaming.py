"""softvote.ensembling.streaming: all rows get a prediction, whatever images are, in the time there is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_fixtures import TEST, WRITERS, competition_of, write_competition
from numpy.typing import NDArray
from untrained import write_fold

from softvote.data.dataset import read_dataset
from softvote.data.forms import SubmissionTemplate
from softvote.data.readers.base import Images, LazyImages
from softvote.data.test_rows import LazyRows, open_test_rows
from softvote.ensembling import streaming
from softvote.ensembling.ensemble import Ensemble, EnsembleMember
from softvote.ensembling.predict import predict_proba
from softvote.ensembling.streaming import predict_rows
from softvote.errors import UserError
from softvote.storage.paths import FoldFolder, Workspace
from softvote.tracking.submission import SubmissionFormat, check_submission, submission_text

CLASSES = 10
SAFE = np.full(CLASSES, 0.1, np.float32)


def lazy(pixels: NDArray[np.uint8], bad: Sequence[int] = ()) -> LazyRows:
    """Rows of these images, some of which cannot be had."""

    def load(positions: Sequence[int]) -> tuple[Images, dict[int, str]]:
        found = pixels[np.asarray(positions, np.int64)].copy()
        broken = {place: "is damaged" for place, position in enumerate(positions) if position in bad}
        found[list(broken)] = 0
        return Images(found), broken

    ids = [f"image{row}" for row in range(len(pixels))]
    form = SubmissionTemplate(("id", "label"), ids, ids)
    channels, height, width = pixels.shape[1:]
    return LazyRows(form, np.arange(len(ids)), LazyImages(len(ids), ids, load), (channels, height, width))


@pytest.fixture(scope="module")
def voter(tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    """A vote of two members, of two trainings and one."""
    root = tmp_path_factory.mktemp("voter")
    folds = [write_fold(root / f"fold{seed}", {"model": "cnn"}, seed=seed) for seed in range(3)]
    members = [EnsembleMember("a", 0.25, folds[:2]), EnsembleMember("b", 0.75, folds[2:])]
    return Ensemble("vote", members, "weighted")


def images(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), np.uint8)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    from softvote.inference import predictor

    monkeypatch.setattr(predictor, "_PIXELS_PER_BATCH", 64 * 16)
    monkeypatch.setattr(streaming, "_ROWS", 30)


@pytest.mark.slow_but("16")
@pytest.mark.parametrize("count", [1, 16, 100])
def test_rows_a_part_at_a_time_give_the_bits_of_all_at_once(voter: Ensemble, count: int) -> None:
    pixels, said = images(count), list[str]()
    found = predict_rows(voter, lazy(pixels), SAFE, say=said.append)
    np.testing.assert_array_equal(found, predict_proba(voter, pixels))
    assert said[-1] == f"{count} of {count} row{'s' if count > 1 else ''}" and not any(
        "time" in line for line in said
    )


def test_a_row_without_an_image_gets_the_safe_prediction_and_is_told(voter: Ensemble) -> None:
    pixels, said = images(100), list[str]()
    found = predict_rows(voter, lazy(pixels, bad=[7, 98]), SAFE, say=said.append)
    expected = predict_proba(voter, pixels)
    expected[[7, 98]] = SAFE
    np.testing.assert_array_equal(found, expected)
    told = [line for line in said if "damaged" in line]
    assert told[0] == "row 8, image7: is damaged; the average prediction is used" and len(told) == 2


def test_of_many_bad_rows_some_are_named(voter: Ensemble) -> None:
    said = list[str]()
    found = predict_rows(voter, lazy(images(100), bad=range(90)), SAFE, say=said.append)
    np.testing.assert_array_equal(found[:90], np.tile(SAFE, (90, 1)))
    assert sum("is damaged" in line for line in said) == 20
    assert said[-1] == "90 rows in all had no readable image"


class Clock:
    """Each network takes a second for a row, and loading a row half of one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        load = streaming.load_predictor

        def load_slow(folder: FoldFolder) -> object:
            predictor = load(folder)
            inner = predictor.probabilities

            def probabilities(images: NDArray[np.uint8], addends: object = None) -> NDArray[np.float32]:
                self.now += len(images)
                return inner(images)

            object.__setattr__(predictor, "probabilities", probabilities)
            return predictor

        monkeypatch.setattr(streaming, "load_predictor", load_slow)

    def __call__(self) -> float:
        return self.now

    def slowed(self, rows: LazyRows) -> LazyRows:
        inner: Callable[..., tuple[Images, dict[int, str]]] = rows.images.load

        def load(positions: Sequence[int]) -> tuple[Images, dict[int, str]]:
            self.now += 0.5 * len(positions)
            return inner(positions)

        return LazyRows(rows.template, rows.positions, LazyImages(rows.images.count, None, load), rows.shape)


@pytest.mark.slow_but("300-2")
@pytest.mark.parametrize(("seconds", "used"), [(355, 3), (300, 2), (185, 1)])
def test_where_time_will_not_do_fewer_networks_see_the_rest(
    voter: Ensemble, monkeypatch: pytest.MonkeyPatch, seconds: float, used: int
) -> None:
    """The first networks stay: of the heavier member first, then of the other."""
    pixels, said, clock = images(100), list[str](), Clock(monkeypatch)
    found = predict_rows(voter, clock.slowed(lazy(pixels)), SAFE, seconds, said.append, clock)
    assert clock.now <= seconds
    whole = predict_proba(voter, pixels)
    np.testing.assert_array_equal(found[:16], whole[:16])
    assert not (found == SAFE).all(axis=1).any()
    told = [line for line in said if "there is time for" in line]
    assert told[:1] == ([] if used == 3 else [f"from row 17 there is time for {used} of 3 networks"])
    if used == 1:
        heavy = Ensemble("b", [voter.members[1]])
        np.testing.assert_allclose(found[16:], predict_proba(heavy, pixels)[16:], atol=1e-6)


def test_when_time_is_over_the_rest_gets_the_safe_prediction(
    voter: Ensemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, clock = list[str](), Clock(monkeypatch)
    found = predict_rows(voter, clock.slowed(lazy(images(100))), SAFE, 70, said.append, clock)
    assert not (found[:16] == SAFE).all(axis=1).any()
    np.testing.assert_array_equal(found[-50:], np.tile(SAFE, (50, 1)))
    assert said[-1].endswith("there is time for no network; the average prediction is used")


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize("layout", WRITERS)
def test_test_rows_are_those_of_the_data_set_without_its_training_files(
    tmp_path: Path, digits: tuple[NDArray[np.uint8], NDArray[np.int64]], layout: str
) -> None:
    competition = write_competition(tmp_path / "input" / "digits", layout, digits)
    folder = tmp_path / "input" / "digits"
    whole = read_dataset(competition, Workspace(tmp_path))
    for path in [*folder.rglob("*train*"), *folder.glob("data?.npy"), *folder.glob("lab?.npy")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    rows = open_test_rows(competition, folder)
    assert (rows.template.ids, rows.template.header) == (whole.test_ids, whole.sample_header)
    images, bad = rows.load(range(len(rows)))
    np.testing.assert_array_equal(images.pixels, whole.test_pixels)
    assert bad == {}
    one, _ = rows.load(range(1, 2))
    np.testing.assert_array_equal(one.pixels, whole.test_pixels[1:2])


def test_a_row_of_pixels_that_is_cut_off_and_another_order_of_columns_do_no_harm(
    tmp_path: Path, digits: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    """Ids are those of the sample submission, in whose order rows stand: none may go missing."""
    folder = tmp_path / "input" / "digits"
    competition = write_competition(folder, "pixel_csv", digits)
    whole = read_dataset(competition, Workspace(tmp_path))
    lines = [line.split(",")[::-1] for line in (folder / "test.csv").read_text().split()]
    lines[2] = lines[2][:1]
    (folder / "test.csv").write_text("".join(",".join(line) + "\n" for line in lines))
    rows = open_test_rows(competition, folder)
    images, bad = rows.load(range(len(rows)))
    expected = whole.test_pixels.copy()
    expected[1] = 0
    np.testing.assert_array_equal(images.pixels, expected)
    assert list(bad) == [1] and bad[1].endswith("row 3: has 1 cell, the header has 64")


def test_test_rows_of_a_file_without_a_header_begin_in_its_first_line(
    tmp_path: Path, digits: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    folder = tmp_path / "input" / "digits"
    write_competition(folder, "pixel_csv", digits)
    for path in (folder / "train.csv", folder / "test.csv"):
        path.write_text(path.read_text().partition("\n")[2])
    competition = competition_of({"format": "pixel_csv", "label": "0", "has_header": False})
    whole, rows = read_dataset(competition, Workspace(tmp_path)), open_test_rows(competition, folder)
    np.testing.assert_array_equal(rows.load(range(len(rows)))[0].pixels, whole.test_pixels)


@pytest.mark.parametrize("layout", ["image_folder", "pixel_csv", "npy"])
@pytest.mark.parametrize("form", ["label", "rows"])
def test_ids_that_stand_there_again_get_the_same_answer(
    tmp_path: Path, digits: tuple[NDArray[np.uint8], NDArray[np.int64]], layout: str, form: str
) -> None:
    """Nobody can fix the hidden files of a rerun."""
    folder = tmp_path / "input" / "digits"
    competition = write_competition(folder, layout, digits)
    if form == "rows":
        competition = competition_of(
            competition.files.model_dump(),
            labels=None, tags=["x", "y"], metric="log_loss", form={"name": "rows", "separator": "_"},
        )  # fmt: skip
    sample = folder / competition.sample_submission
    header, *lines = sample.read_text().splitlines()
    if form == "rows":
        lines = [line.replace(",", f"_{tag},") for line in lines for tag in "xy"]
    sample.write_text("\n".join([header, *lines, lines[3], lines[0], ""]))
    rows = open_test_rows(competition, folder)
    assert len(rows) == TEST and rows.notes[0].startswith("2 lines of the sample submission repeat an id")
    assert rows.load(range(len(rows)))[1] == {}
    wanted = SubmissionFormat.of(competition, rows.template)
    predictions = np.arange(TEST) % CLASSES if form == "label" else np.random.default_rng(0).random((TEST, 2))
    text = submission_text(wanted, predictions)
    check_submission(text, wanted, "submission.csv")
    written = text.splitlines()
    assert [line.partition(",")[0] for line in written[1:]] == [
        line.partition(",")[0] for line in [*lines, lines[3], lines[0]]
    ]
    assert written[-2:] == [written[4], written[1]]


@pytest.mark.parametrize(
    ("layout", "emptied"),
    [
        ("image_folder", "sample"),
        ("npy", "sample"),
        ("image_folder", "test"),
        ("pixel_csv", "test"),
        ("json", "test"),
    ],
)
def test_no_rows_are_an_answer_too(
    tmp_path: Path, digits: tuple[NDArray[np.uint8], NDArray[np.int64]], layout: str, emptied: str,
    voter: Ensemble,
) -> None:  # fmt: skip
    folder = tmp_path / "input" / "digits"
    competition = write_competition(folder, layout, digits)
    sample, test = folder / competition.sample_submission, folder / "test.csv"
    path = sample if emptied == "sample" else test
    if emptied == "test" and layout == "image_folder":
        for image in (folder / "test").iterdir():
            image.unlink()
    elif layout == "json":
        (folder / "test.json").write_text("[]")
    else:
        path.write_text(path.read_text().partition("\n")[0] + "\n")
    if layout == "npy":
        (folder / "test.npy").unlink()
    rows = open_test_rows(competition, folder)
    found = predict_rows(voter, rows, SAFE)
    np.testing.assert_array_equal(found, np.tile(SAFE, (0 if emptied == "sample" else TEST, 1)))
    if emptied == "sample":
        assert rows.notes == ["the sample submission has no rows; a header alone is written"]
        text = submission_text(SubmissionFormat.of(competition, rows.template), found)
        assert text == sample.read_text()


def test_an_image_that_stands_twice_in_a_hidden_table(
    tmp_path: Path, digits: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    folder = tmp_path / "input" / "digits"
    competition = write_competition(folder, "parquet", digits)
    whole = read_dataset(competition, Workspace(tmp_path))
    table = pd.read_parquet(folder / "test.parquet")
    pd.concat([table, table.iloc[:2]]).to_parquet(folder / "test.parquet", index=False)
    rows = open_test_rows(competition, folder)
    np.testing.assert_array_equal(rows.load(range(len(rows)))[0].pixels, whole.test_pixels)
    with pytest.raises(UserError, match="is already at"):
        read_dataset(competition, Workspace(tmp_path))
