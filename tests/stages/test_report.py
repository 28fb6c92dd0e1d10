"""softvote.stages.report: a page and an index from what the stages before it left, in a browser too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Digits, make_once
from projects import pipeline, softvote, write_pipeline, write_project
from report_data import data_of_kind, make_data

from softvote.data.corrections import correction_columns
from softvote.ensembling.records import ScoreRecord
from softvote.errors import UserError
from softvote.metrics.scores import Score
from softvote.reporting.report.page import SECTIONS, BuiltSection, write_page
from softvote.reporting.report.sections import attention
from softvote.stages import open_run, report
from softvote.storage.files import write_text
from softvote.storage.paths import FoldFolder, Workspace
from softvote.task import TaskKind

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """Two pipelines that went all the way, the second from the first; and their reports."""

    def make(root: Path) -> None:
        write_project(root, digits)
        write_pipeline(root, {"extends": "tiny", "defaults": {"epochs": 1}}, "less")
        for name in ("less", "tiny"):
            for stage in ("folds", "train", "ensemble", "submit", "report"):
                assert softvote(root, stage, name) == 0

    return make_once(tmp_path_factory, "reported", make)


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns(".*lock"))


@pytest.mark.parametrize(("metric", "tiles"), [("accuracy", ["log loss"]), ("log_loss", [])])
def test_no_score_stands_twice_on_top(digits: Digits, metric: str, tiles: list[str]) -> None:
    loss, right = Score(0.3, 0.1, 600, percent=False), Score(0.9, 0.1, 600)
    record = ScoreRecord(accuracy=right, log_loss=loss, value=loss if metric == "log_loss" else None)
    form = {"name": "columns"} if metric == "log_loss" else {"name": "label"}
    data = make_data(digits, competition={"metric": metric, "form": form}, vote_scores=record)
    shown = report._describe(data, [])["tiles"]
    assert isinstance(shown, list) and [title for title, _, _ in shown[1:-2]] == tiles


def test_the_index_leads_to_the_page_of_a_pipeline_that_did_not_vote(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for name in ("half", "index"):
        write_text(workspace.reports / f"{name}.html", "")
    text = report._write_index(workspace, []).read_text("utf-8")
    assert '<a href="half.html">half</a>' in text and "index.html" not in text


@pytest.mark.slow
def test_a_page_of_a_pipeline_and_an_index_of_all(project: Path) -> None:
    page, index = ((project / "reports" / f"{name}.html").read_text("utf-8") for name in ("tiny", "index"))
    assert 'href="tiny.html"' in index and 'href="less.html"' in index
    assert "epochs 2 -&gt; 1 (every member)" in index
    assert "epochs 1 -&gt; 2 (every member)" in page and "paired" in page


@pytest.mark.parametrize(
    ("extends", "base"), [("tiny", "tiny"), ("gallery/shown", "shown"), ("competitions/tiny", ""), (None, "")]
)
def test_a_pipeline_starts_from_another_but_not_from_a_competition_of_its_name(
    tmp_path: Path, extends: str | None, base: str
) -> None:
    for name in ("tiny", "gallery/shown", "competitions/tiny"):
        (tmp_path / "pipelines" / name).parent.mkdir(parents=True, exist_ok=True)
        write_pipeline(tmp_path, pipeline(), name)
    write_pipeline(tmp_path, {"extends": extends} if extends else pipeline(), "less")
    assert report._name_base(open_run(tmp_path, "less")) == base


def test_nothing_trained_is_an_error_that_says_what_to_do(digits: Digits, tmp_path: Path) -> None:
    write_project(tmp_path, digits)
    assert softvote(tmp_path, "folds", "tiny") == 0
    with pytest.raises(UserError, match="run the train stage"):
        report.run(open_run(tmp_path, "tiny"))
    assert not (tmp_path / "reports").exists()


@pytest.mark.slow
def test_a_member_that_is_not_trained_is_left_out_and_named(copy: Path) -> None:
    members = {"cnn": {"model": "cnn"}, "resnet5": {"model": "resnet5"}, "new": {"model": "cnn"}}
    write_pipeline(copy, pipeline(members=members))
    result = report.run(open_run(copy, "tiny"))
    page = result.page.read_text("utf-8")
    assert "left out: new." in page and any("did not vote yet" in line for line in result.left_out)


@pytest.mark.slow
def test_the_page_is_the_same_but_for_its_time(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "now", lambda: "now")
    pages = [report.run(open_run(copy, "tiny")).page.read_bytes() for _ in range(2)]
    assert pages[0] == pages[1]


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium of this system."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with sync.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


class Opened:
    """A page that was opened, and what it said and asked for meanwhile."""

    def __init__(self, browser: Any, path: Path, width: int = 1280) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())


@pytest.fixture
def opened(browser: Any, project: Path) -> Iterator[Opened]:
    found = Opened(browser, project / "reports" / "tiny.html")
    yield found
    assert found.said == []
    assert [url for url in found.asked if not url.startswith(("data:", "blob:"))] == [
        (project / "reports" / "tiny.html").as_uri()
    ]
    found.page.close()


@pytest.mark.slow
def test_pictures_load(opened: Opened) -> None:
    sizes = opened.page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(sizes) > 30 and min(sizes) > 0


@pytest.mark.slow
def test_a_click_shows_the_images_behind_a_cell(opened: Opened) -> None:
    opened.page.locator("#confusion td.has button").first.click()
    images = opened.page.locator("dialog[open] img")
    assert images.count() > 0 and images.first.evaluate("image => image.naturalWidth") > 0
    opened.page.keyboard.press("Escape")
    assert opened.page.locator("dialog[open]").count() == 0


@pytest.mark.slow
def test_a_click_sorts_by_number_and_another_the_other_way(opened: Opened) -> None:
    table = opened.page.locator("#confusion table.sortable").first
    orders = []
    for _ in range(2):
        table.locator("thead button", has_text="recall").click()
        cells = table.locator("tbody tr td:nth-child(3)").all_inner_texts()
        orders.append([float(text.removesuffix(" %")) for text in cells])
    assert orders[0] == sorted(orders[0], reverse=True) and orders[1] == sorted(orders[1])
    assert len(set(orders[0])) > 1


@pytest.mark.slow
def test_a_filter_leaves_the_rows_that_hold_its_words(opened: Opened) -> None:
    figure = opened.page.locator("#confusion figure", has_text="Classes").last
    rows = figure.locator("tbody tr")
    assert rows.count() == 10
    figure.locator("input[type=search]").fill("no such row")
    assert figure.locator("tbody tr:visible").count() == 0
    figure.locator("input[type=search]").fill("")
    assert figure.locator("tbody tr:visible").count() == 10


@pytest.mark.slow
def test_a_button_changes_between_light_and_dark(opened: Opened) -> None:
    colours = []
    for _ in range(2):
        colours.append(opened.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        opened.page.locator("#theme").click()
    assert colours[0] != colours[1]


@pytest.mark.slow
def test_ticked_rows_are_downloaded_as_a_csv(browser: Any, tmp_path: Path) -> None:
    from softvote.reporting.report.blocks import Cell, DataTable

    table = DataTable(
        ["row", "label"], [[Cell(f"{row}", row), 'a, "b"'] for row in range(3)], selectable="c.csv"
    )
    write_page(
        tmp_path / "page.html", "page.html", name="", subtitle="", tiles=[], warnings=[], store={}, footer="",
        sections=[BuiltSection(SECTIONS["labels"], [table])],
    )  # fmt: skip
    found = Opened(browser, tmp_path / "page.html")
    found.page.locator("tbody input").nth(1).check()
    with found.page.expect_download() as download:
        found.page.locator("button.download").click()
    assert Path(download.value.path()).read_text("utf-8") == 'row,label\n1,"a, ""b"""\n'
    assert found.said == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 390])
