"""Make the competition emoji-scenes: things in small colour photographs, 13 kinds of them.

    npm pack emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0 @lobehub/fluent-emoji-3d@1.1.0
    pip install --no-deps scikit-image
    python scripts/make_data/emoji_scenes.py --packages . emoji-scenes.zip
    make data ZIP=emoji-scenes.zip

A thing is a picture by one of three hands, Noto (Apache 2.0), Twemoji (CC BY 4.0) or Fluent 3D (MIT). It is
turned, squeezed, shaded and laid on a piece of a photograph that scikit-image ships, partly covered by
another, under coloured light, with noise and blur, as a JPEG of 128 x 128. Every picture gives four scenes,
all in the training files or all in the test files; train.csv names the picture, which is the group that folds
must not part. Another hand's picture of the same thing may stand on the other side. The zip holds

    train.csv               id, label, picture
    train/, test/           JPEG files
    sample_submission.csv   id, label
    solution.csv            id, label: what the test images show

The same arguments and the same releases of the packages give the same bytes.
"""

# Annotations are not deferred: dataclasses cannot look theirs up in a module that was loaded by its path.

import argparse
import functools
import importlib.util
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from sklearn.model_selection import train_test_split

from softvote.errors import UserError
from softvote.seeds import derive_seed
from softvote.shell import run_program
from softvote.storage.files import atomic_write

SIDE = 128
"""Pixels of a scene's side."""
SCENES = 4
"""Scenes of each picture."""
HELD_OUT = 5
"""One picture of a class in so many is a test picture."""

KINDS = {
    "bird": ("animal-bird",),
    "building": ("place-building", "place-religious"),
    "clothing": ("clothing",),
    "drink": ("drink",),
    "fish and reptile": ("animal-marine", "animal-reptile", "animal-amphibian"),
    "food": ("food-prepared", "food-asian", "food-sweet"),
    "fruit and vegetable": ("food-fruit", "food-vegetable"),
    "insect": ("animal-bug",),
    "mammal": ("animal-mammal",),
    "paper": ("book-paper", "office"),
    "plant": ("plant-flower", "plant-other"),
    "sport": ("sport",),
    "vehicle": ("transport-ground", "transport-air", "transport-water"),
}
"""Classes by the subcategories of emoji they are made of."""

HANDS = {
    "noto": ("emoji-datasource-google", "package/img/google/64/{image}"),
    "twemoji": ("emoji-datasource-twitter", "package/img/twitter/64/{image}"),
    "fluent": ("lobehub-fluent-emoji-3d", "package/assets/{code}.webp"),
}
"""Who drew: the package, and where a picture lies in it."""

GROUNDS = (
    "brick.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "retina.jpg",
)
"""Photographs of scikit-image's that show none of the classes."""


