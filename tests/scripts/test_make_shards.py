"""scripts/make_shards.py: every image of a folder is in one shard and in the index."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from programs import load

from softvote.data.image_index import open_store

make_shards = load("make_shards")


def test_every_image_is_in_one_shard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{number}.jpg" for number in range(7)]
    for name in names:
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / "train" / name).write_bytes(name.encode())
    (tmp_path / "train" / "notes.txt").write_text("no image")
    address = f"{tmp_path}/store/train"
    assert make_shards.main([str(tmp_path / "train"), address, "--images", "3"]) == 0
    assert capsys.readouterr().out.startswith("wrote 7 images in 3 shards")
    packed = list[str]()
    for path in (tmp_path / "store").iterdir():
        with tarfile.open(path) as file:
            packed += file.getnames()
    assert sorted(packed) == names
    assert packed != names  # shuffled
    found = [open_store([tmp_path / "train.shards"]).find(name)[0].open().read() for name in names]
    assert found == [name.encode() for name in names]


def test_a_folder_without_images_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_shards.main([str(tmp_path), f"{tmp_path}/store"]) == 1
    assert "holds no image files" in capsys.readouterr().err


@pytest.mark.parametrize("name", [".", "../train", "inner/.."])
def test_the_folder_one_stands_in_gives_the_index_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train" / "inner").mkdir(parents=True)
    (tmp_path / "train" / "1.jpg").write_bytes(b"one")
    monkeypatch.chdir(tmp_path / "train")
    assert make_shards.main([name, str(tmp_path / "store" / "train")]) == 0
    packed = f"wrote 1 image in 1 shard to {tmp_path}/store/train-000000.tar, and "
    assert capsys.readouterr().out.startswith(packed)
    [found] = open_store([tmp_path / "train.shards"]).find("1.jpg")
    assert found.read() == b"one"
