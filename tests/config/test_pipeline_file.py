"""config.pipeline_file: what a file says after extending and setting, and where each mistake stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from softvote.cli import main
from softvote.config.json_schema import json_schema
from softvote.config.pipeline import Pipeline
from softvote.config.pipeline_file import read_pipeline_file
from softvote.config.recipe import RENAMED, Member
from softvote.errors import UserError

REPOSITORY = Path(__file__).parents[2]
PIPELINES = sorted((REPOSITORY / "pipelines").rglob("*.yaml"))

COMPETITION = {
    "name": "leaves",
    "files": {"format": "image_folder"},
    "image": {"height": 224, "width": 224, "channels": 3},
    "labels": ["a", "b"],
}

GOOD = """\
competition: {name: digits, files: {format: pixel_csv}, image: {height: 8, width: 8}, labels: [a, b]}
members:
  cnn: {model: cnn}
"""


def load(folder: Path, text: str, *settings: str) -> Pipeline:
    (folder / "p.yaml").write_text(text, encoding="utf-8")
    return read_pipeline_file(folder / "p.yaml", settings)


def problems(folder: Path, text: str, *settings: str) -> list[str]:
    """Every line of the error, the folder left out."""
    with pytest.raises(UserError) as caught:
        load(folder, text, *settings)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


# ---------------------------------------------------------------- the repository's own files


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_every_pipeline_of_the_repository_loads(path: Path) -> None:
    facts = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.parent.name == "training":  # recipes that others extend
        assert Pipeline.model_validate(facts | {"competition": COMPETITION}).members
    elif path.parent.name == "competitions":  # facts that others extend
        assert Pipeline.model_validate(facts | {"members": {"cnn": {"model": "cnn"}}}).competition.name
    else:
        assert read_pipeline_file(path).members


def test_there_are_pipelines() -> None:
    assert len(PIPELINES) >= 2


def test_the_schema_in_the_repository_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    told = capsys.readouterr().out
    assert (REPOSITORY / "pipelines" / "schema.json").read_text(encoding="utf-8") == told
    assert json.loads(told) == json_schema()


def test_editors_take_every_pipeline_of_the_repository() -> None:
    editor = Draft202012Validator(json_schema())
    found = [
        f"{path.stem}: {error.json_path}: {error.message}"
        for path in PIPELINES
        for error in editor.iter_errors(yaml.safe_load(path.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("keys", "taken"),
    [
        ({"engine": "ray"}, True), ({"engine": "spark"}, False),
        ({"engine": {"devices_per_training": 2}}, True), ({"engine": {"nodes": 2}}, False),
        ({"defaults": {"loss": "focal"}}, True), ({"defaults": {"loss": "fokal"}}, False),
    ],
)  # fmt: skip
def test_editors_take_what_the_program_takes(keys: dict[str, Any], taken: bool) -> None:
    assert Draft202012Validator(json_schema()).is_valid(keys) == taken


# ---------------------------------------------------------------- mistakes

MISTAKES = """\
competition:
  name: di gits
  files: {format: pixel_csvv}
  image: {height: 8, width: 0}
  labels: {first: 3, last: 2}
  metrik: accuracy
folds: {count: 1}
seed: -1
defaults:
  epochs: 0
  optimizer: {name: adm}
  schedule: {warmup: 0.1}
  agument: {rotate: 5}
members:
  cnn: {model: cnn, batch_size: many}
  second: {}
  resnet5:
    model: resnet5
    optimizer: {name: sgd, momentum: 0, nesterov: true}
    augment: {rotate: 200, rotat: 3}
    precision: bf15
