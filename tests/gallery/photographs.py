"""Miniatures of competitions of photographs in files."""

from __future__ import annotations

import numpy as np
from gallery.download import TEST, TRAIN, Download, Rows, miniature_of
from gallery.names import (
    BREEDS,
    CIFAR,
    FISH,
    LEAF_COLUMNS,
    LEAF_TAGS,
    PLANET,
    PROTEIN_STAINS,
    SEEDLINGS,
)
from gallery.pictures import balanced_labels, draw_tags, noisy, photograph, random_tags


def _cats_and_dogs(box: Download, test: str) -> list[int]:
    """`train/cat.0.jpg` in train.zip, and numbers from 1 in the test zip; the test labels, 1 for a dog."""
    for number in range(TRAIN // 2):
        for label, name in enumerate(("cat", "dog")):
            box.image(f"train/{name}.{number}.jpg", photograph(box.rng, label, 2))
    labels = balanced_labels(box.rng, TEST, 2)
    for number, label in enumerate(labels, 1):
        box.image(f"{test}/{number}.jpg", photograph(box.rng, label, 2))
    box.pack_zip("train.zip", "train")
    box.pack_zip(f"{test}.zip", test)
    return labels


@miniature_of("dogs-vs-cats")
def dogs_vs_cats(box: Download) -> Rows:
    labels = _cats_and_dogs(box, "test1")
    box.csv("sampleSubmission.csv", ["id", "label"], [[number, 0] for number in range(1, TEST + 1)])
    return [["id", "label"], *([str(number), str(label)] for number, label in enumerate(labels, 1))]


@miniature_of("dogs-vs-cats-redux-kernels-edition")
def dogs_vs_cats_redux(box: Download) -> Rows:
    labels = _cats_and_dogs(box, "test")
    box.csv("sample_submission.csv", ["id", "label"], [[number, 0.5] for number in range(1, TEST + 1)])
    return [["id", "label"], *([str(number), str(label)] for number, label in enumerate(labels, 1))]


@miniature_of("cifar-10")
def cifar_10(box: Download) -> Rows:
    for split, count in (("train", TRAIN), ("test", TEST)):
        labels = balanced_labels(box.rng, count, len(CIFAR))
        for number, label in enumerate(labels, 1):
            box.image(f"{split}/{number}.png", photograph(box.rng, label, len(CIFAR), 32, 32))
        named = [[number, CIFAR[label]] for number, label in enumerate(labels, 1)]
        if split == "train":
            box.csv("trainLabels.csv", ["id", "label"], named)
        box.pack_7z(f"{split}.7z", split)
    box.csv("sampleSubmission.csv", ["id", "label"], [[number, "cat"] for number in range(1, TEST + 1)])
    return [["id", "label"], *([str(number), name] for number, name in named)]


@miniature_of("dog-breed-identification")
def dog_breed_identification(box: Download) -> Rows:
    train = balanced_labels(box.rng, 2 * len(BREEDS), len(BREEDS))
    test = balanced_labels(box.rng, len(BREEDS), len(BREEDS))
    ids = box.hex_ids(len(train) + len(test), 32)
    for name, label in zip(ids, train + test, strict=True):
        split = "train" if name in ids[: len(train)] else "test"
        box.image(f"{split}/{name}.jpg", photograph(box.rng, label, len(BREEDS), 16, 20))
    box.csv("labels.csv", ["id", "breed"], [[n, BREEDS[k]] for n, k in zip(ids, train, strict=False)])
    test_ids = sorted(ids[len(train) :])
    truth = dict(zip(ids[len(train) :], test, strict=True))
    even = [1 / len(BREEDS)] * len(BREEDS)
    box.csv("sample_submission.csv", ["id", *BREEDS], [[name, *even] for name in test_ids])
    hot = [[name, *(str(int(k == truth[name])) for k in range(len(BREEDS)))] for name in test_ids]
    return [["id", *BREEDS], *hot]


@miniature_of("plant-seedlings-classification")
def plant_seedlings_classification(box: Download) -> Rows:
    solution = []
    for name, label in zip(
        box.hex_ids(TRAIN, 9), balanced_labels(box.rng, TRAIN, len(SEEDLINGS)), strict=True
    ):
        side = int(box.rng.integers(20, 40))
        pixels = photograph(box.rng, label, len(SEEDLINGS), side, side)
        box.image(f"train/{SEEDLINGS[label]}/{name}.png", pixels)
    for name, label in zip(box.hex_ids(TEST, 9), balanced_labels(box.rng, TEST, len(SEEDLINGS)), strict=True):
        height, width = (int(side) for side in box.rng.integers(20, 40, 2))
        box.image(f"test/{name}.png", photograph(box.rng, label, len(SEEDLINGS), height, width))
        solution.append([f"{name}.png", SEEDLINGS[label]])
    box.csv("sample_submission.csv", ["file", "species"], [[name, "Sugar beet"] for name, _ in solution])
    return [["file", "species"], *solution]


@miniature_of("plant-pathology-2020-fgvc7")
def plant_pathology_2020(box: Download) -> Rows:
    header, solution = ["image_id", *LEAF_COLUMNS], []
    for split, count in (("Train", TRAIN), ("Test", TEST)):
        solution = []
        for number, label in enumerate(balanced_labels(box.rng, count, 4)):
            box.image(f"images/{split}_{number}.jpg", photograph(box.rng, label, 4, 27, 41))
            solution.append([f"{split}_{number}", *(str(int(k == label)) for k in range(4))])
        if split == "Train":
            box.csv("train.csv", header, solution)
    box.csv("test.csv", ["image_id"], [[row[0]] for row in solution])
    box.csv("sample_submission.csv", header, [[row[0], *[0.25] * 4] for row in solution])
    return [header, *solution]


@miniature_of("plant-pathology-2021-fgvc8")
def plant_pathology_2021(box: Download) -> Rows:
    header, table = ["image", "labels"], []
    ids = [f"{name}.jpg" for name in sorted(box.hex_ids(TRAIN + TEST, 16))]
    healthy = LEAF_TAGS.index("healthy")
    for position, (name, tags) in enumerate(zip(ids, _leaves(box, len(ids)), strict=True)):
        split = "train" if position < TRAIN else "test"
        box.image(f"{split}_images/{name}", draw_tags(box.rng, [bool(tag) for tag in tags], 40, 60))
        listed = [LEAF_TAGS[k] for k in np.flatnonzero(tags) if k != healthy] or ["healthy"]
        table.append([name, " ".join(listed)])
    box.csv("train.csv", header, table[:TRAIN])
    box.csv("sample_submission.csv", header, [[name, "healthy"] for name, _ in table[TRAIN:]])
    return [header, *table[TRAIN:]]


def _leaves(box: Download, count: int) -> list[list[bool]]:
    """Diseases, or none and then healthy."""
    healthy = LEAF_TAGS.index("healthy")
    tags = random_tags(box.rng, count, len(LEAF_TAGS))
    tags[:, healthy] &= box.rng.random(count) < 0.8
    tags[tags[:, healthy]] = np.arange(len(LEAF_TAGS)) == healthy
    tags[~tags.any(axis=1), healthy] = True
    return [[bool(tag) for tag in row] for row in tags]


@miniature_of("cassava-leaf-disease-classification")
def cassava_leaf_disease_classification(box: Download) -> Rows:
    numbers = [str(n) for n in box.rng.choice(10**9, TRAIN + TEST, replace=False) + 10**9]
    labels = balanced_labels(box.rng, TRAIN, 5) + balanced_labels(box.rng, TEST, 5)
    rows = [[f"{number}.jpg", str(label)] for number, label in zip(numbers, labels, strict=True)]
    for position, (name, label) in enumerate(rows):
        split = "train" if position < TRAIN else "test"
        box.image(f"{split}_images/{name}", photograph(box.rng, int(label), 5, 30, 40))
    box.csv("train.csv", ["image_id", "label"], rows[:TRAIN])
    box.csv("sample_submission.csv", ["image_id", "label"], [[name, 4] for name, _ in rows[TRAIN:]])
    names = (
        "Bacterial Blight (CBB)",
        "Brown Streak Disease (CBSD)",
        "Green Mottle (CGM)",
        "Mosaic Disease (CMD)",
    )
    diseases = {str(k): f"Cassava {name}" for k, name in enumerate(names)} | {"4": "Healthy"}
    box.json("label_num_to_disease_map.json", diseases)
    box.write("train_tfrecords/ld_train00-1338.tfrec", b"\x10\x00\x00\x00")
    box.write("test_tfrecords/ld_test00-1.tfrec", b"\x10\x00\x00\x00")
    return [["image_id", "label"], *rows[TRAIN:]]


@miniature_of("humpback-whale-identification")
def humpback_whale_identification(box: Download) -> Rows:
    """Fewer whales than 5,005; many have one image here too, and the largest class is `new_whale`."""
    whales = ["new_whale", *(f"w_{name}" for name in box.hex_ids(11, 7))]
    train = [0] * 12 + [k for k in range(1, 9) for _ in range(4)] + [9, 10, 11]
    train, test = [int(k) for k in box.rng.permutation(train)], [k for k in range(8) for _ in range(2)]
    ids = [f"{name}.jpg" for name in sorted(box.hex_ids(len(train) + len(test), 9))]
    rows = []
    for position, (name, label) in enumerate(zip(ids, train + test, strict=True)):
        split = "train" if position < len(train) else "test"
        pixels = photograph(box.rng, label, len(whales), 20, 40)
        box.image(f"{split}/{name}", pixels if label % 3 else pixels.mean(axis=2).astype(np.uint8))
        rows.append([name, whales[label]])
    box.csv("train.csv", ["Image", "Id"], rows[: len(train)])
    guess = " ".join(["new_whale", *whales[1:5]])
    box.csv("sample_submission.csv", ["Image", "Id"], [[name, guess] for name, _ in rows[len(train) :]])
    return [["Image", "Id"], *rows[len(train) :]]


@miniature_of("planet-understanding-the-amazon-from-space")
def planet_understanding_the_amazon_from_space(box: Download) -> Rows:
    """Test images lie in two archives, `test_0.jpg` in one and `file_0.jpg` in the other."""
    parts = {"train-jpg": ("train", TRAIN), "test-jpg": ("test", 12), "test-jpg-additional": ("file", 8)}
    tables: dict[str, Rows] = {}
    for folder, (stem, count) in parts.items():
        tags = random_tags(box.rng, 200, len(PLANET), 0.25)[:count]
        if stem == "train":
            tags = random_tags(box.rng, count, len(PLANET), 0.3)
        tables[folder] = []
        for number, row in enumerate(tags):
            pixels = draw_tags(box.rng, [bool(tag) for tag in row], 40, 40)
            box.image(f"{folder}/{stem}_{number}.jpg", pixels)
            listed = " ".join(PLANET[k] for k in box.rng.permutation(np.flatnonzero(row)))
            tables[folder].append([f"{stem}_{number}", listed])
            if folder in ("train-jpg", "test-jpg"):
                box.write(f"{stem}-tif-v2/{stem}_{number}.tif", _four_bands(pixels))
        box.pack_tar_7z(f"{folder}.tar.7z", folder)
    for split in ("train", "test"):
        box.pack_tar_7z(f"{split}-tif-v2.tar.7z", f"{split}-tif-v2")
    header, solution = ["image_name", "tags"], [*tables["test-jpg"], *tables["test-jpg-additional"]]
    box.csv("train_v2.csv", header, tables["train-jpg"])
    guess = "primary clear agriculture road water"
    box.csv("sample_submission_v2.csv", header, [[name, guess] for name, _ in solution])
    for name in ("train_v2.csv", "sample_submission_v2.csv"):
        box.pack_zip(f"{name}.zip", name)
    return [header, *solution]


def _four_bands(pixels: np.ndarray) -> bytes:
    """Blue, green, red and near infrared in 16 bits, as the satellite measures."""
    import cv2

    bands = np.concatenate([pixels, 255 - pixels[..., :1]], axis=2).astype(np.uint16) * 40 + 2000
    written, buffer = cv2.imencode(".tif", bands)
    assert written
    return bytes(buffer)


@miniature_of("human-protein-atlas-image-classification")
def human_protein_atlas_image_classification(box: Download) -> Rows:
    header, tables = {"train": ["Id", "Target"], "test": ["Id", "Predicted"]}, dict[str, Rows]()
    for split, count in (("train", TRAIN), ("test", TEST)):
        tags = random_tags(box.rng, 400, 28, 0.08)[:count]
        if split == "train":
            tags[:28] |= np.eye(28, dtype=bool)
        tables[split] = []
        for name, row in zip(sorted(box.uuids(count)), tags, strict=True):
            shown = draw_tags(box.rng, [bool(tag) for tag in row], 36, 36)
            bands = [*np.moveaxis(shown, 2, 0), noisy(box.rng, np.full((36, 36), 90.0))]
            for stain, band in zip(PROTEIN_STAINS, bands, strict=True):
                box.image(f"{split}/{name}_{stain}.png", band)
            tables[split].append([name, " ".join(str(k) for k in np.flatnonzero(row)[::-1])])
    box.csv("train.csv", header["train"], tables["train"])
    box.csv("sample_submission.csv", header["test"], [[name, 0] for name, _ in tables["test"]])
    return [header["test"], *tables["test"]]


@miniature_of("state-farm-distracted-driver-detection")
def state_farm_distracted_driver_detection(box: Download) -> Rows:
    """Six drivers, so that folds of drivers hold every class."""
    columns = [f"c{k}" for k in range(10)]
    numbers = [int(n) for n in box.rng.permutation(102_000)[: 60 + TEST]]
    drivers = []
    for position, number in enumerate(numbers[:60]):
        label = position % 10
        box.image(f"imgs/train/c{label}/img_{number}.jpg", photograph(box.rng, label, 10, 24, 32))
        drivers.append([f"p{12 + position // 10:03}", f"c{label}", f"img_{number}.jpg"])
    box.csv("driver_imgs_list.csv", ["subject", "classname", "img"], drivers)
    test = dict(
        zip(sorted(f"img_{n}.jpg" for n in numbers[60:]), balanced_labels(box.rng, TEST, 10), strict=True)
    )
    for name, label in test.items():
        box.image(f"imgs/test/{name}", photograph(box.rng, label, 10, 24, 32))
    box.csv("sample_submission.csv", ["img", *columns], [[name, *[0.1] * 10] for name in test])
    hot = [[name, *(str(int(k == label)) for k in range(10))] for name, label in test.items()]
    return [["img", *columns], *hot]


@miniature_of("the-nature-conservancy-fisheries-monitoring")
def the_nature_conservancy_fisheries_monitoring(box: Download) -> Rows:
    """The first stage; the images of the second lie in an archive with a password."""
    numbers = [int(n) for n in box.rng.permutation(7_900)[: TRAIN + TEST]]
    for number, label in zip(numbers, balanced_labels(box.rng, TRAIN, len(FISH)), strict=False):
        pixels = photograph(box.rng, label, len(FISH), 18, 32)
        box.image(f"train/{FISH[label]}/img_{number:05}.jpg", pixels)
    test = [f"img_{number:05}.jpg" for number in sorted(numbers[TRAIN:])]
    labels = balanced_labels(box.rng, TEST, len(FISH))
    for name, label in zip(test, labels, strict=True):
        box.image(f"test_stg1/{name}", photograph(box.rng, label, len(FISH), 18, 32))
    header, guess = ["image", *FISH], [0.455, 0.053, 0.031, 0.018, 0.123, 0.079, 0.047, 0.194]
    second = [f"image_{number:05}.jpg" for number in (1, 2)]
    for name in second:
        box.image(f"test_stg2/{name}", photograph(box.rng, 0, len(FISH), 18, 32))
    box.pack_7z("test_stg2.7z", "test_stg2", password="published with the second stage")
    box.csv("sample_submission_stg1.csv", header, [[name, *guess] for name in test])
    both = [*(f"test_stg2/{name}" for name in second), *test]
    box.csv("sample_submission_stg2.csv", header, [[name, *guess] for name in both])
    hot = [
        [n, *(str(int(k == label)) for k in range(len(FISH)))] for n, label in zip(test, labels, strict=True)
    ]
    return [header, *hot]


@miniature_of("aerial-cactus-identification")
def aerial_cactus_identification(box: Download) -> Rows:
    ids = [f"{name}.jpg" for name in sorted(box.hex_ids(TRAIN + TEST, 32))]
    labels = balanced_labels(box.rng, TRAIN, 2) + balanced_labels(box.rng, TEST, 2)
    rows = [[name, str(label)] for name, label in zip(ids, labels, strict=True)]
    for position, (name, label) in enumerate(rows):
        split = "train" if position < TRAIN else "test"
        box.image(f"{split}/{name}", photograph(box.rng, int(label), 2, 32, 32))
    header = ["id", "has_cactus"]
    box.csv("train.csv", header, rows[:TRAIN])
    box.csv("sample_submission.csv", header, [[name, 0.5] for name, _ in rows[TRAIN:]])
    for split in ("train", "test"):
        box.pack_zip(f"{split}.zip", split)
    return [header, *rows[TRAIN:]]
