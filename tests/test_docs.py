"""README and docs/: commands that exist, links that lead somewhere, printed figures, blocks that run."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
import yaml
from conftest import Digits
from projects import RECIPE, pipeline, write_digits, write_pipeline

import softvote
from softvote.config.json_schema import json_schema
from softvote.config.pipeline_file import read_pipeline_file
from softvote.storage.paths import Workspace

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])

MARKS = {
    "demo": "run here, in their order",
    "ledger": "run here",
    "tour": "run by tests/test_tour.py",
    "needs-data": "a competition's files",
    "needs-kaggle": "an account of Kaggle's",
    "needs-network": "downloads packages",
    "by-hand": "takes minutes to hours, or is itself a check",
}


class Block(NamedTuple):
    """A fenced block: its page, language, mark and text."""

    page: Path
    language: str
    mark: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines that a person types, without their comments."""
        lines = self.text.splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [command for line in lines if (command := re.sub(r"\s+# .*$|^# .*$", "", line).strip())]


def read_blocks() -> list[Block]:
    fence = re.compile(r"^```(\w+)(?: \{\.([\w-]+)\})?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    texts = [(page, page.read_text(encoding="utf-8")) for page in PAGES]
    blocks = [
        Block(page, found[1], found[2] or "", found[3])
        for page, text in texts
        for found in fence.finditer(text)
    ]
    assert 2 * len(blocks) == sum(text.count("\n```") for _, text in texts), "a fence is written another way"
    return blocks


BLOCKS = read_blocks()
SHELL = [block for block in BLOCKS if block.language in ("bash", "console")]


def read_commands() -> list[tuple[str, str]]:
    """Every command of the pages, in blocks and in the running text, with its page."""
    spans = [
        (page.name, " ".join(span.split()))
        for page in PAGES
        for span in re.findall(
            r"`([^`]+)`", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        )
    ]
    spans = [(page, f"make {span}" if re.match("[A-Z]+=", span) else span) for page, span in spans]
    lines = [(block.page.name, line) for block in SHELL for line in block.commands]
    first = re.compile(r"(\.venv/bin/)?(make|softvote|python) ")
    return sorted({command for command in lines + spans if first.match(command[1])})


COMMANDS = read_commands()


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "scripts" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_docs = load_script("make_docs")
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
TARGETS = {target for target, _ in make_docs.find_targets()}


# ---------------------------------------------------------------- what the pages say


def test_the_readme_is_one_page() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").split()) <= 600


@pytest.mark.parametrize("block", SHELL, ids=lambda block: f"{block.page.name}: {block.commands[0]}")
def test_every_block_of_commands_says_who_runs_it(block: Block) -> None:
    assert block.mark in MARKS, f"mark it, such as ```bash {{.needs-data}}: {', '.join(MARKS)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    generated = {f"reference/{name}" for name in make_docs.PAGES}
    local = [target for target in targets if "://" not in target and target not in generated]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) > 40 and len(TARGETS) > 20


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda text: text)
def test_commands_exist(page: str, command: str) -> None:
    first, *words = command.removeprefix(".venv/bin/").split()
    check = {"make": check_make, "softvote": check_softvote, "python": check_python}[first]
    check(words)


def check_make(words: list[str]) -> None:
    for word in words:
        variable, equals, value = word.partition("=")
        if equals and re.fullmatch(r"[A-Z]+", variable):
            assert f"({variable})" in MAKEFILE or f"{variable} ?=" in MAKEFILE, f"no variable {variable}"
            if variable == "PIPELINE" and value not in ("my-contest", "wider-rotation"):
                assert pipeline_file(value).exists(), f"no pipeline {value}"
        elif re.fullmatch(r"[a-z-]+", word):
            assert word in TARGETS, f"no target {word}"


def pipeline_file(name: str) -> Path:
    return REPOSITORY / name if name.endswith(".yaml") else Workspace(REPOSITORY).pipeline_file(name)


def check_softvote(words: list[str]) -> None:
    parser = make_docs.create_parser()
    commands = make_docs.find_commands(parser)
    known = set(parser._option_string_actions)
    for word in words:
        if word.startswith("--"):
            assert word in known, f"no option {word}"
        elif word in commands and known == set(parser._option_string_actions):
            known = set(commands[word]._option_string_actions)
    assert known != set(parser._option_string_actions) or {"--help", "--version"} & set(words), (
        "no such command"
    )


def check_python(words: list[str]) -> None:
    if words[0] == "-m":  # a module of Python's own
        return
    path = REPOSITORY / words[0]
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    assert files, f"no program {words[0]}"
    source = "".join(file.read_text(encoding="utf-8") for file in files)
    assert all(f'"{word}"' in source for word in words if word.startswith("--"))


# ---------------------------------------------------------------- what the program says of itself


def test_the_configuration_reference_has_every_key() -> None:
    page, schema = make_docs.render_configuration(), json_schema()
    for part in [schema, *schema["$defs"].values()]:
        for key, entry in part["properties"].items():
            assert re.search(rf"^\| `{key}` \| {re.escape(entry['description'])} \|", page, re.MULTILINE), key


def test_the_command_reference_has_every_command_and_option() -> None:
    page = make_docs.render_commands()
    for name, command in make_docs.find_commands(make_docs.create_parser()).items():
        section = page.split(f"## softvote {name}\n")[1].split("\n## ")[0]
        for option, action in command._option_string_actions.items():
            shown = action.help != argparse.SUPPRESS and option not in ("-h", "--help")
            assert (f"`{option}" in section) == shown, option
        assert "|  |" not in section, "an argument has no help"
    assert all(f"| `make {target}` |" in page for target in TARGETS)


