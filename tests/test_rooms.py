"""The plan of the package: a room imports only rooms below it, and a public name has one meaning."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from programs import load
from sources import PACKAGE, parse_modules, walk_modules

plan = load("draw_packages")

# From the door to the cellar, as docs/architecture.md draws them.
DRAWN = [name for row in plan.ROWS for name in row.packages]
ROOMS = ["__main__", *("__init__" if name == "softvote" else name for name in DRAWN)]

# Every stage has a run, every layout detect, sources and read, every program a main.
SHARED = {"run", "detect", "sources", "read", "open_test", "main"}


def room_of(path: Path) -> str:
    """The room that a module stands in."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(nodes: list[ast.AST]) -> Iterator[tuple[str, int]]:
    """Rooms that a module imports from, also within functions, with the line."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "softvote":
            parts = (node.module or "").split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
            yield from ((name, node.lineno) for name in names if name in ROOMS)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "softvote" and len(parts) > 1:
                    yield parts[1], node.lineno


def test_every_module_stands_in_a_room() -> None:
    """Each is drawn once, and no other is."""
    assert sorted({room_of(path) for path in parse_modules()}) == sorted(ROOMS)


def test_the_drawn_plan_is_the_one_that_holds() -> None:
    assert plan.PLAN.read_text(encoding="utf-8") == plan.render(), "run scripts/draw_packages.py"
    table = (plan.PLAN.parents[1] / "architecture.md").read_text(encoding="utf-8").partition("## Packages")[2]
    told = re.findall("`([a-z_]+)`", "".join(re.findall(r"(?m)^\|([^|]+)\|", table)))
    assert sorted(told) == sorted(DRAWN)


def test_a_room_imports_only_rooms_below_it() -> None:
    upward = [
        f"{path.relative_to(PACKAGE)}:{line} imports {name}"
        for path, nodes in walk_modules().items()
        for name, line in imported_rooms(nodes)
        if ROOMS.index(name) < ROOMS.index(room_of(path))
    ]
    assert upward == []


def imported_modules(path: Path, nodes: list[ast.AST]) -> set[Path]:
    """Modules of the package that one names, also within functions or for their types alone.

    A package that hands on what its modules define is not counted: it stands for the modules.
    """
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "softvote":
            place = PACKAGE.joinpath(*(node.module or "").split(".")[1:])
            found |= {place / f"{alias.name}.py" for alias in node.names} | {place.with_suffix(".py")}
    return {each for each in found if each.is_file()} - {path}


def test_no_module_is_above_itself() -> None:
    order = TopologicalSorter({path: imported_modules(path, nodes) for path, nodes in walk_modules().items()})
    order.prepare()  # raises CycleError, which names the circle


def public_names(tree: ast.Module) -> Iterator[str]:
    """Functions, classes and constants that a module defines for others."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_") and name not in SHARED)


def test_one_public_name_has_one_meaning() -> None:
    places = defaultdict(set)
    for path, tree in parse_modules().items():
        for name in public_names(tree):
            places[name].add(path.relative_to(PACKAGE).as_posix())
    assert {name: sorted(where) for name, where in places.items() if len(where) > 1} == {}
