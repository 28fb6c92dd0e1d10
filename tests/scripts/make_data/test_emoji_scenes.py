"""scripts/make_data/emoji_scenes.py: no picture in both splits, and the same bytes each time."""

from __future__ import annotations

import io
import json
import math
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from programs import load

emoji_scenes = load("make_data/emoji_scenes")

SUBCATEGORIES = ["animal-bird", "drink", "sport"]
EACH = 10
"""Emoji of a subcategory."""


def _add(file: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    file.addfile(entry, io.BytesIO(content))


def _picture(number: int, suffix: str) -> bytes:
    """A square in a colour of its own, on nothing."""
    image = Image.new("RGBA", (24, 24))
    image.paste((number * 8 % 256, 200, 255 - number * 8 % 256, 255), (4, 4, 20, 20))
    written = io.BytesIO()
    image.save(written, suffix)
    return written.getvalue()


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `npm pack` brings, small: thirty emoji, one of which a hand did not draw."""
    folder = tmp_path_factory.mktemp("packages")
    emoji = [
        {"unified": f"1F{number:03}-FE0F", "image": f"1f{number:03}-fe0f.png", "short_name": f"e{number}"}
        | {"subcategory": SUBCATEGORIES[number // EACH]}
        for number in range(3 * EACH)
    ]
    for name, place in emoji_scenes.HANDS.values():
        with tarfile.open(folder / f"{name}-1.0.0.tgz", "w:gz") as file:
            _add(file, "package/emoji.json", json.dumps(emoji).encode())
            for number, each in enumerate(emoji):
                if name.startswith("lobehub") and number == 0:
                    continue
                code = str(each["unified"]).lower().replace("-fe0f", "")  # as this package names them
                suffix = "WEBP" if place.endswith("webp") else "PNG"
                _add(file, place.format(image=each["image"], code=code), _picture(number, suffix))
    return folder


def make(packages: Path, archive: Path) -> Path:
    """The competition of those packages, with noise in place of photographs that another package ships."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 90, 70, 3), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emoji_scenes, "read_grounds", lambda: [Image.fromarray(each) for each in noise])
        assert emoji_scenes.main([str(archive), "--packages", str(packages), "--scenes", "2"]) == 0
    return archive


@pytest.fixture(scope="module")
def archive(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(packages, tmp_path_factory.mktemp("made") / "scenes.zip")


def table(archive: Path, name: str) -> pd.DataFrame:
    with zipfile.ZipFile(archive) as file:
        return pd.read_csv(io.BytesIO(file.read(name)), dtype=str)


def test_each_picture_of_what_every_hand_drew_has_its_scenes_in_one_split(archive: Path) -> None:
    train, test = table(archive, "train.csv"), table(archive, "solution.csv")
    pictures = (3 * EACH - 1) * len(emoji_scenes.HANDS)
    assert (train.groupby("picture").size() == 2).all()
    assert len(train) + len(test) == 2 * pictures
    assert len(test) == 2 * math.ceil(pictures / emoji_scenes.HELD_OUT)
    assert not set(train["id"]) & set(test["id"])
    assert not train["picture"].str.startswith("e0-").any()


def test_labels_are_those_of_the_subcategory(archive: Path) -> None:
    train = table(archive, "train.csv")
    number = train["picture"].str.extract(r"^e(\d+)-")[0].astype(int)
    assert train["label"].tolist() == [["bird", "drink", "sport"][each // EACH] for each in number]


def test_every_row_has_its_image_and_the_sample_tells_nothing(archive: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        names = {name for name in file.namelist() if name.endswith(".jpg")}
        assert Image.open(io.BytesIO(file.read(min(names)))).size == (emoji_scenes.SIDE, emoji_scenes.SIDE)
    train, test = table(archive, "train.csv"), table(archive, "sample_submission.csv")
    assert names == {f"train/{each}.jpg" for each in train["id"]} | {
        f"test/{each}.jpg" for each in test["id"]
    }
    assert test["label"].nunique() == 1


@pytest.mark.slow
def test_same_arguments_give_the_same_bytes(archive: Path, packages: Path, tmp_path: Path) -> None:
    assert make(packages, tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_missing_packages_are_named_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert emoji_scenes.main([str(tmp_path / "scenes.zip"), "--packages", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert all(name in told for name, _ in emoji_scenes.HANDS.values())
    assert not (tmp_path / "scenes.zip").exists()
