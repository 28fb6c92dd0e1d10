"""The package's own source, parsed once for all tests that read it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import softvote

PACKAGE = Path(softvote.__file__).parent


@cache
def parse_modules() -> dict[Path, ast.Module]:
    """The syntax of every module, in the order of their paths."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def walk_modules() -> dict[Path, list[ast.AST]]:
    """Every node of every module."""
    return {path: list(ast.walk(tree)) for path, tree in parse_modules().items()}
