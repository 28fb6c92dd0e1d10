"""What goes over the wire between the kaggle package and the stand-in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from softvote.storage.cache import JsonObject

MOST_ROWS = 20
"""Rows a page holds at most."""


class Request(NamedTuple):
    """What was asked; `body` is a dict, and bytes for an upload or a download."""

    call: str
    body: Any
    authorization: str
    path: str
    headers: dict[str, str]
    """Names in small letters."""


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})


class Refusal(Exception):  # noqa: N818
    """An answer of 400 or more: no error of this program."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = json_answer({"code": status, "message": message}, status)


@dataclass
class Failure:
    """One answer that goes wrong, or is only late.

    Attributes:
        status: of HTTP; 200 without `body` is the right answer.
        message: in the JSON body {"code": status, "message": message} that Kaggle sends.
        headers: sent along, such as Retry-After.
        body: sent as it is instead: a download that is not a zip file, JSON that cannot be parsed.
        drop: close the connection without an answer.
        delay: seconds before answering.
        cut: send only so many bytes of the body under its full Content-Length, then close.
        lost: the call does its work all the same; only its answer is lost.
    """

    status: int = 200
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    drop: bool = False
    delay: float = 0.0
    cut: int | None = None
    lost: bool = False

    def answer(self) -> Answer | None:
        """What is sent instead of the right answer; None where that is sent."""
        if self.body is not None:
            return Answer(self.status, self.body, self.headers)
        if self.status == 200 and not self.drop:
            return None
        refused = Refusal(self.status, self.message).answer
        return refused._replace(headers={**refused.headers, **self.headers})


def page_of(rows: list[Any], asked: JsonObject) -> tuple[list[Any], str]:
    """The rows of the page that is asked for, by token or by number, and the token of the next."""
    size = min(asked.get("pageSize") or MOST_ROWS, MOST_ROWS)
    start = int(asked.get("pageToken") or (asked.get("page", 1) - 1) * size)
    return rows[start : start + size], str(start + size) if start + size < len(rows) else ""


def timestamp(seconds: float | None = None) -> str:
    """A time as Kaggle writes it, in UTC; now where none is given."""
    moment = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def json_answer(content: JsonObject, status: int = 200) -> Answer:
    """Write an answer in JSON."""
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json; charset=utf-8"})
