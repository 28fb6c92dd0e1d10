"""A server on 127.0.0.1 that answers the kaggle package as Kaggle does, so that nothing leaves the machine.

    python scripts/kaggle_server.py demo/input
    python scripts/kaggle_server.py demo/input --run-kernels --fail CreateSubmission=429:2 --fail Upload=drop

FOLDER holds one folder a competition, named by its slug. Its files are what the competition hands out, but
for solution.csv, which scores what is sent: accuracy, as the public score. Printed are the lines that point a
shell at the server, then one line a request; Ctrl-C ends it.

The first POLLS questions about a submission, a data set or a kernel find it unfinished. With --run-kernels a
pushed Python script is really run, in folders laid out like Kaggle's that SOFTVOTE_INPUT (read-only) and
SOFTVOTE_OUTPUT name, and without softvote, unless the script brings it along.

--fail makes the next answers of a call go wrong, once or TIMES times: CALL is the last part of the path, or
Upload or Download for the bytes of a file; STATUS is 400 to 599, or drop, which closes the connection.
"""

import argparse
import base64
import csv
import hashlib
import io
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import uuid
import zipfile
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlsplit

from softvote.errors import UserError, one_of

# Annotations are not deferred: dataclasses cannot look theirs up in a module that was loaded by its path.
Facts = dict[str, Any]

PAGE = 20
"""Rows a page holds at most."""
SOLUTION = "solution.csv"
SAMPLE = "sample_submission.csv"


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


class Refused(Exception):  # noqa: N818
    """An answer of 400 or more: no error of this program."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = _json({"code": status, "message": message}, status)


@dataclass
class Failure:
    """One answer that goes wrong, or is only late.

    Attributes:
        status: of HTTP; 200 without `body` is the right answer.
        message: in the JSON body {"code": status, "message": message} that Kaggle sends.
        headers: sent along, such as Retry-After.
        body: sent as it is instead: a download that is no zip, JSON that is none.
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
        refused = Refused(self.status, self.message).answer
        return refused._replace(headers={**refused.headers, **self.headers})


@dataclass
class Blob:
    """An upload of `size` bytes; `content` is None until it has arrived."""

    name: str
    size: int
    content: bytes | None = None


@dataclass
class Dataset:
    """What CreateDataset or the last CreateDatasetVersion said, and the files by name.

    Attributes:
        polls: questions about the status that still find it unfinished.
    """

    facts: Facts
    files: dict[str, bytes]
    version: int = 1
    polls: int = 0


@dataclass
class Kernel:
    """A kernel and its last session.

    A test may set output, log and failure, before a push or after it; only a real run replaces them.

    Attributes:
        facts: what SaveKernel said last.
        version: counts the pushes.
        polls: questions about the status that still find it unfinished.
        running: a real run is not over.
        output: the files left behind, by path.
        log: as Kaggle keeps it, a JSON list of {"stream_name", "time", "data"}.
        failure: why the session ended with an error; empty where it did not.
    """

    facts: Facts = field(default_factory=dict)
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


