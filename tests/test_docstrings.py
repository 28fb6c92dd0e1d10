"""Public docstrings: each says what goes in, what comes out, and which errors come.

Read from the source, without importing it.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from sources import PACKAGE, parse_modules, walk_modules

# Functions of a module that reads a layout of files; `Reader` says what each gives and raises.
READERS = {"detect", "sources", "read", "open_test"}

ARRAYS = {"NDArray", "ArrayLike", "Tensor"}  # names for some of them, such as Labels, say what they hold

SHAPE = re.compile(r"\((?:[A-Z0-9]|rows|n\b|columns)[^()]*\)|shape|scalar|as `")


@dataclass(frozen=True)
class Documented:
    """A public function, method or class, and where it stands."""

    path: Path
    owner: ast.ClassDef | None
    node: ast.FunctionDef | ast.ClassDef

    def __str__(self) -> str:
        owner = f"{self.owner.name}." if self.owner else ""
        return f"{self.path.relative_to(PACKAGE)}:{self.node.lineno} {owner}{self.node.name}"

    @property
    def text(self) -> str:
        return ast.get_docstring(self.node) or ""

    @property
    def arrays(self) -> list[str]:
        """Its arguments that are arrays."""
        if isinstance(self.node, ast.ClassDef):
            return []
        arguments = [*self.node.args.posonlyargs, *self.node.args.args, *self.node.args.kwonlyargs]
        return [argument.arg for argument in arguments if is_array(argument.annotation)]

    @property
    def models(self) -> list[str]:
        """What is said of the same method where all of its kind are described."""
        if not isinstance(self.node, ast.FunctionDef):
            return []
        described = [*bases_of(self.owner), *(protocols_of(self.path.parent) if self.owner else ())]
        return [text for base in described if (text := method_docstring(base, self.node.name))]

    @property
    def fields(self) -> set[str]:
        """The attributes that a class declares."""
        body = self.node.body if isinstance(self.node, ast.ClassDef) else []
        return {ast.unparse(field.target) for field in body if isinstance(field, ast.AnnAssign)}

    @property
    def says_by_its_name(self) -> bool:
        """Whether a registered class says what it is beside its `name`, as the reference of keys shows it."""
        body = self.node.body if isinstance(self.node, ast.ClassDef) else []
        fields = itertools.pairwise(body)
        return any(is_name(field) and isinstance(text, ast.Expr) for field, text in fields)

    @property
    def raises(self) -> bool:
        """Whether it refuses something by itself."""
        return isinstance(self.node, ast.FunctionDef) and any(map(is_refusal, statements(self.node)))


def is_name(field: ast.stmt) -> bool:
    return isinstance(field, ast.AnnAssign) and ast.unparse(field.target) == "name"


def is_array(annotation: ast.expr | None) -> bool:
    return annotation is not None and any(
        isinstance(node, ast.Name) and node.id in ARRAYS for node in ast.walk(annotation)
    )


def statements(function: ast.FunctionDef) -> Iterator[ast.stmt]:
    """All statements of a function, but for those of functions within it."""
    todo: list[ast.AST] = [*function.body]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.stmt):
            yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            todo += ast.iter_child_nodes(node)


def is_refusal(statement: ast.stmt) -> bool:
    """`raise UserError(...)`, `raise ConfigError.at(...)`, `raise ValueError(...)`, `found.raise_any()`."""
    if isinstance(statement, ast.Raise) and isinstance(statement.exc, ast.Call):
        called = ast.unparse(statement.exc.func)
        return called.split(".")[0] in {"UserError", "ConfigError", "ValueError"}
    called = ast.unparse(statement) if isinstance(statement, ast.Expr) else ""
    return called.endswith(".raise_any()")


@cache
def classes() -> dict[str, ast.ClassDef]:
    """The classes of the package by their names."""
    return {
        node.name: node
        for nodes in walk_modules().values()
        for node in nodes
        if isinstance(node, ast.ClassDef)
    }


def bases_of(owner: ast.ClassDef | None) -> Iterator[ast.ClassDef]:
    """The classes of the package that a class is a kind of."""
    for base in owner.bases if owner else ():
        if found := classes().get(ast.unparse(base).partition("[")[0]):
            yield found
            yield from bases_of(found)


def method_docstring(owner: ast.ClassDef, name: str) -> str | None:
    methods = [node for node in owner.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return ast.get_docstring(methods[0]) if methods else None


def protocols_of(folder: Path) -> list[ast.ClassDef]:
    """What the `base.py` of a folder describes once for every module there."""
    base = parse_modules().get(folder / "base.py")
    return [node for node in base.body if isinstance(node, ast.ClassDef)] if base else []


def public(room: str) -> Iterator[Documented]:
    """What a room defines for others."""
    for path, tree in parse_modules().items():
        if path.relative_to(PACKAGE).parts[0] != room:
            continue
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            yield Documented(path, None, node)
            for method in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                    yield Documented(path, node, method)


def find_gaps(each: Documented) -> Iterator[str]:
    """What a docstring leaves out that neither the base class's nor the room's protocol's says."""
    text, models = " ".join(each.text.split()), each.models
    if not text and not models and not each.says_by_its_name:
        yield "no docstring"
    if each.fields & set(re.findall(r"^(\w+): ", each.text, re.MULTILINE)):
        yield "attributes without a heading"
    says_errors = any(re.search("Raises:|rrors (as|are those)", said) for said in [text, *models])
    if each.raises and not says_errors and each.node.name not in READERS:
        yield "no Raises"
    if not text or models:
        return
    told = text.lower().replace("_", " ")
    if re.search("Arguments (and errors )?(as|are those)", text):
        return
    in_order = "->" in text or len(each.arrays) == 1
    for name in each.arrays if not in_order else ():
        if name.lower().replace("_", " ") not in told:
            yield f"says nothing of {name}"
    if each.arrays and not SHAPE.search(text):
        yield "no shape of its arrays"


ROOMS = sorted({path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py")})


@pytest.mark.parametrize("room", ROOMS)
def test_public_docstrings_are_complete(room: str) -> None:
    assert [f"{each}: {gap}" for each in public(room) for gap in find_gaps(each)] == []
