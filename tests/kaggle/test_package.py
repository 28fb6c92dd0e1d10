"""What is used of the kaggle package beside its public methods: it is there, and docs/kaggle.md says why."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import softvote

PACKAGE = Path(softvote.__file__).parent
PAGE = PACKAGE.parents[1] / "docs" / "kaggle.md"
MODULES = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted((PACKAGE / "kaggle").glob("*.py"))]

pytestmark = pytest.mark.usefixtures("package")


def read_documented() -> dict[str, str]:
    """Each name of the page's table, with why it is used."""
    rows = re.findall(r"^\| `(kagglesdk[\w.]+)` \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    return dict(rows)


def resolve(name: str) -> Any:
    """The object of a dotted name.

    Raises:
        ImportError, KeyError: there is none.
    """
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            found = getattr(found, part) if hasattr(found, part) else vars(found())[part]
        return found
    raise ImportError(name)


def service_clients() -> dict[str, type]:
    """The clients of the package's services, by their dotted names."""
    services = {"blobs": "blob_api", "competitions": "competition_api", "datasets": "dataset_api"}
    found = {}
    for service, name in (services | {"kernels": "kernels_api"}).items():
        module = importlib.import_module(f"kagglesdk.{service}.services.{name}_service")
        [client] = [
            each
            for each in vars(module).values()
            if inspect.isclass(each) and each.__name__.endswith("ApiClient")
        ]
        found[f"{module.__name__}.{client.__name__}"] = client
    return found


def find_used() -> Iterator[str]:
    """Methods of service clients that are named in a string, and private attributes of others' objects."""
    clients = service_clients()
    for node in (node for tree in MODULES for node in ast.walk(tree)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for name, client in clients.items():
                if re.fullmatch("[a-z_]+", node.value) and hasattr(client, node.value):
                    yield f"{name}.{node.value}"
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not own:
                yield f"kagglesdk.kaggle_http_client.KaggleHttpClient.{node.attr}"


def test_every_name_is_there() -> None:
    for name in read_documented():
        resolve(name)


def test_the_page_names_what_is_used() -> None:
    named = {name for name in read_documented() if "ApiClient." in name or "._" in name}
    assert named == set(find_used())


def test_public_methods_are_there() -> None:
    """The others, which are called by their own names."""
    api = importlib.import_module("kaggle.api.kaggle_api_extended").KaggleApi
    called = {
        node.attr
        for tree in MODULES
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self._api"
    }
    assert called >= {"authenticate", "kernels_push", "competition_download_files", "dataset_status"}
    instance = called & {"config_values"}  # set by signing in
    assert not [name for name in called - instance if name.startswith("_") or not hasattr(api, name)]
