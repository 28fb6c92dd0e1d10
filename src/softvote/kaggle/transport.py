"""The way to Kaggle: signing in, asking again, moving files, and each failure in one line without a secret.

The kaggle package is imported only when a `Client` is made: importing it signs in, and prints.
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
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from tqdm import tqdm

from softvote.errors import UserError
from softvote.progress import note
from softvote.storage.files import atomic_write

T = TypeVar("T")


PAGE_SIZE = 20
"""Rows of a list that are asked for at once."""


AGAIN = "run the same command again"


MEND = f"fix that and {AGAIN}"


LATER = "try again later; if it stays so, pip install --upgrade kaggle"


_PAUSES = (5.0, 10.0, 20.0, 40.0)  # seconds before asking again, where Kaggle names no time


_LONGEST_PAUSE = 600.0


class NoAnswerError(UserError):
    """The answer was lost, or says nothing: what was asked for may have happened all the same."""


class RefusedError(UserError):
    """Kaggle understood and said no, with an HTTP status of 400 to 499."""

    status = 400


@dataclass(frozen=True)
class Remedies:
    """What to do when Kaggle forbids something (403), does not know it (404), or refuses it otherwise."""

    forbidden: str
    unknown: str
    otherwise: str


def always(remedy: str) -> Remedies:
    """One remedy for every refusal."""
    return Remedies(remedy, remedy, remedy)


class Client:
    """Signs in to Kaggle and asks it; `Competitions`, `Downloads` and `Kernels` say what.

    The user's credentials are found as Kaggle's documentation says. These are, the first that is there: an
    access token in `KAGGLE_API_TOKEN` or `~/.kaggle/access_token`; a key in `KAGGLE_USERNAME` and
    `KAGGLE_KEY`, or in `kaggle.json` in `KAGGLE_CONFIG_DIR`, `~/.kaggle` or `~/.config/kaggle`; what
    `kaggle auth login` left.

    Whatever goes wrong is one line with its remedy, a UserError, and a NoAnswerError where it may have gone
    well unheard. No line holds a credential or a signed address. Where there were too many requests, one is
    made again after the time that Kaggle names, or a growing one, a few times, and each wait is told on
    stderr. Nothing else is repeated, but for downloads that break off (`Downloads`).

    Args:
        wait: waits so many seconds.
        timeout: seconds without a sign from Kaggle after which it is given up.

    Attributes:
        username: who is signed in.

    Raises:
        UserError: no credentials, or Kaggle does not take them.
    """

    def __init__(self, wait: Callable[[float], None] = time.sleep, timeout: float = 60.0) -> None:
        self._wait, self._timeout = wait, timeout
        self._api: Any = None
        self.username = self._ask("signing in", always(LATER), self._sign_in)

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
        raise UserError.at("Kaggle, signing in", _about_credentials("no credentials that can be used"))

    def _call(self, doing: str, remedies: Remedies, service: str, method: str, **fields: Any) -> Any:
        """One call of the package, such as "competitions" and "list_submissions", with a request's fields."""
        return self._ask(doing, remedies, lambda: self._send(service, method, **fields))

    def _send(self, service: str, method: str, **fields: Any) -> Any:
        request = build_message(service, f"Api{method.title().replace('_', '')}Request", **fields)
        with self._api.build_kaggle_client() as kaggle:
            client = getattr(getattr(kaggle, service), f"{_SERVICES[service]}_client")
            return getattr(client, method)(request)

    def _ask(self, doing: str, remedies: Remedies, call: Callable[[], T], shown: bool = False) -> T:
        """What `call` returns, in silence; made again after a while where there were too many requests.

        Args:
            shown: let the package show its progress, on standard error.

        Raises:
            UserError: whatever goes wrong on Kaggle or on the way there. It has no cause or context, which
                might hold what nobody should see.
            OSError: what goes wrong with our own files.
        """
        pauses = iter(_PAUSES)
        while True:
            try:
                error_stream = sys.__stderr__ if shown else io.StringIO()
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error_stream):
                    return call()
            except UserError:
                raise
            except Exception as error:
                failure = self._explain(error, f"Kaggle, {doing}", remedies)
                pause = _pause(error, next(pauses, None))
            if pause is None:
                raise failure
            note(f"Kaggle, {doing}: too many requests, waiting {pause:.0f} s")
            self._wait(pause)

    def _explain(self, error: Exception, where: str, remedies: Remedies) -> Exception:
        """The line for what a call raised; that one's own text may hold an address and is left out."""
        import requests

        broken = (ConnectionError, requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
        if isinstance(error, requests.HTTPError) and error.response is not None:
            return self._refusal(error.response, where, remedies)
        if isinstance(error, requests.Timeout):
            return NoAnswerError.at(where, f"no answer within {self._timeout:g} s", AGAIN)
        if isinstance(error, broken):
            return NoAnswerError.at(where, "no connection, or it broke off", f"check the network and {AGAIN}")
        if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
            return error
        kind = type(error).__name__
        return NoAnswerError.at(where, f"the answer cannot be understood ({kind})", LATER)

    def _refusal(self, response: Any, where: str, remedies: Remedies) -> UserError:
        status, message = _verdict(response)
        if status == 401:
            return UserError.at(where, f"{status}, {_about_credentials('wrong or expired credentials')}")
        if status == 429:
            minutes = math.ceil((_retry_after(response) or 3600) / 60)
            return UserError.at(where, f"{status}, too many requests", f"try again in {minutes} min")
        told = f"{status}, {self._words(message)}"
        if status >= 500:
            return NoAnswerError.at(where, told, "Kaggle itself fails: try again later")
        remedy = {403: remedies.forbidden, 404: remedies.unknown}.get(status, remedies.otherwise)
        refused = RefusedError.at(where, told, remedy)
        refused.status = status
        return refused

    def _upload(self, path: Path, url: str) -> None:
        """Put a file where Kaggle wants it; the package's own way is silent, even when it fails."""
        import requests

        def put() -> None:
            size = path.stat().st_size
            with (
                path.open("rb") as file,
                tqdm.wrapattr(file, "read", size, desc=path.name, **PROGRESS_BAR) as body,
            ):
                answer = requests.put(url, data=body, timeout=self._timeout)
            if answer.status_code not in (200, 201):  # 308 says that a part is missing
                raise requests.HTTPError(response=answer)

        self._ask(f"uploading {path.name}", always(f"nothing was sent; {AGAIN}"), put)

    def _fetch(self, url: str, path: Path) -> None:
        import requests

        def get() -> str:
            return save_body(requests.get(url, stream=True, timeout=self._timeout), temporary)

        with atomic_write(path) as temporary:
            self._ask(f"downloading {path.name}", always(AGAIN), get)

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
        # What is shorter is not a credential, but may be a part of a word.
        return [secret for secret in (basic, *named) if secret and len(secret) >= 6]


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


def service_types(service: str) -> ModuleType:
    """The package's module of what a service is asked and answers."""
    return import_module(f"kagglesdk.{service}.types.{_SERVICES[service]}_service")


def build_message(service: str, kind: str, **fields: Any) -> Any:
    """Build an object of the package, which refuses fields that it does not know."""
    message = getattr(service_types(service), kind)()
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def stat_fields(file: Path) -> dict[str, Any]:
    """What Kaggle wants to know of a file before its upload: its size in bytes, and when it was written."""
    stat = file.stat()
    return {"content_length": stat.st_size, "last_modified_epoch_seconds": int(stat.st_mtime)}


PROGRESS_BAR: dict[str, Any] = {
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


def save_body(response: Any, path: Path) -> str:
    """Write the body of a response; returns the name that the file has in its address."""
    response.raise_for_status()
    size = int(response.headers.get("Content-Length", 0)) or None
    name = unquote(urlsplit(response.url).path.split("/")[-1])
    with response, path.open("wb") as file, tqdm(total=size, desc=name, **PROGRESS_BAR) as bar:
        for block in response.iter_content(1 << 20):
            bar.update(file.write(block))
    return name


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