class KaggleServer:
    """Kaggle, as far as the kaggle package needs it for competitions, data sets and kernels.

    Args:
        folder: one folder a competition, named by its slug.
        port: 0 for any that is free.
        username: the one account.
        key: its API key; an access token and a refresh token as well.
        daily_limit: submissions a competition takes a day (UTC), failed ones among them.
        polls: questions that find a submission, a data set or a kernel unfinished.
        run_kernels: run pushed Python scripts.
        log: takes one line a request.

    Attributes:
        requests: everything that was asked, in order.
        submissions: newest first for each competition, in the wire's fields; a test may fill it beforehand.
        datasets: by owner/slug.
        kernels: by owner/slug.
        push_error: answered in the field `error` of a push, under the status 200.

    Raises:
        UserError: the port is taken.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        username: str = "tester",
        key: str = "secret-key",
        daily_limit: int = 10,
        polls: int = 2,
        run_kernels: bool = False,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.folder, self.username, self.key = folder, username, key
        self.daily_limit, self.polls, self.run_kernels, self.log = daily_limit, polls, run_kernels, log
        self.requests: list[Request] = []
        self.submissions: defaultdict[str, list[Facts]] = defaultdict(list)
        self.datasets: dict[str, Dataset] = {}
        self.kernels: dict[str, Kernel] = {}
        self.push_error = ""
        self.stopping = threading.Event()
        self._lock = threading.RLock()
        self._failures: defaultdict[str, deque[Failure]] = defaultdict(deque)
        self._blobs: dict[str, Blob] = {}
        self._verdicts: dict[int, Facts] = {}
        self._listed: defaultdict[int, int] = defaultdict(int)
        self._links: dict[str, tuple[bytes, float]] = {}
        self._runs: list[Run] = []
        try:
            self._http = _Http(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise UserError(f"port {port}: {error.strerror}; name another, or none") from None
        self._http.kaggle = self
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        for run in self._runs:
            run.stop()

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
        """Let the next answers of a call go wrong, one a failure; after them it works again.

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
                raise Refused(404, "Not Found")
            if request.call not in OPEN and request.authorization not in self._accepted():
                raise Refused(401, "Unauthenticated")
            with self._lock:
                made = call(self, request if request.call in FILES else request.body)
                return made if isinstance(made, Answer) else _json(made)
        except Refused as refused:
            return refused.answer

    def _accepted(self) -> tuple[str, str]:
        basic = base64.b64encode(f"{self.username}:{self.key}".encode()).decode()
        return f"Basic {basic}", f"Bearer {self.key}"

    # Credentials.

    def introspect_token(self, asked: Facts) -> Facts:
        known = asked.get("token") == self.key
        return {"active": known, "username": self.username if known else ""}

    def generate_access_token(self, asked: Facts) -> Facts:
        if asked.get("refreshToken") != self.key:
            raise Refused(401, "Unauthenticated")
        return {"token": self.key, "expiresIn": 12 * 3600, "userName": self.username, "userId": 1}

    # Bytes, by addresses that need no credentials, as signed ones.

    def upload(self, request: Request) -> Answer:
        blob = self._blobs.get(request.path.rsplit("/")[-1])
        if blob is None:
            raise Refused(404, "Not Found")
        if request.headers.get("content-range", "").startswith("bytes */"):  # how much has arrived?
            return Answer(308 if blob.content is None else 200)
        if len(request.body) != blob.size:
            raise Refused(400, f"{len(request.body)} bytes instead of {blob.size}")
        blob.content = request.body
        return Answer(200)

    def download(self, request: Request) -> Answer:
        if request.path not in self._links:
            raise Refused(404, "Not Found")
        content, modified = self._links[request.path]
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {
            "Content-Type": "application/octet-stream",
            "Accept-Ranges": "bytes",
            "ETag": tag,
            "Last-Modified": formatdate(modified, usegmt=True),
        }
        wanted = request.headers.get("range")
        if wanted is None or request.headers.get("if-range", tag) != tag:
            return Answer(200, content, headers)
        start = int(wanted.removeprefix("bytes=").split("-")[0])
        if start >= len(content):
            raise Refused(416, "Range Not Satisfiable")
        span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        return Answer(206, content[start:], headers | span)

    def _link(self, name: str, content: bytes, modified: float) -> str:
        path = f"/{hashlib.sha256(content).hexdigest()[:16]}/{quote(name)}"
        self._links[path] = content, modified
        # Not localhost: a client redirected to another host leaves its credentials behind, as with Kaggle.
        return self.url + path

    def _expect(self, name: str, size: int) -> Facts:
        token = uuid.uuid4().hex
        self._blobs[token] = Blob(name, size)
        return {"token": token, "createUrl": f"{self.url}/upload/{token}"}

    def start_blob_upload(self, asked: Facts) -> Facts:
        return self._expect(asked["name"], asked.get("contentLength", 0))

    def _arrived(self, token: str) -> tuple[str, bytes]:
        blob = self._blobs.pop(token, None)
        if blob is None or blob.content is None:
            raise Refused(400, "The upload is not complete")
        return blob.name, blob.content

    # Competitions.

    def _competition(self, asked: Facts) -> str:
        slug: str = asked.get("competitionName", "")
        if slug not in competitions(self.folder):
            raise Refused(404, "Not Found")
        return slug

    def list_data_files(self, asked: Facts) -> Facts:
        folder = self.folder / self._competition(asked)
        files, token = _page(_handed_out(folder), asked)
        rows = [
            {"name": name, "totalBytes": (folder / name).stat().st_size, "creationDate": _stamp(modified)}
            for name, modified in files
        ]
        return {"files": rows, "nextPageToken": token}

    def download_data_files(self, asked: Facts) -> Answer:
        slug = self._competition(asked)
        files = _handed_out(self.folder / slug)
        content = _zipped(self.folder / slug, tuple(files))
        newest = max(modified for _, modified in files)
        return Answer(302, headers={"Location": self._link(f"{slug}.zip", content, newest)})

    def download_data_file(self, asked: Facts) -> Answer:
        folder = self.folder / self._competition(asked)
        modified = dict(_handed_out(folder)).get(asked.get("fileName", ""))
        if modified is None:
            raise Refused(404, "Not Found")
        name = asked["fileName"]
        return Answer(302, headers={"Location": self._link(name, (folder / name).read_bytes(), modified)})

    def get_submission_limits(self, asked: Facts) -> Facts:
        rows = self.submissions[self._competition(asked)]
        today = sum(row.get("date", "").startswith(_stamp()[:10]) for row in rows)
        left = max(0, self.daily_limit - today)
        return {"numToday": today, "numTotal": len(rows), "numAllowedNow": left}

    def start_submission_upload(self, asked: Facts) -> Facts:
        self._competition(asked)
        return self._expect(asked.get("fileName", ""), asked.get("contentLength", 0))

    def create_submission(self, asked: Facts) -> Facts:
        slug = self._competition(asked)
        if not self.get_submission_limits(asked)["numAllowedNow"]:
            allowance = f"Your team has used its daily Submission allowance ({self.daily_limit}) today"
            raise Refused(400, f"Submission not allowed: {allowance}, please try again tomorrow UTC.")
        name, content = self._arrived(asked.get("blobFileTokens", ""))
        ref = 1 + max((row["ref"] for rows in self.submissions.values() for row in rows), default=40_000_000)
        row = {
            "ref": ref,
            "fileName": name,
            "totalBytes": len(content),
            "date": _stamp(),
            "description": asked.get("submissionDescription", ""),
            "status": "PENDING",
            "publicScore": "",
            "privateScore": "",
            "submittedBy": self.username,
        }
        self.submissions[slug].insert(0, row)
        self._verdicts[ref] = verdict(self.folder / slug, content)
        return {"ref": ref, "message": f"Successfully submitted to {slug}"}

    def list_submissions(self, asked: Facts) -> Facts:
        rows, token = _page(self.submissions[self._competition(asked)], asked)
        for row in rows:
            self._settle(row)
        return {"submissions": rows, "nextPageToken": token}

    def get_submission(self, asked: Facts) -> Facts:
        for row in (row for rows in self.submissions.values() for row in rows):
            if row["ref"] == asked.get("ref"):
                self._settle(row)
                return row
        raise Refused(404, "Not Found")

    def _settle(self, row: Facts) -> None:
        ref = row["ref"]
        if ref in self._verdicts and self._listed[ref] >= self.polls:
            row.update(self._verdicts.pop(ref))
        self._listed[ref] += 1

    # Data sets.

    def create_dataset(self, asked: Facts) -> Facts:
        name = f"{asked['ownerSlug']}/{asked['slug']}"
        if name in self.datasets:
            return {"status": "error", "error": f'The requested title "{asked["title"]}" is already in use'}
        self.datasets[name] = Dataset(asked, self._files(asked), polls=self.polls)
        return self._dataset_made(name)

    def create_dataset_version(self, asked: Facts) -> Facts:
        name, dataset = self._dataset(asked)
        dataset.facts, dataset.files = asked["body"], self._files(asked["body"])
        dataset.version += 1
        dataset.polls = self.polls
        return self._dataset_made(name)

    def get_dataset(self, asked: Facts) -> Facts:
        name, dataset = self._dataset(asked)
        return {"ref": name, "currentVersionNumber": dataset.version}

    def get_dataset_status(self, asked: Facts) -> Facts:
        _, dataset = self._dataset(asked)
        if dataset.polls:
            dataset.polls -= 1
            return {"status": "BLOBS_RECEIVED"}
        return {"status": "READY"}

    def _files(self, asked: Facts) -> dict[str, bytes]:
        return dict(self._arrived(file["token"]) for file in asked.get("files", []))

    def _dataset_made(self, name: str) -> Facts:
        return {"ref": f"/{name}", "url": f"https://www.kaggle.com/datasets/{name}", "status": "ok"}

    def _dataset(self, asked: Facts) -> tuple[str, Dataset]:
        name = f"{asked.get('ownerSlug')}/{asked.get('datasetSlug')}"
        if name not in self.datasets:
            raise Refused(403, "Permission 'datasets.get' was denied")
        return name, self.datasets[name]

    # Kernels.

    def save_kernel(self, asked: Facts) -> Facts:
        if self.push_error:
            return {"error": self.push_error}
        name = asked["slug"]
        kernel = self.kernels.setdefault(name, Kernel())
        kernel.facts, kernel.polls = asked, self.polls
        kernel.version += 1
        if self.run_kernels:
            self._runs.append(Run(self, kernel))
        wanted = asked.get("datasetDataSources", []), asked.get("competitionDataSources", [])
        return {
            "ref": f"/code/{name}",
            "url": f"https://www.kaggle.com/code/{name}",
            "versionNumber": kernel.version,
            "invalidDatasetSources": [source for source in wanted[0] if source not in self.datasets],
            "invalidCompetitionSources": [
                source for source in wanted[1] if source not in competitions(self.folder)
            ],
        }

    def get_kernel_session_status(self, asked: Facts) -> Facts:
        kernel = self._kernel(asked)
        if kernel.over:
            return {"status": "ERROR" if kernel.failure else "COMPLETE", "failureMessage": kernel.failure}
        first = kernel.polls == self.polls
        kernel.polls = max(0, kernel.polls - 1)
        return {"status": "QUEUED" if first and self.polls else "RUNNING"}

    def list_kernel_session_output(self, asked: Facts) -> Facts:
        kernel = self._kernel(asked)
        if not kernel.over:
            return {"files": [], "log": ""}
        names, token = _page(sorted(kernel.output), asked)
        now = time.time()
        files = [{"fileName": name, "url": self._link(name, kernel.output[name], now)} for name in names]
        return {"files": files, "log": kernel.log, "nextPageToken": token}

    def _kernel(self, asked: Facts) -> Kernel:
        name = f"{asked.get('userName')}/{asked.get('kernelSlug')}"
        if name not in self.kernels:
            raise Refused(403, "Permission 'kernels.get' was denied")
        return self.kernels[name]


