"""softvote.data.forms: what is written is what the sample asks for, is read back, and is checked before."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softvote.config.competition import Competition
from softvote.config.pipeline_file import read_pipeline_file
from softvote.data.csv_table import open_table
from softvote.data.forms import FORMS, as_form, read_sample, recognise_form
from softvote.errors import ErrorCollector, UserError
from softvote.task import TaskKind
from softvote.tracking.submission import SubmissionFormat, check_submission, submission_text

LABELS: dict[TaskKind, dict[str, Any]] = {
    "classes": {"labels": ["cat", "dog"]},
    "ordered": {"labels": {"first": 0, "last": 2}, "ordered": True},
    "tags": {"tags": ["any", "of any", "road"]},
    "targets": {"targets": {"root": ["a", "b", "c"], "vowel": {"first": 0, "last": 1}}},
}

# Each form with each kind of task: keys of the form, and a sample as competitions hand it out.
IN_ROWS = (
    "ID,Label\nID_1_any,0.5\nID_1_of any,0.5\nID_1_road,0.5\nID_0_of any,0.5\nID_0_any,0.5\nID_0_road,0.5\n"
)
CASES: list[tuple[TaskKind, Any, str]] = [
    ("classes", "label", "id,label\n1.png,cat\n2.png,cat\n"),
    ("ordered", "label", "id_code,diagnosis\n1,0\n2,0\n"),
    ("classes", {"name": "probability", "of": "dog"}, "id,label\n1,0.5\n2,0.5\n"),
    ("classes", "columns", "image,dog,cat\nb,0.5,0.5\na,0.5,0.5\n"),
    ("ordered", "columns", "image,0,1,2\nb,1,0,0\na,1,0,0\n"),
    ("tags", "columns", "uid,any,of any,road\nb,0,0,0\na,0,0,0\n"),
    ("targets", "columns", "id,vowel,root\nb,0,a\na,0,a\n"),
    ("classes", {"name": "list", "separator": " "}, "Image,Id\nb,cat dog\na,dog cat\n"),
    ("tags", {"name": "list", "separator": ";"}, "image,tags\nb,any;of any\na,road\n"),
    ("tags", {"name": "rows", "separator": "_"}, IN_ROWS),
    (
        "targets",
        {"name": "rows", "separator": "_"},
        "row_id,target\nT_0_root,a\nT_0_vowel,0\nT_1_root,a\nT_1_vowel,0\n",
    ),
]
every_case = pytest.mark.parametrize(("kind", "form", "sample"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])

METRICS = {"labels": "accuracy", "probabilities": "log_loss", "top_k": "map_at_k"}


def competition_of(kind: TaskKind, form: Any = None, **more: Any) -> Competition:
    return Competition.model_validate(
        {
            "name": "x",
            "files": {"format": "pixel_csv"},
            "image": {"height": 2, "width": 2},
            "form": form,
            **LABELS[kind],
            **more,
        }
    )


def predictions_of(competition: Competition, made: str, rows: int = 2) -> np.ndarray:
    random = np.random.default_rng(1)
    task = competition.task
    if made == "probabilities":
        values = random.random((rows, task.num_classes))
        values[0, 0] = 1e-7
        return (values if task.kind == "tags" else values / values.sum(axis=1, keepdims=True)).astype(
            np.float32
        )
    if made == "top_k":
        return np.array([random.permutation(task.num_classes) for _ in range(rows)])
    if task.kind == "tags":
        return np.array([[1, 0, 1], [0, 1, 0]] + [[0, 0, 0]] * (rows - 2))
    if task.kind == "targets":
        return np.stack([random.integers(0, size, rows) for size in task.target_sizes], axis=1)
    return random.integers(0, task.num_classes, rows)


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def wanted_of(path: Path, competition: Competition) -> SubmissionFormat:
    template = read_sample(path, competition).template
    return SubmissionFormat(as_form(competition.submission_form), template, competition.label_space)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sample_submission.csv"


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_tried(name: str) -> None:
    tried = {form if isinstance(form, str) else form["name"] for _, form, _ in CASES}
    assert name in tried


@every_case
def test_a_submission_has_the_samples_header_ids_and_order(
    kind: TaskKind, form: Any, sample: str, path: Path
) -> None:
    path.write_text(sample)
    competition = competition_of(kind, form)
    wanted = wanted_of(path, competition)
    for made in wanted.form.takes[kind]:
        text = submission_text(wanted, predictions_of(competition, made))
        check_submission(text, wanted, "sub.csv")
        written, asked = cells(text), cells(sample)
        assert written[0] == asked[0]
        assert [line[0] for line in written] == [line[0] for line in asked]
        assert {len(line) for line in written} == {len(asked[0])}


@every_case
def test_labels_in_a_form_are_read_back(kind: TaskKind, form: Any, sample: str, path: Path) -> None:
    """A solution: written as labels, or as probabilities of 0 and 1."""
    path.write_text(sample)
    competition = competition_of(kind, form)
    wanted = wanted_of(path, competition)
    labels = predictions_of(competition, "labels")
    if "labels" in wanted.form.takes[kind]:
        written = labels
    elif "probabilities" in wanted.form.takes[kind]:
        written = np.eye(competition.task.num_classes)[labels].astype(np.float32)
    else:
        written = labels[:, None]
    path.write_text(submission_text(wanted, written))
    problems = ErrorCollector()
    table = open_table(path, problems)
    assert table is not None
    answers = wanted.form.read_answers(table, competition, problems)
    problems.raise_any()
    assert answers.ids == wanted.template.ids
    np.testing.assert_array_equal(answers.labels, labels)


@every_case
def test_a_sample_is_recognised_and_what_was_taken_is_said(
    kind: TaskKind, form: Any, sample: str, path: Path
) -> None:
    path.write_text(sample)
    found = recognise_form(path, competition_of(kind).label_space)
    assert found.config == form
    assert found.words
    # What is proposed goes together.
    competition = competition_of(kind, found.config, metric=found.metric)
    assert competition.metric.predicted in competition.submission_form.takes[kind]


@every_case
def test_any_damage_is_found_with_its_place(kind: TaskKind, form: Any, sample: str, path: Path) -> None:
    path.write_text(sample)
    competition = competition_of(kind, form)
    wanted = wanted_of(path, competition)
    text = submission_text(wanted, predictions_of(competition, wanted.form.takes[kind][0]))
    lines = cells(text)
    for damage in ("nan", "", "1.5", "zzz", "-1"):
        if damage == "" and (kind, wanted.form.name) == ("tags", "list"):
            continue  # an image without tags
        damaged = [list(line) for line in lines]
        damaged[2][1] = damage
        with pytest.raises(UserError, match=r"sub.csv, row 3, column"):
            check_submission("\n".join(map(",".join, damaged)) + "\n", wanted, "sub.csv")
    swapped = [lines[0], lines[2], lines[1], *lines[3:]]
    with pytest.raises(UserError, match="stands where the sample submission has"):
        check_submission("\n".join(map(",".join, swapped)) + "\n", wanted, "sub.csv")
    with pytest.raises(UserError, match="is missing"):
        check_submission("\n".join(map(",".join, lines[:-1])) + "\n", wanted, "sub.csv")


def test_probabilities_of_a_row_must_sum_to_1(path: Path) -> None:
    path.write_text("id,cat,dog\n1,0.5,0.5\n2,0.5,0.5\n")
    wanted = wanted_of(path, competition_of("classes", "columns"))
    check_submission("id,cat,dog\n1,0.9,0.1\n2,1e-07,1\n", wanted, "sub.csv")
    with pytest.raises(
        UserError, match=r"row 3, column cat: the probabilities of the row sum to 0\.8, not 1"
    ):
        check_submission("id,cat,dog\n1,0.9,0.1\n2,0.4,0.4\n", wanted, "sub.csv")


def test_two_float32_that_differ_are_written_apart(path: Path) -> None:
    path.write_text("id,label\n1,0.5\n2,0.5\n")
    competition = competition_of("classes", "probability")
    low = np.float32(0.1)
    values = np.array([low, np.nextafter(low, np.float32(1))])
    lines = cells(submission_text(wanted_of(path, competition), np.stack([1 - values, values], axis=1)))
    assert np.float32(lines[1][1]) == values[0] != values[1] == np.float32(lines[2][1])


def test_an_image_without_tags_has_an_empty_list(path: Path) -> None:
    path.write_text("image,tags\na,any;road\nb,any\n")
    competition = competition_of("tags", {"name": "list", "separator": ";"})
    text = submission_text(wanted_of(path, competition), np.array([[0, 0, 0], [1, 1, 0]]))
    assert text == "image,tags\na,\nb,any;of any\n"


@pytest.mark.parametrize(
    ("kind", "form", "sample", "said"),
    [
        (
            "classes",
            None,
            "id,cat,dog\n1,0,1\n",
            r"has 3 columns .*id and label; or set competition.form: columns",
        ),
        ("classes", "columns", "id,cat,dgo\n1,0,1\n", "no column 'dog' .*did you mean 'dgo'"),
        ("tags", "columns", "id,any,road\n1,0,1\n", "no column 'of any' for the tag"),
        ("targets", "rows", "id,target\nT_0_root,a\nT_0_vowel,0\nT_1_root,a\n", "'T_1' has 1 of 2 lines"),
        (
            "targets",
            "rows",
            "id,target\nT_0_root,a\nT_0_consonant,0\n",
            "'T_0_consonant' does not end with a name",
        ),
        ("classes", None, "id,label\n1,cat\n1,cat\n", "'1' is already"),
    ],
)
def test_a_sample_that_does_not_fit_is_told(
    kind: TaskKind, form: Any, sample: str, said: str, path: Path
) -> None:
    path.write_text(sample)
    with pytest.raises(UserError, match=said):
        read_sample(path, competition_of(kind, form))


@pytest.mark.parametrize(
    ("kind", "form", "solution", "said"),
    [
        ("classes", "label", "id,label\n1,cat\n2,bird\n", "row 3, column label: 'bird' is not a class"),
        ("classes", "probability", "id,label\n1,1\n2,0.5\n", "row 3, column label: '0.5' is neither 0 nor 1"),
        ("classes", "columns", "id,cat,dog\n1,1,0\n2,1,1\n", "row 3, column id: 2 classes are 1"),
        ("tags", {"name": "list", "separator": ";"}, "id,t\n1,any\n2,rode\n", "did you mean 'road'"),
        ("targets", "rows", "id,t\n1_root,a\n1_vowel,7\n", "row 3, column t: '7' is not a label of vowel"),
        ("targets", "rows", "id,t\n1_root,a\n2_root,a\n2_vowel,0\n", "image '1' lacks a line"),
    ],
)
def test_a_solution_with_mistakes_is_told(
    kind: TaskKind, form: Any, solution: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "solution.csv").write_text(solution)
    competition, problems = competition_of(kind, form), ErrorCollector()
    table = open_table(tmp_path / "solution.csv", problems)
    assert table is not None
    as_form(competition.submission_form).read_answers(table, competition, problems)
    with pytest.raises(UserError, match=said):
        problems.raise_any()


@pytest.mark.parametrize(
    ("sample", "form"),
    [
        ("id,has_cactus\n1,0.5\n", {"name": "probability", "of": "1"}),
        ("id,label\n1,0\n", "label"),
    ],
)
def test_numbers_for_two_classes_are_taken_for_probabilities_unless_they_are_labels(
    sample: str, form: Any, path: Path
) -> None:
    path.write_text(sample)
    space = competition_of("classes", labels={"first": 0, "last": 1}).label_space
    found = recognise_form(path, space)
    assert found.config == form
    assert any("probability" in words for words in found.words)


def test_a_sample_of_no_form_lists_the_forms(path: Path) -> None:
    path.write_text("id,x,y\n1,2,3\n")
    with pytest.raises(UserError, match="known forms: rows, columns, list, label, probability"):
        recognise_form(path, competition_of("classes").label_space)


PIPELINE = """\
competition:
  name: x
  files: {{format: pixel_csv}}
  image: {{height: 8, width: 8}}
  {labels}
{rest}
members: {{cnn: {{model: cnn}}}}
"""


@pytest.mark.parametrize(
    ("labels", "rest", "said"),
    [
        ("labels: [a, b]", "  metric: log_loss", "competition.form: label writes labels, and log_loss needs"),
        (
            "labels: [a, b]",
            "  form: rows",
            "line 6: competition.form: rows does not write classes; use columns",
        ),
        (
            "labels: [a, b, c]",
            "  form: probability",
            "for two classes, but this competition has 3; use columns",
        ),
        ("labels: [a, b]", "  metric: roc_auc\n  form: {name: probability, of: c}", "form.of: no class 'c'"),
        ("tags: ['a b', c]", "  form: list", "competition.form.separator: ' ' is within the name 'a b'"),
        (
            "tags: [a, b]",
            "  metric: quadratic_weighted_kappa",
            "metric: quadratic_weighted_kappa is not for tags",
        ),
        (
            "labels: [a, b]",
            "  metric: {name: f1, averge: x}",
            "metric.averge: unknown key; did you mean 'average'",
        ),
        ("labels: [a, b]", "  metric: aucroc", "competition.metric: unknown kind 'aucroc'"),
        ("labels: [a, b, c]", "decision: thresholds", "decision: thresholds is for tags or two classes"),
        ("tags: [a, b]", "decision: argmax", "decision: argmax is not for tags; use auto, or thresholds"),
        ("labels: [a, b]", "decision: probabilities", "makes probabilities, and accuracy needs labels"),
        ("labels: [a, b]", "decision: argmx", "did you mean 'argmax'"),
    ],
)
def test_metric_decision_and_form_must_go_together(labels: str, rest: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(PIPELINE.format(labels=labels, rest=rest))
    with pytest.raises(UserError) as caught:
        read_pipeline_file(path)
    assert said in str(caught.value)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("written", ["", "decision: auto", "decision: null"])
def test_auto_is_the_same_as_nothing(written: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(PIPELINE.format(labels="labels: [a, b]", rest=written))
    pipeline = read_pipeline_file(path)
    assert pipeline.decision is None and pipeline.competition.form is None
    assert pipeline.competition.metric.name == "accuracy"
    dumped = pipeline.model_dump(exclude_defaults=True)
    assert set(dumped["competition"]) == {"name", "files", "image", "labels"} and "decision" not in dumped
