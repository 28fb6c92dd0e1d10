"""What the stand-in for Kaggle knows, and the registry of the calls that it answers."""

from __future__ import annotations

import hashlib
import io
import math
import threading
import uuid
import zipfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from softvote.kaggle.testing.wire import Answer, Refusal
from softvote.storage.cache import JsonObject


@dataclass
class Blob:
    """An upload of `size` bytes; `content` is None until it has arrived."""

    name: str
    size: int
    content: bytes | None = None


@dataclass
class HostedDataset:
    """What CreateDataset or the last CreateDatasetVersion said, and the files by name.

    Attributes:
        polls: questions about the status that still find it unfinished.
    """

    metadata: JsonObject
    files: dict[str, bytes]
    version: int = 1
    polls: int = 0


@dataclass
class HostedKernel:
    """A kernel and its last session.

    A test may set output, log and failure, before a push or after it; only a real run replaces them.

    Attributes:
        metadata: what SaveKernel said last.
        version: counts the pushes.
        polls: questions about the status that still find it unfinished.
        running: a real run is not over.
        output: the files left behind, by path.
        log: as Kaggle keeps it, a JSON list of {"stream_name", "time", "data"}.
        failure: why the session ended with an error; empty where it did not.
    """

    metadata: JsonObject = field(default_factory=dict)
    version: int = 0
    polls: int = 0
    running: bool = False
    output: dict[str, bytes] = field(default_factory=dict)
    log: str = "[]"
    failure: str = ""

    @property
    def over(self) -> bool:
        """Whether output and log can be had."""
        return not self.running and self.polls == 0


class Kaggle:
    """What the stand-in knows, and the bytes that came and go.

    Args:
        folder: one folder per competition, named by its slug.
        username: the one account.
        key: its API key; an access token and a refresh token as well.
        daily_limit: submissions a competition takes a day (UTC), failed ones among them.
        polls: questions that find a submission, a dataset or a kernel unfinished.
        run_kernels: run pushed Python scripts.
        wrapped_from: bytes from which a single file is handed out in a zip.

    Attributes:
        url: where it is served.
        submissions: newest first for each competition, in the wire's fields; a test may fill it beforehand.
        verdicts: what becomes of submissions that are still pending, by their number.
        listed: how often a submission was listed, by its number.
        datasets: by owner/slug.
        kernels: by owner/slug.
        reruns: kernels as they were run for a submission, by its number.
        push_error: answered in the field `error` of a push, under the status 200.
        blobs: uploads, by their token.
        links: content and time of what can be downloaded, by its path.
        stopping: set when the server ends.
        at_exit: what is called then.
    """

    def __init__(
        self,
        folder: Path,
        username: str = "tester",
        key: str = "secret-key",
        daily_limit: int = 10,
        polls: int = 2,
        run_kernels: bool = False,
        wrapped_from: float = math.inf,
    ) -> None:
        self.folder, self.username, self.key = folder, username, key
        self.daily_limit, self.polls, self.run_kernels = daily_limit, polls, run_kernels
        self.wrapped_from = wrapped_from
        self.url = ""
        self.submissions: defaultdict[str, list[JsonObject]] = defaultdict(list)
        self.verdicts: dict[int, JsonObject] = {}
        self.listed: defaultdict[int, int] = defaultdict(int)
        self.datasets: dict[str, HostedDataset] = {}
        self.kernels: dict[str, HostedKernel] = {}
        self.reruns: dict[int, HostedKernel] = {}
        self.push_error = ""
        self.blobs: dict[str, Blob] = {}
        self.links: dict[str, tuple[bytes, float]] = {}
        self.stopping = threading.Event()
        self.at_exit: list[Callable[[], None]] = []

    def link(self, name: str, content: bytes, modified: float) -> str:
        """Make the address from which somebody without credentials downloads this."""
        path = f"/{hashlib.sha256(content).hexdigest()[:16]}/{quote(name)}"
        self.links[path] = content, modified
        # Not localhost: a client redirected to another host leaves its credentials behind, as with Kaggle.
        return self.url + path

    def hand_out(self, name: str, content: bytes, modified: float) -> Answer:
        """Send somebody to where a single file can be had, in a zip of its name if it is large."""
        name = name.rpartition("/")[2]
        if len(content) >= self.wrapped_from:
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
            name, content = f"{name}.zip", buffer.getvalue()
        return Answer(302, headers={"Location": self.link(name, content, modified)})

    def expect(self, name: str, size: int) -> JsonObject:
        """Answer that an upload of `size` bytes may come, and where to."""
        token = uuid.uuid4().hex
        self.blobs[token] = Blob(name, size)
        return {"token": token, "createUrl": f"{self.url}/upload/{token}"}

    def take_upload(self, token: str) -> tuple[str, bytes]:
        """Take the name and the content of an upload.

        Raises:
            Refusal: 400, it is not complete.
        """
        blob = self.blobs.pop(token, None)
        if blob is None or blob.content is None:
            raise Refusal(400, "The upload is not complete")
        return blob.name, blob.content


Handler = Callable[[Kaggle, Any], JsonObject | Answer]


H = TypeVar("H", bound=Callable[[Kaggle, Any], JsonObject | Answer])


CALLS: dict[str, Handler] = {}
"""What answers each call, by its name on the wire."""


def call(handler: H) -> H:
    """Register what answers a call: `create_dataset` answers CreateDataset."""
    CALLS[handler.__name__.title().replace("_", "")] = handler
    return handler
