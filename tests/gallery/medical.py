"""Miniatures of medical competitions: grades, patients, DICOM, HDF5."""

from __future__ import annotations

import io

import numpy as np
from gallery.download import TEST, TRAIN, Download, Rows, encode, miniature_of
from gallery.names import CATHETERS, HEMORRHAGES
from gallery.pictures import balanced_labels, draw_grade, draw_tags, photograph, random_tags


@miniature_of("aptos2019-blindness-detection")
def aptos2019_blindness_detection(box: Download) -> Rows:
    header, rows = ["id_code", "diagnosis"], []
    labels = balanced_labels(box.rng, TRAIN, 5) + balanced_labels(box.rng, TEST, 5)
    for position, (name, grade) in enumerate(zip(box.hex_ids(len(labels), 12), labels, strict=True)):
        split = "train" if position < TRAIN else "test"
        height, width = (int(side) for side in box.rng.choice([(28, 36), (32, 32)]))
        box.image(f"{split}_images/{name}.png", draw_grade(box.rng, grade, 5, height, width))
        rows.append([name, str(grade)])
    box.csv("train.csv", header, rows[:TRAIN])
    box.csv("test.csv", header[:1], [row[:1] for row in rows[TRAIN:]])
    box.csv("sample_submission.csv", header, [[name, 0] for name, _ in rows[TRAIN:]])
    return [header, *rows[TRAIN:]]


