from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import data_fixtures as data
import numpy as np
import pytest
from conftest import Digits

import softvote.data.dataset
import softvote.data.pixels
import softvote.data.readers.npy
from softvote.config.competition import Competition
from softvote.data.dataset import Dataset, read_dataset, read_solution
from softvote.data.image_cache import ImageCache
from softvote.data.pixels import MappedPixels
from softvote.data.readers.registry import READERS
from softvote.errors import UserError
from softvote.storage.paths import Workspace


@pytest.fixture
def competition(workspace: Workspace, digits: Digits) -> Competition:
    return data.write_competition(workspace.input("digits"), "pixel_csv", digits, solution="solution.csv")


@pytest.fixture
def with_ids(workspace: Workspace, competition: Competition) -> Competition:
    """The same with ids in both tables; the test file holds them backwards."""
    folder = workspace.input("digits")
    for name, ids in (("train.csv", [f"t{row}" for row in range(30)]), ("test.csv", data.TEST_IDS)):
        header, *rows = (folder / name).read_text().splitlines()
        rows = [f"{key},{row}" for key, row in zip(ids, rows, strict=True)]
        (folder / name).write_text("\n".join([f"key,{header}", *reversed(rows)]))
    return data.competition_of({"format": "pixel_csv", "id": "key"})


def same(one: Dataset, other: Dataset) -> bool:
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(np.array_equal(left, right) for left, right in pairs)


def error_of(competition: Competition, workspace: Workspace) -> str:
    with pytest.raises(UserError) as error:
        read_dataset(competition, workspace)
    return str(error.value).replace(f"{workspace.input('digits')}/", "")


def forbid_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(competition: Competition, folder: Path, images: ImageCache) -> Dataset:
        raise AssertionError("parsed again")

    monkeypatch.setattr(softvote.data.dataset, "_parse", parse)


def write_sample(workspace: Workspace, ids: list[str]) -> None:
    rows = [[name, 0] for name in ids]
    data.write_csv(workspace.input("digits") / "sample_submission.csv", ["Id", "Label"], rows)


# ---------------------------------------------------------------- what is in it


@pytest.mark.parametrize("file_format", READERS)
def test_every_format_gives_the_same_dataset(file_format: str, workspace: Workspace, digits: Digits) -> None:
    competition = data.write_competition(workspace.input("digits"), file_format, digits)
    dataset = read_dataset(competition, workspace)
    order = data.reading_order(file_format, digits[1])
    assert np.array_equal(dataset.train_pixels[:, 0], digits[0][order])
    assert np.array_equal(dataset.train_labels, digits[1][order])
    assert np.array_equal(dataset.test_pixels[:, 0], digits[0][30:42])
    assert dataset.test_ids == data.TEST_IDS and dataset.sample_header == ("Id", "Label")


