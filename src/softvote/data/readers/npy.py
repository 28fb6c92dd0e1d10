"""`npy`: uint8 arrays (N, H, W) or (N, H, W, C) and integer labels (N,), perhaps in several files."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from softvote.config.entries import FilesConfig
from softvote.config.schema import ConfigError
from softvote.data.decoding import Decoder, likely_range
from softvote.data.image_values import ImageError
from softvote.data.pixels import LARGE, MappedPixels, Pixels, join_pixels
from softvote.data.readers.base import (
    READERS,
    Images,
    KeepImages,
    LazyImages,
    Reader,
    addends_of,
    class_indices,
    existing,
    lazy_images,
    report_impossible_sums,
)
from softvote.data.readers.detection import Candidate, DetectedLayout
from softvote.errors import ErrorCollector
from softvote.words import counted

if TYPE_CHECKING:
    from softvote.config.competition import Competition
    from softvote.config.image import Image as ImageConfig


class NpyArrays(FilesConfig):
    """uint8 arrays (N, H, W) or (N, H, W, C) and integer labels (N,); several files are joined."""

    format: Literal["npy"]
    """`npy`: arrays saved with numpy.save, one or several files that are joined in this order."""
    train: list[str] = ["train.npy"]
    """Files of training images, uint8 (N, H, W) or (N, H, W, C)."""
    train_labels: list[str] = ["train_labels.npy"]
    """Files of training labels, integers (N,)."""
    test: list[str] = ["test.npy"]
    """Files of test images, uint8 (N, H, W) or (N, H, W, C)."""
    train_addends: list[str] = []
    """Files of the training images' addends, integers 0..9 (N,), where `competition.addend` is true."""
    test_addends: list[str] = []
    """Files of the test images' addends, integers 0..9 (N,), where `competition.addend` is true."""

    @property
    def test_source(self) -> str:
        return ", ".join(self.test)

    def check_addend(self, addend: bool) -> None:
        """Refuse addends without files of them, and the other way round."""
        if addend != bool(self.train_addends and self.test_addends):
            raise ConfigError.at(
                "", "addend: true, files.train_addends and files.test_addends belong together"
            )


def sources(competition: Competition, folder: Path) -> list[Path]:
    """Every array and the sample submission."""
    files = _files(competition)
    names = [*files.train, *files.train_labels, *files.test, *files.train_addends, *files.test_addends]
    return existing(competition, folder, [file_of(name) for name in names])


def read(competition: Competition, folder: Path, keep: KeepImages | None = None) -> tuple[Images, Images]:
    """Train images with labels, and test images; several files are joined in the pipeline's order."""
    files, problems = _files(competition), ErrorCollector()
    train = [load_images(folder / name, competition.image, problems) for name in files.train]
    labels = [_load_labels(folder / name, competition, problems) for name in files.train_labels]
    test = [load_images(folder / name, competition.image, problems) for name in files.test]
    if not problems:
        _report_other_lengths(folder, files, train, labels, problems)
    train_addends = _load_addends(folder, files.train_addends, files.train, train, problems)
    test_addends = _load_addends(folder, files.test_addends, files.test, test, problems)
    sums = np.concatenate(labels)
    if train_addends is not None and not problems:
        places = [
            f"{folder / name}, index {index}"
            for name, part in zip(files.train_labels, labels, strict=True)
            for index in range(len(part))
        ]
        report_impossible_sums(sums, train_addends, competition, places.__getitem__, problems)
    problems.raise_any()
    return (
        Images(join_pixels(train), sums, addends=train_addends),
        Images(join_pixels(test), addends=test_addends),
    )


def open_test(competition: Competition, folder: Path) -> LazyImages:
    """The test arrays, which hold no single image that could be damaged."""
    files, problems = _files(competition), ErrorCollector()
    test = [load_images(folder / name, competition.image, problems) for name in files.test]
    addends = _load_addends(folder, files.test_addends, files.test, test, problems)
    problems.raise_any()
    return lazy_images(Images(join_pixels(test), addends=addends))


def _files(competition: Competition) -> NpyArrays:
    assert isinstance(competition.files, NpyArrays)
    return competition.files


def file_of(name: str) -> str:
    """The file that is meant by a name such as digits.npz:x_train."""
    return re.sub(r"(\.npz):[^/]*$", r"\1", name)


def load_array(path: Path, problems: ErrorCollector) -> NDArray[Any] | None:
    """The array of a `.npy` file, mapped where it is large, or of an `.npz` as `digits.npz:x_train`; what is
    wrong is noted, and gives None."""
    file_path = path.with_name(file_of(path.name))
    if file_path.suffix == ".npz":
        return _load_packed(file_path, path.name.removeprefix(file_path.name).removeprefix(":"), problems)
    try:
        with path.open("rb") as file:
            magic = file.read(6)
        if magic != b"\x93NUMPY":
            problems.add(path, "is not an .npy file", "write it with numpy.save")
            return None
        is_large = path.stat().st_size > LARGE
        # Pages are copied when written to, because torch warns of arrays that cannot be.
        array: NDArray[Any] = np.load(path, mmap_mode="c" if is_large else None, allow_pickle=False)
        return array
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        _report_damage(path, error, problems)
        return None


