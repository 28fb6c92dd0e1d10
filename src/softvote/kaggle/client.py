"""Kaggle: every call to the kaggle package, with each failure told in one line.

The package is imported only when a `Client` is made: importing it signs in, and prints.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import math
import os
import re
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from tqdm import tqdm

from softvote.errors import UserError
from softvote.storage.files import atomic_write, read_json, write_text

T = TypeVar("T")


Status = Literal["pending", "complete", "error"]


KernelStatus = Literal["queued", "running", "complete", "error", "cancelled"]


_PAUSES = (5.0, 10.0, 20.0, 40.0)  # seconds before asking again, where Kaggle names no time


_LONGEST_PAUSE = 600.0


_PAGE = 20


@dataclass(frozen=True)
class Quota:
    """How many submissions a team has made and may still make.

    Attributes:
        today: sent since midnight UTC.
        left: may be sent now.
        for_good: `left` comes from a limit on all submissions, not on a day's.
    """

    today: int
    left: int
    for_good: bool = False

    def resets(self, now: datetime | None = None) -> str:
        """When there will be more, from `now` (in UTC; the present where left out)."""
        if self.for_good:
            return "the limit is on all submissions and does not reset"
        now = now or datetime.now(UTC)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        minutes = math.ceil((midnight - now).total_seconds() / 60)
        return f"the quota resets at midnight UTC, in {minutes // 60} h {minutes % 60} min"


@dataclass(frozen=True)
class Submission:
    """A past submission as Kaggle reports it.

    Attributes:
        ref: Kaggle's number for it.
        file: the name it was uploaded under.
        time: in UTC to the second, 2025-01-31T12:00:00Z.
        description: what the sender wrote.
        public: score 0..1 on the public part of the test rows; None where there is none.
        private: the same on the others.
        error: why Kaggle could not score it; empty otherwise.
    """

    ref: int
    file: str
    time: str
    description: str
    status: Status
    public: float | None = None
    private: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Pushed:
    """A kernel that Kaggle took and will run.

    Attributes:
        ref: "owner/slug".
        version: counts the pushes from 1.
        url: where to look at it.
    """

    ref: str
    version: int
    url: str


@dataclass(frozen=True)
class KernelState:
    """How far the last version of a kernel is.

    Attributes:
        message: why it failed, in one line; empty otherwise.
    """

    status: KernelStatus
    message: str


class NoAnswerError(UserError):
    """The answer was lost, or says nothing: what was asked for may have happened all the same.

    Attributes:
        what: the line without its remedy.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what


class _RefusedError(UserError):
    """Kaggle understood and said no, with an HTTP status of 400 to 499."""

    def __init__(self, line: str, status: int) -> None:
        super().__init__(line)
        self.status = status


