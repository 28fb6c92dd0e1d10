"""softvote itself: what is public, that it is loaded late, and examples of docstrings that run."""

from __future__ import annotations

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import softvote as sv

HEAVY = {"torch", "numpy", "pandas", "sklearn", "timm", "pydantic", "yaml"}


def loaded_after(code: str) -> set[str]:
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, file=sys.stderr)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "code",
    [
        "import softvote",
        "import softvote; dir(softvote); softvote.UserError",
        "import contextlib, softvote.cli\nwith contextlib.suppress(SystemExit): softvote.cli.main(['-h'])",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_used(code: str) -> None:
    loaded = loaded_after(code)
    assert "softvote" in loaded and loaded & HEAVY == set()


def test_every_public_name_exists_and_has_a_docstring() -> None:
    assert sorted(sv.__all__) == sorted(set(sv.__all__)) and len(sv.__all__) <= 25
    assert set(sv.__all__) <= set(dir(sv))
    for name in set(sv.__all__) - {"__version__"}:
        assert getattr(sv, name).__doc__, name
        assert vars(sv)[name] is getattr(sv, name), f"{name} is looked up again each time"


def test_type_checkers_see_the_names_that_are_loaded() -> None:
    tree = ast.parse(Path(sv.__file__).read_text(encoding="utf-8"))
    (typed,) = [node for node in tree.body if isinstance(node, ast.If)]
    imports = {node.module: {name.name for name in node.names} for node in typed.body}  # type: ignore[attr-defined]
    assert imports == {module: set(names) for module, names in sv._MODULES.items()}
    assert {name for names in imports.values() for name in names} == set(sv.__all__) - {"__version__"}


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="no attribute 'SoftVotting'"):
        sv.SoftVotting  # noqa: B018


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(sv.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("module", ["api.voting", "api.image_data"])
def test_examples_of_docstrings_run(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"softvote.{module}"))
    assert found.failed == 0 and found.attempted
