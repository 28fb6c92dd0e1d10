"""softvote.reporting.report: charts, pictures and pages as they are written."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import projects
import pytest
from PIL import Image
from untrained import write_fold

from softvote.config.pipeline import Pipeline
from softvote.ensembling.records import ScoreRecord
from softvote.metrics.scores import score_of_proportion
from softvote.reporting.report import charts
from softvote.reporting.report.blocks import Cell, Chart, DataTable, Gallery, Paragraph, PictureCard
from softvote.reporting.report.experiments import Experiment, describe_changes, read_experiment
from softvote.reporting.report.gradcam import overlay
from softvote.reporting.report.images import PictureStore, encode_image
from softvote.reporting.report.index import list_competitions
from softvote.reporting.report.page import SECTIONS, BuiltSection, write_page
from softvote.scheduling.job import Job
from softvote.scheduling.planner import ensemble_fingerprint
from softvote.storage.paths import PipelineFolder, PredictionsFolder
from softvote.storage.snapshot import Snapshot

CHARTS: dict[str, Callable[[], Chart]] = {
    "scores": lambda: charts.draw_scores("t", {"a": (99.0, 0.1), "b": (98.0, 0.1)}, "right, %"),
    "lines": lambda: charts.draw_lines("t", {"a": [2.0, 1.0]}, ("x", "y"), {"a": [2.1, 1.5]}, True),
    "trials": lambda: charts.draw_trials("t", [0, 2], [0.9, 0.8], [0.1, 0.1], [0.9, 0.9], "accuracy"),
    "bars": lambda: charts.draw_bars("t", {"lr": 0.8, "epochs": 0.2}, "proportion"),
    "reliability": lambda: charts.draw_reliability(
        "t", *np.array([[0.5, 0.9], [0.4, 0.9], [0.1, 0.1]]), ("x", "y")
    ),
    "quantiles": lambda: charts.draw_quantiles(
        "t", np.arange(3.0), np.array([[0.0, 0.8, 1.5], [0.1, 1.0, 1.9], [0.3, 1.4, 2.0]]), ("x", "y")
    ),
    "histograms": lambda: charts.draw_histograms("t", {"a": np.array([0.1, 0.9])}, "x"),
    "points": lambda: charts.draw_points("t", {"a": (1, 2), "b": (2, 1)}, ("x", "y"), diagonal=True),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_takes_its_colours_from_the_page(name: str) -> None:
    svg = CHARTS[name]().svg
    assert not re.search(r"#0102|#000000", svg) and "var(--series-0)" in svg and "var(--ink)" in svg
    assert "var(--font)" in svg and "DejaVu" not in svg
    assert svg.startswith("<svg") and not re.search(r'<g id=|width="[\d.]+pt"', svg)
    assert CHARTS[name]().svg == svg


def test_every_drawing_function_is_tried() -> None:
    drawn = {name.removeprefix("draw_") for name in dir(charts) if name.startswith("draw_")}
    assert drawn == set(CHARTS)


def decode(source: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))


@pytest.mark.parametrize("channels", [1, 3])
def test_small_images_stay_as_they_are_and_large_ones_shrink(channels: int) -> None:
    small = np.random.default_rng(0).integers(0, 256, (channels, 8, 12), np.uint8)
    picture = np.asarray(decode(encode_image(small)))
    assert np.array_equal(
        picture if channels == 1 else picture.transpose(2, 0, 1), small[0] if channels == 1 else small
    )
    large = np.zeros((channels, 300, 600), np.uint8)
    assert decode(encode_image(large)).size == (96, 48)


def test_a_full_store_says_how_many_it_left_out() -> None:
    store, image = PictureStore(most_bytes=100), np.zeros((1, 8, 8), np.uint8)
    assert [store.add(key, image, "") for key in ("a", "a", "b", "c")] == ["a", "a", None, None]
    assert store.left_out == 2 and list(store.entries) == ["a"]


def write(path: Path, *blocks: object) -> str:
    section = BuiltSection(SECTIONS["scores"], blocks)  # type: ignore[arg-type]
    write_page(
        path, "page.html", name="<b>tiny", subtitle="", tiles=[("a", "b", "c")], sections=[section],
        warnings=["careful"], store={"r1": ("data:,", "</script><b>")}, footer="",
    )  # fmt: skip
    return path.read_text(encoding="utf-8")


def test_names_of_classes_are_text_and_never_markup(tmp_path: Path) -> None:
    bad = "</script><img src=x onerror=alert(1)>"
    card = PictureCard("data:,", bad)
    page = write(tmp_path / "p.html", Paragraph(bad), DataTable([bad], [[bad]], bad), Gallery([card], bad))
    assert bad not in page and "<b>tiny" not in page
    assert page.count("</script>") == page.count("<script")
    store = re.search(r'id="picture-store">(.*?)</script>', page, re.DOTALL)
    assert store and json.loads(store[1]) == {"r1": ["data:,", "</script><b>"]}


def test_a_page_asks_nobody_for_anything(tmp_path: Path) -> None:
    page = write(tmp_path / "p.html", CHARTS["scores"]())
    assert set(re.findall(r"https?://[^\"' )<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "default-src 'none'" in page and not re.search(r"<link (?!rel=\"icon\")|@import", page)


def test_words_in_backquotes_are_code(tmp_path: Path) -> None:
    assert "say <code>curves: &lt;true&gt;</code> there" in write(
        tmp_path / "p.html", Paragraph("say `curves: <true>` there")
    )


def test_narrow_columns_break_names_and_errors_and_never_a_number(tmp_path: Path) -> None:
    table = DataTable(["big_kernel_cnn", "b"], [["a.b_c 1_000 0.5", Cell("99.1 ± 0.2 %", 0.991)]])
    page = write(tmp_path / "p.html", table)
    assert "big_<wbr>kernel_<wbr>cnn" in page and "a.<wbr>b_<wbr>c 1_000 0.5" in page
    assert "<span>99.1</span> <span>± 0.2 %</span>" in page


def test_columns_of_numbers_are_known_by_their_cells() -> None:
    table = DataTable(["a", "b", "c"], [["x", Cell("99.1 ± 0.2 %", 0.991), "-1"], ["", "", "2,000"]])
    assert table.is_number == [False, True, True]


def pipeline(**facts: object) -> Pipeline:
    return Pipeline.model_validate(projects.pipeline(**facts))


def test_changes_are_told_once_for_all_members() -> None:
    old, recipe = pipeline(), projects.RECIPE | {"epochs": 9}
    longer = {name: {"model": name} | recipe for name in ("cnn", "resnet5")}
    old = pipeline(members={name: {"model": name} | projects.RECIPE for name in ("cnn", "resnet5")})
    assert describe_changes(old, pipeline(members=longer)) == ["epochs 2 -> 9 (every member)"]
    other = {"cnn": {"model": "cnn"} | recipe, "big": {"model": "big_kernel_cnn"}}
    assert describe_changes(old, pipeline(members=other, seed=3)) == [
        "without resnet5", "with big (big_kernel_cnn)", "epochs 2 -> 9 (cnn)", "seed 0 -> 3",
    ]  # fmt: skip
    assert describe_changes(old, old) == []


def experiment(name: str, accuracy: float, extends: str = "") -> Experiment:
    folder, score = PredictionsFolder(Path("none")), score_of_proportion(accuracy, 1000)
    return Experiment(name, pipeline(), extends, folder, "", "mean", score, None, None)


def test_the_index_is_a_ladder_with_links_to_pages_that_are_there() -> None:
    found = [
        experiment("first", 0.90),
        experiment("second", 0.95, "first"),
        experiment("third", 0.951, "second"),
    ]
    ((competition, table),) = list_competitions(found, {"second"}.__contains__)
    assert competition == "digits"
    rows = {row[0].text: row for row in table.cells}
    assert list(rows) == ["third", "second", "first"]
    assert [row[0].href for row in table.cells] == ["", "second.html", ""]
    gain = list(table.header).index("gain")
    assert "(better)" in rows["second"][gain].text and "(noise)" in rows["third"][gain].text
    ((_, alone),) = list_competitions(found[:1], {"second"}.__contains__)
    assert "gain" in table.header and not {"gain", "starts from", "what changed"} & {*alone.header}


@pytest.mark.parametrize(
    ("change", "is_outdated"),
    [
        ("nothing", False), ("recipe", True), ("seed", True), ("rule", True), ("training", True),
        ("tta", False), ("gone", False),
    ],
)  # fmt: skip
def test_scores_of_an_earlier_state_of_a_pipeline_are_marked(
    tmp_path: Path, change: str, is_outdated: bool
) -> None:
    """Two trained members voted; then the file, or what lies there, becomes another."""
    facts = projects.pipeline(members={name: {"model": "cnn"} for name in "ab"})
    before, folder = Pipeline.model_validate(facts), PipelineFolder(tmp_path)
    jobs = []
    for name, fold in [(name, fold) for name in "ab" for fold in (0, 1)]:
        recipe = before.members[name].model_dump(
            mode="json", exclude={"tta", "curves"}, exclude_defaults=True
        )
        inputs = {"member": recipe, "pipeline_seed": 0}
        folds = folder.predictions(name)
        written = write_fold(folds.fold(fold).path, {"model": "cnn"}, identity=inputs)
        ScoreRecord(fingerprint=f"{name}{fold}", checksums=["x", "y"]).write(written.scores)
        jobs.append(SimpleNamespace(member_name=name, folder=written, prediction_fingerprint=f"{name}{fold}"))
    vote = folder.predictions("vote")
    key = ensemble_fingerprint(before, cast("list[Job]", jobs), "vote", Snapshot())
    ScoreRecord(fingerprint=key, accuracy=score_of_proportion(0.9, 100), checksums=[]).write(vote.scores)
    first = folder.predictions("a").fold(0)
    if change in ("recipe", "tta"):
        facts["members"]["b"] |= {"epochs": 9} if change == "recipe" else {"tta": {"shift": 1}}
    elif change in ("seed", "rule"):
        facts |= {"seed": 7} if change == "seed" else {"ensemble": {"rule": "mean"}}
    elif change == "training":
        ScoreRecord(fingerprint="a0", checksums=["other", "y"]).write(first.scores)
    elif change == "gone":
        first.scores.unlink()
    found = read_experiment("tiny", Pipeline.model_validate(facts), folder, None)
    assert found is not None and found.marks == (", outdated" if is_outdated else "")
    assert read_experiment("tiny", before, PipelineFolder(tmp_path / "new"), None) is None
    ((_, table),) = list_competitions([found], lambda name: False)
    assert ("outdated" in table.caption) == ("outdated" in table.cells[0][1].text) == is_outdated


def test_a_map_is_laid_over_the_image() -> None:
    image, seen = np.full((1, 8, 8), 128, np.uint8), np.zeros((8, 8), np.float32)
    seen[:, :4] = 1
    drawn = overlay(image, seen)
    assert drawn.shape == (3, 64, 64) and drawn[:, :, :16].mean() > 1.5 * drawn[:, :, 48:].mean()