def _report_damage(path: Path, error: Exception, problems: ErrorCollector) -> None:
    if "Object arrays" in str(error):
        problems.add(path, "holds pickled objects, which can run code", "save it as an array of numbers")
    else:
        problems.add(path, f"is truncated or damaged ({str(error).splitlines()[0]})", "download it again")


def _load_packed(path: Path, name: str, problems: ErrorCollector) -> NDArray[Any] | None:
    """An array of an `.npz`, by its name where there are several."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = list(archive)
            if not name and len(names) == 1:
                name = names[0]
            if name not in names:
                what = f"has no array '{name}'" if name else f"has {len(names)} arrays"
                problems.add(path, what, f"write {path.name}:NAME with one of {', '.join(names[:8])}")
                return None
            array: NDArray[Any] = archive[name]
            return array
    except (OSError, ValueError, EOFError, SyntaxError, zipfile.BadZipFile, AttributeError) as error:
        _report_damage(path, error, problems)
        return None


def load_images(path: Path, image: ImageConfig, problems: ErrorCollector) -> Pixels:
    """uint8 (n, C, H, W), empty where the file is not so, which is noted; left in a large file of uint8."""
    expected = (image.height, image.width, image.channels)
    array = load_array(path, problems)
    nothing = np.empty((0, image.channels, image.height, image.width), np.uint8)
    if array is None:
        return nothing
    if array.dtype != np.uint8 and not image.value_ranges:
        low, high = likely_range(float(array.min()), float(array.max())) if array.size else (0, 1)
        hint = f"write image.value_range: [{low:g}, {high:g}], or save it as uint8"
        problems.add(path, f"holds {array.dtype}, not uint8", hint)
    if array.ndim not in (3, 4):
        problems.add(path, f"has shape {array.shape}", "images need (N, H, W) or (N, H, W, C)")
        return nothing
    size = array.shape[1:] if array.ndim == 4 else (*array.shape[1:], 1)
    if size != expected:
        found, named = (" x ".join(map(str, sides)) for sides in (size, expected))
        problems.add(path, f"has images of {found} (H x W x C), competition.image says {named}", "fix one")
    if not len(array):
        problems.add(path, "holds no images", "download it again")
    if problems:
        return nothing
    if array.dtype == np.uint8 and isinstance(array, np.memmap):
        return MappedPixels(path, channels_last=True)
    array = array.reshape(-1, *expected)
    try:
        levels = array if array.dtype == np.uint8 else Decoder(image).scale(array, check=True)
        return np.ascontiguousarray(levels.transpose(0, 3, 1, 2))
    except ImageError as error:
        problems.add(path, error.what, error.hint)
        return nothing


def _load_labels(path: Path, competition: Competition, problems: ErrorCollector) -> NDArray[np.int64]:
    """Class indices int64 (n,)."""
    names = list(competition.targets or competition.classes)
    nothing = np.empty(0 if competition.task.is_single_label else (0, len(names)), np.int64)
    array = load_array(path, problems)
    if array is None:
        return nothing
    if array.dtype.kind not in "iu":
        problems.add(path, f"holds {array.dtype}", "labels must be integers: save it as int64")
        return nothing
    task = competition.task
    if not task.is_single_label:
        return _many_labels(path, array, competition, problems)
    if array.ndim != 1:
        problems.add(path, f"has shape {array.shape}", "labels need (N,)")
        return nothing
    labels = [str(label) for label in array.tolist()]
    return class_indices(labels, competition, lambda position: f"{path}, index {position}", problems)


def _many_labels(
    path: Path, array: NDArray[Any], competition: Competition, problems: ErrorCollector
) -> NDArray[np.int64]:
    """0 and 1 of tags (n, K), or class indices of targets (n, T)."""
    names = list(competition.targets or competition.classes)
    nothing = np.empty((0, len(names)), np.int64)
    if array.ndim != 2 or array.shape[1] != len(names):
        problems.add(path, f"has shape {array.shape}", f"labels need (N, {len(names)})")
        return nothing
    if competition.targets is None:
        if not np.isin(array, (0, 1)).all():
            problems.add(path, f"holds {array.min()}..{array.max()}", "tags are 0 or 1")
        return array.astype(np.int64)

    def where(column: int) -> Callable[[int], str]:
        return lambda position: f"{path}, index {position}, target {names[column]}"

    parts = [
        class_indices(
            [str(label) for label in array[:, column]], competition, where(column), problems, labels
        )
        for column, labels in enumerate(competition.target_classes.values())
    ]
    return np.stack(parts, axis=1)


def _load_addends(
    folder: Path,
    names: list[str],
    images_names: list[str],
    images: list[Pixels],
    problems: ErrorCollector,
) -> NDArray[np.int64] | None:
    """Addends int64 (N,) from files of integers; None where there are no such files."""
    parts = [_load_some_addends(folder / name, problems) for name in names]
    if not parts or problems:
        return None
    addends, count = np.concatenate(parts), sum(map(len, images))
    if len(addends) != count:
        of = f"{counted(count, 'image')} of {', '.join(images_names)}"
        what = f"has {counted(len(addends), 'addend')} for the {of}"
        problems.add(", ".join(str(folder / name) for name in names), what, "pair the files")
    return addends


def _load_some_addends(path: Path, problems: ErrorCollector) -> NDArray[np.int64]:
    array = load_array(path, problems)
    if array is not None and (array.dtype.kind not in "iu" or array.ndim != 1):
        problems.add(path, f"holds {array.dtype} of shape {array.shape}", "addends are integers (N,)")
        array = None
    cells = [] if array is None else [str(addend) for addend in array.tolist()]
    return addends_of(cells, lambda position: f"{path}, index {position}", problems)


def _report_other_lengths(
    folder: Path,
    files: NpyArrays,
    train: list[Pixels],
    labels: list[NDArray[np.int64]],
    problems: ErrorCollector,
) -> None:
    """Note labels that are not as many as the images, file by file where they come in pairs."""
    of_labels, of_images = list(map(len, labels)), list(map(len, train))
    pairs = list(zip(files.train_labels, of_labels, files.train, of_images, strict=False))
    if len(train) != len(labels):
        pairs = [(files.train_labels[0], sum(of_labels), ", ".join(files.train), sum(of_images))]
    for name, some_labels, images_name, images in pairs:
        if some_labels != images:
            what = f"has {counted(some_labels, 'label')} for the {counted(images, 'image')} of {images_name}"
            problems.add(folder / name, what, "pair the files")


def detect(candidate: Candidate) -> DetectedLayout | None:
    """Arrays of rank 3 or 4 are images, of rank 1 labels; `test` in a name tells the test images."""
    problems, paths = ErrorCollector(), sorted(candidate.folder.glob("*.npy"), key=_natural)
    names = [path.name for path in paths] + [
        name for path in sorted(candidate.folder.glob("*.npz"), key=_natural) for name in _names_in(path)
    ]
    arrays = {
        name: array for name in names if (array := load_array(candidate.folder / name, problems)) is not None
    }
    problems.raise_any()
    images = [name for name, array in arrays.items() if array.ndim in (3, 4)]
    test = [name for name in images if "test" in name.lower()]
    train = [name for name in images if name not in test]
    vectors = [name for name, array in arrays.items() if array.ndim == 1 and array.dtype.kind in "iu"]
    labels = [name for name in vectors if "test" not in name.lower()]
    if not (train and labels and test):
        return None
    files: dict[str, Any] = {"format": "npy", "train": train, "train_labels": labels, "test": test}
    height, width, channels = (*arrays[train[0]].shape[1:], 1)[:3]
    texts = [str(label) for label in np.concatenate([arrays[name] for name in labels]).tolist()]
    value_range = _value_range([arrays[name] for name in [*train, *test]])
    notes = [f"labels of {', '.join(train[:3])} are {', '.join(labels[:3])}, in this order"]
    if value_range:
        low, high = value_range["value_range"]
        notes.append(f"images are {arrays[train[0]].dtype}: {low:g}..{high:g} become black..white")
    notes.append(f"test rows of {', '.join(test[:3])}: in the sample submission's order")
    return DetectedLayout(files, height, width, channels, texts, image=value_range, notes=notes)


def _names_in(path: Path) -> list[str]:
    """The arrays of an `.npz`, as a pipeline file names them."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = list(archive)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return [path.name]  # whose damage is told when it is loaded
    return [path.name] if len(names) == 1 else [f"{path.name}:{name}" for name in names]


def _value_range(arrays: list[NDArray[Any]]) -> dict[str, Any]:
    """`image.value_range` of images that are not uint8."""
    if all(array.dtype == np.uint8 for array in arrays):
        return {}
    low, high = min(float(array.min()) for array in arrays), max(float(array.max()) for array in arrays)
    return {"value_range": list(likely_range(low, high))}


def _natural(path: Path) -> list[tuple[int, str]]:
    """data10 after data9."""
    return [(int(part or 0), text) for text, part in re.findall(r"(\D*)(\d*)", path.name.lower())]


READERS.add("npy", Reader(NpyArrays, sources, read, detect, open_test), rank=4)