def test_a_site_with_a_dead_link_or_a_script_from_the_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<a href="other.html#top">there</a><a href="https://example.org">far</a><img src="plot.png">'
        '<script src="https://example.org/a.js"></script>'
    )
    (tmp_path / "other.html").touch()
    missing, fetched = make_docs.check_site(tmp_path)
    assert "plot.png is missing" in missing and "fetches https://example.org/a.js" in fetched
    assert "holds no pages" in make_docs.check_site(tmp_path / "nowhere")[0]


# ---------------------------------------------------------------- Python and YAML


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "python"], ids=lambda block: block.page.name
)
def test_python_uses_names_that_exist(block: Block) -> None:
    compile(block.text, block.page.name, "exec")
    used = set(re.findall(r"\bsv\.(\w+)", block.text))
    assert used <= set(softvote.__all__)
    for module, names in re.findall(r"^from (softvote[\w.]*) import ([\w, ]+)$", block.text, re.MULTILINE):
        imported = importlib.import_module(module)
        assert all(hasattr(imported, name.strip()) for name in names.split(","))


@pytest.mark.slow_but("README.md")
@pytest.mark.parametrize("page", ["README.md", "python.md"])
def test_python_that_needs_data_runs_on_other_data(
    page: str, digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks of a page one after the other, on a small competition under the name that they ask for."""
    root, name = (tmp_path / "demo", "demo") if page == "README.md" else (tmp_path, "digit-recognizer")
    write_digits(root, digits, 150, 20)
    recipe = RECIPE | {"epochs": 1}
    members = {member: {"model": "resnet5"} for member in ("cnn", "cnn_a", "resnet5")}
    write_pipeline(root, pipeline(defaults=recipe, members=members), name)
    monkeypatch.chdir(tmp_path)
    blocks = [block for block in BLOCKS if block.page.name == page and block.language == "python"]
    assert blocks and all(block.mark == "needs-data" for block in blocks)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block.text, page, "exec"), names)
    vote = names["vote"]
    assert isinstance(vote, softvote.SoftVoting) and vote.oof_proba_.shape == (150, 10)


PIPELINES = [block for block in BLOCKS if block.language == "yaml" and "--8<--" not in block.text]


@pytest.mark.parametrize(
    "block", PIPELINES, ids=lambda block: f"{block.page.name}: {block.text.split(':')[0]}"
)
def test_yaml_is_of_a_pipeline(block: Block, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "pipelines", tmp_path / "pipelines")
    written = {"extends": "demo"} | (yaml.safe_load(block.text) or {})
    path = tmp_path / "pipelines" / "written.yaml"
    path.write_text(yaml.safe_dump(written), encoding="utf-8")
    assert read_pipeline_file(path).members


# ---------------------------------------------------------------- figures and blocks that are run


def test_the_tables_of_results_are_printed_from_the_ledger(tmp_path: Path) -> None:
    (block,) = [block for block in SHELL if block.mark == "ledger"]
    (command,) = block.commands
    words = command.replace("docs/ladder.png", str(tmp_path / "ladder.png")).split()
    assert words[0] == ".venv/bin/python"
    done = subprocess.run(
        [sys.executable, *words[1:]], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    printed = [line for line in done.stdout.splitlines() if line]
    page = (
        (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8").replace("\u00a0", " ").splitlines()
    )
    assert len(printed) > 15
    assert [line for line in printed if line not in page] == []


def mask(text: str) -> list[str]:
    """Lines without their figures, hashes and rules of tables."""
    text = re.sub(r"-[0-9a-f]{8}\b", "-HASH", text)
    text = re.sub(r"[0-9][0-9.,]*(e-?[0-9]+)?", "N", text)
    return [" ".join(re.sub("-{2,}", "", line).split()) for line in text.strip().splitlines()]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a fresh clone with everything installed; the demo leaves its files there."""
    root = tmp_path_factory.mktemp("clone")
    for path in REPOSITORY.iterdir():
        if path.name not in (".git", ".venv", "demo", "tour"):
            (root / path.name).symlink_to(path)
    (root / ".venv").symlink_to(sys.prefix)
    return root


def run(command: str, root: Path) -> str:
    command = re.sub(r"^make ", "make --old-file=.venv/bin/.installed ", command)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    done = subprocess.run(
        ["bash", "-c", command], cwd=root, capture_output=True, text=True, check=False,
        env=environment | {"PYTHONPATH": str(REPOSITORY / "src")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_demo_runs_and_ends_as_the_pages_show(project: Path) -> None:
    shown = [block for block in BLOCKS if block.mark == "demo-output"]
    assert len({block.text for block in shown}) == 1, "the pages show another end of the demo each"
    blocks = [block for block in SHELL if block.mark == "demo"]
    commands = list(dict.fromkeys(line for block in blocks for line in block.commands))
    commands.sort(key=lambda command: command != "make demo")
    printed = {command: run(command, project) for command in commands}
    expected = mask(shown[0].text)
    assert mask(printed["make demo"])[-len(expected) :] == expected
    for block in (block for block in blocks if block.language == "console"):
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            lines = mask(output.removesuffix("...\n"))
            assert mask(printed[command])[: len(lines)] == lines