@dataclass(frozen=True)
class Picture:
    """What one hand drew: its name, its class, and the bytes of an image file."""

    name: str
    label: str
    file: bytes


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 after a mistake of the user, which is told in a line."""
    parsed = _parser().parse_args(arguments)
    return run_program(
        "emoji_scenes", lambda: make(parsed.packages, parsed.archive, parsed.seed, parsed.scenes)
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path, help="the zip to write, such as emoji-scenes.zip")
    parser.add_argument("--packages", type=Path, required=True, help="folder of what `npm pack` brought")
    parser.add_argument(
        "--seed", type=int, default=2026, help="another gives other scenes and test pictures (%(default)s)"
    )
    parser.add_argument("--scenes", type=int, default=SCENES, help="scenes of each picture (%(default)s)")
    return parser


def make(packages: Path, archive: Path, seed: int, scenes: int) -> None:
    """Write the competition's zip, and say what is in it."""
    pictures, grounds = read_pictures(packages), read_grounds()
    is_test = choose_test([picture.label for picture in pictures], seed)
    drawn = np.random.default_rng(derive_seed(seed, "order")).permutation(len(pictures) * scenes)
    rows = [(pictures[draw // scenes], bool(is_test[draw // scenes]), int(draw)) for draw in drawn]
    with atomic_write(archive) as temporary, zipfile.ZipFile(temporary, "w") as file:
        _write_tables(file, rows)
        _write_scenes(file, rows, grounds, seed)
    test = sum(held_out for _, held_out, _ in rows)
    print(
        f"wrote {len(rows) - test:,} training and {test:,} test scenes of {len(pictures):,} pictures in "
        f"{len(KINDS)} classes to {archive}"
    )


def read_pictures(packages: Path) -> list[Picture]:
    """The pictures of all classes that every hand drew, in the order of the emoji.

    Raises:
        UserError: a package is missing; names all that are.
    """
    missing = [name for name, _ in HANDS.values() if not _packed(packages, name)]
    if missing:
        raise UserError(f"{packages}: holds no {', '.join(missing)}; `npm pack` brings them: see the program")
    label_of = {kind: label for label, kinds in KINDS.items() for kind in kinds}
    with tarfile.open(_packed(packages, HANDS["noto"][0])[-1]) as file:
        emoji = json.load(io.BytesIO(_read(file, "package/emoji.json")))
    chosen = [each for each in emoji if each["subcategory"] in label_of]
    found = {hand: dict(_drawn_by(hand, packages, chosen)) for hand in HANDS}
    return [
        Picture(f"{each['short_name']}-{hand}", label_of[each["subcategory"]], found[hand][each["unified"]])
        for each in chosen
        if all(each["unified"] in files for files in found.values())
        for hand in HANDS
    ]


def _packed(packages: Path, name: str) -> list[Path]:
    return sorted(packages.glob(f"{name}-[0-9]*.tgz"))


def _drawn_by(hand: str, packages: Path, emoji: Iterable[dict[str, str]]) -> Iterator[tuple[str, bytes]]:
    """Code points of emoji, and the image files that a hand drew of them."""
    package, place = HANDS[hand]
    with tarfile.open(_packed(packages, package)[-1]) as file:
        names = set(file.getnames())
        for each in emoji:
            code = each["unified"].lower()
            # The packages do not agree where the mark "as a picture" stands in a name.
            for spelt in (code, code.replace("-fe0f", ""), f"{code}-fe0f"):
                name = place.format(image=each["image"], code=spelt)
                if name in names:
                    yield each["unified"], _read(file, name)
                    break


def _read(file: tarfile.TarFile, name: str) -> bytes:
    member = file.extractfile(name)
    if member is None:
        raise UserError(f"{file.name}: {name} is not a file")
    return member.read()


def read_grounds() -> list[Image.Image]:
    """The photographs that things are laid on, RGB.

    Raises:
        UserError: the package that ships them is not installed.
    """
    # Only its files are wanted; importing it would ask for packages of its own.
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("scikit-image ships the photographs; pip install scikit-image")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    return [Image.open(folder / name).convert("RGB") for name in GROUNDS]


def choose_test(labels: list[str], seed: int) -> NDArray[np.bool_]:
    """bool (pictures,): a fifth of each class's pictures is for the test."""
    _, test = train_test_split(
        np.arange(len(labels)),
        test_size=1 / HELD_OUT,
        random_state=derive_seed(seed, "test pictures") % 2**32,  # the most scikit-learn takes
        stratify=labels,
    )
    return np.isin(np.arange(len(labels)), test)


def _file_of(row: int, held_out: bool) -> str:
    return f"{'test' if held_out else 'train'}/{row:05}.jpg"


def _write_tables(file: zipfile.ZipFile, rows: list[tuple[Picture, bool, int]]) -> None:
    table = pd.DataFrame(
        [(f"{row:05}", picture.label, picture.name, test) for row, (picture, test, _) in enumerate(rows)],
        columns=["id", "label", "picture", "test"],
    )
    train, test = table[~table["test"]], table[table["test"]]
    sample = test[["id"]].assign(label=min(KINDS))
    for name, written in {
        "train.csv": train[["id", "label", "picture"]],
        "sample_submission.csv": sample,
        "solution.csv": test[["id", "label"]],
    }.items():
        file.writestr(_entry(name), written.to_csv(index=False, lineterminator="\n"))


def _write_scenes(
    file: zipfile.ZipFile, rows: list[tuple[Picture, bool, int]], grounds: list[Image.Image], seed: int
) -> None:
    paint = functools.partial(_paint, grounds=grounds, seed=seed)
    with ThreadPoolExecutor() as pool:  # Pillow leaves the interpreter to others while it works
        scenes = pool.map(paint, [picture.file for picture, _, _ in rows], [draw for *_, draw in rows])
        for row, ((_, held_out, _), scene) in enumerate(zip(rows, scenes, strict=True)):
            file.writestr(_entry(_file_of(row, held_out)), scene)


def _entry(name: str) -> zipfile.ZipInfo:
    """A zip's entry without today's date, so that the bytes are the same tomorrow."""
    return zipfile.ZipInfo(name)


def _paint(picture: bytes, draw: int, grounds: list[Image.Image], seed: int) -> bytes:
    rng = np.random.default_rng([seed, draw])
    return paint_scene(Image.open(io.BytesIO(picture)).convert("RGBA"), grounds, rng)


def paint_scene(thing: Image.Image, grounds: list[Image.Image], rng: np.random.Generator) -> bytes:
    """A JPEG of SIDE x SIDE with a thing on a photograph; everything random comes from `rng`."""
    scene = _piece(grounds, rng)
    thing, place = _tilted(_shaded(thing, rng), rng)
    shade = thing.getchannel("A").filter(ImageFilter.GaussianBlur(3)).point(lambda value: value * 0.5)
    fall = tuple(int(at + step) for at, step in zip(place, rng.integers(-6, 7, 2), strict=True))
    scene.paste((0, 0, 0), fall, shade)
    scene.paste(thing, place, thing)
    if rng.random() < 0.4:
        _cover(scene, _piece(grounds, rng), rng)
    scene = scene.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.2)))
    written = io.BytesIO()
    _lit(scene, rng).save(written, "JPEG", quality=int(rng.integers(70, 96)))
    return written.getvalue()


