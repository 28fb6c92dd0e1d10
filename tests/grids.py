"""`@pytest.mark.slow_but(id, ...)`: of a grid of parameters, `make test` runs those with these ids.

What each parameter shows is shown by `make test-slow`; the few that stay are those that differ most.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing: dict[str, set[str]] = {}
    for item in items:
        marker = item.get_closest_marker("slow_but")
        if marker is None:
            continue
        callspec = getattr(item, "callspec", None)
        found = callspec.id if callspec else ""
        name = item.nodeid.partition("[")[0]
        missing.setdefault(name, set(marker.args)).discard(found)
        if found not in marker.args:
            item.add_marker(pytest.mark.slow)
    if not any("[" in word for word in config.args):  # else some were left out by name
        for name, ids in missing.items():
            if ids:
                raise pytest.UsageError(f"{name}: slow_but names what is not among its ids: {sorted(ids)}")
