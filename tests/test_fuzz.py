"""Bad input of every kind: one line per problem, never a traceback, and nothing half-written.

Each property holds for a few examples in `make test`, and for 2,000 in the slow tests.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from fuzzing import QUICKLY, THOROUGHLY, Table, mappings, run_quietly, tables, values
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from projects import pipeline, write_pipeline

from softvote.config.competition import Competition
from softvote.config.json_schema import json_schema
from softvote.config.pipeline_file import read_pipeline_file
from softvote.data.dataset import read_solution
from softvote.data.forms import as_form, read_sample, recognise_form
from softvote.errors import UserError
from softvote.storage.paths import Workspace
from softvote.tracking.submission import SubmissionFormat, check_submission

IMAGE = {"height": 2, "width": 2}
PIXELS = [f"pixel{number}" for number in range(4)]
TRAIN: Table = [
    ["label", *PIXELS],
    *([str(k % 3), *(str(60 * k + 9 * p) for p in range(4))] for k in range(4)),
]
TEST: Table = [PIXELS, *([str(70 * k + 11 * p) for p in range(4)] for k in range(3))]
NAMES = ["a", "b", "c"]
GRADES = {"first": 0, "last": 2}
IN_ROWS: Table = [[f"t{k}_{name}", str((k + n) % 2)] for k in range(4) for n, name in enumerate(NAMES)]


def _answers(*cells: list[str]) -> Table:
    return [[str(number), *row] for number, row in enumerate(cells, 1)]


class Case(NamedTuple):
    """A competition of four training and three test images in a layout of its own.

    Attributes:
        tables: of its files, but for the sample submission and the solution.
        facts: what its pipeline file says.
        solution: of which the sample is the header and the ids, with cells of its own.
        guess: the cells behind each id of the sample.
    """

    tables: dict[str, Table]
    facts: dict[str, Any]
    solution: Table
    guess: list[str]


_LABELS: Table = [["id", "label"], *([f"t{k}", str(k % 3)] for k in range(4))]
_HOT: Table = [["id", *NAMES], *([f"t{k}", *(str(int(n == k % 3)) for n in range(3))] for k in range(4))]
_LISTS: Table = [["id", "label"], *([f"t{k}", "a c" if k % 2 else "b"] for k in range(4))]
_ROWS = {"label_cells": "rows", "format": "image_folder"}
CASES = {
    "pixel_csv": Case(
        {"train.csv": TRAIN, "test.csv": TEST},
        {"files": {"format": "pixel_csv"}, "labels": GRADES},
        [["ImageId", "Label"], *_answers(["0"], ["1"], ["2"])],
        ["0"],
    ),
    "image_folder": Case(
        {"train.csv": _LABELS},
        {"files": {"format": "image_folder"}, "labels": {"file": "train.csv", "column": "label"}},
        [["id", "label"], *_answers(["0"], ["1"], ["2"])],
        ["0"],
    ),
    "columns": Case(
        {"train.csv": _HOT},
        {
            "files": {"format": "image_folder", "label_cells": "columns"},
            "labels": NAMES, "form": "columns", "metric": "log_loss",
        },
        [["id", *NAMES], *_answers(["1", "0", "0"], ["0", "1", "0"], ["0", "0", "1"])],
        ["0.3"] * 3,
    ),
    "probability": Case(
        {"train.csv": [_LABELS[0], *([name, str(int(label == "1"))] for name, label in _LABELS[1:])]},
        {
            "files": {"format": "image_folder"}, "labels": {"first": 0, "last": 1}, "metric": "roc_auc",
            "form": {"name": "probability", "of": "1"},
        },
        [["id", "label"], *_answers(["0"], ["1"], ["1"])],
        ["0.5"],
    ),
    "list": Case(
        {"train.csv": _LISTS},
        {
            "files": {"format": "image_folder", "label_cells": "list"}, "tags": NAMES, "form": "list",
            "metric": {"name": "f1", "average": "samples"},
        },
        [["id", "tags"], *_answers(["a b"], ["c"], ["b"])],
        ["a"],
    ),
    "rows": Case(
        {"train.csv": [["id", "label"], *IN_ROWS]},
        {"files": _ROWS, "tags": NAMES, "form": "rows", "metric": "log_loss"},
        [["id", "label"], *([f"{k}_{name}", str(k % 2)] for k in (1, 2, 3) for name in NAMES)],
        ["0.5"],
    ),
}  # fmt: skip


def sample_of(case: Case) -> Table:
    return [case.solution[0], *([row[0], *case.guess] for row in case.solution[1:])]


def competition_of(case: Case) -> dict[str, Any]:
    return {"name": "small", "image": IMAGE, "solution": "solution.csv", **case.facts}


@contextmanager
def project(case: Case) -> Iterator[Path]:
    """A workspace with the competition 'small', but for its tables."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = root / "input" / "small"
        for split, name, count in (("train", "t{}", 4), ("test", "{}", 3)):
            if "test.csv" not in case.tables:
                (files / split).mkdir(parents=True)
                for number in range(count):
                    image = Image.new("L", (2, 2), 60 * number)
                    image.save(files / split / f"{name.format(number + (split == 'test'))}.png")
        files.mkdir(parents=True, exist_ok=True)
        write_pipeline(root, pipeline(competition=competition_of(case), members={"cnn": {"model": "cnn"}}))
        yield root