class Client:
    """Kaggle, for the user whose credentials are found as Kaggle's documentation says.

    These are, the first that is there: an access token in `KAGGLE_API_TOKEN` or `~/.kaggle/access_token`;
    a key in `KAGGLE_USERNAME` and `KAGGLE_KEY`, or in `kaggle.json` in `KAGGLE_CONFIG_DIR`, `~/.kaggle` or
    `~/.config/kaggle`; what `kaggle auth login` left.

    Whatever goes wrong is one line with its remedy, a UserError, and a NoAnswerError where it may have gone
    well unheard. No line holds a credential or a signed address. Where there were too many requests, one is
    made again after the time that Kaggle names, or a growing one, a few times, and each wait is told on
    stderr. Nothing else is repeated.

    Args:
        wait: waits so many seconds.
        timeout: seconds without a sign from Kaggle after which it is given up.

    Attributes:
        username: the owner of kernels and datasets.

    Raises:
        UserError: no credentials, or Kaggle does not take them.
    """

    def __init__(self, wait: Callable[[float], None] = time.sleep, timeout: float = 60.0) -> None:
        self._wait, self._timeout = wait, timeout
        self._api: Any = None
        self.username = self._ask("signing in", _always(_LATER), self._sign_in)

    # ---------------------------------------------------------------- competitions

    def download(self, competition: str, folder: Path) -> Path:
        """Fetch a competition's files as one zip, and verify its checksums.

        The only file of a competition comes bare from Kaggle; it is put into a zip.

        Returns:
            `folder`/`competition`.zip, written whole or not at all.
        """
        doing, path = f"downloading {competition}", folder / f"{competition}.zip"

        def fetch() -> str:
            answer = self._send("competitions", "download_data_files", competition_name=competition)
            return _save(answer, file)

        with atomic_write(path) as archive, TemporaryDirectory(prefix=".", dir=path.parent) as temporary:
            file = Path(temporary, "download")
            name = self._ask(doing, _competition(competition), fetch)
            if not zipfile.is_zipfile(file) and self._only_file(competition) == name:
                with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
                    packed.write(file, name)
            else:
                _check_zip(file, f"Kaggle, {doing}", f"{_home(competition)}/data")
                file.replace(archive)
        return path

    def _only_file(self, competition: str) -> str | None:
        """The name of a competition's file, if there is just one."""
        files = self._call_competition("listing the files of", competition, "list_data_files").files
        return files[0].name if len(files) == 1 else None

    def quota(self, competition: str) -> Quota:
        """How many submissions were made today and may be made now.

        Raises:
            UserError: also for those who have not joined the competition.
        """
        verb = "asking for the quota of"
        limits = self._call_competition(verb, competition, "get_submission_limits")
        if not (limits.num_total or limits.num_today or limits.num_allowed_now):
            # What Kaggle says to those who are on no team.
            remedy = _competition(competition).forbidden
            raise UserError(f"Kaggle, {verb} {competition}: none was sent and none may be; {remedy}")
        return Quota(limits.num_today, limits.num_allowed_now, limits.limited_by_total)

    def submissions(self, competition: str) -> list[Submission]:
        """Every past submission, the newest first."""
        found: dict[int, Submission] = {}
        page, token = 1, ""
        while True:
            answer = self._call_competition(
                "listing the submissions to", competition, "list_submissions",
                page=None if token else page, page_token=token, page_size=_PAGE,
            )  # fmt: skip
            # What is sent meanwhile pushes others onto the next page: they are listed twice.
            fresh = [row for row in answer.submissions if row.ref not in found]
            found |= {row.ref: self._submission(row) for row in fresh}
            page, token = page + 1, answer.next_page_token
            if not fresh or not (token or len(answer.submissions) == _PAGE):
                return sorted(found.values(), key=lambda row: (row.time, row.ref), reverse=True)

    def _submission(self, row: Any) -> Submission:
        return Submission(
            ref=row.ref,
            file=row.file_name,
            time=f"{row.date:%Y-%m-%dT%H:%M:%SZ}" if row.date else "",
            description=row.description,
            status=_SUBMISSION[row.status.name],
            public=_score(row.public_score),
            private=_score(row.private_score),
            error=self._words(row.error_description),
        )

    def submit(self, competition: str, file: Path, description: str) -> int:
        """Send a submission, once.

        Returns:
            Kaggle's number for it.

        Raises:
            NoAnswerError: it may have arrived.
            UserError: it did not.
        """
        try:
            return self._submit(competition, file, description)
        except _RefusedError as refused:
            failure: UserError = refused
        with contextlib.suppress(UserError):  # the first failure says more than a second one
            quota = self.quota(competition)
            if not quota.left:
                used = f"{quota.today} submissions were sent today and none is left"
                failure = UserError(f"{competition}: {used}; {quota.resets()}")
        raise failure

    def _submit(self, competition: str, file: Path, description: str) -> int:
        verb = f"sending {file.name} to"
        start = self._call_competition(
            verb, competition, "start_submission_upload", file_name=file.name, **_facts(file)
        )
        self._upload(file, start.create_url)
        try:
            made = self._call_competition(
                verb, competition, "create_submission",
                blob_file_tokens=start.token, submission_description=description,
            )  # fmt: skip
            if made.ref:
                return int(made.ref)
            lost = f"Kaggle, {verb} {competition}: the answer has no number for it"
        except NoAnswerError as error:
            lost = error.what
        raise NoAnswerError(lost, "it may have arrived: look with make leaderboard before sending it again")

    def _call_competition(self, verb: str, competition: str, method: str, **fields: Any) -> Any:
        remedies = _competition(competition)
        fields = {"competition_name": competition} | fields
        return self._call(f"{verb} {competition}", remedies, "competitions", method, **fields)

    # ---------------------------------------------------------------- datasets

    def push_dataset(self, folder: Path) -> str:
        """Create the private dataset that `folder`/dataset-metadata.json names, or a new version of it.

        Uploaded are the other files of the folder, not those of folders in it.

        Returns:
            "owner/slug".
        """
        facts = read_json(folder / _DATASET)
        if not re.fullmatch(r"[^/]+/[^/]+", str(facts.get("id"))):
            raise UserError(f"{folder / _DATASET}: names no id, such as {self.username}/weights; add it")
        name, exists = str(facts["id"]), self._has_dataset(facts["id"])
        files = [
            _message("datasets", "ApiDatasetNewFile", token=self._upload_blob(path))
            for path in sorted(folder.iterdir())
            if path.is_file() and path.name != _DATASET
        ]
        fields = _version(facts, files) if exists else _first_version(facts, files)
        method = "create_dataset_version" if exists else "create_dataset"
        doing = f"pushing the dataset {name}"
        answer = self._call(doing, _dataset(name), "datasets", method, **fields)
        made = (answer.status or "").lower() == "ok"
        self._check_pushed(doing, answer, [] if made else [f"its status is {answer.status or 'not told'}"])
        return name

    def _has_dataset(self, dataset: str) -> bool:
        try:
            self._dataset_status(dataset)
        except _RefusedError as refused:
            if refused.status in (403, 404):  # what nobody has is forbidden as what another has
                return False
            raise
        return True

    def dataset_is_ready(self, dataset: str) -> bool:
        """Whether the last version of a dataset, "owner/slug", can be used in a kernel.

        Raises:
            UserError: also where Kaggle could not make it.
        """
        status = self._dataset_status(dataset)
        if status in ("FAILED", "DELETED"):
            remedy = f"see https://www.kaggle.com/datasets/{dataset}"
            raise UserError(f"Kaggle, making the dataset {dataset}: {status.lower()}; {remedy}")
        return status == "READY"

    def _dataset_status(self, dataset: str) -> str:
        owner, slug = dataset.split("/")
        doing, fields = f"asking for the dataset {dataset}", {"owner_slug": owner, "dataset_slug": slug}
        answer = self._call(doing, _dataset(dataset), "datasets", "get_dataset_status", **fields)
        return str(answer.status.name)

    # ---------------------------------------------------------------- kernels

    def push_kernel(self, folder: Path) -> Pushed:
        """Upload the kernel that `folder`/kernel-metadata.json describes; Kaggle then runs it."""
        doing, remedies = "pushing the kernel", _always(f"see that its id begins with {self.username}/")

        def push() -> Any:
            try:
                return self._api.kernels_push(str(folder))
            except ValueError as error:  # the package's own checks
                if type(error) is not ValueError:  # an answer that is no JSON
                    raise
                mistake = self._words(str(error))
            raise UserError(f"{folder / _KERNEL}: {mistake}")

        answer = self._ask(doing, remedies, push)
        self._check_pushed(doing, answer, [])
        ref = "/".join(urlsplit(answer.ref or answer.url).path.strip("/").split("/")[-2:])
        if not (answer.version_number and ref):
            raise NoAnswerError(f"Kaggle, {doing}: the answer has no version of it", _LATER)
        return Pushed(ref, answer.version_number, answer.url)

    def kernel_state(self, kernel: str) -> KernelState:
        """How far the last version of a kernel, "owner/slug", is."""
        answer = self._call_kernel("asking for", kernel, "get_kernel_session_status")
        return KernelState(_KERNEL_STATUS[answer.status.name], self._words(answer.failure_message))

    def kernel_output(self, kernel: str, folder: Path) -> list[Path]:
        """Fetch every file that the last version of a kernel, "owner/slug", left, and its log.

        Returns:
            Files in `folder` or in folders there; the last is `folder`/slug.log, if there is a log.
        """
        paths: list[Path] = []
        for answer in self._output_pages(kernel):
            for item in answer.files:
                path = folder / item.file_name
                if not path.resolve().is_relative_to(folder.resolve()):
                    raise UserError(
                        f"{kernel}: output {item.file_name!r} would leave {folder}; rename it there"
                    )
                self._fetch(item.url, path)
                paths.append(path)
        if answer.log:
            paths.append(folder / f"{kernel.split('/')[-1]}.log")
            write_text(paths[-1], answer.log)
        return paths

    def _output_pages(self, kernel: str) -> Iterator[Any]:
        tokens = [""]
        while True:
            fields = {"page_token": tokens[-1], "page_size": _PAGE}
            answer = self._call_kernel("fetching", kernel, "list_kernel_session_output", **fields)
            yield answer
            if not answer.next_page_token or answer.next_page_token in tokens:
                return
            tokens.append(answer.next_page_token)

    def _call_kernel(self, verb: str, kernel: str, method: str, **fields: Any) -> Any:
        owner, slug = kernel.split("/")
        remedies = _always(f"see whether it is there and yours: https://www.kaggle.com/code/{kernel}")
        fields = {"user_name": owner, "kernel_slug": slug} | fields
        return self._call(f"{verb} the kernel {kernel}", remedies, "kernels", method, **fields)

    # ---------------------------------------------------------------- files

    def _upload_blob(self, path: Path) -> str:
        fields = {"type": _wire("blobs").ApiBlobType.DATASET, "name": path.name} | _facts(path)
        start = self._call(f"uploading {path.name}", _always(_AGAIN), "blobs", "start_blob_upload", **fields)
        self._upload(path, start.create_url)
        return str(start.token)

    def _upload(self, path: Path, url: str) -> None:
        """Put a file where Kaggle wants it; the package's own way is silent, even when it fails."""
        import requests

        def put() -> None:
            size = path.stat().st_size
            with path.open("rb") as file, tqdm.wrapattr(file, "read", size, desc=path.name, **_BAR) as body:
                answer = requests.put(url, data=body, timeout=self._timeout)
            if answer.status_code not in (200, 201):  # 308 says that a part is missing
                raise requests.HTTPError(response=answer)

        self._ask(f"uploading {path.name}", _always(f"nothing was sent; {_AGAIN}"), put)

    def _fetch(self, url: str, path: Path) -> None:
        import requests

        def get() -> str:
            return _save(requests.get(url, stream=True, timeout=self._timeout), temporary)

        with atomic_write(path) as temporary:
            self._ask(f"downloading {path.name}", _always(_AGAIN), get)

    # ---------------------------------------------------------------- asking

    def _sign_in(self) -> str:
        import requests
        from kaggle.api.kaggle_api_extended import KaggleApi

        self._api = KaggleApi()
        build = self._api.build_kaggle_client

        def build_with_timeout() -> Any:
            kaggle = build()
            kaggle.http_client()._init_session()
            session = kaggle.http_client()._session
            session.send = functools.partial(session.send, timeout=self._timeout)
            return kaggle

        self._api.build_kaggle_client = build_with_timeout
        try:
            self._api.authenticate()
            return str(self._api.config_values["username"])
        except requests.RequestException:
            raise
        except (SystemExit, OSError):  # an OSError may name a token that was taken for a file
            pass
        raise UserError(f"Kaggle, signing in: {_about_credentials('no credentials that can be used')}")

    def _call(self, doing: str, remedies: _Remedies, service: str, method: str, **fields: Any) -> Any:
        """One call of the package, such as "competitions" and "list_submissions", with a request's fields."""
        return self._ask(doing, remedies, lambda: self._send(service, method, **fields))

    def _send(self, service: str, method: str, **fields: Any) -> Any:
        request = _message(service, f"Api{method.title().replace('_', '')}Request", **fields)
        with self._api.build_kaggle_client() as kaggle:
            client = getattr(getattr(kaggle, service), f"{_SERVICES[service]}_client")
            return getattr(client, method)(request)

    def _ask(self, doing: str, remedies: _Remedies, call: Callable[[], T]) -> T:
        """What `call` returns, in silence; made again after a while where there were too many requests.

        Raises:
            UserError: whatever goes wrong at Kaggle or on the way there. It has no cause or context, which
                might hold what nobody should see.
            OSError: what goes wrong with our own files.
        """
        pauses = iter(_PAUSES)
        while True:
            try:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    return call()
            except UserError:
                raise
            except Exception as error:
                failure = self._told(error, f"Kaggle, {doing}", remedies)
                pause = _pause(error, next(pauses, None))
            if pause is None:
                raise failure
            print(f"Kaggle, {doing}: too many requests, waiting {pause:.0f} s", file=sys.stderr, flush=True)
            self._wait(pause)

    def _told(self, error: Exception, where: str, remedies: _Remedies) -> Exception:
        """The line for what a call raised; that one's own text may hold an address and is left out."""
        import requests

        broken = (ConnectionError, requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
        if isinstance(error, requests.HTTPError) and error.response is not None:
            return self._refusal(error.response, where, remedies)
        if isinstance(error, requests.Timeout):
            return NoAnswerError(f"{where}: no answer within {self._timeout:g} s", _AGAIN)
        if isinstance(error, broken):
            return NoAnswerError(
                f"{where}: no connection, or it broke off", f"see to the network and {_AGAIN}"
            )
        if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
            return error
        kind = type(error).__name__
        return NoAnswerError(f"{where}: the answer cannot be understood ({kind})", _LATER)

    def _refusal(self, response: Any, where: str, remedies: _Remedies) -> UserError:
        status, message = _verdict(response)
        if status == 401:
            return UserError(f"{where}: {status}, {_about_credentials('wrong or expired credentials')}")
        if status == 429:
            minutes = math.ceil((_retry_after(response) or 3600) / 60)
            return UserError(f"{where}: {status}, too many requests; try again in {minutes} min")
        told = f"{where}: {status}, {self._words(message)}"
        if status >= 500:
            return NoAnswerError(told, "Kaggle itself fails: try again later")
        remedy = {403: remedies.forbidden, 404: remedies.unknown}.get(status, remedies.otherwise)
        return _RefusedError(f"{told}; {remedy}", status)

    def _check_pushed(self, doing: str, answer: Any, problems: list[str]) -> None:
        """Raise for what Kaggle refuses under the status 200."""
        problems = [answer.error] if answer.error else problems
        for kind in ("tags", "dataset_sources", "competition_sources", "kernel_sources", "model_sources"):
            if names := getattr(answer, f"invalid_{kind}", []):
                problems.append(f"no valid {kind.replace('_', ' ')}: {', '.join(names)}")
        if problems:
            raise UserError(f"Kaggle, {doing}: refused, {self._words('; '.join(problems))}; {_MEND}")

    def _words(self, text: str) -> str:
        """Words of Kaggle's in one line, not too long, without what might be a credential."""
        text = " ".join(text.split())
        for secret in self._secrets():
            text = text.replace(secret, "***")
        text = _LONG_CODE.sub("***", _ADDRESS.sub("***", text))
        return text if len(text) <= 300 else f"{text[:300]} ..."

    def _secrets(self) -> list[str]:
        values: dict[str, str] = self._api.config_values if self._api else {}
        basic = base64.b64encode(f"{values.get('username')}:{values.get('key')}".encode()).decode()
        named = [values.get(name) for name in ("key", "token", "api_token")]
        with contextlib.suppress(OSError, ValueError):
            named.append(import_module("kagglesdk").get_access_token_from_env()[0])
        # What is shorter is no credential, but may be a part of a word.
        return [secret for secret in (basic, *named) if secret and len(secret) >= 6]


@dataclass(frozen=True)
class _Remedies:
    """What to do when Kaggle forbids something (403), does not know it (404), or refuses it otherwise."""

    forbidden: str
    unknown: str
    otherwise: str


_AGAIN = "run the same command again"


_MEND = f"mend that and {_AGAIN}"


_LATER = "try again later; if it stays so, pip install --upgrade kaggle"


def _always(remedy: str) -> _Remedies:
    return _Remedies(remedy, remedy, remedy)


def _home(competition: str) -> str:
    return f"https://www.kaggle.com/competitions/{competition}"


def _competition(competition: str) -> _Remedies:
    return _Remedies(
        forbidden=f"join the competition and accept its rules at {_home(competition)}/rules",
        unknown=f"its name is the last part of its address: is there {_home(competition)} ?",
        otherwise=_MEND,
    )


def _dataset(dataset: str) -> _Remedies:
    remedy = f"see whether it is there and yours: https://www.kaggle.com/datasets/{dataset}"
    return _Remedies(remedy, remedy, _MEND)


def _about_credentials(what: str) -> str:
    """What is wrong with them, where they were looked for, and how to get better ones."""
    place = "~/.kaggle"
    if os.environ.get("KAGGLE_API_TOKEN"):
        place = "KAGGLE_API_TOKEN"
    elif os.environ.get("KAGGLE_KEY") and not Path("~/.kaggle/access_token").expanduser().exists():
        place = "KAGGLE_KEY"
    new = "make a token at https://www.kaggle.com/settings/api and put it into"
    return f"{what} in {place}; {new} KAGGLE_API_TOKEN or ~/.kaggle/access_token"


_SERVICES = {
    "blobs": "blob_api",
    "competitions": "competition_api",
    "datasets": "dataset_api",
    "kernels": "kernels_api",
}


_SUBMISSION: dict[str, Status] = {"PENDING": "pending", "COMPLETE": "complete", "ERROR": "error"}


_KERNEL_STATUS: dict[str, KernelStatus] = {
    "NEW_SCRIPT": "queued",
    "QUEUED": "queued",
    "RUNNING": "running",
    "COMPLETE": "complete",
    "ERROR": "error",
    "CANCEL_REQUESTED": "cancelled",
    "CANCEL_ACKNOWLEDGED": "cancelled",
}


_DATASET, _KERNEL = "dataset-metadata.json", "kernel-metadata.json"


def _wire(service: str) -> ModuleType:
    return import_module(f"kagglesdk.{service}.types.{_SERVICES[service]}_service")


def _message(service: str, kind: str, **fields: Any) -> Any:
    """An object of the package, which refuses fields that it does not know."""
    message = getattr(_wire(service), kind)()
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def _facts(file: Path) -> dict[str, Any]:
    facts = file.stat()
    return {"content_length": facts.st_size, "last_modified_epoch_seconds": int(facts.st_mtime)}


def _first_version(facts: dict[str, Any], files: list[Any]) -> dict[str, Any]:
    owner, slug = facts["id"].split("/")
    request = {"owner_slug": owner, "slug": slug, "title": facts.get("title"), "is_private": True}
    return request | {"license_name": facts["licenses"][0]["name"]} | _content(facts, files)


def _version(facts: dict[str, Any], files: list[Any]) -> dict[str, Any]:
    owner, slug = facts["id"].split("/")
    content = {"version_notes": "pushed by softvote"} | _content(facts, files)
    body = _message("datasets", "ApiCreateDatasetVersionRequestBody", **content)
    return {"owner_slug": owner, "dataset_slug": slug, "body": body}


def _content(facts: dict[str, Any], files: list[Any]) -> dict[str, Any]:
    words = {name: facts.get(name) for name in ("subtitle", "description")}
    return {"files": files, "category_ids": facts.get("keywords", [])} | words


def _score(text: str) -> float | None:
    """Kaggle sends scores as text, and an empty one where there is none."""
    try:
        return float(text) if math.isfinite(float(text)) else None
    except ValueError:
        return None


_BAR: dict[str, Any] = {
    "unit": "B",
    "unit_scale": True,
    "leave": False,
    "disable": None,  # unless at a terminal
    "file": sys.__stderr__,  # sys.stderr is silenced while the package works
}


# Addresses, but for Kaggle's own pages: a signed one lets anybody in.
_ADDRESS = re.compile(r"https?://(?!www\.kaggle\.com/[\w./-]*(?:[\s,;:)]|$))\S+")


# A token is long and has a digit; the slug of a competition is rarely both.
_LONG_CODE = re.compile(r"(?=[\w+=.~%-]*\d)[\w+=.~%-]{32,}")


def _save(response: Any, path: Path) -> str:
    """Write the body of a response; returns the name that the file has in its address."""
    response.raise_for_status()
    size = int(response.headers.get("Content-Length", 0)) or None
    name = unquote(urlsplit(response.url).path.split("/")[-1])
    with response, path.open("wb") as file, tqdm(total=size, desc=name, **_BAR) as bar:
        for block in response.iter_content(1 << 20):
            bar.update(file.write(block))
    return name


def _check_zip(path: Path, where: str, page: str) -> None:
    remedy, size = f"{_AGAIN}, or download it by hand from {page}", path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise UserError(f"{where}: the {size:,} bytes that came are no whole zip file; {remedy}") from None
    if damaged:
        raise UserError(f"{where}: {damaged} came damaged; {remedy}")


def _verdict(response: Any) -> tuple[int, str]:
    """Status and message of a refusal, which Kaggle may also send under the status 200."""
    try:
        body = response.json()
    except (ValueError, TypeError, OSError):  # no JSON, or the connection broke off
        body = None
    body = body if isinstance(body, dict) else {}
    status = response.status_code if response.status_code >= 400 else body.get("code", response.status_code)
    return int(status), str(body.get("message") or response.reason)


def _pause(error: Exception, otherwise: float | None) -> float | None:
    """Seconds after which to ask again; None where that does not help, or would take too long."""
    response = getattr(error, "response", None)
    if otherwise is None or response is None or _verdict(response)[0] != 429:
        return None
    named = _retry_after(response)
    pause = otherwise if named is None else named
    return pause if pause <= _LONGEST_PAUSE else None


def _retry_after(response: Any) -> float | None:
    """The seconds that Kaggle names."""
    from urllib3 import Retry
    from urllib3.exceptions import InvalidHeader

    try:
        return Retry().parse_retry_after(response.headers.get("Retry-After", ""))
    except InvalidHeader:
        return None