CALLS: dict[str, Callable[[KaggleServer, Any], Facts | Answer]] = {
    "IntrospectToken": KaggleServer.introspect_token,
    "GenerateAccessToken": KaggleServer.generate_access_token,
    "Upload": KaggleServer.upload,
    "Download": KaggleServer.download,
    "StartBlobUpload": KaggleServer.start_blob_upload,
    "ListDataFiles": KaggleServer.list_data_files,
    "DownloadDataFiles": KaggleServer.download_data_files,
    "DownloadDataFile": KaggleServer.download_data_file,
    "GetSubmissionLimits": KaggleServer.get_submission_limits,
    "StartSubmissionUpload": KaggleServer.start_submission_upload,
    "CreateSubmission": KaggleServer.create_submission,
    "ListSubmissions": KaggleServer.list_submissions,
    "GetSubmission": KaggleServer.get_submission,
    "CreateDataset": KaggleServer.create_dataset,
    "CreateDatasetVersion": KaggleServer.create_dataset_version,
    "GetDataset": KaggleServer.get_dataset,
    "GetDatasetStatus": KaggleServer.get_dataset_status,
    "SaveKernel": KaggleServer.save_kernel,
    "GetKernelSessionStatus": KaggleServer.get_kernel_session_status,
    "ListKernelSessionOutput": KaggleServer.list_kernel_session_output,
}
FILES = {"Upload", "Download"}
OPEN = FILES | {"IntrospectToken", "GenerateAccessToken"}
"""Calls that need no credentials: they carry their own."""