@st.composite
def competitions(draw: st.DrawFn) -> tuple[str, dict[str, bytes]]:
    """A case and the content of its tables, of which one or two were changed."""
    name = draw(st.sampled_from(sorted(CASES)))
    case = CASES[name]
    whole = case.tables | {"sample_submission.csv": sample_of(case), "solution.csv": case.solution}
    changed = draw(st.sets(st.sampled_from(sorted(whole)), min_size=1, max_size=2))
    files = {file: draw(tables(table)) if file in changed else _plain(table) for file, table in whole.items()}
    return name, files


def _plain(table: Table) -> bytes:
    return "".join(f"{','.join(row)}\n" for row in table).encode()


def check_tables(competition: tuple[str, dict[str, bytes]]) -> None:
    """Tables of a competition: read by `folds`, and looked at by `init`."""
    name, files = competition
    with project(CASES[name]) as root:
        for file, content in files.items():
            (root / "input" / "small" / file).write_bytes(content)
        code, told = run_quietly(root, "folds", "tiny")
        assert (root / "models" / "tiny" / "folds.csv").exists() == (code == 0)
        # Says the file, or the key at fault.
        assert code == 0 or "small" in told or "folds.count" in told or "competition" in told
        code, told = run_quietly(root, "init", str(root / "input" / "small"))
        written = root / "pipelines" / "small.yaml"
        assert written.exists() == (code == 0)
        if code == 0:
            read_pipeline_file(written)
        assert not list(root.rglob("*.tmp*"))


test_tables = QUICKLY(given(competitions())(check_tables))
test_many_tables = pytest.mark.slow(THOROUGHLY(given(competitions())(check_tables)))


@st.composite
def submissions(draw: st.DrawFn) -> tuple[str, bytes]:
    """A form and a right submission after changes."""
    name = draw(st.sampled_from(sorted(set(CASES) - {"image_folder"})))
    return name, draw(tables(CASES[name].solution))


def check_submission_file(submission: tuple[str, bytes]) -> None:
    """A submission as somebody changed it: taken if it still is one, else refused; and as a solution."""
    name, content = submission
    case = CASES[name]
    facts = Competition.model_validate(competition_of(case))
    with project(case) as root:
        folder = root / "input" / "small"
        (folder / "sample_submission.csv").write_bytes(_plain(sample_of(case)))
        template = read_sample(folder / "sample_submission.csv", facts).template
        wanted = SubmissionFormat(as_form(facts.submission_form), template, facts.label_space)
        path = folder / "solution.csv"
        path.write_bytes(content)
        try:
            check_submission(path, wanted, "tiny.csv")
        except UserError as error:
            assert all(str(problem).startswith(("tiny.csv", "...")) for problem in error.problems)
        else:
            lines = content.decode().replace('"', "").splitlines()
            assert [line.split(",")[0] for line in lines if line] == [row[0] for row in case.solution]
        for read in (lambda: read_solution(facts, Workspace(root)), lambda: recognise(path, facts)):
            with suppress(UserError):
                read()


def recognise(path: Path, facts: Competition) -> object:
    return recognise_form(path, facts.label_space)


test_submissions = QUICKLY(given(submissions())(check_submission_file))
test_many_submissions = pytest.mark.slow(THOROUGHLY(given(submissions())(check_submission_file)))


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
