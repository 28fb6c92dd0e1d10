"""The real kaggle package speaks to the stand-in; each failure is one line without a secret."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kaggle_calls import ACTS, CALLS, PENDING, Client, calls, failure_of
from kaggle_place import KEY, LEAK, Failure, Server, forget_package, set_environment

from softvote.kaggle.competitions import Quota
from softvote.kaggle.transport import NoAnswerError

pytestmark = pytest.mark.usefixtures("package")


def test_package_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, softvote.kaggle.competitions, softvote.kaggle.kernels"
    code += "; print({'kaggle', 'kagglesdk', 'requests'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# ---------------------------------------------------------------- credentials


def _write(path: Path, facts: dict[str, str] | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(facts if isinstance(facts, str) else json.dumps(facts))
    path.chmod(0o600)


OAUTH = {"refresh_token": KEY, "access_token": "", "access_token_expiration": "", "username": "tester"}
LEGACY = {"username": "tester", "key": KEY}


@pytest.mark.parametrize(
    ("environment", "file", "facts"),
    [
        ({"KAGGLE_API_TOKEN": KEY}, None, ""),
        pytest.param({"KAGGLE_API_TOKEN": "token.txt"}, "token.txt", KEY, marks=pytest.mark.slow),
        ({}, ".kaggle/access_token", f"{KEY}\n"),
        ({"KAGGLE_USERNAME": "tester", "KAGGLE_KEY": KEY}, None, ""),
        ({}, ".kaggle/kaggle.json", LEGACY),
        pytest.param({}, ".config/kaggle/kaggle.json", LEGACY, marks=pytest.mark.slow),
        pytest.param(
            {"KAGGLE_CONFIG_DIR": "elsewhere"}, "elsewhere/kaggle.json", LEGACY, marks=pytest.mark.slow
        ),
        ({}, ".kaggle/credentials.json", OAUTH),
    ],
)
def test_every_way_to_sign_in(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    environment: dict[str, str],
    file: str | None,
    facts: dict[str, str] | str,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    if file:
        _write(home / file, facts)
    set_environment(monkeypatch, environment, home)
    forget_package(monkeypatch)
    client = Client()
    assert client.username == "tester"
    assert client.quota("digits") == Quota(today=0, left=10)
    assert capfd.readouterr() == ("", "")


NEW_TOKEN = (
    "make a token at https://www.kaggle.com/settings/api and put it into "
    "KAGGLE_API_TOKEN or ~/.kaggle/access_token"
)
STALE = {**OAUTH, "refresh_token": "stale"}


@pytest.mark.parametrize(
    ("environment", "file", "facts", "place"),
    [
        ({}, None, "", "~/.kaggle"),
        pytest.param({}, ".kaggle/kaggle.json", "{not JSON", "~/.kaggle", marks=pytest.mark.slow),
        ({}, ".kaggle/access_token", "stale", "~/.kaggle"),
        ({}, ".kaggle/credentials.json", STALE, "~/.kaggle"),
        ({"KAGGLE_API_TOKEN": "stale"}, None, "", "KAGGLE_API_TOKEN"),
        ({"KAGGLE_API_TOKEN": KEY * 20}, None, "", "KAGGLE_API_TOKEN"),  # no file has so long a name
        pytest.param({"KAGGLE_USERNAME": "tester"}, None, "", "~/.kaggle", marks=pytest.mark.slow),
    ],
)
def test_no_credentials(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    environment: dict[str, str],
    file: str | None,
    facts: dict[str, str] | str,
    place: str,
) -> None:
    home = tmp_path / "home"
    if file:
        _write(home / file, facts)
    set_environment(monkeypatch, environment, home)
    forget_package(monkeypatch)
    expected = f"Kaggle, signing in: no credentials that can be used in {place}; {NEW_TOKEN}"
    assert failure_of(Client) == expected
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"KAGGLE_USERNAME": "tester", "KAGGLE_KEY": KEY[::-1]}, "KAGGLE_KEY"),
        # The package would sign in with the key, and then send the token.
        ({"KAGGLE_USERNAME": "tester", "KAGGLE_KEY": KEY, "KAGGLE_API_TOKEN": "stale"}, "KAGGLE_API_TOKEN"),
    ],
)
def test_wrong_credentials(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], place: str
) -> None:
    set_environment(monkeypatch, environment, tmp_path)
    line = failure_of(lambda: Client().quota("digits"))
    expected = f"asking for the quota of digits: 401, wrong or expired credentials in {place}; {NEW_TOKEN}"
    assert line == f"Kaggle, {expected}"


def test_signing_in_without_a_network(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, {"KAGGLE_API_TOKEN": KEY, "http_proxy": "http://127.0.0.1:1"}, tmp_path)
    line = failure_of(Client, NoAnswerError)
    expected = "signing in: no connection, or it broke off; check the network and run the same command again"
    assert line == f"Kaggle, {expected}"


# ---------------------------------------------------------------- every call, every failure

FAILURES = {
    "400": (Failure(400, LEAK), "400, No key ***"),
    "401": (Failure(401, LEAK), "401, wrong or expired credentials in KAGGLE_KEY; make a token"),
    "403": (Failure(403, LEAK), "403, No key ***"),
    "404": (Failure(404, LEAK), "404, No key ***"),
    "429": (Failure(429, LEAK, {"Retry-After": "7200"}), "429, too many requests; try again in 120 min"),
    "502": (Failure(502, LEAK), "502, No key ***"),
    "html": (Failure(503, body=f"<p>{LEAK}</p>".encode()), "503, Service Unavailable"),
    "drop": (Failure(drop=True), "no connection, or it broke off"),
}


# Every call, and every failure of one that sends a file and one that fetches one.
SOON = {("submit", "Upload"), ("download", "Download")}


@pytest.mark.parametrize(
    ("act", "call", "kind"),
    [
        pytest.param(*each, kind, marks=() if kind == "400" or each in SOON else pytest.mark.slow)
        for each in CALLS
        for kind in FAILURES
    ],
)
def test_failure_is_one_line(
    filled: Server,
    client: Client,
    waits: list[float],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    act: str,
    call: str,
    kind: str,
) -> None:
    failure, words = FAILURES[kind]
    filled.fail(call, failure)
    line = failure_of(lambda: ACTS[act](client, tmp_path))
    assert words in line and line.startswith("Kaggle, ")
    assert calls(filled).count(call) == 1, "asked again"
    assert not waits
    assert not list((tmp_path / "fetched").rglob("*")), "something half-written stays"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("act", "call"), CALLS, ids=[f"{act}-{call}" for act, call in CALLS])
def test_works_after_too_many_requests(
    filled: Server,
    client: Client,
    waits: list[float],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    act: str,
    call: str,
) -> None:
    busy = Failure(429, LEAK, {"Retry-After": "7"})
    filled.fail(call, busy, busy)
    assert ACTS[act](client, tmp_path) is not None
    assert waits == [7, 7]
    told = capfd.readouterr()
    assert told.out == ""
    lines = told.err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("Kaggle, ") for line in lines)
    assert all(line.endswith(": too many requests, waiting 7 s") for line in lines)
    assert len(filled.submissions["digits"]) == act.startswith("submit")


BYTES = ("Upload", "Download", "DownloadDataFiles", "DownloadDataFile", "DownloadDataset")
JSON_CALLS = [(act, call) for act, call in CALLS if call not in BYTES]


@pytest.mark.parametrize(("act", "call"), JSON_CALLS, ids=[f"{act}-{call}" for act, call in JSON_CALLS])
@pytest.mark.parametrize("body", [f"<html>{LEAK}", "null"])
def test_answer_is_nonsense(
    filled: Server, client: Client, tmp_path: Path, act: str, call: str, body: str
) -> None:
    filled.fail(call, Failure(body=body.encode(), headers={"Content-Type": "application/json"}))
    line = failure_of(lambda: ACTS[act](client, tmp_path), NoAnswerError)
    assert "the answer cannot be understood" in line


@pytest.mark.parametrize(
    ("act", "call", "words"),
    [
        ("submit", "CreateSubmission", "the answer has no number for it; it may have arrived: look with"),
        ("push_kernel", "SaveKernel", "the answer has no version of it; try again later"),
        ("push_dataset", "CreateDataset", "refused, its status is not told; fix that"),
        ("quota", "GetSubmissionLimits", "nothing was sent and nothing may be; join the competition"),
        ("submit", "StartSubmissionUpload", "the answer cannot be understood (MissingSchema)"),
        ("push_dataset", "StartBlobUpload", "the answer cannot be understood (MissingSchema)"),
    ],
)
def test_answer_is_empty(
    filled: Server, client: Client, tmp_path: Path, act: str, call: str, words: str
) -> None:
    filled.fail(call, Failure(body=b"{}"))
    assert words in failure_of(lambda: ACTS[act](client, tmp_path))


@pytest.mark.parametrize(
    "body", [{"submissions": [PENDING | {"status": "LOST"}]}, {"submissions": [{"ref": 1, "date": 3}]}]
)
def test_answer_has_strange_values(server: Server, client: Client, body: dict[str, object]) -> None:
    server.fail("ListSubmissions", Failure(body=json.dumps(body).encode()))
    assert "the answer cannot be understood" in failure_of(lambda: client.submissions("digits"))


@pytest.mark.parametrize("act", ["quota", "download", "push_kernel", "kernel_output"])
def test_slow_answer(filled: Server, tmp_path: Path, act: str) -> None:
    calls = {"quota": "GetSubmissionLimits", "download": "Download", "push_kernel": "SaveKernel"}
    filled.fail(calls.get(act, "Download"), Failure(delay=600))
    client = Client(timeout=0.5)
    assert "no answer within 0.5 s" in failure_of(lambda: ACTS[act](client, tmp_path), NoAnswerError)


def test_refusal_under_the_status_of_success(server: Server, client: Client) -> None:
    body = json.dumps({"code": 403, "message": "You must accept the rules"}).encode()
    server.fail("ListSubmissions", Failure(body=body, headers={"Content-Type": "application/json"}))
    line = failure_of(lambda: client.submissions("digits"))
    assert "403, You must accept the rules; join the competition" in line


@pytest.mark.parametrize("act", ["download", "quota", "submissions", "submit"])
def test_competition_not_joined_or_not_there(
    server: Server, client: Client, tmp_path: Path, act: str
) -> None:
    call = dict(CALLS)[act] if act != "download" else "DownloadDataFiles"
    call = "StartSubmissionUpload" if act == "submit" else call
    home = "https://www.kaggle.com/competitions/digits"
    server.fail(call, Failure(403, "You must accept this competition's rules"), Failure(404, "Not Found"))
    line = failure_of(lambda: ACTS[act](client, tmp_path))
    rules = f"join the competition and accept its rules at {home}/rules"
    assert line.endswith(f"403, You must accept this competition's rules; {rules}")
    line = failure_of(lambda: ACTS[act](client, tmp_path))
    assert line.endswith(f"404, Not Found; its name is the last part of its address: is there {home} ?")


# ---------------------------------------------------------------- too many requests


def test_gives_up_after_growing_waits(
    server: Server, client: Client, waits: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    server.fail("GetSubmissionLimits", *[Failure(429, LEAK)] * 9)
    line = failure_of(lambda: client.quota("digits"))
    assert line == "Kaggle, asking for the quota of digits: 429, too many requests; try again in 60 min"
    assert waits == [5, 10, 20, 40]
    assert calls(server) == ["GetSubmissionLimits"] * 5
    assert len(capfd.readouterr().err.splitlines()) == 4


@pytest.mark.parametrize(
    ("named", "waited"), [("0", 0), ("3", 3), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("soon", 5), ("", 5)]
)
def test_wait_that_kaggle_names(
    server: Server, client: Client, waits: list[float], named: str, waited: float
) -> None:
    server.fail("GetSubmissionLimits", Failure(429, headers={"Retry-After": named}))
    assert client.quota("digits").left == 10
    assert waits == [waited]
