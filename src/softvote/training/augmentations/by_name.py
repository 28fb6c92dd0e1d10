"""Any transform of albumentations, by its name and arguments."""

from __future__ import annotations

import difflib
import inspect
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, ValidationError

from softvote.config.entries import AugmentationConfig, ImageTransform
from softvote.errors import Problem, UserError, one_of
from softvote.seeds import derive_seed
from softvote.training.augmentations.base import register_augmentation

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TRIALS = 16  # pictures on which shapes are tried, because what is drawn may decide on them


_KEY = "albumentations"


_DROPPED = {"strict", "seed"}  # arguments that would say otherwise what is settled here


@register_augmentation("by_name", rank=10)
class ByName(AugmentationConfig):
    """Transforms of albumentations, image by image on the processor, before all else."""

    before_movement: ClassVar[bool] = True

    albumentations: list[str | dict[str, Any]] = Field(default=[])
    """Transforms of albumentations 2.0.8 in their order, by name (`HorizontalFlip`) or with arguments
    (`{ColorJitter: {brightness: 0.2, p: 0.5}}`), also such as hold others (`{OneOf: {transforms: [...]}}`).
    They take and give images of 8 bits of one shape."""

    def find_misfits(self, channels: int, height: int, width: int) -> Iterator[Problem]:
        """Unknown names and arguments, values that are none, and what gives images of another shape."""
        if find_spec(_KEY) is None:  # as where one only predicts; what would train says that it is missing
            return
        problems = list[Problem]()
        transforms = _build_all(self.albumentations, _KEY, problems)
        yield from problems or _find_other_shapes(transforms, (height, width, channels))

    def create_transform(self) -> ImageTransform | None:
        """What changes a batch, image by image."""
        return NamedTransforms(tuple(self.albumentations)) if self.albumentations else None


