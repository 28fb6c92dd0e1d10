"""Miniatures of competitions whose images are not image files: pixel CSV, parquet, JSON."""

from __future__ import annotations

import io

import numpy as np
from gallery.download import Download, Rows, miniature_of
from gallery.pictures import handwritten, noisy

PIXELS = [f"pixel{number}" for number in range(784)]


def _pixel_rows(images: np.ndarray, first: list[object]) -> list[list[object]]:
    return [[cell, *row] for cell, row in zip(first, images.reshape(len(images), -1).tolist(), strict=True)]


@miniature_of("digit-recognizer")
def digit_recognizer(box: Download) -> Rows:
    images, labels = handwritten(box.rng, 160)
    box.csv("train.csv", ["label", *PIXELS], _pixel_rows(images[:120], labels[:120].tolist()))
    box.csv("test.csv", PIXELS, images[120:].reshape(40, -1).tolist())
    box.csv("sample_submission.csv", ["ImageId", "Label"], [[row + 1, 0] for row in range(40)])
    return [["ImageId", "Label"], *([str(k + 1), str(label)] for k, label in enumerate(labels[120:]))]


@miniature_of("Kannada-MNIST")
def kannada_mnist(box: Download) -> Rows:
    """The id stands in test.csv alone, and a third labelled file lies beside the two."""
    images, labels = handwritten(box.rng, 180)
    for name, rows in (("train.csv", slice(0, 120)), ("Dig-MNIST.csv", slice(120, 140))):
        box.csv(name, ["label", *PIXELS], _pixel_rows(images[rows], labels[rows].tolist()))
    box.csv("test.csv", ["id", *PIXELS], _pixel_rows(images[140:], list(range(40))))
    box.csv("sample_submission.csv", ["id", "label"], [[row, 0] for row in range(40)])
    return [["id", "label"], *([str(row), str(label)] for row, label in enumerate(labels[140:]))]


@miniature_of("statoil-iceberg-classifier-challenge")
def statoil_iceberg_classifier_challenge(box: Download) -> Rows:
    """Two bands of decibels, an angle that is not always known, all deep in folders of 7z archives."""
    train, test, solution = [], [], []
    for position, name in enumerate(box.hex_ids(46, 8)):
        iceberg = position % 2
        y, x = np.mgrid[:75, :75]
        spot = np.hypot(y - 37, x - 37) < (14 if iceberg else 5)
        bands = [np.where(spot, 2.0, level) + box.rng.normal(0, 2, (75, 75)) for level in (-21.0, -26.0)]
        flat = {f"band_{k}": [round(float(v), 5) for v in band.flat] for k, band in enumerate(bands, 1)}
        angle = round(float(box.rng.uniform(25, 46)), 4)
        if position < 30:
            train.append({"id": name, **flat, "inc_angle": "na" if position % 9 == 0 else angle})
            train[-1]["is_iceberg"] = iceberg
        else:
            test.append({"id": name, **flat, "inc_angle": angle})
            solution.append([name, str(iceberg)])
    box.json("train.json", train)
    box.json("test.json", test)
    box.csv("sample_submission.csv", ["id", "is_iceberg"], [[name, 0.5] for name, _ in solution])
    for name in ("train.json", "test.json", "sample_submission.csv"):
        box.pack_7z(f"{name}.7z", name, inside="data/processed/")
    return [["id", "is_iceberg"], *solution]


TARGETS = ("grapheme_root", "vowel_diacritic", "consonant_diacritic")
GRAPHEMES = {"grapheme_root": 168, "vowel_diacritic": 11, "consonant_diacritic": 7}


@miniature_of("bengaliai-cv19")
def bengaliai_cv19(box: Download) -> Rows:
    """Three targets an image, of which few roots occur; test.csv tells in which order their rows stand.

    Images are a quarter as high and wide as the real ones, because a column of parquet has its price.
    """
    seen = {"grapheme_root": [0, 64, 167], "vowel_diacritic": [0, 1, 10], "consonant_diacritic": [0, 6]}
    tables: dict[str, Rows] = {}
    for split, count, parts in (("train", 36, 4), ("test", 12, 4)):
        names, pixels, tables[split] = [], [], []
        for number in range(count):
            chosen = [seen[target][int(box.rng.integers(len(seen[target])))] for target in TARGETS]
            names.append(f"{split.capitalize()}_{number}")
            tables[split].append([names[-1], *map(str, chosen), "ক্ট্রো"])
            pixels.append(_grapheme(box, chosen))
        for part in range(parts):
            rows = slice(part * count // parts, (part + 1) * count // parts)
            content = _parquet(names[rows], np.stack(pixels[rows]))
            box.write(f"{split}_image_data_{part}.parquet", content)
    box.csv("train.csv", ["image_id", *TARGETS, "grapheme"], tables["train"])
    asked, solution = [], []
    for name, *labels, _ in tables["test"]:
        for target in ("consonant_diacritic", "grapheme_root", "vowel_diacritic"):
            asked.append([f"{name}_{target}", name, target])
            solution.append([f"{name}_{target}", labels[TARGETS.index(target)]])
    box.csv("test.csv", ["row_id", "image_id", "component"], asked)
    box.csv("sample_submission.csv", ["row_id", "target"], [[name, 0] for name, _ in solution])
    maps = [[target, label, "ং"] for target, count in GRAPHEMES.items() for label in range(count)]
    box.csv("class_map.csv", ["component_type", "label", "component"], maps)
    return [["row_id", "target"], *solution]


def _grapheme(box: Download, labels: list[int]) -> np.ndarray:
    """Dark strokes on white, one per target, the longer the larger its label; uint8 (34, 59)."""
    image = np.full((34, 59), 235.0)
    for column, (label, count) in enumerate(zip(labels, GRAPHEMES.values(), strict=True)):
        length = 6 + round(22 * label / (count - 1))
        image[3 : 3 + length, 5 + 18 * column : 16 + 18 * column] = 30
    return noisy(box.rng, image)


def _parquet(names: list[str], pixels: np.ndarray) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    flat = np.ascontiguousarray(pixels.reshape(len(names), -1).T)
    columns = [pa.array(names), *map(pa.array, flat)]
    table = pa.Table.from_arrays(columns, ["image_id", *(str(k) for k in range(len(flat)))])
    buffer = io.BytesIO()
    pq.write_table(table, buffer, use_dictionary=False, write_statistics=False, compression="none")
    return buffer.getvalue()
