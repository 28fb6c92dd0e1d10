"""Each of the gallery's competitions in small, from the zip that Kaggle hands out to a submission."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
from gallery.download import Rows
from gallery.miniatures import MAKERS
from gallery.scoring import LOWER_IS_BETTER, SCORERS
from programs import load
from projects import softvote

from softvote.config.pipeline_file import read_pipeline_file
from softvote.kaggle.kernel_program import resolve_pipeline
from softvote.stages import open_run

REPOSITORY = Path(__file__).parents[2]
GALLERY = REPOSITORY / "pipelines" / "gallery"

# Different from each other in layout, task, metric and form; the others are of the slow tests.
QUICK = (
    "dogs-vs-cats-redux-kernels-edition",  # zips within, classes in names, a probability
    "rsna-intracranial-hemorrhage-detection",  # DICOM, a row for each tag
)

EVERY = [pytest.param(slug, marks=() if slug in QUICK else pytest.mark.slow) for slug in sorted(MAKERS)]

# A small network for a few seconds, in place of what a competitor would start from; losses, sampling and the
# kind of folds stay the gallery's.
TINY = [
    "members={tiny: {model: cnn}}",
    "folds.count=2",
    "defaults.no_aug_epochs=0",
    "defaults.batch_size=16",
    "defaults.optimizer={name: adamw, lr: 0.004}",
    "defaults.ema=0",
    "defaults.augment=null",
    "defaults.precision=fp32",
    "engine.workers=1",
]

# Height and width of images that the files have otherwise; if omitted, as the gallery says.
SMALL = {
    "Kannada-MNIST": None,
    "aerial-cactus-identification": None,
    "bengaliai-cv19": (34, 59),
    "cifar-10": None,
    "digit-recognizer": None,
    "histopathologic-cancer-detection": None,
    "human-protein-atlas-image-classification": (36, 36),
    "planet-understanding-the-amazon-from-space": (40, 40),
    "statoil-iceberg-classifier-challenge": None,
}


def settings_of(slug: str) -> list[str]:
    """What makes the gallery's pipeline small, and lets it know the answers."""
    height, width = SMALL.get(slug, (24, 32)) or (0, 0)
    size = [f"competition.image.height={height}", f"competition.image.width={width}"] if height else []
    epochs = f"defaults.epochs={6 if slug in QUICK else 12}"
    settings = [*TINY, epochs, *size, "competition.kaggle=null", "competition.solution=solution.csv"]
    return [word for setting in settings for word in ("--set", setting)]


def read_rows(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_every_competition_has_its_file() -> None:
    assert {path.stem for path in GALLERY.glob("*.yaml")} == set(MAKERS) == set(SCORERS)


@pytest.mark.parametrize("slug", EVERY)
def test_from_zip_to_submission(slug: str, project: Callable[[str], Path], known_throughput: None) -> None:
    root = project(slug)
    for stage in ("check", "folds", "train", "ensemble", "submit"):
        assert softvote(root, stage, slug, *settings_of(slug)) == 0, stage
    competition = open_run(root, slug).pipeline.competition
    files = root / "input" / slug
    sample, solution = read_rows(files / competition.sample_submission), read_rows(files / "solution.csv")
    (path,) = (root / "submissions").glob(f"{slug}-*.csv")
    submission = read_rows(path)
    assert submission[0] == sample[0]
    assert [row[0] for row in submission] == [row[0] for row in sample]

    score = SCORERS[slug]
    reached, guessed = score(submission[1:], solution[1:]), score(sample[1:], solution[1:])
    better = reached < guessed if score in LOWER_IS_BETTER else reached > guessed
    assert better, f"{reached} is not better than the sample's {guessed}"
    with (root / "submissions" / "ledger.csv").open(newline="", encoding="utf-8") as file:
        (entry,) = csv.DictReader(file)
    assert float(entry["solution_score"]) == pytest.approx(reached, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("slug", sorted(MAKERS))
def test_the_gallerys_own_networks_take_the_images(slug: str, tmp_path: Path) -> None:
    """Built without their weights: they exist, and take the size, channels and labels."""
    shutil.copytree(REPOSITORY / "pipelines", tmp_path / "pipelines")
    waits = not open_run(tmp_path, slug).pipeline.competition.knows_classes
    words = ["--set", "competition.labels=[a, b, c]"] if waits else []
    assert softvote(tmp_path, "check", slug, *words) == 0


def test_published_weights_are_of_networks_that_have_some() -> None:
    names = {
        member.model
        for path in GALLERY.glob("*.yaml")
        for member in read_pipeline_file(path).members.values()
        if member.model_args.get("pretrained")
    }
    assert names and names <= set(timm.list_pretrained())


def test_the_page_of_the_gallery_is_current() -> None:
    tables = load("gallery_table")
    page = tables.PAGE.read_text(encoding="utf-8")
    assert page == tables.with_tables(page), "write it anew: python scripts/gallery_table.py"
    assert tables.IMAGES.keys() == MAKERS.keys()


@pytest.mark.parametrize("slug", sorted(MAKERS))
def test_a_kernel_is_told_the_same_pipeline(slug: str, tmp_path: Path) -> None:
    """A kernel gets one file, without what it extends and without defaults."""
    pipeline = read_pipeline_file(GALLERY / f"{slug}.yaml")
    (tmp_path / "told.yaml").write_text(resolve_pipeline(pipeline), encoding="utf-8")
    told = read_pipeline_file(tmp_path / "told.yaml")
    left_out = {"extends", "defaults"}
    assert told.model_dump(exclude=left_out) == pipeline.model_dump(exclude=left_out)
