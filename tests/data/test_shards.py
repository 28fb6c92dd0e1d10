"""data/shards.py: names find their bytes wherever shards lie, and a machine fetches what it reads from."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import webdataset

from softvote.data import shards
from softvote.data.image_index import open_store
from softvote.errors import UserError

NAMES = [f"{folder}/{number}.png" for folder in ("cat", "dog") for number in range(5)]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Ten files, told apart by what is in them."""
    paths = [tmp_path / "train" / name for name in NAMES]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"what is in {path.name} of {path.parent.name}".encode() * 30)
    return paths


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this machine keeps shards."""
    monkeypatch.setenv("SOFTVOTE_SHARDS", str(tmp_path / "kept"))
    yield tmp_path / "kept"
    shards._local.cache_clear()
    shards._opened.cache_clear()


def pack(files: list[Path], tmp_path: Path, address: str) -> Path:
    index = tmp_path / "train.shards"
    written = shards.write_shards(files, tmp_path / "train", address, index, 4)
    assert written == [f"{address}-{number:06}.tar" for number in range(3)]
    return index


@pytest.mark.parametrize("address", ["memory://store/{}", "file://{}/store", "{}/store"])
def test_names_find_their_bytes_wherever_shards_lie(files: list[Path], tmp_path: Path, address: str) -> None:
    index = pack(files, tmp_path, address.format(tmp_path))
    store = open_store([index])
    assert sorted(store.names()) == sorted(f"{index}:{name}" for name in NAMES)
    for path, name in zip(files, NAMES, strict=True):
        (found,) = store.find(name)
        assert found.open().read() == path.read_bytes()
        assert found.suffix == ".png"
        (found,) = pickle.loads(pickle.dumps(store.find(name.removesuffix(".png"))))  # for another process
        assert found.open().read() == path.read_bytes()
    assert len(store.find("3")) == 2  # cat/3.png or dog/3.png
    assert store.find("elephant") == []


def test_a_machine_fetches_only_the_shards_it_reads_from_and_once(
    files: list[Path], tmp_path: Path, kept: Path
) -> None:
    store = open_store([pack(files, tmp_path, "memory://once")])
    assert not kept.exists()
    wanted = [store.find(name)[0] for name in NAMES[:3]]
    for image in wanted:
        image.open()
    assert len(list(kept.glob("*.tar"))) == 1
    fsspec.filesystem("memory").rm("/once-000000.tar")
    shards._local.cache_clear()  # as in another process
    assert wanted[0].open().read() == files[0].read_bytes()


def test_shards_are_those_of_webdataset(files: list[Path], tmp_path: Path) -> None:
    pack(files, tmp_path, f"{tmp_path}/store")
    found = {
        each["__key__"]: each["png"]
        for each in webdataset.WebDataset(f"{tmp_path}/store-000001.tar", shardshuffle=False)
    }
    assert found == {
        name.removesuffix(".png"): (tmp_path / "train" / name).read_bytes() for name in NAMES[4:8]
    }


@pytest.mark.parametrize("content", ["", "<html>", "a,b\n1,2\n"])
def test_what_is_no_index_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "train.shards").write_text(content)
    with pytest.raises(UserError, match="is not an index of shards"):
        open_store([tmp_path / "train.shards"])


@pytest.mark.parametrize(
    ("address", "why"), [("s3://bucket/train", "Install s3fs"), ("nonsense://train", "not known: nonsense")]
)
def test_an_address_that_fsspec_cannot_open_is_said(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, why: str
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as where it is not installed
    with pytest.raises(UserError, match=f"{address}-000000.tar: cannot be opened .*{why}"):
        pack(files, tmp_path, address)
    index = pack(files, tmp_path, str(tmp_path / "here"))
    index.write_text(index.read_text().replace(str(tmp_path / "here"), address))
    with pytest.raises(UserError, match=f"{address}-000000.tar: cannot be opened .*{why}"):
        open_store([index]).find(NAMES[0])[0].open()


def test_shards_that_cannot_be_had_are_said(files: list[Path], tmp_path: Path, kept: Path) -> None:
    image = open_store([pack(files, tmp_path, "memory://gone")]).find(NAMES[0])[0]
    fsspec.filesystem("memory").rm("/gone-000000.tar")
    with pytest.raises(UserError, match="cannot be fetched"):
        image.open()
    assert not list(kept.glob("*.tar"))


@pytest.mark.parametrize("address", ["memory://again", "{}/again"])
def test_shards_that_were_written_again_are_not_read_by_another_index(
    files: list[Path], tmp_path: Path, address: str
) -> None:
    address = address.format(tmp_path)
    image = open_store([pack(files, tmp_path, address)]).find(NAMES[0])[0]
    image.open()  # a machine keeps the shard now
    files[0].write_bytes(bytes(reversed(files[0].read_bytes())))  # of the same size
    old, image_then = image, open_store([pack(files, tmp_path, address)]).find(NAMES[0])[0]
    shards._opened.cache_clear()  # as in another process
    stale = image_then if "://" in address else old
    with pytest.raises(UserError, match="is not what its index says"):
        stale.open()


def test_the_index_changes_with_what_is_in_the_files(files: list[Path], tmp_path: Path) -> None:
    before = pack(files, tmp_path, f"{tmp_path}/store").read_bytes()
    files[0].write_bytes(bytes(reversed(files[0].read_bytes())))
    assert pack(files, tmp_path, f"{tmp_path}/store").read_bytes() != before


def test_a_place_on_a_disk_is_the_same_from_everywhere(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shards.write_shards(files, tmp_path / "train", "store", tmp_path / "train.shards", 4)
    monkeypatch.chdir(tmp_path / "train")
    (found,) = open_store([tmp_path / "train.shards"]).find(NAMES[0])
    assert found.open().read() == files[0].read_bytes()


def test_a_shard_is_not_closed_while_it_is_read(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (image,) = open_store([pack(files, tmp_path, f"{tmp_path}/store")]).find(NAMES[0])
    pread = os.pread

    def read_late(*asked: int) -> bytes:
        shards._opened.cache_clear()  # as other threads do, that read from many shards
        return pread(*asked)

    monkeypatch.setattr(os, "pread", read_late)
    assert image.open().read() == files[0].read_bytes()
