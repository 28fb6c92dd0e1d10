"""Write the tables of docs/gallery.md from the pipelines of the gallery.

python scripts/gallery_table.py
"""

from __future__ import annotations

import re
from pathlib import Path

from softvote.config.competition import Competition
from softvote.config.pipeline import Pipeline
from softvote.config.pipeline_file import read_pipeline_file

REPOSITORY = Path(__file__).parents[1]
GALLERY = REPOSITORY / "pipelines" / "gallery"
PAGE = REPOSITORY / "docs" / "gallery.md"
LARGE = 16 * 1024**3
"""Bytes of images above which a competition is said to be large."""

IMAGES = {
    "Kannada-MNIST": (60_000, 5_000),
    "aerial-cactus-identification": (17_500, 4_000),
    "aptos2019-blindness-detection": (3_662, 1_928),
    "bengaliai-cv19": (200_840, 200_000),
    "cassava-leaf-disease-classification": (21_397, 15_000),
    "cifar-10": (50_000, 300_000),
    "diabetic-retinopathy-detection": (35_126, 53_576),
    "digit-recognizer": (42_000, 28_000),
    "dog-breed-identification": (10_222, 10_357),
    "dogs-vs-cats": (25_000, 12_500),
    "dogs-vs-cats-redux-kernels-edition": (25_000, 12_500),
    "histopathologic-cancer-detection": (220_025, 57_458),
    "human-protein-atlas-image-classification": (31_072, 11_702),
    "humpback-whale-identification": (25_361, 7_960),
    "isic-2024-challenge": (401_059, 500_000),
    "planet-understanding-the-amazon-from-space": (40_479, 61_191),
    "plant-pathology-2020-fgvc7": (1_821, 1_821),
    "plant-pathology-2021-fgvc8": (18_632, 5_000),
    "plant-seedlings-classification": (4_750, 794),
    "ranzcr-clip-catheter-line-classification": (30_083, 14_000),
    "rsna-intracranial-hemorrhage-detection": (753_000, 121_000),
    "siim-isic-melanoma-classification": (33_126, 10_982),
    "state-farm-distracted-driver-detection": (22_424, 79_726),
    "statoil-iceberg-classifier-challenge": (1_604, 8_424),
    "the-nature-conservancy-fisheries-monitoring": (3_777, 1_000),
}
"""Training and test images of each competition; of hidden test images about how many."""

FORMATS = {
    "class_folders": "a folder per class",
    "file_names": "classes in file names",
    "image_folder": "table and images",
    "json": "JSON of bands",
    "parquet": "Parquet",
    "pixel_csv": "pixels in CSV",
}

LABEL_CELLS = {"columns": ", columns of 0 and 1", "list": ", lists of tags", "rows": ", a row per label"}


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_tables(text), encoding="utf-8")


def with_tables(page: str) -> str:
    """The page with both tables as the gallery has them now."""
    pipelines = {path.stem: read_pipeline_file(path) for path in sorted(GALLERY.glob("*.yaml"), key=_order)}
    for name, lines in (("table", describe_all(pipelines)), ("room", describe_large(pipelines))):
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        body = "\n".join([begin, "", *lines, "", end])
        page = re.sub(f"{begin}.*?{end}", lambda _, body=body: body, page, flags=re.DOTALL)
    return page


def _order(path: Path) -> str:
    return path.stem.lower()


def describe_all(pipelines: dict[str, Pipeline]) -> list[str]:
    """A line for each competition: images, files, what is asked, score, answer, folds."""
    lines = [
        "| name | images | files | asked | scored by | submitted | folds |",
        "|---|---|---|---|---|---|---|",
    ]
    for slug, pipeline in pipelines.items():
        competition = pipeline.competition
        train, test = IMAGES[slug]
        cells = [
            f"[`{slug}`](https://www.kaggle.com/competitions/{slug})",
            f"{train:,} + {test:,}",
            describe_files(competition),
            describe_task(competition),
            competition.metric.title,
            describe_form(competition),
            describe_folds(pipeline),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def describe_files(competition: Competition) -> str:
    files = competition.files.model_dump()
    if str(files.get("test_images", "")).endswith(".hdf5"):
        return "table and HDF5"
    if files.get("suffix") == ".dcm":
        return f"DICOM{LABEL_CELLS.get(files['label_cells'], '')}"
    if files.get("channel_suffixes"):
        return f"table, {len(files['channel_suffixes'])} files per image"
    return f"{FORMATS[competition.files.format]}{LABEL_CELLS.get(files.get('label_cells') or '', '')}"


def describe_task(competition: Competition) -> str:
    if competition.tags is not None:
        return f"any of {len(competition.tags)} tags"
    if competition.targets is not None:
        return f"{len(competition.targets)} targets"
    if not competition.knows_classes:
        return "classes of a column"
    return f"one of {len(competition.classes)}{', in order' if competition.ordered else ''}"


def describe_form(competition: Competition) -> str:
    form = competition.submission_form
    names = {
        "columns": "a column each",
        "label": "the label",
        "list": "a list",
        "probability": f"probability of {getattr(form, 'of', None)}",
        "rows": "a row each",
    }
    return names[form.name]


def describe_folds(pipeline: Pipeline) -> str:
    group = pipeline.folds.group
    return f"by `{group}`" if group else "stratified"


def describe_large(pipelines: dict[str, Pipeline]) -> list[str]:
    """A line for each competition whose images need much room at the gallery's size."""
    lines = ["| name | GiB | size |", "|---|---|---|"]
    for slug, pipeline in pipelines.items():
        image = pipeline.competition.image
        size = sum(IMAGES[slug]) * image.height * image.width * image.channels
        if size > LARGE:
            shape = f"{image.height} x {image.width} x {image.channels}"
            lines.append(f"| `{slug}` | {size / 1024**3:.0f} | {shape} |")
    return lines


if __name__ == "__main__":
    main()