@pytest.mark.parametrize("channels", [1, 3])
def test_large_arrays_stay_in_their_files(
    channels: int, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are never held as a whole, and give what they give where they are read."""
    folder, shape = workspace.input("digits"), (600 // channels, 100, 100, channels)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    data.write_competition(folder, "npy", (images[:42, ..., 0], np.arange(42) % 10))
    np.save(folder / "train.npy", images if channels > 1 else images[..., 0])
    np.save(folder / "train_labels.npy", np.arange(len(images)) % 10)
    np.save(folder / "test.npy", images[:12])
    image = {"height": 100, "width": 100, "channels": channels}
    competition = data.competition_of({"format": "npy"}, image=image)
    small = read_dataset(competition, workspace)
    shutil.rmtree(workspace.cache)
    for module in (softvote.data.pixels, softvote.data.readers.npy, softvote.data.dataset):
        monkeypatch.setattr(module, "LARGE", 0)
    monkeypatch.setattr(softvote.data.pixels.iterate_pixels, "__defaults__", (1 << 18,))  # bytes at once
    tracemalloc.start()
    large = read_dataset(competition, workspace)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(large.train_pixels, MappedPixels) and most < images.nbytes // 2
    assert large.train_fingerprint == small.train_fingerprint
    assert np.array_equal(large.train_pixels[[7, 2]], images[[7, 2]].transpose(0, 3, 1, 2))
    assert same(large, read_dataset(competition, workspace))


def test_digests_tell_pixels_labels_and_ids_apart(
    workspace: Workspace, competition: Competition, digits: Digits
) -> None:
    before = read_dataset(competition, workspace)
    write_sample(workspace, [f"x{name}" for name in data.TEST_IDS])
    other_ids = read_dataset(competition, workspace)
    assert (
        other_ids.test_fingerprint != before.test_fingerprint
        and other_ids.train_fingerprint == before.train_fingerprint
    )
    shutil.rmtree(workspace.input("digits"))
    data.write_competition(workspace.input("digits"), "pixel_csv", (digits[0], digits[1][::-1]))
    other_labels = read_dataset(competition, workspace)
    assert (
        other_labels.train_fingerprint != before.train_fingerprint
        and other_labels.test_fingerprint == before.test_fingerprint
    )


def test_test_rows_follow_the_sample_submission(
    workspace: Workspace, with_ids: Competition, digits: Digits
) -> None:
    order = ["3", "1", "2", *data.TEST_IDS[3:]]
    write_sample(workspace, order)
    dataset = read_dataset(with_ids, workspace)
    rows = [30 + int(name) - 1 for name in order]
    assert dataset.test_ids == order and np.array_equal(dataset.test_pixels[:, 0], digits[0][rows])


@pytest.mark.parametrize("file_format", READERS)
def test_the_samples_order_lasts(file_format: str, workspace: Workspace, digits: Digits) -> None:
    """In the first reading and in those from the cache."""
    competition = data.write_competition(workspace.input("digits"), file_format, digits)
    as_files = read_dataset(competition, workspace)
    order = [*data.TEST_IDS[1:], data.TEST_IDS[0]]
    write_sample(workspace, order)
    has_ids = file_format not in ("pixel_csv", "npy")  # whose files name no test image
    rows = [30 + (data.TEST_IDS.index(name) if has_ids else row) for row, name in enumerate(order)]
    first, again = read_dataset(competition, workspace), read_dataset(competition, workspace)
    for dataset in (first, again):
        assert dataset.test_ids == order and np.array_equal(dataset.test_pixels[:, 0], digits[0][rows])
        assert dataset.test_fingerprint == first.test_fingerprint != as_files.test_fingerprint


def test_images_that_change_places_once_written_are_written_anew(
    workspace: Workspace, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    competition = data.write_competition(workspace.input("digits"), "image_folder", digits)
    as_files = read_dataset(competition, workspace)
    shutil.rmtree(workspace.cache)
    put = softvote.data.dataset.put_in_sample_order

    def put_last_first(*arguments: Any) -> Any:
        test = put(*arguments)
        return dataclasses.replace(test, pixels=test.pixels[::-1].copy())

    monkeypatch.setattr(softvote.data.dataset, "put_in_sample_order", put_last_first)
    for dataset in (read_dataset(competition, workspace), read_dataset(competition, workspace)):
        assert np.array_equal(dataset.test_pixels, as_files.test_pixels[::-1])
        assert dataset.test_fingerprint != as_files.test_fingerprint


# ---------------------------------------------------------------- what is refused


def test_ids_of_one_side_only(workspace: Workspace, with_ids: Competition) -> None:
    write_sample(workspace, [*data.TEST_IDS[:-1], "13"])
    assert error_of(with_ids, workspace).splitlines() == [
        "sample_submission.csv, row 13, column Id: id '13' is not in test.csv; fix one of them",
        "test.csv, image 1: id '12' is not in sample_submission.csv; fix one of them",
    ]


def test_counts_that_differ(workspace: Workspace, competition: Competition) -> None:
    write_sample(workspace, data.TEST_IDS[:-1])
    expected = "sample_submission.csv: has 11 rows for the 12 test images of test.csv"
    assert error_of(competition, workspace).startswith(expected)


def test_sample_submission_with_an_id_twice(workspace: Workspace, competition: Competition) -> None:
    write_sample(workspace, [*data.TEST_IDS[:-1], "1"])
    expected = "sample_submission.csv, row 13, column Id: id '1' is already at sample_submission.csv, row 2"
    assert error_of(competition, workspace).startswith(expected)


def test_sample_submission_of_three_columns(workspace: Workspace, competition: Competition) -> None:
    path = workspace.input("digits") / "sample_submission.csv"
    path.write_text("".join(f"{line},0\n" for line in path.read_text().splitlines()))
    expected = "sample_submission.csv, row 1: has 3 columns (Id, Label, 0); it must have two"
    assert error_of(competition, workspace).startswith(expected)


def test_missing_input_says_how_to_get_it(workspace: Workspace) -> None:
    competition = data.competition_of({"format": "pixel_csv"})
    assert error_of(competition, workspace).endswith("get it with: `data path/to/digits.zip`")


# ---------------------------------------------------------------- the cache


@pytest.mark.parametrize("file_format", READERS)
def test_second_reading_parses_nothing(
    file_format: str, workspace: Workspace, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    competition = data.write_competition(workspace.input("digits"), file_format, digits)
    first = read_dataset(competition, workspace)
    forbid_parsing(monkeypatch)
    assert same(first, read_dataset(competition, workspace))


def test_second_reading_maps_the_arrays_and_never_writes_to_them(
    workspace: Workspace, competition: Competition, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_dataset(competition, workspace)
    forbid_parsing(monkeypatch)
    second = read_dataset(competition, workspace)
    for array in (second.train_pixels, second.train_labels, second.test_pixels):
        # Not a memmap itself: pickled, that would be copied where Ray shares an array's memory.
        assert type(array) is np.ndarray and isinstance(array.base, np.memmap) and array.flags.writeable
        array[:] = 1
    assert same(first, read_dataset(competition, workspace))


def test_second_reading_imports_nothing_heavy(workspace: Workspace, competition: Competition) -> None:
    read_dataset(competition, workspace)
    program = (
        "import sys; from pathlib import Path; from softvote.storage.paths import Workspace\n"
        "from softvote.data.dataset import read_dataset\n"
        "from softvote.config.competition import Competition\n"
        "read_dataset(Competition.model_validate_json(sys.argv[2]), Workspace(Path(sys.argv[1])))\n"
        "print({'pandas', 'torch', 'PIL'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", program, str(workspace.root), competition.model_dump_json()]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize("name", ["train.csv", "test.csv", "sample_submission.csv"])
def test_a_changed_file_is_read_again(name: str, workspace: Workspace, competition: Competition) -> None:
    before = read_dataset(competition, workspace)
    path = workspace.input("digits") / name
    header, first, second, *rest = path.read_text().splitlines()
    path.write_text("\n".join([header, second, first, *rest]))
    assert not same(before, read_dataset(competition, workspace))


def test_changed_facts_are_read_again(workspace: Workspace, competition: Competition) -> None:
    read_dataset(competition, workspace)
    names = [str(digit) for digit in range(9, -1, -1)]
    changed = competition.model_copy(update={"labels": names})
    assert read_dataset(changed, workspace).train_labels[0] == 9


@pytest.mark.parametrize("name", ["train_pixels.npy", "train_labels.npy", "test_pixels.npy", "facts.json"])
@pytest.mark.parametrize("damage", ["gone", "cut off", "one bit"])
def test_a_damaged_cache_is_made_anew(
    name: str, damage: str, workspace: Workspace, competition: Competition
) -> None:
    whole = read_dataset(competition, workspace)
    (cache,) = workspace.cache.iterdir()
    path = cache / name
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "cut off":
        path.write_bytes(content[: len(content) // 2])
    else:
        place = content.index(b"test_fingerprint") + 16 if name == "facts.json" else len(content) - 1
        content[place] ^= 1
        path.write_bytes(content)
    damaged = path.read_bytes() if path.exists() else b""
    assert same(whole, read_dataset(competition, workspace))
    assert path.read_bytes() != damaged


def test_two_that_parse_at_once_both_succeed(
    workspace: Workspace, competition: Competition, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = softvote.data.dataset._parse

    def while_another_finishes(competition: Competition, folder: Path, images: ImageCache) -> Dataset:
        monkeypatch.setattr(softvote.data.dataset, "_parse", parse)
        read_dataset(competition, workspace)
        return parse(competition, folder, images)

    monkeypatch.setattr(softvote.data.dataset, "_parse", while_another_finishes)
    first = read_dataset(competition, workspace)
    assert [path.name[0] != "." for path in workspace.cache.iterdir()] == [True]
    assert same(first, read_dataset(competition, workspace))


def test_a_failed_reading_leaves_nothing(workspace: Workspace, competition: Competition) -> None:
    write_sample(workspace, data.TEST_IDS[:-1])
    error_of(competition, workspace)
    assert not workspace.cache.exists()


# ---------------------------------------------------------------- the solution


def test_solution_in_the_samples_order(
    workspace: Workspace, competition: Competition, digits: Digits
) -> None:
    write_sample(workspace, data.TEST_IDS[::-1])
    labels = read_solution(competition, workspace)
    assert labels is not None and labels.dtype == np.int64
    assert np.array_equal(labels, digits[1][30:42][::-1])


def test_no_solution(workspace: Workspace, competition: Competition) -> None:
    assert read_solution(competition.model_copy(update={"solution": None}), workspace) is None


def test_solution_with_wrong_rows(workspace: Workspace, competition: Competition) -> None:
    folder = workspace.input("digits")
    lines = (folder / "solution.csv").read_text().splitlines()
    lines[3], lines[5] = "3,eleven", "x,1"
    (folder / "solution.csv").write_text("\n".join(lines))
    with pytest.raises(UserError) as error:
        read_solution(competition, workspace)
    found = [line.split(";")[0].replace(f"{folder}/", "") for line in str(error.value).splitlines()]
    assert found == [
        "solution.csv, row 4, column Label: 'eleven' is not a class",
        "sample_submission.csv, row 6, column Id: id '5' is not in solution.csv",
        "solution.csv, row 6, column Id: id 'x' is not in sample_submission.csv",
    ]


def test_solution_that_is_missing(workspace: Workspace, competition: Competition) -> None:
    (workspace.input("digits") / "solution.csv").unlink()
    with pytest.raises(UserError, match=r"solution\.csv: is missing"):
        read_solution(competition, workspace)


def test_dataset_is_frozen(workspace: Workspace, competition: Competition) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        read_dataset(competition, workspace).test_ids = []  # type: ignore[misc]


# ---------------------------------------------------------------- addends


@pytest.fixture
def adder(workspace: Workspace, digits: Digits) -> Competition:
    """Digits with ids and addends; the test file holds them backwards."""
    folder, addends = workspace.input("digits"), np.arange(42) * 7 % 10
    sums = digits[1][:42] + addends
    competition = data.write_competition(
        folder, "pixel_csv", (digits[0][:42], sums), labels={"first": 0, "last": 18}
    )
    for name, ids, part in (
        ("train.csv", [f"t{row}" for row in range(30)], addends[:30]),
        ("test.csv", data.TEST_IDS, addends[30:]),
    ):
        header, *rows = (folder / name).read_text().splitlines()
        rows = [f"{key},{addend},{row}" for key, addend, row in zip(ids, part, rows, strict=True)]
        rows = rows if name == "train.csv" else rows[::-1]
        (folder / name).write_text("\n".join([f"key,addend,{header}", *rows]))
    files = {"format": "pixel_csv", "id": "key"}
    facts = competition.model_dump() | {"files": files, "hidden_digits": 1, "addend": True}
    return Competition.model_validate(facts)


def test_values_are_labels_less_addends(workspace: Workspace, adder: Competition, digits: Digits) -> None:
    dataset = read_dataset(adder, workspace)
    assert dataset.train_addends is not None
    assert np.array_equal(dataset.train_addends, np.arange(30) * 7 % 10)
    assert np.array_equal(dataset.train.image_labels, digits[1][:30])
    assert np.array_equal(dataset.train_labels, dataset.train.image_labels + dataset.train_addends)


def test_without_addends_values_are_the_labels(workspace: Workspace, competition: Competition) -> None:
    dataset = read_dataset(competition, workspace)
    assert dataset.train_addends is None and dataset.test_addends is None
    assert dataset.train.image_labels is dataset.train_labels
    assert dataset.test.images is dataset.test_pixels and dataset.test.ids == dataset.test_ids


def test_addends_follow_the_sample_submission_with_their_images(
    workspace: Workspace, adder: Competition, digits: Digits
) -> None:
    order = ["3", "1", "2", *data.TEST_IDS[3:]]
    write_sample(workspace, order)
    dataset = read_dataset(adder, workspace)
    rows = np.array([30 + int(name) - 1 for name in order])
    assert np.array_equal(dataset.test_pixels[:, 0], digits[0][rows])
    assert dataset.test_addends is not None and np.array_equal(dataset.test_addends, rows * 7 % 10)


def test_addends_are_kept_and_digests_tell_them_apart(
    workspace: Workspace, adder: Competition, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_dataset(adder, workspace)
    for name, changed in (("train.csv", "train_fingerprint"), ("test.csv", "test_fingerprint")):
        path = workspace.input("digits") / name
        before = path.read_text()
        line = before.splitlines()[2]
        key, addend, rest = line.split(",", 2)
        path.write_text(before.replace(line, f"{key},{int(addend) + 1},{rest}"))
        other = read_dataset(adder, workspace)
        for digest in ("train_fingerprint", "test_fingerprint"):
            assert (getattr(other, digest) != getattr(first, digest)) == (digest == changed)
        path.write_text(before)
    forbid_parsing(monkeypatch)
    assert same(first, read_dataset(adder, workspace))


@pytest.mark.parametrize("name", ["train_addends.npy", "test_addends.npy"])
@pytest.mark.parametrize("damage", ["gone", "cut off", "one bit"])
def test_damaged_addends_are_read_anew(
    name: str, damage: str, workspace: Workspace, adder: Competition
) -> None:
    whole = read_dataset(adder, workspace)
    (cache,) = workspace.cache.iterdir()
    path = cache / name
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage != "gone":
        content[-1] ^= 1
        path.write_bytes(content if damage == "one bit" else content[: len(content) // 2])
    assert same(whole, read_dataset(adder, workspace))
