"""What is the command line's alone: to print, and to know what is typed in a shell."""

from __future__ import annotations

import ast
import re

import pytest
from sources import PACKAGE, walk_modules

from softvote.shell import in_shell_words

OF_OTHERS = {"--upgrade", "--head"}  # of pip and of Ray
MAKEFILE = (PACKAGE.parents[1] / "Makefile").read_text(encoding="utf-8")
TYPED = "|".join(
    ["--[a-z]+", *(rf"\bmake {target}\b" for target in re.findall(r"^([a-z-]+):", MAKEFILE, re.M))]
)
STDOUT = "sys.stdout"
OUTERMOST = {"shell.py", "kernel_entry.py", "__main__.py", "kaggle/testing/__main__.py"}


@pytest.fixture(scope="module")
def trees() -> dict[str, list[ast.AST]]:
    """The syntax of every module below the command line, by its path."""
    return {
        path.relative_to(PACKAGE).as_posix(): nodes
        for path, nodes in walk_modules().items()
        if str(path.relative_to(PACKAGE)) not in OUTERMOST and path.parent != PACKAGE / "cli"
    }


def test_nothing_below_prints(trees: dict[str, list[ast.AST]]) -> None:
    """Progress goes to standard error by way of `softvote.progress`."""
    printing = []
    for path, nodes in trees.items():
        for node in nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                elsewhere = any(keyword.arg == "file" for keyword in node.keywords)
                if path != "progress.py" or not elsewhere:
                    printing.append(f"{path}, line {node.lineno} prints; return it, or use progress.note")
            elif isinstance(node, ast.Attribute) and node.attr == "stdout" and ast.unparse(node) == STDOUT:
                printing.append(f"{path}, line {node.lineno} writes to it; return what is said")
    assert not printing


def test_nothing_below_names_a_flag_or_a_make_target(trees: dict[str, list[ast.AST]]) -> None:
    """An argument or a stage is called by its name in backquotes, which the command line puts into words."""
    named = []
    for path, nodes in trees.items():
        comments = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in comments:
                if node.value.startswith("--") and path.endswith("git.py"):  # flags of another program
                    continue
                found = set(re.findall(TYPED, node.value)) - OF_OTHERS
                named += [f"{path}, line {node.lineno} says {typed}" for typed in sorted(found)]
    assert not named


@pytest.mark.parametrize(
    ("named", "typed"),
    [
        ("pass `root`", "pass --root"),
        ("`set` members.cnn.epochs=x: is not a number", "--set members.cnn.epochs=x: is not a number"),
        ("get it with: `data path/to/it.zip`", "get it with: make data ZIP=path/to/it.zip"),
        ("get it with: `data`", "get it with: make data"),
        ("get it with: `download digits`", "get it with: make data PIPELINE=digits"),
        ("before: `folds digits`", "before: make folds PIPELINE=digits"),
        ("before: `folds`", "before: make folds"),
        ("next: `check digits`", "next: softvote check digits"),
        ("`leaderboard`, or `force`", "make leaderboard, or FORCE=1 (--force)"),
        ("remove one `extends`", "remove one `extends`"),
    ],
)
def test_what_is_named_is_said_as_it_is_typed(named: str, typed: str) -> None:
    assert in_shell_words(named) == typed