@dataclass(frozen=True)
class NamedTransforms:
    """Transforms of albumentations in their order, each image with a seed of its own.

    Attributes:
        written: as `ByName.albumentations` has them; each process builds the library's objects of them.
    """

    written: tuple[str | dict[str, Any], ...]

    def __call__(self, images: NDArray[np.uint8], rows: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """Change a batch, as `ImageTransform` says.

        Raises:
            UserError: an unknown name or argument, or an image that comes out in another shape.
        """
        outputs = np.empty_like(images)
        with _ONE_AT_A_TIME:
            pipeline = self._pipeline()
            for output, image, row in zip(outputs, images, rows.tolist(), strict=True):
                pipeline.set_random_seed(derive_seed(seed, _KEY, row) % 2**32)
                before = np.ascontiguousarray(image.transpose(1, 2, 0))
                changed = _with_channels(pipeline(image=before)["image"])
                if changed.shape != before.shape or changed.dtype != np.uint8:
                    what = f"give {_describe(changed)} of {_describe(before)}"
                    raise UserError.at(f"augment.{_KEY}", what, "let each keep the shape")
                output[...] = changed.transpose(2, 0, 1)
        return outputs

    def _pipeline(self) -> Any:
        """The library's object, built once a process."""
        key = repr(self.written)
        if key not in _BUILT:
            problems = list[Problem]()
            transforms = _build_all(list(self.written), _KEY, problems)
            if problems:
                raise UserError(*(replace(each, where=f"augment.{each.where}") for each in problems))
            _BUILT[key] = _library().Compose(transforms)
        return _BUILT[key]


_BUILT: dict[str, Any] = {}


_ONE_AT_A_TIME = threading.Lock()  # what a transform draws next is part of it, and threads would share that


def _library() -> Any:
    """The library itself, which is slow to import and would ask the network for its newest version."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def _with_channels(image: NDArray[Any]) -> NDArray[Any]:
    """An image (H, W, C), also where the library left out a single channel."""
    return image if image.ndim == 3 else image[..., None]


def _build_all(written: Any, place: str, problems: list[Problem]) -> list[Any]:
    """Transforms as they are written in a list; what is wrong with them goes to the problems."""
    if not isinstance(written, list) or not written:
        problems.append(Problem(place, "holds no transforms", "write a list, such as [HorizontalFlip]"))
        return []
    built = [_build(each, f"{place}.{number}", problems) for number, each in enumerate(written)]
    return [transform for transform in built if transform is not None]


def _build(written: Any, place: str, problems: list[Problem]) -> Any:
    """One transform as it is written; None where something is wrong with it."""
    named = {written: {}} if isinstance(written, str) else written
    if not isinstance(named, dict) or len(named) != 1:
        hint = "write a name, or {Name: {argument: value}}"
        problems.append(Problem(place, f"{written!r} is not a single transform", hint))
        return None
    [(name, arguments)] = named.items()
    arguments, place = arguments or {}, place if isinstance(written, str) else f"{place}.{name}"
    kinds = _find_kinds()
    if name not in kinds:
        hint = _likeliest(str(name), list(kinds))
        problems.append(Problem(place, f"albumentations has no transform '{name}'", hint))
        return None
    if not isinstance(arguments, dict):
        problems.append(Problem(place, f"needs arguments by their names, not {arguments!r}"))
        return None
    known = [key for key in inspect.signature(kinds[name]).parameters if key not in _DROPPED]
    before = len(problems)
    for key in arguments:
        if key not in known:
            problems.append(Problem(f"{place}.{key}", "unknown argument", one_of(known, str(key))))
    given = {key: _value(key, value, f"{place}.{key}", problems) for key, value in arguments.items()}
    return _instantiate(kinds[name], given, place, problems) if len(problems) == before else None


def _value(key: str, value: Any, place: str, problems: list[Problem]) -> Any:
    """An argument, with the transforms that it holds."""
    if key == "transforms":
        return _build_all(value, place, problems)
    if key in ("first", "second"):
        return _build(value, place, problems)
    return value


def _instantiate(kind: Any, arguments: dict[str, Any], place: str, problems: list[Problem]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of values that it does not take, it goes on with its defaults
            return kind(**arguments)
    except Exception as error:  # whatever a library of 150 classes raises
        problems.extend(_in_lines(error, place))
        return None


def _in_lines(error: Exception, place: str) -> Iterator[Problem]:
    """What a transform says of its arguments: a line for each."""
    if not isinstance(error.__cause__, ValidationError):
        yield Problem(place, " ".join(str(error).split()) or type(error).__name__)
        return
    for key, each in {each["loc"][:1]: each for each in reversed(error.__cause__.errors())}.items():
        message = each["msg"].removeprefix("Value error, ")
        if each["type"] == "missing":
            yield Problem(place, f"needs {key[0]}", "add it")
        else:
            where = ".".join([place, *map(str, key)])
            yield Problem(where, f"{message[0].lower()}{message[1:]}, not {each['input']!r}")


def _find_kinds() -> dict[str, Any]:
    """Every transform of the library that is one, and what holds others, by name."""
    library = _library()
    return {
        name: kind
        for name, kind in vars(library).items()
        if inspect.isclass(kind)
        and issubclass(kind, (library.BasicTransform, library.BaseCompose))
        and (kind is library.NoOp or not kind.__module__.endswith("interface"))  # those to inherit from
        and kind is not library.BaseCompose
    }


def _likeliest(name: str, known: list[str]) -> str:
    """The name that was meant, for there are too many to list."""
    folded = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), list(folded), n=3)
    if not close:
        return "its documentation lists them"
    return f"did you mean {' or '.join(repr(folded[each]) for each in close)}?"


def _find_other_shapes(transforms: list[Any], shape: tuple[int, int, int]) -> Iterator[Problem]:
    """What fails on an image (H, W, C), or gives one of another shape or of other values."""
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for trial in range(_TRIALS):
        if problem := _try(transforms, image, trial):
            yield problem
            return


def _try(transforms: list[Any], image: NDArray[np.uint8], trial: int) -> Problem | None:
    found, culprit = image, ("", "")
    for number, transform in enumerate(transforms):
        place, name = f"{_KEY}.{number}", type(transform).__name__
        transform.set_random_seed(trial)
        before = found
        try:
            found = _forced(transform, before)
        except Exception as error:
            says = " ".join(str(error).split()) or type(error).__name__
            return Problem(place, f"{name} fails on {_describe(before)}: {says}")
        if found.dtype != np.uint8:
            what = f"{name} gives {found.dtype}, and images are arrays of uint8"
            return Problem(place, what, "leave it out; the recipe's normalise does it")
        if found.shape != before.shape:
            culprit = place, name
    if found.shape == image.shape:
        return None
    place, name = culprit
    height, width, _ = image.shape
    wanted = f"end with {{Resize: {{height: {height}, width: {width}}}}}, or name that size"
    return Problem(place, f"{name} gives {_describe(found)} of {_describe(image)}", wanted)


def _forced(transform: Any, image: NDArray[np.uint8]) -> NDArray[Any]:
    """The image changed for certain, whatever the probability of the outermost transform."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        changed: NDArray[Any] = transform(image=np.ascontiguousarray(image), force_apply=True)["image"]
    return _with_channels(changed)


def _describe(image: NDArray[Any]) -> str:
    """The shape of an image (H, W, C), in words."""
    return f"{' x '.join(map(str, image.shape))} {image.dtype}"
