"""Which tests run when: `@pytest.mark.slow_but(id, ...)` leaves a grid but for these ids to the slow tests.

The few that stay are those that differ most from each other.
"""

from __future__ import annotations

import pytest

# They take longest, and the last file to begin should not be one that others have to wait for.
FIRST = ("test_train.py", "test_models.py", "test_writer.py")


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in FIRST)
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
