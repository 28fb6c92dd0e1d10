"""Arrays as a competition's data: what does not fit is told, all of it at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import softvote as sv

IMAGES = np.zeros((4, 1, 8, 8), np.uint8)
LABELS = np.array([0, 1, 0, 1])
PAIRS = np.array([[0, 1], [0, 0], [0, 0], [0, 0]])
COLUMNS = ["shape=a", "shape=b", "tone=c"]


def data(
    images: Any = IMAGES, labels: Any = LABELS, names: Any = ("no", "yes"), addends: Any = None, **facts: Any
) -> sv.ImageData:
    return sv.ImageData(sv.ImageSplit(images, labels, addends=addends), list(names), **facts)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"images": IMAGES.astype(np.float32)}, r"images: float32 \(4, 1, 8, 8\); give uint8"),
        ({"images": IMAGES[:, 0]}, r"images: uint8 \(4, 8, 8\)"),
        ({"images": IMAGES.tolist()}, "images: a list; give uint8"),
        ({"images": np.zeros((4, 8, 8, 3), np.uint8)}, r"images: .* looks like \(N, H, W, C\); give uint8"),
        ({"labels": LABELS[:3]}, r"labels: shape \(3,\) for 4 images"),
        ({"labels": None}, "labels: none for 4 images"),
        ({"labels": LABELS + 1}, r"labels: 1\.\.2 for 2 classes"),
        ({"labels": LABELS / 2}, r"labels: float64 \(4,\); give a NumPy array of integers"),
        ({"labels": LABELS.astype(str)}, r"labels: <U21 \(4,\); give a NumPy array of integers"),
        ({"labels": LABELS.tolist()}, "labels: a list; give a NumPy array"),
        ({"kind": "tag"}, "kind: no kind 'tag'; did you mean 'tags'"),
        ({"names": ["a", "a"]}, "classes: 'a' stands there twice"),
        ({"kind": "tags"}, r"labels: shape \(4,\) for 4 images; give 0 or 1 per image and tag"),
        ({"kind": "tags", "labels": PAIRS * 2}, r"labels: 0\.\.2 for 2 classes; give 0 and 1"),
        ({"kind": "targets", "labels": PAIRS}, r"target_sizes: \(\) for kind targets of 2 classes"),
        ({"target_sizes": (1, 1)}, r"target_sizes: \(1, 1\) for kind classes"),
        (
            {"kind": "targets", "labels": PAIRS, "names": COLUMNS, "target_sizes": (2, 1)},
            r"labels: 0\.\.1 for 3 classes",
        ),
        (
            {"kind": "targets", "labels": PAIRS, "names": COLUMNS, "target_sizes": (1, 2)},
            r"classes: \(1, 2\), but by their names before '=' the classes are \(2, 1\)",
        ),
        ({"hidden_digits": 1}, r"hidden_digits: 1, whose sums are 0\.\.9, for 2 classes"),
        ({"hidden_digits": 1, "names": range(10), "addends": LABELS}, r"whose sums are 0\.\.18, for 10"),
        ({"addends": LABELS + 9}, r"addends: 9\.\.10; give 0\.\.9"),
        ({"addends": LABELS / 2}, r"addends: float64 \(4,\) for 4 images; give an integer each"),
        ({"test": sv.ImageSplit(IMAGES[:, :, :7])}, r"test images: \(1, 7, 8\), the training images are"),
        ({"test": sv.ImageSplit(IMAGES / 255)}, r"test images: float64 \(4, 1, 8, 8\); give uint8"),
        ({"test": sv.ImageSplit(IMAGES, ids=["1", "2"])}, "test ids: 2 for 4 images"),
        ({"test": sv.ImageSplit(IMAGES, addends=LABELS)}, "test addends: the training images have none"),
    ],
)
def test_what_does_not_fit_is_told(facts: dict[str, Any], says: str) -> None:
    with pytest.raises(sv.UserError, match=says) as caught:
        data(**facts)
    assert len(str(caught.value).splitlines()) == 1


def test_all_that_does_not_fit_is_told_at_once() -> None:
    with pytest.raises(sv.UserError) as caught:
        data(labels=LABELS / 2, test=sv.ImageSplit(IMAGES, ids=["1"]))
    assert [problem.where for problem in caught.value.problems] == ["labels", "test ids"]
    with pytest.raises(sv.UserError) as caught:
        data(images=IMAGES[0], kind="tag", names=["a", "a"])
    assert [problem.where for problem in caught.value.problems] == ["images", "kind", "classes"]


@pytest.mark.parametrize(
    ("names", "targets"),
    [(COLUMNS, (("shape", ("a", "b")), ("tone", ("c",)))), ("abc", (("0", ("0", "1")), ("1", ("0",))))],
)
def test_targets_are_named_by_their_columns_or_numbered(names: Any, targets: Any) -> None:
    found = data(kind="targets", labels=PAIRS * [[1, 0]], names=names, target_sizes=(2, 1)).label_space
    assert (found.names, found.targets) == (tuple(names), targets)
