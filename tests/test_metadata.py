"""What stands beside the code: licence, version, changelog, citation, hooks."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

import yaml

import softvote

REPOSITORY = Path(__file__).parents[1]


def text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def metadata() -> configparser.SectionProxy:
    parser = configparser.ConfigParser()
    parser.read_string(text("setup.cfg"))
    return parser["metadata"]


def citation() -> dict[str, Any]:
    return dict(yaml.safe_load(text("CITATION.cff")))


def test_one_licence_everywhere() -> None:
    assert "Apache License\n                           Version 2.0, January 2004" in text("LICENSE")
    assert metadata()["license_expression"] == citation()["license"] == "Apache-2.0"
    assert metadata()["license_files"] == "LICENSE"


def test_one_version_everywhere() -> None:
    assert metadata()["version"] == "attr: softvote.__version__"
    assert citation()["version"] == softvote.__version__
    assert f"\n## [{softvote.__version__}] - {citation()['date-released']}\n" in text("CHANGELOG.md")


def test_the_authors_are_named_alike() -> None:
    assert metadata()["author"] == citation()["authors"][0]["name"] == "softvote maintainers"


def test_the_hooks_run_what_lint_runs() -> None:
    recipe = text("Makefile").split("\nlint:")[1].split("\n\n")[0]
    hooks = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"][0]["hooks"]
    tools = [hook["entry"].removeprefix(".venv/bin/").split(" --")[0] for hook in hooks]
    assert tools == ["ruff check", "ruff format", "mypy"]
    assert all(f"$(BIN)/{tool}" in recipe for tool in tools)


def test_the_hosted_workflow_runs_the_same_script() -> None:
    steps = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"]["run"]["steps"]
    assert steps[-1]["run"] == "bash .ci/run"
    assert (REPOSITORY / ".ci" / "run").is_file()
