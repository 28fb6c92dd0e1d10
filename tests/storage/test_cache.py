"""softvote.storage.cache: whoever finds first decides for all; what changed or is damaged is found anew."""

from __future__ import annotations

import contextlib
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from softvote.errors import UserError
from softvote.storage import cache
from softvote.storage.cache import JsonObject, disk_cache, get_cached, memory_cache
from softvote.storage.locks import file_lock

FACTS: JsonObject = {"network": "cnn", "batch": [64, 1, 8, 8]}


class Finder:
    """Finds something else each time."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> JsonObject:
        self.times += 1
        return {"number": self.times, "speed": 0.1 * self.times}


def test_what_was_found_stands_for_equal_facts(tmp_path: Path) -> None:
    find = Finder()
    first = disk_cache(tmp_path)(FACTS, find)
    assert disk_cache(tmp_path)(dict(reversed(FACTS.items())), find) == first == get_cached(tmp_path, FACTS)
    assert find.times == 1
    other = disk_cache(tmp_path)(FACTS | {"network": "resnet5"}, find)
    assert other != first and find.times == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", "cut", '"number": 1', '"network": "cnn"'])
def test_a_damaged_file_is_found_anew(tmp_path: Path, damage: str) -> None:
    find = Finder()
    disk_cache(tmp_path)(FACTS, find)
    (path,) = tmp_path.glob("*.json")
    text = path.read_text()
    damaged = text[: len(text) // 2] if damage == "cut" else damage
    if damage.startswith('"'):  # still a finding, but not the one that was written
        assert damage in text
        damaged = text.replace(damage, damage.replace("1", "7").replace("cnn", "no"))
    path.write_text(damaged)
    known = get_cached(tmp_path, FACTS)
    if "network" in damage:  # what it says of itself is for people; the name of the file decides
        assert known == {"number": 1, "speed": 0.1}
    else:
        assert known is None and disk_cache(tmp_path)(FACTS, find)["number"] == 2
        assert get_cached(tmp_path, FACTS) == {"number": 2, "speed": 0.2}


def test_a_search_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> JsonObject:
        raise UserError("no")

    with pytest.raises(UserError):
        disk_cache(tmp_path)(FACTS, fail)
    assert not list(tmp_path.glob("*.json"))
    assert disk_cache(tmp_path)(FACTS, Finder())["number"] == 1


def test_a_folder_that_cannot_be_made_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        disk_cache(tmp_path / "file")(FACTS, Finder())


def test_a_process_without_a_folder_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_in_memory", {})
    find = Finder()
    assert memory_cache(FACTS, find) == memory_cache(FACTS, find)
    assert find.times == 1


def ask(folder: Path, number: int, line: Connection) -> None:
    """One of several processes that want the same at the same time; each would find its own number."""

    def find() -> JsonObject:
        line.send("looks")
        line.recv()
        return {"number": number}

    def tell(path: Path) -> contextlib.AbstractContextManager[None]:
        line.send("waits")
        return file_lock(path)

    cache.file_lock = tell
    line.send(disk_cache(folder)(FACTS, find))


def asker(folder: Path, number: int) -> tuple[Connection, Any]:
    context = multiprocessing.get_context("forkserver")
    ours, its = context.Pipe()
    process = context.Process(target=ask, args=(folder, number, its), daemon=True)
    process.start()
    its.close()
    return ours, process


def test_one_process_looks_and_the_other_waits_for_it(tmp_path: Path) -> None:
    first, first_process = asker(tmp_path, 1)
    assert first.recv() == "waits"
    assert first.recv() == "looks"
    second, second_process = asker(tmp_path, 2)
    assert second.recv() == "waits"
    first.send("go on")
    assert first.recv() == second.recv() == {"number": 1}
    for process in (first_process, second_process):
        process.join()


def test_where_the_one_that_looks_is_killed_the_next_looks(tmp_path: Path) -> None:
    first, first_process = asker(tmp_path, 1)
    assert first.recv() == "waits"
    assert first.recv() == "looks"
    second, second_process = asker(tmp_path, 2)
    assert second.recv() == "waits"
    first_process.kill()
    assert second.recv() == "looks"
    second.send("go on")
    assert second.recv() == {"number": 2}
    for process in (first_process, second_process):
        process.join()