def test_the_table_of_scores_is_read_without_scrolling_sideways(
    browser: Any, project: Path, width: int
) -> None:
    found = Opened(browser, project / "reports" / "tiny.html", width)
    sizes = found.page.locator("#scores .scroll").evaluate_all(
        "all => all.map(e => e.scrollWidth - e.clientWidth)"
    )
    assert len(sizes) == 2 and max(sizes) <= 1
    cell = found.page.locator("#scores table.wide td").first
    named = cell.evaluate("cell => getComputedStyle(cell, '::before').content")
    assert (named == '"accuracy"') == (width == 390)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "index"])
def test_nothing_but_tables_is_wider_than_a_phone(browser: Any, project: Path, name: str) -> None:
    found = Opened(browser, project / "reports" / f"{name}.html", width=390)
    assert found.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert found.said == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tags", "targets"])
@pytest.mark.parametrize("width", [1200, 390])
def test_doubts_and_maps_of_several_labels_fit_a_screen(
    browser: Any, digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: TaskKind, width: int
) -> None:
    pytest.importorskip("cleanlab")
    monkeypatch.setattr(
        attention,
        "class_activation_maps",
        lambda _, images, outputs: np.ones((len(images), 8, 8), np.float32),
    )
    monkeypatch.setattr(attention, "load_predictor", lambda folder: None)
    folders = [FoldFolder(tmp_path / f"fold{fold}") for fold in range(2)]
    data = data_of_kind(kind, digits, np.arange(0, 600, 20), trainings={"a": folders})
    wanted = [SECTIONS[name] for name in ("labels", "attention")]
    built = [BuiltSection(section, section.build(data)) for section in wanted]
    write_page(
        tmp_path / "page.html", "page.html", name="", subtitle="", tiles=[], warnings=[], store={}, footer="",
        sections=built,
    )  # fmt: skip
    found = Opened(browser, tmp_path / "page.html", width)
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width and found.said == []
    for each in built:
        pictures = found.page.locator(f"#{each.section.name} img")
        assert pictures.count() > 12 and pictures.first.evaluate("image => image.naturalWidth") > 0
    found.page.locator("#labels tbody input").first.check()
    with found.page.expect_download() as download:
        found.page.locator("#labels button.download").click()
    header, line = Path(download.value.path()).read_text("utf-8").splitlines()
    assert header.split(",")[:4] == [*correction_columns(kind)] and line.split(",")[1] in ("even", "parity")
