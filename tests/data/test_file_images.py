"""data.file_images, image_cache, checksums: decoded once or each time gives the same; change is noticed."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import data_fixtures as data
import numpy as np
import pytest
import torch
from conftest import Digits
from PIL import Image

from softvote.config.competition import Competition
from softvote.config.recipe import Member
from softvote.data import checksums, dataset, image_cache
from softvote.data.dataset import Dataset, read_dataset
from softvote.data.dataset_record import source_key
from softvote.data.decoding import Decoder
from softvote.data.file_images import FileImages, ImageRow
from softvote.data.image_cache import ImageCache
from softvote.data.image_values import EncodedImage
from softvote.data.reader_configs import DecodedFiles
from softvote.data.readers.registry import READERS
from softvote.errors import UserError
from softvote.storage.paths import Workspace
from softvote.task import Task
from softvote.training.rows import Split
from softvote.training.train import TrainingSpec, train

OF_FILES = [name for name, reader in READERS.items() if issubclass(reader.files, DecodedFiles)]
OTHERS = [name for name in READERS if name not in OF_FILES]


@pytest.fixture(params=OF_FILES)
def competition(request: pytest.FixtureRequest, workspace: Workspace, digits: Digits) -> Competition:
    return data.write_competition(workspace.input("digits"), request.param, digits)


def lazy(competition: Competition) -> Competition:
    files = competition.files.model_copy(update={"images": "lazy"})
    return competition.model_copy(update={"files": files})


def first_image(workspace: Workspace, split: str) -> Path:
    return min((workspace.input("digits") / split).rglob("*.png"))


def problems_of(competition: Competition, workspace: Workspace) -> list[str]:
    with pytest.raises(UserError) as error:
        read_dataset(competition, workspace)
    return str(error.value).replace(f"{workspace.input('digits')}/", "").splitlines()


def forbid(monkeypatch: pytest.MonkeyPatch, thing: object, name: str) -> None:
    def called(*_: Any) -> Any:
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(thing, name, called)


def test_rows_whose_image_cannot_be_had_are_black_and_named_by_their_place(
    competition: Competition, workspace: Workspace
) -> None:
    images = read_dataset(lazy(competition), workspace).test_pixels
    assert isinstance(images, FileImages)
    whole = images.gather(np.array([5, 2, 3]))
    Path(images.rows[2].files[0].name).write_bytes(b"no image")
    found, problems = images.try_rows([5, 2, 3])
    whole[1] = 0
    np.testing.assert_array_equal(found, whole)
    assert list(problems) == [1]


def facts(found: Dataset) -> list[Any]:
    pixels = [np.asarray(found.train_pixels), np.asarray(found.test_pixels), found.train_labels]
    rest = (found.test_ids, found.train_fingerprint, found.test_fingerprint, list(found.notes))
    return [*(array.tolist() for array in pixels), *rest]


def test_the_layouts_of_image_files_are_known() -> None:
    assert sorted(OF_FILES) == ["class_folders", "file_names", "image_folder"]


# ---------------------------------------------------------------- cached and lazy


def test_lazy_and_cached_images_are_the_same(competition: Competition, workspace: Workspace) -> None:
    cached = read_dataset(competition, workspace)
    for _ in range(2):  # gone through, and known
        left = read_dataset(lazy(competition), workspace)
        assert isinstance(left.train_pixels, FileImages) and isinstance(left.test_pixels, FileImages)
        assert facts(left) == facts(cached) == facts(read_dataset(competition, workspace))
    folders = [path for path in workspace.cache.iterdir() if path.name[0] != "."]
    assert sorted((folder / "train_pixels.npy").exists() for folder in folders) == [False, True]
    assert not list(workspace.cache.glob("*/*_pixels.json"))


def test_files_that_are_known_are_not_decoded_at_the_start(
    competition: Competition, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_dataset(lazy(competition), workspace)
    forbid(monkeypatch, FileImages, "_decode")
    assert read_dataset(lazy(competition), workspace).train_fingerprint


@pytest.mark.slow_but("class_folders")
def test_lazy_and_cached_trainings_give_the_same_weights(
    competition: Competition, workspace: Workspace
) -> None:
    recipe = {"model": "resnet5", "epochs": 1, "batch_size": 8, "precision": "fp32",
              "memory_format": "contiguous", "augment": {"rotate": 10}}  # fmt: skip
    spec = TrainingSpec(Member.model_validate(recipe), Task(10), 0, "tiny")
    states = []
    for wanted in (competition, lazy(competition)):
        images = read_dataset(wanted, workspace).train
        states.append(train(spec, Split.of(images, np.arange(4, 28))).network.model.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_the_digest_is_that_of_arrays(workspace: Workspace, digits: Digits) -> None:
    of_files = data.write_competition(workspace.input("digits"), "image_folder", digits)
    first = read_dataset(of_files, workspace)
    shutil.rmtree(workspace.input("digits"))
    arrays = data.write_competition(workspace.input("digits"), "npy", digits)
    second = read_dataset(arrays, workspace)
    assert (first.train_fingerprint, first.test_fingerprint) == (
        second.train_fingerprint,
        second.test_fingerprint,
    )


def test_images_stay_in_their_files_where_the_disk_has_no_room(
    competition: Competition, workspace: Workspace, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    has_room = ImageCache._has_room
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda path: usage._replace(free=1 << 30))
    left = read_dataset(competition, workspace)
    assert isinstance(left.train_pixels, FileImages)
    assert "find no room (1.0 GiB are free)" in capsys.readouterr().err
    assert isinstance(read_dataset(competition, workspace).train_pixels, FileImages)
    monkeypatch.undo()
    assert ImageCache._has_room is has_room
    kept = read_dataset(competition, workspace)
    assert isinstance(kept.train_pixels, np.ndarray) and facts(kept) == facts(left)


def test_images_go_to_processes_of_other_folders(
    competition: Competition, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace.root)
    pixels = read_dataset(lazy(competition), Workspace(Path())).train_pixels
    assert isinstance(pixels, FileImages) and pixels.unreachable_file() is None
    sent = pickle.dumps(pixels)
    monkeypatch.chdir("/")
    found = pickle.loads(sent)
    assert found.unreachable_file() is None and found[:].any()
    (workspace.input("digits") / "train").rename(workspace.root / "elsewhere")
    assert str(found.unreachable_file()).startswith("input/digits/train/")


@pytest.mark.parametrize("layout", OTHERS)
def test_only_image_files_can_be_lazy(layout: str, workspace: Workspace, digits: Digits) -> None:
    competition = data.write_competition(workspace.input("digits"), layout, digits)
    with pytest.raises(ValueError, match="images"):
        type(competition.files).model_validate(competition.files.model_dump() | {"images": "lazy"})


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize("wanted", [lambda given: given, lazy], ids=["cached", "lazy"])
def test_all_damaged_files_are_told_together(
    competition: Competition, workspace: Workspace, wanted: Callable[[Competition], Competition]
) -> None:
    for split in ("train", "test"):
        first_image(workspace, split).write_bytes(b"nothing")
    expected = " is damaged (not an image); download it again"
    lines = problems_of(wanted(competition), workspace)
    assert len(lines) == 2 and all(line.endswith(expected) for line in lines)
    assert not [path for path in workspace.cache.iterdir() if path.is_dir()]


def test_a_damaged_file_that_was_mended_is_read(competition: Competition, workspace: Workspace) -> None:
    path = first_image(workspace, "train")
    content = path.read_bytes()
    path.write_bytes(b"nothing")
    problems_of(competition, workspace)
    path.write_bytes(content)
    assert len(read_dataset(competition, workspace).train_pixels) == data.TRAIN


def test_a_file_that_is_gone_when_it_is_used_says_so(competition: Competition, workspace: Workspace) -> None:
    images = read_dataset(lazy(competition), workspace).train_pixels
    first_image(workspace, "train").unlink()
    with pytest.raises(UserError, match="is damaged"):
        images[:]


# ---------------------------------------------------------------- change is noticed, and nothing else


def test_a_changed_image_of_the_same_size_is_noticed(
    competition: Competition, workspace: Workspace, digits: Digits
) -> None:
    before = read_dataset(competition, workspace)
    path = first_image(workspace, "train")
    size = path.stat().st_size
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    with path.open("ab") as file:
        file.write(b"\0" * max(0, size - path.stat().st_size))
    after = read_dataset(competition, workspace)
    assert after.train_fingerprint != before.train_fingerprint
    assert after.train_source != before.train_source
    assert np.array_equal(after.train_pixels[0], 255 - before.train_pixels[0])


def test_rows_of_the_same_files_are_known_at_any_size(competition: Competition, workspace: Workspace) -> None:
    before = read_dataset(competition, workspace)
    larger = competition.image.model_copy(update={"height": 11, "width": 12, "resize": True})
    after = read_dataset(lazy(competition.model_copy(update={"image": larger})), workspace)
    assert after.train_pixels.shape[2:] == (11, 12) and after.train_fingerprint != before.train_fingerprint
    assert after.train_source == before.train_source != ""
    stamps, other = {"a": checksums.FileStamp(1, 2, 3, "4")}, before.train_labels.copy()
    other[0] = 1 - other[0]
    keys = {source_key(competition, stamps, labels, None) for labels in (before.train_labels, other)}
    assert len(keys) == 2


def test_files_under_another_time_are_read_and_found_the_same(
    competition: Competition, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_dataset(competition, workspace)
    forbid(monkeypatch, dataset, "_parse")
    for path in workspace.input("digits").rglob("*.*"):
        os.utime(path, ns=(10**18, 10**18))
    assert facts(read_dataset(competition, workspace)) == facts(before)


@pytest.mark.parametrize("layout", READERS)
def test_files_that_seem_unchanged_are_not_read(
    layout: str, workspace: Workspace, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    competition = data.write_competition(workspace.input("digits"), layout, digits)
    monkeypatch.setattr(checksums, "_TICK", -(10**18))  # they were written long ago
    read_dataset(competition, workspace)
    forbid(monkeypatch, checksums, "sha256_of")
    forbid(monkeypatch, dataset, "_parse")
    assert len(read_dataset(competition, workspace).train_pixels) == data.TRAIN


def test_a_file_written_within_a_tick_is_looked_at_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    first = checksums.look_at_files([path], tmp_path, {})
    times = path.stat().st_mtime_ns
    path.write_text("two")
    os.utime(path, ns=(times, times))
    forged = {"a": replace(first["a"], changed=path.stat().st_ctime_ns)}
    assert checksums.look_at_files([path], tmp_path, forged)["a"].sha256 != first["a"].sha256


def test_damaged_notes_on_files_are_none(tmp_path: Path) -> None:
    for content in ("", "[]", '{"a": 1}', '{"a": [1]}'):
        (tmp_path / "stamps").write_text(content)
        assert checksums.read_stamps(tmp_path / "stamps") == {}
    stamps = {'ü "1".png': checksums.FileStamp(1, 2, 3, "4"), "b": checksums.FileStamp(5, 6, 7, "8")}
    checksums.write_stamps(tmp_path / "stamps", stamps)
    assert checksums.read_stamps(tmp_path / "stamps") == stamps


def test_a_cache_without_change_is_not_gone_through(
    competition: Competition, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = facts(read_dataset(competition, workspace))
    forbid(monkeypatch, dataset, "_fingerprints_match")
    assert facts(read_dataset(competition, workspace)) == before
    monkeypatch.undo()
    for path in workspace.cache.glob("*/*.npy"):  # as a copy of it would have
        os.utime(path)
    forbid(monkeypatch, dataset, "_parse")
    assert facts(read_dataset(competition, workspace)) == before
    forbid(monkeypatch, dataset, "_fingerprints_match")
    assert facts(read_dataset(competition, workspace)) == before


# ---------------------------------------------------------------- killed


def _killed_while_decoding(competition: Competition, workspace: Workspace, rows: int) -> None:
    image_cache._SECONDS_PER_NOTE = 0.0
    go_through = FileImages.go_through

    def killed(self: FileImages, *arguments: Any) -> Any:
        done = 0
        for part in go_through(self, *arguments):
            yield part
            done += len(part)
            if len(self) == data.TRAIN and done >= rows:
                os.kill(os.getpid(), signal.SIGKILL)

    FileImages.go_through = killed  # type: ignore[method-assign]
    read_dataset(competition, workspace)


def test_decoding_that_was_killed_goes_on(
    competition: Competition, workspace: Workspace, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    whole = Workspace(workspace.root / "whole")
    shutil.copytree(workspace.input("digits"), whole.input("digits"))
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_killed_while_decoding, args=(competition, workspace, 12))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [path.suffix for path in workspace.cache.iterdir() if path.is_dir()] == [".partial"]
    decoded = []
    load = Decoder.load

    def count(self: Decoder, encoded: EncodedImage, *arguments: Any) -> Any:
        decoded.append(encoded.name)
        return load(self, encoded, *arguments)

    monkeypatch.setattr(Decoder, "load", count)
    found = read_dataset(competition, workspace)
    written = data.TRAIN + data.TEST - len(decoded)
    assert 0 < written < data.TRAIN
    assert f"goes on after {written} of {data.TRAIN}" in capsys.readouterr().err
    assert facts(found) == facts(read_dataset(competition, whole))
    assert not list(workspace.cache.glob(".*.partial"))


@pytest.mark.parametrize("damage", ["no header", "fewer rows than noted"])
def test_what_was_left_half_written_is_decoded_anew_where_it_is_not_what_was_noted(
    damage: str, workspace: Workspace, digits: Digits
) -> None:
    competition = data.write_competition(workspace.input("digits"), OF_FILES[0], digits)
    whole = Workspace(workspace.root / "whole")
    shutil.copytree(workspace.input("digits"), whole.input("digits"))
    process = multiprocessing.get_context("fork").Process(
        target=_killed_while_decoding, args=(competition, workspace, 12)
    )
    process.start()
    process.join()
    (left,) = workspace.cache.glob(".*.partial/train_pixels.npy")
    size = left.stat().st_size
    left.write_bytes(bytes(size) if damage == "no header" else left.read_bytes()[: size // 2])
    assert facts(read_dataset(competition, workspace)) == facts(read_dataset(competition, whole))


def test_what_was_left_of_other_files_is_removed(competition: Competition, workspace: Workspace) -> None:
    left, of_another = (
        workspace.cache / f".{name}-{'0' * 16}.partial" for name in ("digits", "other-digits")
    )
    for each in (left, of_another):
        each.mkdir(parents=True)
    read_dataset(competition, workspace)
    assert not left.exists() and of_another.exists()


# ---------------------------------------------------------------- decoding


def test_decoding_is_ahead_by_little_and_in_order(workspace: Workspace, digits: Digits) -> None:
    competition = data.write_competition(workspace.input("digits"), "image_folder", digits)
    rows = [
        ImageRow("", (EncodedImage.of(path),))
        for path in sorted((workspace.input("digits") / "train").glob("*.png"))
    ]
    images = FileImages(competition.image, rows * 100)
    parts, started = images._decode_all(range(len(images))), time.monotonic()
    first = next(parts)
    assert np.array_equal(first.pixels, images[: len(first.pixels)]) and time.monotonic() > started
    parts.close()  # type: ignore[attr-defined]


def test_a_draft_decodes_less_of_large_jpeg_files(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 64 * 48 * 3).reshape(48, 64, 3).astype(np.uint8)
    large = Image.fromarray(smooth).resize((640, 480), Image.Resampling.BICUBIC)
    large.save(tmp_path / "a.jpg", quality=95)
    size = {"height": 60, "width": 80, "channels": 3, "resize": True}
    competition = data.competition_of({"format": "image_folder"}, image=size)
    sizes, found = [], []
    for draft in (False, True):
        decoder = Decoder(competition.image.model_copy(update={"draft": draft}))
        sizes.append(decoder.decode(EncodedImage.of(tmp_path / "a.jpg"))[0].size)
        images = FileImages(decoder.image, [ImageRow("", (EncodedImage.of(tmp_path / "a.jpg"),))])
        found.append(images[0].astype(int))
    assert sizes == [(640, 480), (160, 120)]
    assert 0 < np.abs(found[0] - found[1]).mean() < 3


def test_a_draft_without_a_size_to_come_to_is_refused() -> None:
    with pytest.raises(ValueError, match="draft: goes with resize"):
        data.competition_of({"format": "image_folder"}, image={"height": 8, "width": 8, "draft": True})
