"""The server: hears what is asked, lets go wrong what is to go wrong, and keeps a list."""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from softvote.errors import UserError, one_of
from softvote.kaggle.testing import competitions, files, kernels  # noqa: F401  they register their calls
from softvote.kaggle.testing.state import CALLS, Kaggle
from softvote.kaggle.testing.wire import Answer, Failure, Refusal, Request, json_answer

FILES = {"Upload", "Download"}
"""Calls that move bytes, and need the whole request."""


OPEN = FILES | {"IntrospectToken", "GenerateAccessToken"}
"""Calls that need no credentials: they carry their own."""


class KaggleServer(Kaggle):
    """Kaggle on 127.0.0.1, as far as the kaggle package needs it for competitions, datasets and kernels.

    Args:
        port: 0 for any that is free.
        log: takes one line a request.
        settings: see `Kaggle`.

    Attributes:
        requests: everything that was asked, in order.

    Raises:
        UserError: the port is taken.
    """

    def __init__(
        self, folder: Path, port: int = 0, log: Callable[[str], None] | None = None, **settings: Any
    ) -> None:
        super().__init__(folder, **settings)
        self.log = log
        self.requests: list[Request] = []
        self._lock = threading.RLock()
        self._failures: defaultdict[str, deque[Failure]] = defaultdict(deque)
        try:
            self._http = _Http(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise UserError.at(f"port {port}", str(error.strerror), "name another, or none") from None
        self._http.kaggle = self
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        for stop in self.at_exit:
            stop()

    def environment(self) -> dict[str, str]:
        """The variables that point the kaggle package at this server, with its credentials."""
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": self.url,
            "no_proxy": "",
            "NO_PROXY": "",
            "KAGGLE_USERNAME": self.username,
            "KAGGLE_KEY": self.key,
            "KAGGLE_API_TOKEN": "",  # a token would go before the key
        }

    def fail(self, call: str, *failures: Failure) -> None:
        """Let the next answers of a call go wrong, one per failure; after them it works again.

        Raises:
            UserError: no call has that name.
        """
        if call not in CALLS:
            raise UserError(f"no call is named {call!r}; {one_of(sorted(CALLS), call)}")
        with self._lock:
            self._failures[call].extend(failures)

    def note(self, request: Request) -> Failure:
        """Write a request down; returns what is to go wrong with its answer."""
        with self._lock:
            self.requests.append(request)
            failures = self._failures[request.call]
            return failures.popleft() if failures else Failure()

    def answer(self, request: Request) -> Answer:
        """Do what is asked, where the credentials allow it."""
        call = CALLS.get(request.call)
        try:
            if call is None:
                raise Refusal(404, "Not Found")
            if request.call not in OPEN and request.authorization not in self._accepted_credentials():
                raise Refusal(401, "Unauthenticated")
            with self._lock:
                made = call(self, request if request.call in FILES else request.body)
                return made if isinstance(made, Answer) else json_answer(made)
        except Refusal as refused:
            return refused.answer

    def _accepted_credentials(self) -> tuple[str, str]:
        basic = base64.b64encode(f"{self.username}:{self.key}".encode()).decode()
        return f"Basic {basic}", f"Bearer {self.key}"


class _Http(ThreadingHTTPServer):
    kaggle: KaggleServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that has gone is not our fault
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, asks KaggleServer for the answer, and sends it or what is to go wrong."""

    server: _Http

    def do_POST(self) -> None:
        call = urlsplit(self.path).path.rsplit("/")[-1]
        try:
            self._serve(call, json.loads(self._content() or b"{}"))
        except json.JSONDecodeError:
            self._send(Refusal(400, "No JSON").answer)

    def do_PUT(self) -> None:
        self._serve("Upload", self._content())

    def do_GET(self) -> None:
        self._serve("Download", b"")

    def log_message(self, *_: Any) -> None:
        pass  # _serve has its own line

    def _serve(self, call: str, body: Any) -> None:
        kaggle, headers = self.server.kaggle, {name.lower(): value for name, value in self.headers.items()}
        path = urlsplit(self.path).path  # a proxy is asked for the whole address
        request = Request(call, body, headers.get("authorization", ""), path, headers)
        failure = kaggle.note(request)
        kaggle.stopping.wait(failure.delay)
        wrong = failure.answer()
        answer = kaggle.answer(request) if wrong is None or failure.lost else wrong
        if kaggle.log:
            kaggle.log(f"{self.command} {call} {'dropped' if failure.drop else (wrong or answer).status}")
        if not failure.drop:
            self._send(wrong or answer, failure.cut)

    def _send(self, answer: Answer, cut: int | None = None) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body[:cut])

    def _content(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":  # how requests sends an empty file
            return b"".join(iter(self._chunk, b""))
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _chunk(self) -> bytes:
        content = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return content