class Run:
    """A pushed script, run in folders laid out like Kaggle's, in a thread that ends with it."""

    def __init__(self, kaggle: KaggleServer, kernel: Kernel) -> None:
        kernel.running = True
        self._kaggle, self._kernel = kaggle, kernel
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Kill the script and whatever it started."""
        with suppress(ProcessLookupError):
            if self._process and self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._thread.join()

    def _run(self) -> None:
        with TemporaryDirectory(prefix="kaggle-") as root:
            folders = {name: Path(root, "kaggle", name) for name in ("input", "working", "src")}
            for folder in folders.values():
                folder.mkdir(parents=True)
            mount(self._kaggle, self._kernel.facts, folders["input"])
            script = folders["src"] / "script.py"
            script.write_text(self._kernel.facts["text"], encoding="utf-8")
            began = time.monotonic()
            self._process = _started(script, folders["input"], folders["working"])
            if self._kaggle.stopping.is_set():
                self._process.kill()
            streams = self._process.communicate()
            seconds = time.monotonic() - began
            self._keep(folders["working"], dict(zip(("stdout", "stderr"), streams, strict=True)), seconds)

    def _keep(self, working: Path, streams: dict[str, str], seconds: float) -> None:
        assert self._process
        code, kernel = self._process.returncode, self._kernel
        kernel.output = {
            path.relative_to(working).as_posix(): path.read_bytes()
            for path in sorted(working.rglob("*"))
            if path.is_file()
        }
        events = [
            {"stream_name": stream, "time": seconds, "data": line}
            for stream, text in streams.items()
            for line in text.splitlines(keepends=True)
        ]
        kernel.log = json.dumps(events)
        kernel.failure = f"The script ended with {code}" if code else ""
        kernel.running = False


def _started(script: Path, source: Path, output: Path) -> subprocess.Popen[str]:
    # -S: no .pth files, by which a package under development is found; the packages beside it are.
    command = [sys.executable, "-S", "-s", "-P", str(script)]
    environment = {
        "PATH": os.defpath,
        "HOME": str(script.parent),
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "SOFTVOTE_INPUT": str(source),
        "SOFTVOTE_OUTPUT": str(output),
    }
    threads = {name: os.environ[name] for name in ("OMP_NUM_THREADS",) if name in os.environ}
    return subprocess.Popen(
        command,
        cwd=output,
        env=environment | threads,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def mount(kaggle: KaggleServer, facts: Facts, root: Path) -> None:
    """Put what a kernel asks for under competitions/<slug>/ and datasets/<owner>/<slug>/, read-only."""
    for slug in set(facts.get("competitionDataSources", [])) & set(competitions(kaggle.folder)):
        shutil.copytree(
            kaggle.folder / slug, root / "competitions" / slug, ignore=shutil.ignore_patterns(SOLUTION)
        )
    for name in set(facts.get("datasetDataSources", [])) & kaggle.datasets.keys():
        for file, content in kaggle.datasets[name].files.items():
            target = root / "datasets" / name / file
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.suffix == ".zip" and zipfile.is_zipfile(io.BytesIO(content)):  # Kaggle unpacks these
                zipfile.ZipFile(io.BytesIO(content)).extractall(target.with_suffix(""))
            else:
                target.write_bytes(content)
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def competitions(folder: Path) -> list[str]:
    """The slugs of the competitions in a folder."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and _handed_out(path))