def _piece(grounds: list[Image.Image], rng: np.random.Generator) -> Image.Image:
    """A square of a photograph, turned by quarters, in a tint of its own."""
    ground = grounds[rng.integers(len(grounds))]
    side = int(rng.uniform(0.2, 1) * min(ground.size))
    left, top = (int(rng.integers(0, length - side + 1)) for length in ground.size)
    piece = ground.resize((SIDE, SIDE), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    tinted = np.asarray(piece.rotate(90 * rng.integers(4)), np.float32) * rng.uniform(0.5, 1.2, 3)
    return Image.fromarray(tinted.clip(0, 255).astype(np.uint8))


def _shaded(thing: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The thing with light that falls off in some direction."""
    pixels = np.array(thing, np.float32)
    height, width = pixels.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    across = np.cos(angle) * np.linspace(-1, 1, width) + np.sin(angle) * np.linspace(-1, 1, height)[:, None]
    pixels[..., :3] *= (1 - rng.uniform(0, 0.4) * (1 + across[..., None]) / 2) * rng.uniform(0.8, 1.1)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _tilted(thing: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, tuple[int, int]]:
    """The thing in some size, aspect and turn, and where its corner goes, a tenth of it outside at most."""
    longest = rng.uniform(0.55, 0.95) * SIDE
    sides = [max(2, round(longest * squeeze)) for squeeze in (rng.uniform(0.75, 1), rng.uniform(0.75, 1))]
    thing = thing.resize((sides[0], sides[1]), Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        thing = thing.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned = thing.rotate(rng.uniform(-40, 40), Image.Resampling.BICUBIC, expand=True)
    left, top = (int(rng.uniform(*_between(SIDE - side, side / 10))) for side in turned.size)
    return turned, (left, top)


def _between(room: int, outside: float) -> tuple[float, float]:
    """Where a side may begin: within the room that is left, which is below 0 for what is too large."""
    return min(0, room) - outside, max(0, room) + outside


def _cover(scene: Image.Image, piece: Image.Image, rng: np.random.Generator) -> None:
    """Cover a part of the scene by an ellipse of another photograph."""
    width, height = rng.uniform(0.2, 0.45, 2) * SIDE
    left, top = rng.uniform(0, SIDE - width), rng.uniform(0, SIDE - height)
    mask = Image.new("L", scene.size)
    ImageDraw.Draw(mask).ellipse((left, top, left + width, top + height), fill=255)
    scene.paste(piece, (0, 0), mask)


def _lit(scene: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The scene under coloured light, by a camera with a gamma and noise of its own."""
    light = np.exp(rng.normal(0, 0.2, 3)) * rng.uniform(0.7, 1.15)
    pixels = 255 * (np.asarray(scene, np.float32) / 255) ** rng.uniform(0.7, 1.4) * light
    pixels += rng.normal(0, rng.uniform(2, 10), pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    sys.exit(main())
