from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_fixtures import competition_of, write_csv
from numpy.typing import NDArray
from PIL import Image

from softvote.data.dataset import read_dataset
from softvote.data.image_index import ImageFolders
from softvote.data.image_kind import look_at
from softvote.data.image_values import EncodedImage, ImageError, open_values, upright_size
from softvote.data.readers.base import Images
from softvote.data.readers.registry import READERS
from softvote.data.shards import write_shards
from softvote.errors import UserError
from softvote.storage.paths import Workspace

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 8, 8), np.uint8)
GREY = {"height": 8, "width": 8}


def png(path: Path, pixels: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_tables(
    folder: Path, ids: list[str], test_ids: list[str], labels: list[object] | None = None
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "train.csv", ["id", "label"], list(zip(ids, labels or [1] * len(ids), strict=True)))
    write_csv(folder / "sample_submission.csv", ["id", "label"], [[name, 0] for name in test_ids])


def read(folder: Path, files: dict[str, Any] | None = None, **facts: Any) -> tuple[Images, Images]:
    competition = competition_of({"format": "image_folder"} | (files or {}), **facts)
    READERS["image_folder"].sources(competition, folder)
    train, test = READERS["image_folder"].read(competition, folder)
    return train, test


def problems_of(folder: Path, files: dict[str, Any] | None = None, **facts: Any) -> list[str]:
    with pytest.raises(UserError) as error:
        read(folder, files, **facts)
    return str(error.value).replace(f"{folder}/", "").splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "digits"


# ---------------------------------------------------------------- names

# Where files lie, how the table and the sample name them, keys of competition.files.
NAMES: dict[str, tuple[list[str], list[str], dict[str, Any]]] = {
    "as they are": (["train/0.png", "train/1.png"], ["0.png", "1.png"], {}),
    "without suffix": (["train/0.png", "train/1.png"], ["0", "1"], {}),
    "with a dot": (["train/cat.0.png", "train/dog.0.png"], ["cat.0", "dog.0"], {}),
    "a capital suffix": (["train/0.PNG", "train/1.Png"], ["0", "1"], {}),
    "the folder before": (["train/0.png", "train/1.png"], ["train/0.png", "train/1"], {}),
    "folders elsewhere": (["train/0.png", "train/1.png"], ["../data/train/0.png", "./train/1.png"], {}),
    "backslashes": (["train/0.png", "train/1.png"], ["train\\0.png", "train\\1.png"], {}),
    "in subfolders": (["train/blast/0.png", "train/tungro/1.png"], ["0.png", "1"], {}),
    "subfolders named": (["train/cat/0.png", "train/dog/0.png"], ["cat/0.png", "dog/0"], {}),
    "several folders": (["part1/0.png", "part2/1.png"], ["0", "1"], {"train_images": ["part1", "part2"]}),
    "suffix of two": (["train/0.png", "train/0.jpg", "train/1.png"], ["0", "1"], {"suffix": ".png"}),
    "suffix of no image": (["train/0_x.tile", "train/1_x.tile"], ["0", "1"], {"suffix": "_x.tile"}),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMES)
def test_images_are_found_by_name(case: str, folder: Path) -> None:
    places, ids, files = NAMES[case]
    kept = [place for place in places if not place.endswith(".jpg")]
    for place in places:
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        which = kept.index(place) if place in kept else 5
        Image.fromarray(IMAGES[which]).save(path, "PNG")
    png(folder / "test" / "9.png", IMAGES[5])
    write_tables(folder, ids, ["9"])
    train, test = read(folder, files)
    assert np.array_equal(train.pixels[:, 0], IMAGES[:2]) and np.array_equal(test.pixels[:, 0], IMAGES[5:])


def test_a_folder_that_is_named_otherwise_is_not_taken(folder: Path) -> None:
    for place in ("train/0.png", "test/9.png"):
        png(folder / place, IMAGES[0])
    write_tables(folder, ["other/0.png"], ["9"])
    assert problems_of(folder)[0].startswith("train.csv, row 2, column id: no image train/other/0.png")


@pytest.mark.parametrize(
    ("places", "name"),
    [(["train/0.png", "train/0.jpg"], "0"), (["train/a/0.png", "train/b/0.png"], "0.png")],
)
def test_a_name_of_two_files_is_refused(places: list[str], name: str, folder: Path) -> None:
    for place in [*places, "test/9.png"]:
        png(folder / place, IMAGES[0])
    write_tables(folder, [name], ["9"])
    first, second = sorted(places)
    assert problems_of(folder) == [
        f"train.csv, row 2, column id: {name} may be {first} or {second}; write more of the name, or fix "
        "files.suffix"
    ]


@pytest.mark.parametrize("name", ["", " ", ".", "./", "..", "/"])
def test_a_name_of_nothing_is_no_image(name: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(b"")
    assert ImageFolders([folder]).find(name) == []


def test_hidden_files_and_links_in_circles_are_no_images(folder: Path) -> None:
    for place in ("train/0.png", "train/.ipynb_checkpoints/0.png", "train/._0.png", "test/9.png"):
        png(folder / place, IMAGES[0])
    (folder / "train" / "again").symlink_to(folder / "train")
    (folder / "elsewhere").mkdir()
    png(folder / "elsewhere" / "1.png", IMAGES[1])
    (folder / "train" / "more").symlink_to(folder / "elsewhere")
    write_tables(folder, ["0", "1"], ["9"])
    train, _ = read(folder)
    assert np.array_equal(train.pixels[:, 0], IMAGES[:2])


def test_files_without_suffix_in_the_table_make_the_cache_stale(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    folder = workspace.input("digits")
    for name, number in (("train/0.tif", 0), ("test/9.tif", 5)):
        png(folder / name, IMAGES[number])
    write_tables(folder, ["0"], ["9"])
    competition = competition_of({"format": "image_folder"})
    read_dataset(competition, workspace)
    png(folder / "train/0.tif", IMAGES[3])
    assert np.array_equal(read_dataset(competition, workspace).train_pixels[0, 0], IMAGES[3])


def test_images_in_no_row_of_the_sample_are_told(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    folder = workspace.input("digits")
    for number in range(5):
        png(folder / f"test/{number}.png", IMAGES[number])
    png(folder / "train/0.png", IMAGES[0])
    write_tables(folder, ["0"], ["3", "1"])
    for _ in range(2):  # read, and from the cache
        dataset = read_dataset(competition_of({"format": "image_folder"}), workspace)
        assert list(dataset.notes) == [
            "3 of the 5 images of test are in no row of sample_submission.csv, as 0.png: what "
            "sample_submission.csv lists counts"
        ]
        assert np.array_equal(dataset.test_pixels[:, 0], IMAGES[[3, 1]])


def test_one_folder_of_both_splits(folder: Path) -> None:
    for number in range(4):
        png(folder / f"images/{number}.png", IMAGES[number])
    write_tables(folder, ["0", "1"], ["2", "3"])
    train, test = read(folder, {"train_images": "images", "test_images": "images"})
    assert np.array_equal(train.pixels[:, 0], IMAGES[:2]) and np.array_equal(test.pixels[:, 0], IMAGES[2:4])
    assert train.notes == []


def test_groups_come_with_the_data_set_and_its_cache(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    folder = workspace.input("digits")
    for name in ("train/10_left.png", "train/11_left.png", "test/9.png"):
        png(folder / name, IMAGES[0])
    write_csv(folder / "train.csv", ["id", "label", "site"], [["10_left", 1, "x"], ["11_left", 2, ""]])
    write_csv(folder / "sample_submission.csv", ["id", "label"], [["9", 0]])
    competition = competition_of({"format": "image_folder", "groups": {"eyes": "([0-9]+)_"}})
    for _ in range(2):
        groups = read_dataset(competition, workspace).train_groups
        assert {name: list(column) for name, column in groups.items()} == {
            "site": ["x", ""],
            "eyes": ["10", "11"],
        }


# ---------------------------------------------------------------- channels in files, images in HDF5

CHANNELS = ["_red.png", "_green.png", "_blue.png", "_yellow.png"]


def write_channel_files(folder: Path) -> None:
    for split, name in (("train", "a"), ("test", "b")):
        for number, suffix in enumerate(CHANNELS):
            png(folder / split / f"{name}{suffix}", IMAGES[number + (split == "test")])
    write_tables(folder, ["a"], ["b"])


def test_several_files_are_the_channels_of_one_image(folder: Path) -> None:
    write_channel_files(folder)
    train, test = read(folder, {"channel_suffixes": CHANNELS}, image=GREY | {"channels": 4})
    assert np.array_equal(train.pixels[0], IMAGES[:4]) and np.array_equal(test.pixels[0], IMAGES[1:5])
    train, _ = read(folder, {"channel_suffixes": CHANNELS[1:3]}, image=GREY | {"channels": 2})
    assert np.array_equal(train.pixels[0], IMAGES[1:3])


def test_a_channel_that_is_missing_is_named(folder: Path) -> None:
    write_channel_files(folder)
    (folder / "test/b_blue.png").unlink()
    assert problems_of(folder, {"channel_suffixes": CHANNELS}, image=GREY | {"channels": 4}) == [
        "sample_submission.csv, row 2, column id: no image test/b_blue.png; add it or fix files.suffix"
    ]


def test_channel_files_and_channels_are_as_many(folder: Path) -> None:
    with pytest.raises(ValueError, match="4 channel_suffixes for 3 channels"):
        competition_of({"format": "image_folder", "channel_suffixes": CHANNELS}, image=GREY | {"channels": 3})


def write_hdf5(path: Path, images: dict[str, NDArray[np.uint8]], opaque: bool) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for name, pixels in images.items():
            content = io.BytesIO()
            Image.fromarray(pixels).save(content, "PNG")
            file[name] = (
                np.void(content.getvalue()) if opaque else np.frombuffer(content.getvalue(), np.uint8)
            )


@pytest.mark.parametrize("opaque", [True, False])
def test_images_in_an_hdf5_file(opaque: bool, folder: Path) -> None:
    png(folder / "train" / "0.png", IMAGES[0])
    write_tables(folder, ["0"], ["b", "a"])
    write_hdf5(folder / "test.hdf5", {"a": IMAGES[1], "b": IMAGES[2], "c": IMAGES[3]}, opaque)
    train, test = read(folder, {"test_images": "test.hdf5"})
    assert np.array_equal(train.pixels[:, 0], IMAGES[:1])
    assert np.array_equal(test.pixels[:, 0], IMAGES[[2, 1]])
    assert train.notes[0].startswith("1 of the 3 images of test.hdf5 is in no row")


def test_images_in_shards(folder: Path) -> None:
    png(folder / "train" / "0.png", IMAGES[0])
    write_tables(folder, ["0"], ["b", "a"])
    files = [folder / "apart" / f"{name}.png" for name in "abc"]
    for row, path in enumerate(files, start=1):
        png(path, IMAGES[row])
    write_shards(files, folder / "apart", f"{folder}/store", folder / "test.shards", 2)
    train, test = read(folder, {"test_images": "test.shards"})
    assert np.array_equal(train.pixels[:, 0], IMAGES[:1])
    assert np.array_equal(test.pixels[:, 0], IMAGES[[2, 1]])
    assert train.notes[0].startswith("1 of the 3 images of test.shards is in no row")


def test_an_hdf5_file_that_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    png(folder / "train" / "0.png", IMAGES[0])
    write_tables(folder, ["0"], ["b"])
    (folder / "test.hdf5").write_bytes(b"<html>")
    assert (
        "test.hdf5: is not an HDF5 file, or is truncated"
        in problems_of(folder, {"test_images": "test.hdf5"})[0]
    )
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert problems_of(folder, {"test_images": "test.hdf5"}) == [
        "test.hdf5: is HDF5, which needs h5py; install softvote[formats]"
    ]


# ---------------------------------------------------------------- what is in a file


def write_pair(folder: Path, save: Callable[[Path, int], None], suffix: str) -> None:
    """A training image, number 0, and a test image, number 1."""
    for split, number in (("train", 0), ("test", 1)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        save(folder / split / f"{number}{suffix}", number)
    write_tables(folder, ["0"], ["1"])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_upright(orientation: int, folder: Path) -> None:
    from PIL import ImageOps

    def save(path: Path, number: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(IMAGES[number]).save(path, exif=exif)

    write_pair(folder, save, ".png")
    train, _ = read(folder)
    with Image.open(folder / "train" / "0.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(train.pixels[0, 0], expected)
    assert np.array_equal(expected, IMAGES[0]) == (orientation == 1)
    told = ["2 images were turned upright, as the EXIF orientation says"]
    assert train.notes == ([] if orientation == 1 else told)


def in_alpha(mode: str, ink: int) -> Callable[[Path, int], None]:
    """An image whose ink, of one grey, is in its alpha alone."""

    def save(path: Path, number: int) -> None:
        alpha = Image.fromarray(IMAGES[number])
        image = Image.new("RGBA", (8, 8), (ink, ink, ink))
        image.putalpha(alpha)
        if mode == "LA":
            image = image.convert("LA")
        elif mode == "P":
            values = (
                Image.fromarray(IMAGES[number], "P")
                if False
                else Image.fromarray(IMAGES[number]).convert("P")
            )
            values.putpalette([ink] * 768)
            values.save(path, transparency=bytes(range(256)))
            return
        image.save(path)

    return save


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize(("ink", "background"), [(0, "white"), (255, "black")])
def test_transparent_images_are_laid_on_a_ground(mode: str, ink: int, background: str, folder: Path) -> None:
    write_pair(folder, in_alpha(mode, ink), ".png")
    train, _ = read(folder, image=GREY | {"background": background})
    expected = 255 - IMAGES[0] if ink == 0 else IMAGES[0]
    assert np.array_equal(train.pixels[0, 0], expected)
    assert train.notes == [f"2 images are transparent: laid on {background} (image.background)"]


def test_white_ink_on_white_is_refused(folder: Path) -> None:
    write_pair(folder, in_alpha("RGBA", 255), ".png")
    assert problems_of(folder)[0] == (
        "train.csv, row 2, column id: train/0.png is transparent and vanishes on white; "
        "set image.background: black"
    )


def test_an_opaque_alpha_changes_nothing(folder: Path) -> None:
    def save(path: Path, number: int) -> None:
        Image.fromarray(IMAGES[number]).convert("RGBA").save(path)

    write_pair(folder, save, ".png")
    train, _ = read(folder)
    assert np.array_equal(train.pixels[0, 0], IMAGES[0]) and train.notes == []


def of_depth(dtype: Any, top: float) -> Callable[[Path, int], None]:
    """The images with white at `top`."""

    def save(path: Path, number: int) -> None:
        values = IMAGES[number] / 255 * top
        rounded = values if np.dtype(dtype).kind == "f" else values.round()
        Image.fromarray(rounded.astype(dtype)).save(path)

    return save


@pytest.mark.parametrize(
    ("suffix", "dtype", "top", "value_range"),
    [
        (".png", np.uint16, 65535, None), (".png", np.uint16, 255, [0, 255]),
        (".png", np.uint16, 4095, [0, 4095]), (".tif", np.uint16, 4095, [0, 4095]),
        (".tif", np.float32, 1, [0, 1]), (".tif", np.int32, 4095, [0, 4095]),
    ],
)  # fmt: skip
def test_values_of_any_depth(suffix: str, dtype: Any, top: float, value_range: Any, folder: Path) -> None:
    write_pair(folder, of_depth(dtype, top), suffix)
    image = GREY | ({"value_range": value_range} if value_range else {})
    train, test = read(folder, image=image)
    assert np.array_equal(train.pixels[0, 0], IMAGES[0]) and np.array_equal(test.pixels[0, 0], IMAGES[1])
    assert train.notes == [f"2 images have more than 8 bits: 0..{top:g} became 0..255"]


@pytest.mark.parametrize("top", [255, 4095])
def test_few_of_sixteen_bits_without_a_word_are_refused(top: int, folder: Path) -> None:
    write_pair(folder, of_depth(np.uint16, top), ".png")
    largest = round(int(IMAGES[:2].max()) / 255 * top)
    assert problems_of(folder) == [
        f"test: images of 16 bits hold no value above {largest}, so all would be dark; "
        f"write image.value_range: [0, {top}]"
    ]


def test_floats_without_a_word_are_refused(folder: Path) -> None:
    write_pair(folder, of_depth(np.float32, 1), ".tif")
    assert problems_of(folder)[0] == (
        "train.csv, row 2, column id: train/0.tif holds float32, from "
        f"{IMAGES[0].min() / 255:g} to {IMAGES[0].max() / 255:g}; say what is black and white, such as "
        "image.value_range: [0, 1]"
    )


def test_values_outside_the_range_are_refused(folder: Path) -> None:
    write_pair(folder, of_depth(np.uint16, 4095), ".png")
    assert (
        "of it lies outside image.value_range"
        in problems_of(folder, image=GREY | {"value_range": [0, 255]})[0]
    )


def test_no_numbers_are_refused(folder: Path) -> None:
    def save(path: Path, number: int) -> None:
        values = IMAGES[number] / np.float32(255)
        values[3, 3] = np.nan
        Image.fromarray(values.astype(np.float32)).save(path)

    write_pair(folder, save, ".tif")
    problems = problems_of(folder, image=GREY | {"value_range": [0, 1]})
    assert problems[0] == (
        "train.csv, row 2, column id: train/0.tif holds values that are not numbers (NaN); fix or drop it"
    )


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_sixteen_bits(suffix: str, channels: int, folder: Path) -> None:
    import cv2

    def save(path: Path, number: int) -> None:
        bands = IMAGES[number : number + channels].transpose(1, 2, 0).astype(np.uint16) * 16
        order = [2, 1, 0, 3][:channels]
        cv2.imwrite(str(path), np.ascontiguousarray(bands[..., order]))

    write_pair(folder, save, suffix)
    train, _ = read(folder, image=GREY | {"channels": channels, "value_range": [0, 255 * 16]})
    assert np.array_equal(train.pixels[0], IMAGES[:channels])


def test_pages_of_a_tiff_are_bands(folder: Path) -> None:
    def save(path: Path, number: int) -> None:
        pages = [Image.fromarray(IMAGES[number + page]) for page in range(5)]
        pages[0].save(path, save_all=True, append_images=pages[1:])

    write_pair(folder, save, ".tif")
    train, _ = read(folder, image=GREY | {"channels": 5})
    assert np.array_equal(train.pixels[0], IMAGES[:5])
    assert "has 5 channels, competition.image says 3" in problems_of(folder, image=GREY | {"channels": 3})[0]


def test_four_channels_of_eight_bits(folder: Path) -> None:
    bands = IMAGES[:4].transpose(1, 2, 0)
    write_pair(folder, lambda path, _: Image.fromarray(bands, "RGBA").save(path), ".png")
    train, _ = read(folder, image=GREY | {"channels": 4})
    assert np.array_equal(train.pixels[0], IMAGES[:4])


# ---------------------------------------------------------------- DICOM


def dicom(path: Path, values: NDArray[Any], interpretation: str = "MONOCHROME2", **fields: Any) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 1 if values.ndim == 2 else 3
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = interpretation
    dataset.BitsAllocated = dataset.BitsStored = 8 * values.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.PixelData = values.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)


def test_dicom_through_windows(folder: Path) -> None:
    hounsfield = np.linspace(-1000, 1000, 64).reshape(8, 8).round()

    def save(path: Path, number: int) -> None:
        dicom(path, (hounsfield + 1024).astype(np.int16), RescaleSlope=1, RescaleIntercept=-1024)

    write_pair(folder, save, ".dcm")
    windows = [[0, 80], [-20, 180], [-800, 2000]]
    train, _ = read(folder, image=GREY | {"channels": 3, "value_range": windows})
    for band, (low, high) in enumerate(windows):
        expected = ((hounsfield - low) / (high - low)).clip(0, 1) * 255
        assert np.abs(train.pixels[0, band] - expected).max() <= 0.51
    train, _ = read(folder, image=GREY | {"channels": 1, "value_range": [0, 80]})
    assert train.pixels.shape == (1, 1, 8, 8)
    expected_end = "say what is black and white, such as image.value_range: [-1000, 1000]"
    assert problems_of(folder)[0].endswith(expected_end)


def test_dicom_whose_lowest_value_is_white(folder: Path) -> None:
    write_pair(folder, lambda path, n: dicom(path, IMAGES[n].astype(np.uint16) * 16, "MONOCHROME1"), ".dcm")
    train, _ = read(folder, image=GREY | {"value_range": [0, 4080]})
    assert np.array_equal(train.pixels[0, 0], 255 - IMAGES[0])


def test_dicom_of_eight_bits_and_of_colours(folder: Path) -> None:
    write_pair(folder, lambda path, n: dicom(path, IMAGES[n]), ".dcm")
    assert np.array_equal(read(folder)[0].pixels[0, 0], IMAGES[0])
    colours = IMAGES[:3].transpose(1, 2, 0)
    write_pair(folder, lambda path, n: dicom(path, np.ascontiguousarray(colours), "RGB"), ".dcm")
    assert np.array_equal(read(folder, image=GREY | {"channels": 3})[0].pixels[0], IMAGES[:3])


def test_dicom_damaged_or_without_its_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pair(folder, lambda path, n: dicom(path, IMAGES[n]), ".dcm")
    (folder / "train/0.dcm").write_bytes(b"no")
    (folder / "test/1.dcm").write_bytes((folder / "test/1.dcm").read_bytes()[:-30])
    problems = problems_of(folder)
    assert problems[0].startswith("train.csv, row 2, column id: train/0.dcm is damaged (not an image)")
    assert problems[1].startswith("sample_submission.csv, row 2, column id: test/1.dcm is damaged (")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert problems_of(folder)[0] == (
        "train.csv, row 2, column id: train/0.dcm is DICOM, which needs pydicom; install softvote[formats]"
    )


@pytest.mark.parametrize("most", [50, 20])
def test_an_image_of_too_many_pixels_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Of less than twice as many Pillow only warns."""
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
    said = f"is too large, 64 pixels, more than the {most} that are decoded"
    encoded = EncodedImage.of(tmp_path / "1.png")
    for look in (open_values, upright_size):
        with pytest.raises(ImageError, match=said) as error:
            look(encoded)
        assert error.value.hint == "shrink it, or cut it into parts, and save it under the same name"
    with pytest.raises(UserError, match=rf"1\.png: {said}; shrink it"):
        look_at([encoded], None)