def verdict(folder: Path, content: bytes) -> Facts:
    """Status, and score or error, of a submission to the competition in `folder`."""
    try:
        rows = _rows(content)
        if (folder / SAMPLE).exists():
            _check_form(rows, _rows((folder / SAMPLE).read_bytes()))
    except ValueError as error:
        return {"status": "ERROR", "errorDescription": str(error)}
    if not (folder / SOLUTION).exists():
        return {"status": "COMPLETE"}
    labels, truth = dict(rows[1:]), dict(_rows((folder / SOLUTION).read_bytes())[1:])
    right = sum(labels.get(key) == label for key, label in truth.items())
    return {"status": "COMPLETE", "publicScore": f"{right / len(truth):.5f}"}


def _rows(content: bytes) -> list[tuple[str, str]]:
    try:
        records = list(csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise ValueError("Could not parse the file as CSV") from None
    if not records or any(len(record) != 2 for record in records):
        raise ValueError("Every line must have 2 columns")
    return [(first, second) for first, second in records]


def _check_form(rows: Sequence[tuple[str, str]], sample: Sequence[tuple[str, str]]) -> None:
    if rows[0] != sample[0]:
        raise ValueError(f"Could not find the columns {','.join(sample[0])}")
    if len(rows) != len(sample):
        raise ValueError(f"Submission must have {len(sample) - 1} rows")
    if {key for key, _ in rows} != {key for key, _ in sample}:
        raise ValueError(f"The column {sample[0][0]} must hold every value once")
    if not all(label for _, label in rows):
        raise ValueError(f"The column {sample[0][1]} must not hold empty values")


def _handed_out(folder: Path) -> list[tuple[str, float]]:
    """Names and times of the files that a competition hands out."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != SOLUTION)
    return sorted((path.relative_to(folder).as_posix(), path.stat().st_mtime) for path in paths)


@lru_cache(maxsize=8)
def _zipped(folder: Path, files: tuple[tuple[str, float], ...]) -> bytes:
    """The files of a competition; the times are there so that changed ones are packed again."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for name, _ in files:
            archive.write(folder / name, PurePosixPath(name))
    return buffer.getvalue()


def _page(rows: list[Any], asked: Facts) -> tuple[list[Any], str]:
    """The rows of the page that is asked for, by token or by number, and the token of the next."""
    size = min(asked.get("pageSize") or PAGE, PAGE)
    start = int(asked.get("pageToken") or (asked.get("page", 1) - 1) * size)
    return rows[start : start + size], str(start + size) if start + size < len(rows) else ""


def _stamp(seconds: float | None = None) -> str:
    """A time as Kaggle writes it, in UTC; now where none is given."""
    moment = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _json(facts: Facts, status: int = 200) -> Answer:
    return Answer(status, json.dumps(facts).encode(), {"Content-Type": "application/json; charset=utf-8"})


class _Http(ThreadingHTTPServer):
    kaggle: KaggleServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that has gone is no fault of ours
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, asks KaggleServer for the answer, and sends it or what is to go wrong."""

    server: _Http

    def do_POST(self) -> None:
        call = urlsplit(self.path).path.rsplit("/")[-1]
        try:
            self._serve(call, json.loads(self._content() or b"{}"))
        except json.JSONDecodeError:
            self._send(Refused(400, "No JSON").answer)

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 after Ctrl-C, or 1 after a mistake of the user, which is told in a line."""
    parsed = _parser().parse_args(arguments)
    try:
        serve(parsed)
    except UserError as error:
        print(f"kaggle_server: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def serve(parsed: argparse.Namespace) -> None:
    """Serve until Ctrl-C.

    Raises:
        UserError: the folder holds no competition, the port is taken, or a call is not known.
    """
    found = competitions(parsed.folder) if parsed.folder.is_dir() else []
    if not found:
        raise UserError(f"{parsed.folder}: holds no folder with a competition's files; make one first")
    server = KaggleServer(
        parsed.folder,
        parsed.port,
        polls=parsed.polls,
        run_kernels=parsed.run_kernels,
        log=lambda line: print(line, flush=True),
    )
    for call, failures in parsed.fail:
        server.fail(call, *failures)
    with server:
        for name, value in server.environment().items():
            print(f"export {name}={shlex.quote(value)}")
        print(f"# serving {', '.join(found)}; the lines above are for another shell", flush=True)
        threading.Event().wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="one folder a competition")
    parser.add_argument("--port", type=_number(65535), default=0, help="any that is free unless given")
    parser.add_argument(
        "--polls", type=_number(), default=2, help="questions that find something unfinished (2)"
    )
    parser.add_argument("--run-kernels", action="store_true", help="run pushed scripts")
    parser.add_argument(
        "--fail", type=_failures, action="append", default=[], metavar="CALL=STATUS[:TIMES]", help="go wrong"
    )
    return parser


def _number(most: float = math.inf) -> Callable[[str], int]:
    """0 to `most` of the command line."""

    def parse(text: str) -> int:
        if not (text.isdecimal() and int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {most}")
        return int(text)

    return parse


def _failures(text: str) -> tuple[str, list[Failure]]:
    """CALL=STATUS[:TIMES] of the command line."""
    call, _, rest = text.partition("=")
    status, _, times = rest.partition(":")
    if not (status == "drop" or (status.isdecimal() and 400 <= int(status) < 600)):
        raise argparse.ArgumentTypeError(f"{text!r}: STATUS is 400 to 599, or drop")
    if times and not times.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: TIMES is a number")
    failure = (
        Failure(drop=True) if status == "drop" else Failure(int(status), f"{status}, as --fail asked for")
    )
    return call, [failure] * int(times or 1)


if __name__ == "__main__":
    sys.exit(main())