ensemble: {rule: median}
"""

EXPECTED = [
    (2, "competition.name", "'di gits' is not a name: use letters, digits, - and _"),
    (3, "competition.files", "did you mean 'pixel_csv'? known: pixel_csv, file_names, "),
    (4, "competition.image.width", "greater than or equal to 1, not 0"),
    (5, "competition.labels", "last (2) must be above first (3)"),
    (6, "competition.metrik", "unknown key; did you mean 'metric'? known: name, files, image"),
    (7, "folds.count", "greater than or equal to 2, not 1"),
    (8, "seed", "greater than or equal to 0, not -1"),
    (10, "defaults.epochs", "greater than or equal to 1, not 0"),
    (11, "defaults.optimizer", "unknown kind 'adm'; did you mean 'adam'? known: sgd, adam, adamw"),
    (12, "defaults.schedule", "to say which kind it is"),
    (13, "defaults.agument", "unknown key; did you mean 'augment'? known: head, epochs"),
    (15, "members.cnn.batch_size", "valid integer"),
    (16, "members.second.model", "is missing; add it"),
    (19, "members.resnet5.optimizer", "nesterov needs momentum above 0; set nesterov: false"),
    (20, "members.resnet5.augment.rotate", "less than or equal to 180, not 200"),
    (20, "members.resnet5.augment.rotat", "unknown key; did you mean 'rotate'? known: engine, rotate"),
    (21, "members.resnet5.precision", "did you mean 'bf16'? known: auto, fp32, bf16, fp16"),
    (22, "ensemble.rule", "did you mean 'mean'? known: auto, mean, mean_logits, log_loss, greedy"),
]  # fmt: skip


def test_every_mistake_at_once_each_with_its_line_key_and_fix(tmp_path: Path) -> None:
    lines = problems(tmp_path, MISTAKES)
    for line, key, fix in EXPECTED:
        (found,) = [text for text in lines if text.startswith(f"p.yaml, line {line}: {key}: ")]
        assert fix in found
    assert len(lines) == len(EXPECTED)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("folds: {count: 3, count: 4}", 4, "count is given twice; keep one"),
        ("folds: 3", 4, "folds: must hold keys and values, not 3"),
        ("defaults:", 4, "defaults: must hold keys and values"),
        ("nonsense: 3", 4, "nonsense: unknown key; known: extends, competition"),
        ("ensemble:\n  name: ../elsewhere", 5, "ensemble.name: '../elsewhere' is not a name"),
        ("ensemble:\n  name: cnn", 5, "ensemble.name: 'cnn' is a member's name; choose another"),
        ("ensemble:\n  members: [ccn]", 5, "no member 'ccn'; did you mean 'cnn'? known: cnn"),
        ("ensemble:\n  members: [cnn, cnn]", 5, "ensemble.members: a member is named twice"),
        ("seed: .inf", 4, "seed: "),
        ("seed: 2024-13-45", 4, "'2024-13-45' is not a valid timestamp"),
        ("seed: !!python/name:os.system x", 4, "put it in quotes"),
        ("seed: !nonsense 3", 4, "'3' is not a valid !nonsense"),
        ("defaults: &again {augment: *again}", 4, "nested too deep"),
        ("defaults:\n  optimizer: {name: adam, lr: .inf}", 5, "optimizer.lr: input should be a finite"),
        ("defaults:\n  optimizer: {name: adam, betas: [0.9]}", 5, "defaults.optimizer.betas.1: is missing"),
        ("defaults:\n  optimizer: {name: sgd, betas: [1, 1]}", 5, "unknown key; known: name, lr, momentum"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_fourth_line_or_under_it(tmp_path: Path, text: str, line: int, says: str) -> None:
    first = problems(tmp_path, f"{GOOD}{text}\n")[0]
    assert first.startswith(f"p.yaml, line {line}: ") and says in first


# ---------------------------------------------------------------- members that start from members


def starting(**sources: str) -> str:
    """Members in lines 3 and following, each with what it starts from."""
    lines = [f"  {name}: {{model: cnn, init_from: {source}}}" for name, source in sources.items()]
    return "\n".join([GOOD.splitlines()[0], "members:", *lines, ""])


def test_members_that_start_from_members(tmp_path: Path) -> None:
    members = load(tmp_path, f"{starting(a='b', b='c')}  c: {{model: cnn}}\n").members
    assert [members[name].init_from for name in "abc"] == ["b", "c", None]
    assert not members["a"].freeze


def test_every_member_of_a_circle_is_named_with_the_way_round(tmp_path: Path) -> None:
    assert problems(tmp_path, starting(a="b", b="c", c="a", before="a")) == [
        "p.yaml, line 3: members.a.init_from: is circular: a <- b <- c <- a; break the circle",
        "p.yaml, line 4: members.b.init_from: is circular: b <- c <- a <- b; break the circle",
        "p.yaml, line 5: members.c.init_from: is circular: c <- a <- b <- c; break the circle",
    ]


def test_a_member_cannot_start_from_itself(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, starting(a="a"))
    assert line == "p.yaml, line 3: members.a.init_from: is circular: a <- a; break the circle"


def test_circles_and_unknown_names_are_told_at_once(tmp_path: Path) -> None:
    text = starting(first="frist", a="b", b="a", second="thrid", third="first")
    assert problems(tmp_path, text) == [
        "p.yaml, line 3: members.first.init_from: no member 'frist'; "
        "did you mean 'first'? known: first, a, b, second, third",
        "p.yaml, line 4: members.a.init_from: is circular: a <- b <- a; break the circle",
        "p.yaml, line 5: members.b.init_from: is circular: b <- a <- b; break the circle",
        "p.yaml, line 6: members.second.init_from: no member 'thrid'; "
        "did you mean 'third'? known: first, a, b, second, third",
    ]


def test_a_setting_that_makes_a_circle(tmp_path: Path) -> None:
    lines = problems(tmp_path, f"{starting(a='b')}  b: {{model: cnn}}\n", "members.b.init_from=a")
    assert [line.split(": ")[0] for line in lines] == ["p.yaml, line 3", "`set` members.b.init_from=a"]


def test_a_mistake_stands_in_the_file_that_is_extended(tmp_path: Path) -> None:
    write(tmp_path, base=starting(cnn="ccn"))
    lines = problems(tmp_path, "extends: base\nmembers:\n  other: {model: cnn, init_from: othr}\n")
    assert [line.split(": ")[0] for line in lines] == ["base.yaml, line 3", "p.yaml, line 3"]


def test_freezing_needs_weights_to_keep(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, f"{GOOD}  second: {{model: cnn, freeze: true}}\n")
    assert line == (
        "p.yaml, line 4: members.second: freeze keeps the weights of init_from; "
        "name a member there or leave freeze out"
    )


# ---------------------------------------------------------------- heads and labels

ROWS = "{images: i.npy, labels: l.npy}"
ROWS_WITH_DIGITS = "{images: i.npy, labels: l.npy, digits: d.npy}"


def summing(labels: str, more: str, *members: str) -> str:
    """A competition in line 1, members in lines 3 and following."""
    first = GOOD.splitlines()[0].replace("[a, b]", labels).replace("digits,", f"digits, {more}", 1)
    return "\n".join(
        [first, "members:", *[f"  m{i}: {{model: cnn, {m}}}" for i, m in enumerate(members)], ""]
    )


def test_heads_that_fit(tmp_path: Path) -> None:
    heads = ["softmax", "regression", "digits"]
    members = [f"head: {head}" for head in heads]
    members.append(f"head: multilabel, extra_train: {ROWS_WITH_DIGITS}")
    found = load(tmp_path, summing("{first: 0, last: 18}", "hidden_digits: 2, ", *members))
    assert [member.head for member in found.members.values()] == [*heads, "digit_set"]
    assert load(tmp_path, summing("{first: 0, last: 9}", "hidden_digits: 1, ", "head: multilabel")).members
    assert load(tmp_path, summing("{first: 3, last: 9}", "", "head: regression")).members


def test_every_head_that_does_not_fit_named_classes(tmp_path: Path) -> None:
    members = [
        "head: softmax", "head: regression", "head: digits", "head: digit_set",
        f"extra_train: {ROWS}", f"extra_train: {ROWS_WITH_DIGITS}",
    ]  # fmt: skip
    assert problems(tmp_path, summing("[a, b]", "", *members)) == [
        "p.yaml, line 4: members.m1.head: regression needs labels that are numbers, not names; use softmax",
        "p.yaml, line 5: members.m2.head: digits needs to know how many digits hide; "
        "set competition.hidden_digits",
        "p.yaml, line 6: members.m3.head: digit_set needs to know how many digits hide; "
        "set competition.hidden_digits",
        "p.yaml, line 8: members.m5.extra_train.digits: mean nothing here; "
        "set competition.hidden_digits, or leave them out",
    ]


@pytest.mark.parametrize("extra", ["", f", extra_train: {ROWS}"])
def test_a_set_of_digits_needs_rows_whose_digits_are_known(tmp_path: Path, extra: str) -> None:
    text = summing("{first: 0, last: 18}", "hidden_digits: 2, ", f"head: multilabel{extra}")
    assert problems(tmp_path, text) == [
        "p.yaml, line 3: members.m0.head: digit_set learns from rows whose digits are known; "
        "give extra_train with digits"
    ]


def test_a_head_of_the_defaults_is_told_once(tmp_path: Path) -> None:
    text = f"{GOOD}  second: {{model: cnn}}\n  third: {{model: cnn}}\ndefaults:\n  head: digits\n"
    (line,) = problems(tmp_path, text)
    assert line.startswith("p.yaml, line 7: defaults.head: digits needs to know how many digits hide")


@pytest.mark.parametrize("head", ["regression", "digits", "digit_set"])
def test_label_smoothing_is_for_classes(tmp_path: Path, head: str) -> None:
    text = summing("{first: 0, last: 9}", "hidden_digits: 1, ", f"head: {head}, label_smoothing: 0.1")
    (line,) = problems(tmp_path, text)
    assert line == (
        f"p.yaml, line 3: members.m0.label_smoothing: is for head: softmax, tags, targets; "
        f"head: {head} has no use for it"
    )


@pytest.mark.parametrize(
    ("labels", "more", "says"),
    [
        ("{first: 0, last: 17}", "hidden_digits: 2, ", "of 2 hidden digits are labels: {first: 0, last: 18}"),
        ("{first: 1, last: 18}", "hidden_digits: 2, ", "of 2 hidden digits are labels: {first: 0, last: 18}"),
        ("[a, b]", "hidden_digits: 1, ", "sums of 1 hidden digit are labels: {first: 0, last: 9}"),
        (
            "{first: 0, last: 9}", "hidden_digits: 1, addend: true, ",
            "sums of 1 hidden digit and an addend are labels: {first: 0, last: 18}",
        ),
        ("{first: 0, last: 9}", "addend: true, ", "addend: is added to hidden digits; say how many"),
    ],
)  # fmt: skip
def test_labels_that_are_no_sums(tmp_path: Path, labels: str, more: str, says: str) -> None:
    (line,) = problems(tmp_path, summing(labels, more, "head: softmax"))
    assert line.startswith("p.yaml, line 1: competition: ") and says in line


@pytest.mark.parametrize(
    ("files", "addend", "says"),
    [
        (
            "{format: image_folder}",
            "true",
            "image_folder cannot hold addends; use pixel_csv or npy",
        ),
        ("{format: npy}", "true", "train_addends and files.test_addends belong together"),
        ("{format: npy, train_addends: [a.npy]}", "true", "belong together"),
        ("{format: npy, test_addends: [a.npy]}", "true", "belong together"),
        ("{format: npy, train_addends: [a.npy], test_addends: [b.npy]}", "false", "belong together"),
    ],
)
def test_addends_that_are_nowhere(tmp_path: Path, files: str, addend: str, says: str) -> None:
    last = 18 if addend == "true" else 9
    text = summing(f"{{first: 0, last: {last}}}", f"hidden_digits: 1, addend: {addend}, ", "head: softmax")
    (line,) = problems(tmp_path, text.replace("{format: pixel_csv}", files))
    assert line.startswith("p.yaml, line 1: competition: ") and says in line


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ("{'a/b': {model: cnn}}", "'a/b' is not a name"),
        ("{cnn: }", "members.cnn: must hold keys and values"),
        ("{}", "members: "),
        ("[cnn]", "members: must hold keys and values"),
    ],
)
def test_members_that_are_none(tmp_path: Path, members: str, says: str) -> None:
    (line,) = problems(tmp_path, "\n".join([*GOOD.splitlines()[:1], f"members: {members}"]))
    assert line.startswith("p.yaml, line 2: ") and says in line


@pytest.mark.parametrize("labels", ["[yes, no]", "[a, a]", "[a]", "{first: 1}", "3"])
def test_labels_that_are_none(tmp_path: Path, labels: str) -> None:
    lines = problems(tmp_path, GOOD.replace("[a, b]", labels))
    assert lines and all(line.startswith("p.yaml, line 1: competition.labels") for line in lines)


def test_the_defaults_mistakes_appear_once_with_their_line(tmp_path: Path) -> None:
    text = f"{GOOD}  second: {{model: cnn}}\n  third: {{model: cnn}}\ndefaults:\n  epochs: 0\n  epocs: 3\n"
    lines = problems(tmp_path, text)
    assert [line.split(": ")[:2] for line in lines] == [
        ["p.yaml, line 7", "defaults.epochs"], ["p.yaml, line 8", "defaults.epocs"],
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["a: [", "%", 'a: "\\x"', "a: 'b", "a: b: c", "\t- a"])
def test_what_is_not_yaml(tmp_path: Path, text: str) -> None:
    (line,) = problems(tmp_path, text)
    assert line.startswith("p.yaml, line 1: is not YAML: ")


@pytest.mark.parametrize("text", ["", "3", "- a", "# nothing"])
def test_what_holds_no_keys(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text) == [
        "p.yaml: must hold keys and values; a pipeline needs competition and members"
    ]


def test_a_file_that_is_missing_or_unreadable(tmp_path: Path) -> None:
    load(tmp_path, GOOD)
    with pytest.raises(UserError, match=r"q.yaml: no such pipeline; .*known: p; `init` writes one"):
        read_pipeline_file(tmp_path / "q.yaml")
    with pytest.raises(UserError, match=r"nowhere holds none; name another folder's file$"):
        read_pipeline_file(tmp_path / "nowhere" / "q.yaml")
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "s.yaml").mkdir()
    for name in ("r", "s"):
        with pytest.raises(UserError, match=rf"{name}.yaml: cannot be read"):
            read_pipeline_file(tmp_path / f"{name}.yaml")


# ---------------------------------------------------------------- defaults


def test_members_start_from_the_defaults(tmp_path: Path) -> None:
    text = GOOD + "  second: {model: cnn, epochs: 5, augment: {rotate: 3}}\n"
    text += "defaults: {epochs: 3, augment: {rotate: 1, scale: 0.2}, optimizer: {name: adam, lr: 0.5}}\n"
    members = load(tmp_path, text).members
    assert (members["cnn"].epochs, members["second"].epochs) == (3, 5)
    augment = members["second"].augment
    assert augment and (augment.rotate, augment.scale) == (3, 0.2)
    assert members["second"].optimizer.lr == 0.5


def test_null_takes_a_default_out(tmp_path: Path) -> None:
    text = GOOD + "  second: {model: cnn, augment: null}\ndefaults: {augment: {rotate: 1}}\n"
    members = load(tmp_path, text).members
    assert members["cnn"].augment is not None and members["second"].augment is None


SGD = {"name": "sgd", "lr": 0.5, "momentum": 0.3, "nesterov": False, "weight_decay": 0.1}


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ("{name: adam, lr: 0.5}", {"name": "adam", "lr": 0.5, "betas": [0.9, 0.999], "weight_decay": 0.0}),
        ("{name: sgd, lr: 0.5}", SGD),
        ("{lr: 0.5}", SGD),
    ],
)  # fmt: skip
def test_another_kind_of_optimizer_replaces_the_whole(tmp_path: Path, over: str, expected: Any) -> None:
    text = f"{GOOD}  second: {{model: cnn, optimizer: {over}}}\n"
    text += "defaults: {optimizer: {name: sgd, momentum: 0.3, nesterov: false, weight_decay: 0.1}}\n"
    assert load(tmp_path, text).members["second"].optimizer.model_dump(mode="json") == expected


# ---------------------------------------------------------------- extends


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_extending_lays_over_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(
        tmp_path / "deep",
        base="competition: {name: digits, files: {format: npy, test: [x.npy]}, image: "
        "{height: 8, width: 8}, labels: [a, b]}\nseed: 3\nfolds: {count: 3, train: 2}\n",
    )
    write(
        tmp_path,
        middle="extends: deep/base\ndefaults: {epochs: 7}\nmembers: {cnn: {model: cnn}}\n"
        "ensemble: {rule: mean}\n",
    )
    text = (
        "extends: middle\nseed: 4\nfolds: {train: null}\nmembers: {other: {model: resnet5}}\n"
        "ensemble: {name: other_vote}\ncompetition: {name: other, labels: [c, d, e]}\n"
    )
    found = load(tmp_path, text)
    assert (found.seed, found.folds.count, found.folds.train) == (4, 3, None)
    assert list(found.members) == ["cnn", "other"] and found.members["other"].epochs == 7
    assert (found.ensemble.name, found.ensemble.rule) == ("other_vote", "mean")
    assert found.competition.name == "other" and found.competition.classes == ["c", "d", "e"]
    assert found.competition.files.test == ["x.npy"]


def test_all_mistakes_of_the_command_line_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, GOOD, "nonsense", "members.frist.epochs=2", "extends=base")
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "`set` nonsense",
        "`set` members.frist.epochs=2",
        "`set` extends=base",
    ]


def test_null_for_a_member_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(GOOD)
    with pytest.raises(UserError, match=r"members.secnd: must hold keys and values, not None"):
        load(tmp_path, "extends: base\nmembers: {secnd: null}\n")


def test_null_drops_what_is_extended(tmp_path: Path) -> None:
    write(tmp_path, base=GOOD + "  second: {model: cnn}\nseed: 3\n")
    found = load(tmp_path, "extends: base\nseed: null\nmembers: {second: null}\n")
    assert list(found.members) == ["cnn"] and found.seed == 0


def test_another_format_replaces_the_files(tmp_path: Path) -> None:
    write(tmp_path, base=GOOD.replace("format: pixel_csv", "format: pixel_csv, label: kind"))
    found = load(tmp_path, "extends: base\ncompetition: {files: {format: npy}}\n")
    assert found.competition.files.format == "npy"


def test_a_mistake_is_shown_in_the_file_it_stands_in(tmp_path: Path) -> None:
    write(tmp_path, base=GOOD + "seed: -1\n")
    lines = problems(tmp_path, "extends: base\nfolds:\n  count: 1\n")
    assert sorted(line.split(": ")[0] for line in lines) == ["base.yaml, line 4", "p.yaml, line 3"]


def test_a_file_that_extends_itself(tmp_path: Path) -> None:
    write(tmp_path, a="extends: b\n", b="extends: c\n", c="extends: a\n")
    with pytest.raises(UserError, match=r"extends itself \(a.yaml -> b.yaml -> c.yaml -> a.yaml\)"):
        read_pipeline_file(tmp_path / "a.yaml")
    assert "extends itself (p.yaml -> p.yaml)" in problems(tmp_path, "extends: p\n")[0]


@pytest.mark.parametrize(
    ("extends", "says"),
    [("nothing", "extends: there is no nothing.yaml"), ("3", "extends: "), ("[a]", "extends: ")],
)
def test_extending_what_is_not_there(tmp_path: Path, extends: str, says: str) -> None:
    lines = problems(tmp_path, f"{GOOD}extends: {extends}\n")
    assert lines[0].startswith("p.yaml, line 4: ") and says in lines[0]


# ---------------------------------------------------------------- --set


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ("members.cnn.epochs=2", lambda p: p.members["cnn"].epochs == 2),
        ("members.cnn.augment={rotate: 5}", lambda p: p.members["cnn"].augment.rotate == 5),
        ("members.cnn.augment.rotate=5", lambda p: p.members["cnn"].augment.rotate == 5),
        ("members.cnn.model_args.drop_rate=0.5", lambda p: p.members["cnn"].model_args == {"drop_rate": 0.5}),
        ("defaults.epochs=2", lambda p: p.members["cnn"].epochs == 2),
        ("seed=7", lambda p: p.seed == 7),
        (" seed =7", lambda p: p.seed == 7),
        ("folds.train=null", lambda p: p.folds.train is None),
        ("competition.solution=a=b.csv", lambda p: p.competition.solution == "a=b.csv"),
        ("ensemble.members=[cnn]", lambda p: p.ensemble.members == ["cnn"]),
    ],
)
def test_setting(tmp_path: Path, setting: str, found: Any) -> None:
    assert found(load(tmp_path, GOOD, setting))


def test_the_last_setting_counts_and_a_member_beats_the_defaults(tmp_path: Path) -> None:
    pipeline = load(tmp_path, GOOD, "seed=1", "seed=2", "members.cnn.epochs=5", "defaults.epochs=9")
    assert pipeline.seed == 2 and pipeline.members["cnn"].epochs == 5


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("seed", "write KEY=VALUE, such as members.cnn.epochs=2"),
        ("=3", "write KEY=VALUE"),
        ("a..b=3", "write KEY=VALUE"),
        ("seed=[", "the value is not YAML"),
        ("seed=2024-13-45", "the value is not YAML"),
        ("extends=other", "put it in the pipeline file"),
        ("members.ccn.epochs=2", "no member 'ccn'; did you mean 'cnn'? known: cnn"),
        ("members.cnn.epocs=2", "members.cnn.epocs: unknown key; did you mean 'epochs'?"),
        ("members.cnn.epochs=many", "members.cnn.epochs: input should be a valid integer"),
        ("members.cnn.model.name=x", "members.cnn.model holds no keys"),
        ("folds.count=1", "folds.count: input should be greater than or equal to 2, not 1"),
        ("nonsense=1", "nonsense: unknown key"),
        ("ensemble.members=[ccn]", "ensemble.members: no member 'ccn'"),
        ("members=3", "members: must hold keys and values"),
        ('a."b=3', "write KEY=VALUE"),
        ('a.""=3', "write KEY=VALUE"),
        (
            "members.cnn.model_args.a.b=2",
            "'a.b' is one key, which holds a dot; write members.cnn.model_args.\"a.b\"",
        ),
        ("competition.files.rename.1.0=cat", "competition.files.rename.1: input should be a valid string"),
    ],
)
def test_a_setting_that_is_wrong_is_where_the_mistake_stands(tmp_path: Path, setting: str, says: str) -> None:
    text = GOOD.replace("{model: cnn}", "{model: cnn, model_args: {a.b: 1}}")
    text = text.replace("pixel_csv", "image_folder")
    (line,) = problems(tmp_path, text, setting)
    assert line.startswith(f"`set` {setting}: ") and says in line


@pytest.mark.parametrize("quoted", ['"1.0"', "'1.0'"])
def test_a_key_that_holds_dots_stands_in_quotes(tmp_path: Path, quoted: str) -> None:
    text = GOOD.replace("pixel_csv", "image_folder, rename: {'1.0': dog}")
    found = load(
        tmp_path, text, f"competition.files.rename.{quoted}=cat", 'competition.files.rename."a=b" = 3'
    )
    assert found.competition.files.model_dump()["rename"] == {"1.0": "cat", "a=b": "3"}


@pytest.mark.parametrize("members", ["", " 3", " []"])
def test_setting_a_member_where_there_are_none(tmp_path: Path, members: str) -> None:
    (line,) = problems(tmp_path, f"members:{members}", "members.cnn.epochs=2")
    assert "no member 'cnn'" in line


# ---------------------------------------------------------------- keys that were renamed

OLD_AND_NEW = [
    (f"{old}: {value}", f"{new}: {value}") for old, new, value in [("plain_epochs", "no_aug_epochs", 2)]
]
EXTRA = "extra_train: {{images: a.npy, labels: b.npy, {name}: true}}"
OLD_AND_NEW.append((EXTRA.format(name="alone"), EXTRA.format(name="only")))


def member_with(text: str) -> str:
    return GOOD.replace("{model: cnn}", f"{{model: cnn, {text}}}")


def test_every_renamed_key_is_tried() -> None:
    assert [old in text for old, (text, _) in zip(["plain", "alone"], OLD_AND_NEW, strict=True)] == [True] * 2
    assert len(RENAMED) == len(OLD_AND_NEW)


@pytest.mark.parametrize(("old", "new"), OLD_AND_NEW, ids=list(RENAMED))
def test_an_old_name_of_a_key_is_the_same_recipe(tmp_path: Path, old: str, new: str) -> None:
    """On disk, and so in fingerprints, the old name stays: what was trained under it stays trained."""
    ancient, today = (load(tmp_path, member_with(text)).members["cnn"] for text in (old, new))
    assert ancient == today != load(tmp_path, GOOD).members["cnn"]
    kept = json.dumps(today.model_dump(mode="json", exclude_defaults=True))
    assert f'"{old.rsplit("{")[-1].split(",")[-1].split(":")[0].strip()}"' in kept
    assert Member.model_validate_json(kept) == today


@pytest.mark.parametrize("names", [("plain_epochs", "no_aug_epochs"), ("no_aug_epochs", "plain_epochs")])
def test_a_key_is_given_by_one_of_its_names(tmp_path: Path, names: tuple[str, str]) -> None:
    [line] = problems(tmp_path, member_with(f"{names[0]}: 1, {names[1]}: 2"))
    again = "no_aug_epochs" if names[1] == "no_aug_epochs" else "no_aug_epochs, once plain_epochs,"
    assert line == f"p.yaml, line 3: {again} is given twice; keep one"


@pytest.mark.parametrize("over", ["plain_epochs", "no_aug_epochs"])
def test_whichever_name_it_has_a_key_overrides_another_files(tmp_path: Path, over: str) -> None:
    (tmp_path / "base.yaml").write_text(f"{GOOD}defaults: {{plain_epochs: 1}}\n", encoding="utf-8")
    pipeline = load(tmp_path, f"extends: base\nmembers: {{cnn: {{{over}: 2}}, more: {{model: cnn}}}}\n")
    assert [member.no_aug_epochs for member in pipeline.members.values()] == [2, 1]
    set_ = load(tmp_path, "extends: base\n", f"members.cnn.{over}=3")
    assert set_.members["cnn"].no_aug_epochs == 3


def test_a_member_may_have_the_old_name_of_a_key(tmp_path: Path) -> None:
    assert list(load(tmp_path, GOOD.replace("cnn:", "plain_epochs:")).members) == ["plain_epochs"]


# ---------------------------------------------------------------- tags, ordered classes, several targets


KINDS = {
    "tags: [a, b]": "tags",
    "labels: {first: 0, last: 4}, ordered: true": "ordinal",
    "targets: {root: [x, y], vowel: {first: 0, last: 2}}": "targets",
    "labels: {first: 0, last: 4}": "softmax",
}


def naming(what: str, *members: str) -> str:
    """A pipeline of a competition that asks for `what`, each member on a line of its own from line 3 on."""
    first = (
        f"competition: {{name: it, files: {{format: npy}}, image: {{height: 8, width: 8}}, {what}}}\nmembers:"
    )
    return "\n".join([first, *[f"  m{i}: {{model: cnn{m and ', '}{m}}}" for i, m in enumerate(members)], ""])


@pytest.mark.parametrize(("what", "head"), KINDS.items())
def test_the_head_is_that_of_the_task_unless_named(tmp_path: Path, what: str, head: str) -> None:
    member = load(tmp_path, naming(what, "")).members["m0"]
    assert member.head == head
    named = load(tmp_path, naming(what, f"head: {head}")).members["m0"]
    assert named.model_dump(exclude_defaults=True) == member.model_dump(exclude_defaults=True)


def test_a_head_of_ordered_classes_may_be_another(tmp_path: Path) -> None:
    what = "labels: [mild, severe, worst], ordered: true"
    found = load(tmp_path, naming(what, "head: softmax", "head: regression", ""))
    assert [member.head for member in found.members.values()] == ["softmax", "regression", "ordinal"]


def test_heads_losses_and_weights_that_do_not_fit_are_told_together(tmp_path: Path) -> None:
    members = [
        "head: softmax", "loss: asymmetric, class_weights: {a: 2, c: 1}", "head: ordinal", "loss: focal",
        "label_smoothing: 0.1, class_weights: balanced",
    ]  # fmt: skip
    assert problems(tmp_path, naming("tags: [a, b]", *members)) == [
        "p.yaml, line 3: members.m0.head: softmax is for classes and ordered classes, but this "
        "competition has tags; use tags, or leave it out",
        "p.yaml, line 4: members.m1.class_weights.c: no class 'c'; known: a, b",
        "p.yaml, line 5: members.m2.head: ordinal is for ordered classes, but this competition has "
        "tags; use tags, or leave it out",
    ]
    assert problems(tmp_path, naming("labels: {first: 0, last: 4}", "loss: asymmetric", "head: tags")) == [
        "p.yaml, line 3: members.m0.loss: asymmetric is for tags, but this competition has classes; "
        "choose another",
        "p.yaml, line 4: members.m1.head: tags is for tags, but this competition has classes; "
        "use softmax, regression, digits or digit_set, or leave it out",
    ]


def test_heads_with_a_loss_of_their_own_take_no_other(tmp_path: Path) -> None:
    members = ["head: regression, loss: focal", "head: regression, class_weights: balanced"]
    assert problems(tmp_path, naming("labels: {first: 0, last: 4}", *members)) == [
        f"p.yaml, line {3 + i}: members.m{i}.{key}: is for head: softmax, ordinal, tags, targets; "
        "head: regression has no use for it"
        for i, key in enumerate(["loss", "class_weights"])
    ]


def test_weights_of_classes_that_are_numbers_and_of_targets(tmp_path: Path) -> None:
    weights = "class_weights: {0: 1.5, 4: 3}"
    found = load(tmp_path, naming("labels: {first: 0, last: 4}", weights)).members["m0"]
    assert found.class_weights == {"0": 1.5, "4": 3.0}
    targets = "targets: {root: [x, y], vowel: {first: 0, last: 2}}"
    found = load(tmp_path, naming(targets, "class_weights: {root: 2, vowel=1: 4}")).members["m0"]
    assert found.class_weights == {"root": 2.0, "vowel=1": 4.0}


def test_a_loss_may_stand_as_its_name_or_with_its_keys(tmp_path: Path) -> None:
    text = naming("tags: [a, b]", "loss: focal", "loss: {name: focal, gamma: 1}", "loss: {name: focl}")
    (line,) = problems(tmp_path, text)
    assert line.startswith("p.yaml, line 5: members.m2.loss: unknown kind 'focl'; did you mean 'focal'?")


def test_a_set_of_digits_once_had_another_name_and_keeps_its_fingerprint(tmp_path: Path) -> None:
    one, other = (
        load(tmp_path, summing("{first: 0, last: 9}", "hidden_digits: 1, ", f"head: {head}")).members["m0"]
        for head in ("multilabel", "digit_set")
    )
    assert one == other and one.head == "digit_set"
    assert one.model_dump(mode="json", exclude_defaults=True)["head"] == "multilabel"


def test_names_of_labels_and_columns_keep_their_dots(tmp_path: Path) -> None:
    renamed = {"0.0": "a", "1.0": "b", "St. Louis": "b"}
    files = {"format": "image_folder", "rename": renamed, "groups": {"patient.id": "([0-9]+)_"}}
    text = yaml.safe_dump(
        {"competition": COMPETITION | {"files": files}, "members": {"cnn": {"model": "cnn"}}}
    )
    said = load(tmp_path, text).competition.files.model_dump()
    assert said["rename"] == renamed
    assert said["groups"] == {"patient.id": "([0-9]+)_"}


def test_a_key_that_is_known_one_level_deeper_is_named_there(tmp_path: Path) -> None:
    text = GOOD.replace("pixel_csv}", "image_folder}, images: lazy")
    (line,) = problems(tmp_path, text)
    assert line == "p.yaml, line 1: competition.images: unknown key; did you mean 'files.images'?"
    (line,) = problems(tmp_path, GOOD.replace("model: cnn", "model: cnn, lr: 0.1"))
    assert "did you mean 'optimizer.lr'?" in line


def test_transforms_that_there_are_not_are_told_with_all_other_mistakes(tmp_path: Path) -> None:
    pytest.importorskip("albumentations")
    text = (
        GOOD.replace("model: cnn", "model: cnn, epochs: -1, augment: {albumentations: [HorizontalFlop]}")
        + "  other: {model: cnn, augment: {albumentations: [{Blur: {blur_limits: 3}}]}}\n"
        + "  third: {model: cnn, augment: {saturation: 0.1}}\n"
    )
    told = problems(tmp_path, text)
    assert [line.split(": ")[1] for line in told] == [
        "members.cnn.epochs",
        "members.cnn.augment.albumentations.0",
        "members.other.augment.albumentations.0.Blur.blur_limits",
        "members.third.augment.saturation",
    ]
    assert "did you mean 'HorizontalFlip'?" in told[1]
    alone = problems(tmp_path, text.replace("epochs: -1, ", ""))
    assert alone == told[1:]  # once each, in either round


@pytest.mark.parametrize("kind", ["[]", "[adam]", "{adam: 1}", "1"])
def test_a_kind_that_is_no_name(tmp_path: Path, kind: str) -> None:
    text = f"competition: {{name: digits, files: {{format: {kind}}}, labels: {{first: 0, last: 9}}}}\n"
    text += f"members:\n  cnn: {{model: cnn, optimizer: {{name: {kind}}}}}\n"
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(UserError) as raised:
        read_pipeline_file(tmp_path / "p.yaml")
    lines = str(raised.value).splitlines()
    assert any("line 1: competition.files: unknown kind" in line for line in lines)
    assert any("line 3: members.cnn.optimizer: unknown kind" in line for line in lines)
