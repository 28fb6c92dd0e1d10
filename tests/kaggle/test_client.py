"""The real kaggle package speaks to scripts/kaggle_server.py; each failure is one line without a secret."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import traceback
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kaggle_place import KEY, LEAK, SECRETS, Failure, forget_package, kaggle_server, set_environment

from softvote.errors import UserError
from softvote.kaggle.client import Client, KernelState, NoAnswerError, Pushed, Quota, Submission

Server = Any
Act = Callable[[Client, Path], object]

pytestmark = pytest.mark.usefixtures("package")

PENDING = {"ref": 1, "date": "2025-01-31T12:00:00.123Z", "status": "PENDING"}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    digits = tmp_path / "competitions" / "digits"
    digits.mkdir(parents=True)
    (digits / "train.csv").write_text("label,pixel0\n1,2\n")
    (digits / "sample_submission.csv").write_text("ImageId,Label\n1,0\n2,0\n")
    (digits / "solution.csv").write_text("ImageId,Label\n1,3\n2,4\n")
    with kaggle_server.KaggleServer(digits.parent, key=KEY, polls=1) as server:
        set_environment(monkeypatch, server.environment(), tmp_path)
        yield server


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(server: Server, waits: list[float]) -> Client:
    return Client(wait=waits.append)


def failure_of(act: Callable[[], object], kind: type[UserError] = UserError) -> str:
    """The line of a failure, which holds no secret, and has none behind it."""
    with pytest.raises(kind) as caught:
        act()
    line = str(caught.value)
    assert "\n" not in line
    shown = "".join(traceback.format_exception(caught.value))
    assert not [secret for secret in SECRETS if secret in shown]
    return line


def calls(server: Server) -> list[str]:
    return [request.call for request in server.requests]


def submission_file(folder: Path) -> Path:
    path = folder / "digits-1234abcd.csv"
    path.write_text("ImageId,Label\n1,3\n2,5\n")
    return path


def dataset_folder(folder: Path, **facts: object) -> Path:
    path = folder / "dataset"
    path.mkdir(exist_ok=True)
    (path / "cnn.fold0.safetensors").write_bytes(bytes(range(256)) * 300)
    (path / "empty.json").write_bytes(b"")
    named = {"id": "tester/softvote-weights", "title": "softvote weights", "licenses": [{"name": "CC0-1.0"}]}
    (path / "dataset-metadata.json").write_text(json.dumps(named | facts))
    return path


def kernel_folder(folder: Path, **facts: object) -> Path:
    path = folder / "kernel"
    path.mkdir(exist_ok=True)
    (path / "infer.py").write_text("print('four')\n")
    named = {"id": "tester/softvote-infer", "title": "softvote infer", "code_file": "infer.py"}
    kind = {"language": "python", "kernel_type": "script", "competition_sources": ["digits"]}
    (path / "kernel-metadata.json").write_text(json.dumps(named | kind | facts))
    return path


def test_package_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, softvote.kaggle.client; print({'kaggle', 'kagglesdk', 'requests'} & set(sys.modules))"
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
        ({"KAGGLE_API_TOKEN": "token.txt"}, "token.txt", KEY),
        ({}, ".kaggle/access_token", f"{KEY}\n"),
        ({"KAGGLE_USERNAME": "tester", "KAGGLE_KEY": KEY}, None, ""),
        ({}, ".kaggle/kaggle.json", LEGACY),
        ({}, ".config/kaggle/kaggle.json", LEGACY),
        ({"KAGGLE_CONFIG_DIR": "elsewhere"}, "elsewhere/kaggle.json", LEGACY),
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
        ({}, ".kaggle/kaggle.json", "{not JSON", "~/.kaggle"),
        ({}, ".kaggle/access_token", "stale", "~/.kaggle"),
        ({}, ".kaggle/credentials.json", STALE, "~/.kaggle"),
        ({"KAGGLE_API_TOKEN": "stale"}, None, "", "KAGGLE_API_TOKEN"),
        ({"KAGGLE_API_TOKEN": KEY * 20}, None, "", "KAGGLE_API_TOKEN"),  # no file has so long a name
        ({"KAGGLE_USERNAME": "tester"}, None, "", "~/.kaggle"),
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
    expected = "signing in: no connection, or it broke off; see to the network and run the same command again"
    assert line == f"Kaggle, {expected}"


# ---------------------------------------------------------------- every call, every failure

ACTS: dict[str, Act] = {
    "download": lambda client, folder: client.download("digits", folder / "fetched"),
    "quota": lambda client, folder: client.quota("digits"),
    "submissions": lambda client, folder: client.submissions("digits"),
    "submit": lambda client, folder: client.submit("digits", submission_file(folder), "cnn sha256 12"),
    "push_dataset": lambda client, folder: client.push_dataset(dataset_folder(folder)),
    "dataset_is_ready": lambda client, folder: client.dataset_is_ready("tester/there"),
    "push_kernel": lambda client, folder: client.push_kernel(kernel_folder(folder)),
    "kernel_state": lambda client, folder: client.kernel_state("tester/done"),
    "kernel_output": lambda client, folder: client.kernel_output("tester/done", folder / "fetched"),
}
CALLS = [
    ("download", "DownloadDataFiles"),
    ("download", "Download"),
    ("quota", "GetSubmissionLimits"),
    ("submissions", "ListSubmissions"),
    ("submit", "StartSubmissionUpload"),
    ("submit", "Upload"),
    ("submit", "CreateSubmission"),
    ("push_dataset", "StartBlobUpload"),
    ("push_dataset", "Upload"),
    ("push_dataset", "CreateDataset"),
    ("dataset_is_ready", "GetDatasetStatus"),
    ("push_kernel", "SaveKernel"),
    ("kernel_state", "GetKernelSessionStatus"),
    ("kernel_output", "ListKernelSessionOutput"),
    ("kernel_output", "Download"),
]
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


@pytest.fixture
def filled(server: Server) -> Server:
    """A server with a dataset, and a kernel that has run."""
    server.datasets["tester/there"] = kaggle_server.Dataset({}, {})
    server.kernels["tester/done"] = kaggle_server.Kernel(output={"submission.csv": b"ImageId,Label\n" * 99})
    return server


@pytest.mark.parametrize(("act", "call"), CALLS, ids=[f"{act}-{call}" for act, call in CALLS])
@pytest.mark.parametrize("kind", FAILURES)
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
    assert len(filled.submissions["digits"]) == (act == "submit")


JSON_CALLS = [(act, call) for act, call in CALLS if call not in ("Upload", "Download", "DownloadDataFiles")]


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
        ("push_dataset", "CreateDataset", "refused, its status is not told; mend that"),
        ("quota", "GetSubmissionLimits", "none was sent and none may be; join the competition"),
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


# ---------------------------------------------------------------- download


def test_download(server: Server, client: Client, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = client.download("digits", tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "digits.zip"
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["sample_submission.csv", "train.csv"]
        assert archive.read("train.csv") == b"label,pixel0\n1,2\n"
    assert [file.name for file in path.parent.iterdir()] == ["digits.zip"]
    assert capfd.readouterr() == ("", "")


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("train.csv", b"label,pixel0\n1,2\n" * 20)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (Failure(body=b"{}"), "the 2 bytes that came are no whole zip file"),
        (Failure(body=b"{}", headers={"Content-Type": "application/json"}), "the 2 bytes that came are no"),
        (Failure(body=b""), "the 0 bytes that came are no whole zip file"),
        (Failure(body=_zip()[:200]), "the 200 bytes that came are no whole zip file"),
        (Failure(body=_zip().replace(b"1,2", b"1,7", 1)), "train.csv came damaged"),
        (Failure(cut=100), "no connection, or it broke off"),
    ],
)
def test_download_that_is_no_zip(
    server: Server, client: Client, tmp_path: Path, failure: Any, words: str
) -> None:
    server.fail("Download", failure)
    line = failure_of(lambda: client.download("digits", tmp_path / "fetched"))
    assert line.startswith(f"Kaggle, downloading digits: {words}")
    assert "run the same command again" in line
    assert list((tmp_path / "fetched").iterdir()) == []


def test_the_only_file_of_a_competition_comes_bare(server: Server, client: Client, tmp_path: Path) -> None:
    folder = server.folder / "alone"
    folder.mkdir()
    (folder / "train.csv").write_text("label\n7\n")
    server.fail(
        "DownloadDataFiles", Failure(302, headers={"Location": f"{server.url}/x/train.csv"}, body=b"")
    )
    server.fail("Download", Failure(body=b"label\n7\n"))
    with zipfile.ZipFile(client.download("alone", tmp_path)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"train.csv": b"label\n7\n"}


def test_full_disk_is_no_failure_of_kaggle(client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = failure_of(lambda: client.download("digits", tmp_path / "file"))
    assert "cannot be written" in line and "Kaggle," not in line


# ---------------------------------------------------------------- submissions


def test_submit(server: Server, client: Client, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = submission_file(tmp_path)
    ref = client.submit("digits", path, "step3 cnn 99.41 sha256 ab12")
    assert calls(server) == ["StartSubmissionUpload", "Upload", "CreateSubmission"]
    assert server.requests[1].body == path.read_bytes()
    [pending] = client.submissions("digits")
    assert (pending.ref, pending.status, pending.public, pending.private) == (ref, "pending", None, None)
    [scored] = client.submissions("digits")
    assert (scored.ref, scored.status, scored.public, scored.private) == (ref, "complete", 0.5, None)
    assert (scored.file, scored.description) == (path.name, "step3 cnn 99.41 sha256 ab12")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "failure",
    [Failure(drop=True), Failure(drop=True, lost=True), Failure(502, LEAK), Failure(body=b"<html>")],
)
def test_submission_whose_answer_is_lost_is_not_sent_twice(
    server: Server, client: Client, tmp_path: Path, failure: Any
) -> None:
    server.fail("CreateSubmission", failure)
    line = failure_of(lambda: ACTS["submit"](client, tmp_path), NoAnswerError)
    assert line.startswith("Kaggle, sending digits-1234abcd.csv to digits: ")
    assert line.endswith("; it may have arrived: look with make leaderboard before sending it again")
    assert calls(server).count("CreateSubmission") == 1
    assert len(server.submissions["digits"]) == failure.lost


@pytest.mark.parametrize("failure", [Failure(drop=True), Failure(400, LEAK), Failure(503), Failure(308)])
def test_upload_broken_half_way_sends_nothing(
    server: Server, client: Client, tmp_path: Path, failure: Any
) -> None:
    server.fail("Upload", failure)
    line = failure_of(lambda: ACTS["submit"](client, tmp_path))
    assert line.startswith("Kaggle, uploading digits-1234abcd.csv: ")
    assert "may have arrived" not in line
    assert "CreateSubmission" not in calls(server)


def test_submission_file_that_is_not_there(client: Client, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.submit("digits", tmp_path / "gone.csv", "")


def test_quota_used_up(server: Server, client: Client, tmp_path: Path) -> None:
    server.daily_limit = 1
    assert client.quota("digits") == Quota(today=0, left=1)
    client.submit("digits", submission_file(tmp_path), "first")
    assert client.quota("digits") == Quota(today=1, left=0)
    line = failure_of(lambda: client.submit("digits", submission_file(tmp_path), "second"))
    used = "digits: 1 submissions were sent today and none is left; the quota resets at midnight UTC, in "
    assert line.startswith(used)
    assert len(server.submissions["digits"]) == 1


def test_refused_submission_with_quota_left(server: Server, client: Client, tmp_path: Path) -> None:
    server.fail("CreateSubmission", Failure(400, "The deadline has passed"))
    line = failure_of(lambda: ACTS["submit"](client, tmp_path))
    assert "400, The deadline has passed; mend that and run the same command again" in line


@pytest.mark.parametrize(
    ("now", "left"),
    [
        ("2025-01-31T21:30:00", "2 h 30 min"),
        ("2025-01-31T23:59:59", "0 h 1 min"),
        ("2025-01-31", "24 h 0 min"),
    ],
)
def test_when_the_quota_resets(now: str, left: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert Quota(5, 0).resets(moment) == f"the quota resets at midnight UTC, in {left}"


def test_limit_on_all_submissions(server: Server, client: Client) -> None:
    limits = {"numToday": 0, "numTotal": 50, "numAllowedNow": 0, "limitedByTotal": True}
    server.fail("GetSubmissionLimits", Failure(body=json.dumps(limits).encode()))
    quota = client.quota("digits")
    assert quota == Quota(today=0, left=0, for_good=True)
    assert quota.resets() == "the limit is on all submissions and does not reset"


def _row(ref: int, **facts: object) -> dict[str, object]:
    return PENDING | {"ref": ref, "fileName": f"{ref}.csv", "date": f"2025-01-{ref:02}T12:00:00.5Z"} | facts


def test_submissions_of_every_page(server: Server, client: Client) -> None:
    assert client.submissions("digits") == []
    server.submissions["digits"] = [PENDING | {"ref": ref} for ref in range(45, 0, -1)]
    assert [row.ref for row in client.submissions("digits")] == list(range(45, 0, -1))
    asked = [(request.body.get("page"), request.body.get("pageToken")) for request in server.requests[1:]]
    assert asked == [(1, ""), (None, "20"), (None, "40")]


def test_submissions_by_page_number_where_there_is_no_token(server: Server, client: Client) -> None:
    """One that was sent meanwhile has pushed an old one onto the second page."""
    pages = [range(28, 8, -1), range(9, 0, -1)]
    bodies = [json.dumps({"submissions": [_row(ref) for ref in page]}) for page in pages]
    server.fail("ListSubmissions", *[Failure(body=body.encode()) for body in bodies])
    assert [row.ref for row in client.submissions("digits")] == list(range(28, 0, -1))
    assert [request.body.get("page") for request in server.requests] == [1, 2]


def test_a_page_that_comes_again_is_the_last(server: Server, client: Client) -> None:
    page = {"submissions": [_row(ref) for ref in range(20, 0, -1)], "nextPageToken": "20"}
    server.fail("ListSubmissions", *[Failure(body=json.dumps(page).encode())] * 9)
    assert len(client.submissions("digits")) == 20
    assert len(calls(server)) == 2


def test_submissions_of_every_kind(server: Server, client: Client) -> None:
    server.submissions["digits"] = [
        _row(1, status="COMPLETE", publicScore="0.99610", privateScore="0.99571", description="a"),
        _row(4, status="ERROR", errorDescription="Evaluation Exception:\n row 3"),
        _row(2, status="COMPLETE", publicScore="", privateScore="NaN"),
        _row(3),
    ]
    assert client.submissions("digits") == [
        Submission(4, "4.csv", "2025-01-04T12:00:00Z", "", "error", error="Evaluation Exception: row 3"),
        Submission(3, "3.csv", "2025-01-03T12:00:00Z", "", "pending"),
        Submission(2, "2.csv", "2025-01-02T12:00:00Z", "", "complete"),
        Submission(1, "1.csv", "2025-01-01T12:00:00Z", "a", "complete", 0.9961, 0.99571),
    ]


# ---------------------------------------------------------------- datasets


def test_push_dataset(
    server: Server, client: Client, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = dataset_folder(tmp_path)
    assert client.push_dataset(folder) == "tester/softvote-weights"
    dataset = server.datasets["tester/softvote-weights"]
    assert dataset.facts["isPrivate"] is True
    assert (dataset.facts["title"], dataset.facts["licenseName"]) == ("softvote weights", "CC0-1.0")
    names = ["cnn.fold0.safetensors", "empty.json"]
    assert dataset.files == {name: (folder / name).read_bytes() for name in names}
    assert not client.dataset_is_ready("tester/softvote-weights")
    assert client.dataset_is_ready("tester/softvote-weights")
    (folder / "empty.json").write_bytes(b"{}")
    assert client.push_dataset(folder) == "tester/softvote-weights"
    assert (dataset.version, dataset.files["empty.json"]) == (2, b"{}")
    assert capfd.readouterr() == ("", "")


def test_dataset_without_one_of_its_files_is_not_made(server: Server, client: Client, tmp_path: Path) -> None:
    """The package itself leaves a file out whose upload failed."""
    server.fail("Upload", Failure(), Failure(400, "No"))
    line = failure_of(lambda: client.push_dataset(dataset_folder(tmp_path)))
    assert line == "Kaggle, uploading empty.json: 400, No; nothing was sent; run the same command again"
    assert server.datasets == {}


@pytest.mark.parametrize("call", ["CreateDataset", "CreateDatasetVersion"])
def test_dataset_refused_under_the_status_of_success(
    server: Server, client: Client, tmp_path: Path, call: str
) -> None:
    folder = dataset_folder(tmp_path)
    if call == "CreateDatasetVersion":
        client.push_dataset(folder)
    refusals = (
        {"status": "error", "error": "The title is in use"},
        {"status": "ok", "invalidTags": ["x", "y"]},
    )
    server.fail(call, *[Failure(body=json.dumps(refusal).encode()) for refusal in refusals])
    line = failure_of(lambda: client.push_dataset(folder))
    assert line == (
        "Kaggle, pushing the dataset tester/softvote-weights: refused, The title is in use; "
        "mend that and run the same command again"
    )
    assert "refused, no valid tags: x, y; mend" in failure_of(lambda: client.push_dataset(folder))


def test_dataset_that_kaggle_cannot_make(server: Server, client: Client) -> None:
    server.fail("GetDatasetStatus", Failure(body=b'{"status": "FAILED"}'))
    line = failure_of(lambda: client.dataset_is_ready("tester/some"))
    page = "https://www.kaggle.com/datasets/tester/some"
    assert line == f"Kaggle, making the dataset tester/some: failed; see {page}"


@pytest.mark.parametrize("name", [None, "weights"])
def test_dataset_without_a_name(client: Client, tmp_path: Path, name: str | None) -> None:
    line = failure_of(lambda: client.push_dataset(dataset_folder(tmp_path, id=name)))
    assert line.endswith("dataset-metadata.json: names no id, such as tester/weights; add it")


# ---------------------------------------------------------------- kernels


def test_push_kernel(
    server: Server, client: Client, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = "https://www.kaggle.com/code/tester/softvote-infer"
    folder = kernel_folder(tmp_path, enable_internet=False)
    assert client.push_kernel(folder) == Pushed("tester/softvote-infer", 1, url)
    assert server.kernels["tester/softvote-infer"].facts["text"] == "print('four')\n"
    states = [client.kernel_state("tester/softvote-infer") for _ in range(2)]
    assert states == [KernelState("queued", ""), KernelState("complete", "")]
    assert client.push_kernel(folder).version == 2
    assert capfd.readouterr() == ("", "")


def test_kernel_refused_under_the_status_of_success(server: Server, client: Client, tmp_path: Path) -> None:
    server.push_error = f"Notebook is too large, {LEAK}"
    line = failure_of(lambda: client.push_kernel(kernel_folder(tmp_path)))
    assert line.startswith("Kaggle, pushing the kernel: refused, Notebook is too large, No key ***")
    server.push_error = ""
    folder = kernel_folder(tmp_path, dataset_sources=["tester/gone"], competition_sources=["gone"])
    line = failure_of(lambda: client.push_kernel(folder))
    assert "no valid dataset sources: tester/gone; no valid competition sources: gone; mend" in line


def test_kernel_that_the_package_itself_refuses(server: Server, client: Client, tmp_path: Path) -> None:
    folder = kernel_folder(tmp_path, title="four")
    line = failure_of(lambda: client.push_kernel(folder))
    assert line == f"{folder / 'kernel-metadata.json'}: Title must be at least five characters"
    assert calls(server) == []


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("NEW_SCRIPT", "queued"),
        ("RUNNING", "running"),
        ("CANCEL_REQUESTED", "cancelled"),
        ("CANCEL_ACKNOWLEDGED", "cancelled"),
    ],
)
def test_kernel_state(filled: Server, client: Client, status: str, state: str) -> None:
    filled.fail("GetKernelSessionStatus", Failure(body=json.dumps({"status": status}).encode()))
    assert client.kernel_state("tester/done") == KernelState(state, "")


def test_kernel_that_failed(filled: Server, client: Client) -> None:
    filled.kernels["tester/done"].failure = "The script\nended with 1"
    assert client.kernel_state("tester/done") == KernelState("error", "The script ended with 1")


def test_kernel_that_is_not_there(server: Server, client: Client) -> None:
    line = failure_of(lambda: client.kernel_state("tester/gone"))
    assert line.endswith("; see whether it is there and yours: https://www.kaggle.com/code/tester/gone")


def test_kernel_output_of_every_page(filled: Server, client: Client, tmp_path: Path) -> None:
    kernel = filled.kernels["tester/done"]
    kernel.output = {f"folds/{number}.txt": b"four" * number for number in range(45)}
    kernel.log = '[{"data": "four"}]'
    folder = tmp_path / "output"
    paths = client.kernel_output("tester/done", folder)
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths[:-1]} == kernel.output
    assert paths[-1] == folder / "done.log"
    assert paths[-1].read_text() == kernel.log
    assert calls(filled).count("ListKernelSessionOutput") == 3


def test_kernel_output_stays_in_its_folder(filled: Server, client: Client, tmp_path: Path) -> None:
    filled.kernels["tester/done"].output = {"../outside.txt": b""}
    line = failure_of(lambda: client.kernel_output("tester/done", tmp_path / "output"))
    assert "output '../outside.txt' would leave" in line
    assert not (tmp_path / "outside.txt").exists()


def test_kernel_output_cut_off(filled: Server, client: Client, tmp_path: Path) -> None:
    filled.fail("Download", Failure(cut=5))
    line = failure_of(lambda: client.kernel_output("tester/done", tmp_path / "output"), NoAnswerError)
    assert line.startswith("Kaggle, downloading submission.csv: no connection, or it broke off")
    assert not list((tmp_path / "output").iterdir())