@miniature_of("diabetic-retinopathy-detection")
def diabetic_retinopathy_detection(box: Download) -> Rows:
    """Two eyes a patient; the zips of images come in parts, and a zip of examples lies beside them."""
    header, tables = ["image", "level"], dict[str, Rows]()
    for split, first, count, parts in (("train", 10, TRAIN, 5), ("test", 1, TEST, 7)):
        tables[split] = []
        for patient, grade in enumerate(balanced_labels(box.rng, count // 2, 5), first):
            for eye in ("left", "right"):
                level = min(4, max(0, grade + int(box.rng.integers(0, 2))))
                pixels = draw_grade(box.rng, level, 5, 30, 45)
                box.image(f"{split}/{patient}_{eye}.jpeg", pixels)
                if (split, patient) == ("train", 10):
                    box.image(f"sample/{patient}_{eye}.jpeg", pixels)
                tables[split].append([f"{patient}_{eye}", str(level)])
        box.pack_zip(f"{split}.zip", split)
        box.split(f"{split}.zip", parts)
    box.pack_zip("sample.zip", "sample")
    box.csv("trainLabels.csv", header, tables["train"])
    box.csv("sampleSubmission.csv", header, [[name, 0] for name, _ in tables["test"]])
    for name in ("trainLabels.csv", "sampleSubmission.csv"):
        box.pack_zip(f"{name}.zip", name)
    return [header, *tables["test"]]


SITES = ("head/neck", "lower extremity", "torso", "upper extremity")


def _patients(box: Download, count: int, of: int) -> list[list[str]]:
    """A patient, sex, age and site a row, each patient in several rows."""
    names = [f"IP_{number}" for number in box.rng.choice(8_999_999, of, replace=False) + 1_000_000]
    sexes, ages = box.rng.choice(["male", "female"], of), box.rng.choice(np.arange(20, 90, 5), of)
    sites = box.rng.choice(SITES, count)
    return [[names[k % of], sexes[k % of], f"{ages[k % of]}.0", sites[k]] for k in range(count)]


@miniature_of("siim-isic-melanoma-classification")
def siim_isic_melanoma_classification(box: Download) -> Rows:
    """Every image twice: as DICOM in `train/` and as JPEG in `jpeg/train/`."""
    columns = ["image_name", "patient_id", "sex", "age_approx", "anatom_site_general_challenge"]
    numbers = sorted(int(n) for n in box.rng.choice(9_999_999, TRAIN + TEST, replace=False))
    names = [f"ISIC_{number:07}" for number in numbers]
    labels = balanced_labels(box.rng, TRAIN, 4) + balanced_labels(box.rng, TEST, 4)
    patients = _patients(box, TRAIN, 12) + _patients(box, TEST, 5)
    train, solution = [], []
    for position, (name, label, patient) in enumerate(zip(names, labels, patients, strict=True)):
        split, target = "train" if position < TRAIN else "test", int(label == 0)
        pixels = photograph(box.rng, target, 3, 24, 36)
        box.image(f"jpeg/{split}/{name}.jpg", pixels)
        box.write(f"{split}/{name}.dcm", dicom(pixels, patient[0]))
        if split == "train":
            found = ("melanoma", "malignant") if target else ("unknown", "benign")
            train.append([name, *patient, *found, target])
        else:
            solution.append([name, str(target)])
    train[3][3] = train[7][2] = ""  # as in the real table, age and sex are not always known
    box.csv("train.csv", [*columns, "diagnosis", "benign_malignant", "target"], train)
    tested = [[name, *patient] for (name, _), patient in zip(solution, patients[TRAIN:], strict=True)]
    box.csv("test.csv", columns, tested)
    box.csv("sample_submission.csv", ["image_name", "target"], [[name, 0] for name, _ in solution])
    box.write("tfrecords/train00-2071.tfrec", b"\x10\x00\x00\x00")
    return [["image_name", "target"], *solution]


@miniature_of("isic-2024-challenge")
def isic_2024_challenge(box: Download) -> Rows:
    """Training images as files and in one HDF5, test images in one HDF5 alone, sizes of their own."""
    columns = ["patient_id", "sex", "age_approx", "anatom_site_general"]
    measured = ["clin_size_long_diam_mm", "image_type", "tbp_lv_A", "tbp_lv_areaMM2", "attribution"]
    late = ["lesion_id", "iddx_full", "iddx_1", "mel_thick_mm", "tbp_lv_dnn_lesion_confidence"]
    numbers = sorted(int(n) for n in box.rng.choice(9_999_999, TRAIN + TEST, replace=False))
    labels = balanced_labels(box.rng, TRAIN, 4) + balanced_labels(box.rng, TEST, 4)
    patients = _patients(box, TRAIN, 12) + _patients(box, TEST, 5)
    tables: dict[str, list[list[object]]] = {"train": [], "test": []}
    images: dict[str, dict[str, bytes]] = {"train": {}, "test": {}}
    solution: Rows = []
    for position, (number, label, patient) in enumerate(zip(numbers, labels, patients, strict=True)):
        split, name, target = "train" if position < TRAIN else "test", f"ISIC_{number:07}", int(label == 0)
        side = int(box.rng.integers(20, 40))
        images[split][name] = encode(photograph(box.rng, target, 3, side, side), ".jpg")
        values = [round(float(box.rng.gamma(2, 2)), 2), "TBP tile: close-up", 20.24, 3.15, "Memorial, Sloan"]
        if split == "train":
            lesion = (
                ["IL_6727506", "Nevus::Benign", "Malignant", 0.4] if target else ["", "Benign", "Benign", ""]
            )
            tables[split].append([name, target, *patient, *values, *lesion, 97.5])
            box.write(f"train-image/image/{name}.jpg", images[split][name])
        else:
            tables[split].append([name, *patient, *values])
            solution.append([name, str(target)])
    box.csv("train-metadata.csv", ["isic_id", "target", *columns, *measured, *late], tables["train"])
    box.csv("test-metadata.csv", ["isic_id", *columns, *measured], tables["test"])
    for split, content in images.items():
        box.write(f"{split}-image.hdf5", _hdf5(content))
    box.csv("sample_submission.csv", ["isic_id", "target"], [[name, 0.3] for name, _ in solution])
    return [["isic_id", "target"], *solution]


def _hdf5(images: dict[str, bytes]) -> bytes:
    """One scalar a name: the bytes of an image file."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, content in images.items():
            file.create_dataset(name, data=np.void(content))
    return buffer.getvalue()


@miniature_of("histopathologic-cancer-detection")
def histopathologic_cancer_detection(box: Download) -> Rows:
    labels = balanced_labels(box.rng, TRAIN, 2) + balanced_labels(box.rng, TEST, 2)
    rows = []
    for position, (name, label) in enumerate(zip(box.hex_ids(len(labels), 40), labels, strict=True)):
        split = "train" if position < TRAIN else "test"
        box.image(f"{split}/{name}.tif", photograph(box.rng, label, 3, 96, 96))
        rows.append([name, str(label)])
    box.csv("train_labels.csv", ["id", "label"], rows[:TRAIN])
    box.csv("sample_submission.csv", ["id", "label"], [[name, 0] for name, _ in rows[TRAIN:]])
    return [["id", "label"], *rows[TRAIN:]]


@miniature_of("rsna-intracranial-hemorrhage-detection")
def rsna_intracranial_hemorrhage_detection(box: Download) -> Rows:
    """All in a folder of the competition's name; four images stand twice in the table, as they really do."""
    top, tables = "rsna-intracranial-hemorrhage-detection", dict[str, Rows]()
    for split, count in (("train", TRAIN), ("test", TEST)):
        tags = random_tags(box.rng, count, len(HEMORRHAGES) - 1, 0.25)
        tags[box.rng.random(count) < 0.3] = False
        tables[split] = []
        for name, row in zip(sorted(f"ID_{n}" for n in box.hex_ids(count, 9)), tags, strict=True):
            box.write(f"{top}/stage_2_{split}/{name}.dcm", _head(box, [bool(tag) for tag in row]))
            for subtype, tag in zip(HEMORRHAGES, [*row, row.any()], strict=True):
                tables[split].append([f"{name}_{subtype}", str(int(tag))])
    box.csv(f"{top}/stage_2_train.csv", ["ID", "Label"], [*tables["train"], *tables["train"][: 4 * 6]])
    sample = [[name, 0.5] for name, _ in tables["test"]]
    box.csv(f"{top}/stage_2_sample_submission.csv", ["ID", "Label"], sample)
    return [["ID", "Label"], *tables["test"]]


def _head(box: Download, tags: list[bool]) -> bytes:
    """A slice of a head: bleedings are brighter than the brain by some tens of Hounsfield units."""
    units = np.where(draw_tags(box.rng, tags, 32, 32).max(axis=2) > 150, 75, 30) + box.rng.normal(
        0, 5, (32, 32)
    )
    units[:2], units[-2:] = -1000, 900  # air and bone, which a window cuts off
    return dicom(
        (units + 1024).clip(0, 4095).astype(np.uint16), f"ID_{box.hex_ids(1, 8)[0]}", intercept=-1024
    )


def dicom(pixels: np.ndarray, patient: str, intercept: int | None = None) -> bytes:
    """A DICOM file of uint8 (H, W, 3), or of uint16 (H, W) with a brain window of Hounsfield units."""
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    uid = generate_uid(entropy_srcs=[patient, pixels.tobytes().hex()])
    file = pydicom.Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = SecondaryCaptureImageStorage
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = uid
    file.PatientID, file.Modality = patient, "CT" if intercept is not None else "XC"
    file.Rows, file.Columns = pixels.shape[:2]
    file.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    file.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        file.PlanarConfiguration = 0
    bits = pixels.dtype.itemsize * 8
    file.BitsAllocated, file.BitsStored, file.HighBit = bits, bits, bits - 1
    file.PixelRepresentation = 0
    if intercept is not None:
        file.RescaleIntercept, file.RescaleSlope = str(intercept), "1"
        file.WindowCenter, file.WindowWidth = "40", "80"
    file.PixelData = pixels.tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, file, enforce_file_format=True)
    return buffer.getvalue()


@miniature_of("ranzcr-clip-catheter-line-classification")
def ranzcr_clip_catheter_line_classification(box: Download) -> Rows:
    tags = np.concatenate([random_tags(box.rng, count, len(CATHETERS)) for count in (TRAIN, TEST)])
    digits = box.rng.integers(10**15, 10**16, len(tags))
    patients = [name for name in box.hex_ids(16, 9) for _ in range(3)]
    header, train, solution, drawn = ["StudyInstanceUID", *CATHETERS], [], [], []
    for position, row in enumerate(tags):
        split, name = "train" if position < TRAIN else "test", f"1.2.826.0.1.3680043.8.498.{digits[position]}"
        shown = draw_tags(box.rng, [bool(tag) for tag in row], 40, 48)
        box.image(f"{split}/{name}.jpg", shown.mean(axis=2).round().astype(np.uint8))
        cells = [name, *(str(int(tag)) for tag in row)]
        if split == "train":
            train.append([*cells, patients[position]])
            drawn.append([name, CATHETERS[int(np.flatnonzero(row)[0])], "[[1487, 1279], [1477, 1168]]"])
        else:
            solution.append(cells)
    box.csv("train.csv", [*header, "PatientID"], train)
    box.csv("train_annotations.csv", ["StudyInstanceUID", "label", "data"], drawn)
    box.csv("sample_submission.csv", header, [[row[0], *[0] * len(CATHETERS)] for row in solution])
    box.write("train_tfrecords/00-1881.tfrec", b"\x10\x00\x00\x00")
    box.write("test_tfrecords/00-895.tfrec", b"\x10\x00\x00\x00")
    return [header, *solution]
