"""Bad input of every kind: one line a problem, never a traceback, and nothing half-written.

Each property holds for a few examples in `make test`, and for 2,000 in the slow tests.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzzing import QUICKLY, THOROUGHLY, Table, mappings, run_quietly, tables, values
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from projects import pipeline, write_pipeline

from softvote.config.pipeline import json_schema
from softvote.config.pipeline_file import read_pipeline_file
from softvote.errors import UserError
from softvote.tracking.submission import check_submission

IMAGE = {"height": 2, "width": 2}
PIXELS = [f"pixel{number}" for number in range(4)]
TRAIN: Table = [
    ["label", *PIXELS],
    *([str(k % 3), *(str(60 * k + 9 * p) for p in range(4))] for k in range(4)),
]
TEST: Table = [PIXELS, *([str(70 * k + 11 * p) for p in range(4)] for k in range(3))]
NAMED: Table = [["id", "label"], *([f"t{k}", str(k % 3)] for k in range(4))]
SAMPLE: Table = [["ImageId", "Label"], *([str(k + 1), "0"] for k in range(3))]
SOLUTION: Table = [["ImageId", "Label"], *([str(k + 1), str(k)] for k in range(3))]

# Each layout: the tables of its files, and what the pipeline file says of them.
LAYOUTS: dict[str, tuple[dict[str, Table], dict[str, Any]]] = {
    "pixel_csv": ({"train.csv": TRAIN, "test.csv": TEST}, {"format": "pixel_csv"}),
    "image_folder": ({"train.csv": NAMED}, {"format": "image_folder"}),
}


@contextmanager
def project(layout: str) -> Iterator[Path]:
    """A workspace with the competition 'small' in that layout, but for its tables."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = root / "input" / "small"
        for split, name, count in (("train", "t{}", 4), ("test", "{}", 3)):
            if layout == "image_folder":
                (files / split).mkdir(parents=True)
                for number in range(count):
                    image = Image.new("L", (2, 2), 60 * number)
                    image.save(files / split / f"{name.format(number + (split == 'test'))}.png")
        files.mkdir(parents=True, exist_ok=True)
        facts = {
            "name": "small", "files": LAYOUTS[layout][1], "image": IMAGE, "labels": {"first": 0, "last": 2},
            "solution": "solution.csv",
        }  # fmt: skip
        write_pipeline(root, pipeline(competition=facts, members={"cnn": {"model": "cnn"}}))
        yield root


@st.composite
def competitions(draw: st.DrawFn) -> tuple[str, dict[str, bytes]]:
    """A layout and the content of its tables, of which one or two were changed."""
    layout = draw(st.sampled_from(sorted(LAYOUTS)))
    whole = LAYOUTS[layout][0] | {"sample_submission.csv": SAMPLE, "solution.csv": SOLUTION}
    changed = draw(st.sets(st.sampled_from(sorted(whole)), min_size=1, max_size=2))
    files = {name: draw(tables(table)) if name in changed else _plain(table) for name, table in whole.items()}
    return layout, files


def _plain(table: Table) -> bytes:
    return "".join(f"{','.join(row)}\n" for row in table).encode()


def check_tables(competition: tuple[str, dict[str, bytes]]) -> None:
    """Tables of a competition: read by `folds`, and looked at by `init`."""
    layout, files = competition
    with project(layout) as root:
        for name, content in files.items():
            (root / "input" / "small" / name).write_bytes(content)
        code, told = run_quietly(root, "folds", "tiny")
        assert (root / "models" / "tiny" / "folds.csv").exists() == (code == 0)
        assert code == 0 or "small" in told or "folds.count" in told  # the file, or the key at fault
        code, told = run_quietly(root, "init", str(root / "input" / "small"))
        written = root / "pipelines" / "small.yaml"
        assert written.exists() == (code == 0)
        if code == 0:
            read_pipeline_file(written)
        assert not list(root.rglob("*.tmp*"))


test_tables = QUICKLY(given(competitions())(check_tables))
test_many_tables = pytest.mark.slow(THOROUGHLY(given(competitions())(check_tables)))


def check_submission_file(content: bytes) -> None:
    """A submission as somebody changed it: taken if it still is one, else refused."""
    ids, classes = [row[0] for row in SOLUTION[1:]], ["0", "1", "2"]
    path = Path(tempfile.mkstemp(suffix=".csv")[1])
    try:
        path.write_bytes(content)
        try:
            check_submission(path, ("ImageId", "Label"), ids, classes, "tiny.csv")
        except UserError as error:
            assert all(str(problem).startswith("tiny.csv") for problem in error.problems)
        else:
            lines = content.decode().replace('"', "").splitlines()
            assert [line.split(",")[0] for line in lines if line] == ["ImageId", *ids]
            assert {line.split(",")[1] for line in lines[1:] if line} <= set(classes)
    finally:
        path.unlink()


test_submissions = QUICKLY(given(tables(SOLUTION))(check_submission_file))
test_many_submissions = pytest.mark.slow(THOROUGHLY(given(tables(SOLUTION))(check_submission_file)))


def _keys(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        return set(schema.get("properties", {})).union(*map(_keys, schema.values()))
    return set().union(*map(_keys, schema)) if isinstance(schema, list) else set()


KEYS = sorted(_keys(json_schema()))
PIPELINES = [
    yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parents[1] / "pipelines").rglob("*.yaml"))
]


@st.composite
def pipeline_texts(draw: st.DrawFn) -> str:
    """A pipeline file whose values, or whose text, were changed."""
    facts = draw(st.sampled_from(PIPELINES).flatmap(lambda facts: mappings(facts, KEYS)))
    text = yaml.safe_dump(facts, allow_unicode=True, sort_keys=False)
    if draw(st.integers(0, 2)):
        return text
    place, odd = (
        draw(st.integers(0, len(text))),
        st.sampled_from(["\t", "&a", "*a", "!!python/object:a", ": ", "- ", "{"]),
    )
    return (
        text[:place] + draw(st.one_of(odd, st.text(max_size=4))) + text[draw(st.integers(place, len(text))) :]
    )


_ROOT = Path(__file__).parents[1]


OVERRIDES = st.lists(st.tuples(st.sampled_from(KEYS) | st.text(max_size=4), values), max_size=2)


def check_pipeline_file(text: str, settings: list[tuple[str, Any]]) -> None:
    """A pipeline file and overrides: read, or every problem with its place and what to write."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "odd.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        shutil.copytree(_ROOT / "pipelines" / "competitions", Path(folder) / "competitions")
        shutil.copy(_ROOT / "pipelines" / "demo.yaml", folder)
        overrides = [f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in settings]
        try:
            read_pipeline_file(path, overrides)
        except UserError as error:
            assert all(problem.where and problem.what for problem in error.problems), error


test_pipeline_files = QUICKLY(given(pipeline_texts(), OVERRIDES)(check_pipeline_file))
test_many_pipeline_files = pytest.mark.slow(
    THOROUGHLY(given(pipeline_texts(), OVERRIDES)(check_pipeline_file))
)
