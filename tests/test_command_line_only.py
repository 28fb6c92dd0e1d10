"""What is the command line's alone: to print."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import softvote

PACKAGE = Path(softvote.__file__).parent
OUTERMOST = {"cli.py", "kernel_entry.py", "__main__.py", "kaggle/testing/__main__.py"}
BELOW = [path for path in sorted(PACKAGE.rglob("*.py")) if str(path.relative_to(PACKAGE)) not in OUTERMOST]


@pytest.mark.parametrize("path", BELOW, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_below_prints(path: Path) -> None:
    """Progress goes to standard error by way of `softvote.progress`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            assert path.name == "progress.py", f"line {node.lineno} prints; return it, or use progress.note"
            assert any(keyword.arg == "file" for keyword in node.keywords)
        assert ast.unparse(node) != "sys.stdout" if isinstance(node, ast.Attribute) else True, "return it"
