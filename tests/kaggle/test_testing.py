"""softvote.kaggle.testing: the real kaggle package speaks to it, and failures arrive as they were asked."""

from __future__ import annotations

import io
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from data_fixtures import write_csv

import softvote
from softvote.errors import UserError
from softvote.kaggle import testing
from softvote.kaggle.testing import Failure
from softvote.kaggle.testing import KaggleServer as Server
from softvote.kaggle.testing.__main__ import main

Api = Any

SAMPLE = [[1, 0], [2, 0], [3, 0], [4, 0]]
TRUTH = [[1, 7], [2, 1], [3, 0], [4, 4]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One competition, 'digits', of four test rows and a file in a folder of its own."""
    digits = tmp_path / "competitions" / "digits"
    (digits / "images").mkdir(parents=True)
    (digits / "images" / "one.bin").write_bytes(bytes(range(256)) * 64)
    write_csv(digits / "sample_submission.csv", ["ImageId", "Label"], SAMPLE)
    write_csv(digits / "solution.csv", ["ImageId", "Label"], TRUTH)
    return digits.parent


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with Server(folder) as server:
        yield server


@pytest.fixture
def api(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Api:
    """The package's client with the server's credentials."""
    return client(server.environment(), monkeypatch, tmp_path)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the package would wait before it tries again; it does not."""
    seconds = list[float]()
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


def client(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, home: Path) -> Api:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home / "config"))
    from kaggle.api.kaggle_api_extended import KaggleApi

    # Read from the environment when the package is imported, which another test may have done.
    monkeypatch.setattr(KaggleApi, "args", ["--local"])
    api = KaggleApi()
    api.authenticate()
    return api


def calls(server: Server) -> list[str]:
    return [request.call for request in server.requests]


def submit(api: Api, tmp_path: Path, text: str = "ImageId,Label\n1,7\n2,1\n3,0\n4,9\n") -> Any:
    path = tmp_path / "digits-1234abcd.csv"
    path.write_text(text, encoding="utf-8")
    return api.competition_submit(str(path), "sha256 1234abcd", "digits", quiet=True)


# Credentials.


def test_a_wrong_key_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    api = client(server.environment() | {"KAGGLE_KEY": "other"}, monkeypatch, tmp_path)
    with pytest.raises(requests.HTTPError, match="Unauthenticated") as refused:
        api.competition_list_files("digits")
    assert refused.value.response.status_code == 401


def test_an_access_token_is_looked_up_and_accepted(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = {"KAGGLE_USERNAME": "", "KAGGLE_KEY": "", "KAGGLE_API_TOKEN": server.key}
    api = client(server.environment() | token, monkeypatch, tmp_path)
    assert api.get_config_value("username") == "tester"
    assert len(api.competition_list_files("digits").files) == 2
    assert calls(server)[-2:] == [
        "IntrospectToken",
        "ListDataFiles",
    ]  # the package's first import asks as well
    assert server.requests[-1].authorization == f"Bearer {server.key}"


def test_an_unknown_access_token_is_not_active(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    api = client(server.environment() | {"KAGGLE_API_TOKEN": "other"}, monkeypatch, tmp_path)
    assert api.get_config_value("auth_method") == "LEGACY_API_KEY"


@pytest.mark.parametrize(("token", "signed_in"), [("secret-key", True), ("other", False)])
def test_a_refresh_token_brings_an_access_token(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str, signed_in: bool
) -> None:
    (tmp_path / ".kaggle").mkdir()
    credentials = {"refresh_token": token, "username": "tester"}
    (tmp_path / ".kaggle" / "credentials.json").write_text(json.dumps(credentials), encoding="utf-8")
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    named = {
        name: value
        for name, value in server.environment().items()
        if name[:8] not in {"KAGGLE_U", "KAGGLE_K"}
    }
    if not signed_in:
        with pytest.raises(SystemExit):
            client(named, monkeypatch, tmp_path)
        return
    api = client(named, monkeypatch, tmp_path)
    assert api.get_config_value("auth_method") == "OAUTH"
    assert api.competition_get_submission_limits("digits").num_allowed_now == 10


# Competitions.


def test_files_are_listed_and_handed_out_but_for_the_solution(
    api: Api, server: Server, folder: Path, tmp_path: Path
) -> None:
    names = [file.name for file in api.competition_list_files("digits").files]
    assert names == ["images/one.bin", "sample_submission.csv"]
    api.competition_download_files("digits", str(tmp_path))
    assert (server.requests[-1].call, server.requests[-1].authorization) == ("Download", "")
    archive = zipfile.ZipFile(tmp_path / "digits.zip")
    assert archive.namelist() == names
    for name in names:
        assert archive.read(name) == (folder / "digits" / name).read_bytes()


def test_one_file_is_handed_out_and_the_solution_is_not(api: Api, folder: Path, tmp_path: Path) -> None:
    got = tmp_path / "got"
    api.competition_download_file("digits", "images/one.bin", str(got), quiet=True)
    (file,) = got.rglob("one.bin")  # since kaggle 2.2.5 in a folder as on the server
    assert file.read_bytes() == (folder / "digits" / "images" / "one.bin").read_bytes()
    with pytest.raises(requests.HTTPError, match="Not Found"):
        api.competition_download_file("digits", "solution.csv", str(tmp_path), quiet=True)


def test_an_unknown_competition_is_not_found(api: Api, server: Server, tmp_path: Path) -> None:
    for ask in (
        lambda: api.competition_list_files("numbers"),
        lambda: api.competition_download_files("numbers", str(tmp_path)),
        lambda: api.competition_submissions("numbers"),
        lambda: api.competition_get_submission_limits("numbers"),
    ):
        with pytest.raises(requests.HTTPError) as refused:
            ask()
        assert refused.value.response.status_code == 404


def test_a_submission_is_pending_for_two_listings_then_scored(
    api: Api, server: Server, tmp_path: Path
) -> None:
    ref = submit(api, tmp_path).ref
    assert calls(server) == ["StartSubmissionUpload", "Upload", "CreateSubmission"]
    listed = [api.competition_submissions("digits")[0] for _ in range(3)]
    assert [row.status.name for row in listed] == ["PENDING", "PENDING", "COMPLETE"]
    assert [row.public_score for row in listed] == ["", "", "0.75000"]
    last = listed[-1]
    assert (last.ref, last.file_name, last.description) == (ref, "digits-1234abcd.csv", "sha256 1234abcd")
    assert submit(api, tmp_path).ref == ref + 1
    assert [row.ref for row in api.competition_submissions("digits")] == [ref + 1, ref]


def test_a_submission_is_found_by_its_number(api: Api, server: Server, tmp_path: Path) -> None:
    from kagglesdk.competitions.types.competition_api_service import ApiGetSubmissionRequest

    server.polls = 1
    request = ApiGetSubmissionRequest()
    request.ref = submit(api, tmp_path).ref
    with api.build_kaggle_client() as kaggle:
        asked = kaggle.competitions.competition_api_client.get_submission
        found = [asked(request) for _ in range(2)]
        request.ref += 1
        with pytest.raises(requests.HTTPError, match="Not Found"):
            asked(request)
    assert [(row.status.name, row.public_score) for row in found] == [
        ("PENDING", ""),
        ("COMPLETE", "0.75000"),
    ]


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("", "Every line must have 2 columns"),
        ("ImageId,Label\n1,7\n2,1\n3\n4,4\n", "Every line must have 2 columns"),
        ("Id,Label\n1,7\n2,1\n3,0\n4,4\n", "Could not find the columns ImageId,Label"),
        ("ImageId,Label\n1,7\n2,1\n3,0\n", "Submission must have 4 rows"),
        ("ImageId,Label\n1,7\n2,1\n3,0\n3,4\n", "The column ImageId must hold every value once"),
        ("ImageId,Label\n1,7\n2,1\n3,0\n4,\n", "The column Label must not hold empty values"),
    ],
)
def test_a_submission_of_another_form_is_an_error(
    api: Api, server: Server, tmp_path: Path, text: str, description: str
) -> None:
    server.polls = 0
    submit(api, tmp_path, text)
    row = api.competition_submissions("digits")[0]
    assert (row.status.name, row.error_description, row.public_score) == ("ERROR", description, "")


def test_rows_in_another_order_score_the_same(api: Api, server: Server, tmp_path: Path) -> None:
    server.polls = 0
    submit(api, tmp_path, "ImageId,Label\n4,4\n3,0\n2,1\n1,7\n")
    assert api.competition_submissions("digits")[0].public_score == "1.00000"


def test_without_a_solution_there_is_no_score(api: Api, server: Server, folder: Path, tmp_path: Path) -> None:
    server.polls = 0
    (folder / "digits" / "solution.csv").unlink()
    submit(api, tmp_path)
    row = api.competition_submissions("digits")[0]
    assert (row.status.name, row.public_score) == ("COMPLETE", "")


def test_a_used_up_quota_refuses_until_midnight(api: Api, server: Server, tmp_path: Path) -> None:
    server.daily_limit = 2
    server.submissions["digits"].append({"ref": 1, "date": "2025-01-31T12:00:00.000Z", "status": "COMPLETE"})
    for left in (2, 1):
        limits = api.competition_get_submission_limits("digits")
        assert (limits.num_today, limits.num_total, limits.num_allowed_now) == (2 - left, 3 - left, left)
        submit(api, tmp_path)
    with pytest.raises(requests.HTTPError, match=r"daily Submission allowance \(2\)") as refused:
        submit(api, tmp_path)
    assert refused.value.response.status_code == 400
    assert len(server.submissions["digits"]) == 3


def test_forty_five_submissions_are_three_pages(api: Api, server: Server) -> None:
    from kagglesdk.competitions.types.competition_api_service import ApiListSubmissionsRequest

    server.submissions["digits"] += [{"ref": ref, "status": "COMPLETE"} for ref in range(45, 0, -1)]
    refs, tokens, token = list[int](), list[str](), ""
    with api.build_kaggle_client() as kaggle:
        while not tokens or token:
            request = ApiListSubmissionsRequest()
            request.competition_name, request.page_size, request.page_token = "digits", 100, token
            page = kaggle.competitions.competition_api_client.list_submissions(request)
            token = page.next_page_token
            refs += [row.ref for row in page.submissions]
            tokens.append(token)
    assert refs == list(range(45, 0, -1))
    assert tokens == ["20", "40", ""]
    third = api.competition_submissions("digits", page_number=3)
    assert [row.ref for row in third] == [5, 4, 3, 2, 1]


# What goes wrong.


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_a_status_and_its_message_arrive_once(api: Api, server: Server, status: int) -> None:
    server.fail("ListSubmissions", Failure(status, "You must accept this competition's rules"))
    with pytest.raises(requests.HTTPError, match="accept this competition's rules") as refused:
        api.competition_submissions("digits")
    assert refused.value.response.status_code == status
    assert api.competition_submissions("digits") == []


def test_the_package_waits_as_long_as_too_many_requests_says(
    api: Api, server: Server, waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    server.fail("ListSubmissions", Failure(429, "Too Many Requests", {"Retry-After": "7"}))
    assert api.with_retry(api.competition_submissions)("digits") == []
    assert waits == [7.0]
    assert calls(server) == ["ListSubmissions"] * 2


def test_a_dropped_call_does_nothing(api: Api, server: Server, tmp_path: Path) -> None:
    server.fail("CreateSubmission", Failure(drop=True))
    with pytest.raises(requests.ConnectionError):
        submit(api, tmp_path)
    assert server.submissions["digits"] == []


def test_a_lost_answer_leaves_the_submission_made(api: Api, server: Server, tmp_path: Path) -> None:
    server.fail("CreateSubmission", Failure(drop=True, lost=True))
    with pytest.raises(requests.ConnectionError):
        submit(api, tmp_path)
    assert len(server.submissions["digits"]) == 1


def test_a_late_answer_is_the_right_one(api: Api, server: Server) -> None:
    server.fail("ListSubmissions", Failure(delay=3600.0), Failure(delay=0.001))
    path = f"{server.url}/api/v1/competitions.CompetitionApiService/ListSubmissions"
    with pytest.raises(requests.ReadTimeout):
        requests.post(path, json={}, timeout=0.05)
    assert api.competition_submissions("digits") == []


def test_nonsense_instead_of_json_arrives_as_it_is(api: Api, server: Server) -> None:
    server.fail("ListSubmissions", Failure(body=b"<html>"))
    with pytest.raises(json.JSONDecodeError):
        api.competition_submissions("digits")


def test_a_download_that_is_no_zip_is_saved_as_one(api: Api, server: Server, tmp_path: Path) -> None:
    server.fail("Download", Failure(body=b"{}", headers={"Content-Type": "application/json"}))
    api.competition_download_files("digits", str(tmp_path))
    assert (tmp_path / "digits.zip").read_bytes() == b"{}"


def test_a_cut_download_is_taken_up_where_it_broke(
    api: Api, server: Server, folder: Path, waits: list[float], tmp_path: Path
) -> None:
    mebibyte = 2**20  # the package writes no less
    (folder / "digits" / "noise.bin").write_bytes(random.Random(0).randbytes(2 * mebibyte))
    server.fail("Download", Failure(cut=mebibyte + 100))
    api.competition_download_files("digits", str(tmp_path))
    assert zipfile.ZipFile(tmp_path / "digits.zip").testzip() is None
    assert len(waits) == 1
    resumed = server.requests[-1]
    assert resumed.headers["range"] == f"bytes={mebibyte}-"
    rest = requests.get(server.url + resumed.path, headers={"Range": f"bytes={mebibyte}-"})
    assert rest.status_code == 206
    assert rest.content == (tmp_path / "digits.zip").read_bytes()[mebibyte:]


@pytest.mark.parametrize("status", [403, 500])
def test_a_failed_upload_sends_nothing(api: Api, server: Server, tmp_path: Path, status: int) -> None:
    server.fail("Upload", Failure(status))
    answer = submit(api, tmp_path)
    assert (answer.message, answer.ref) == ("Could not submit to competition", 0)
    assert calls(server) == ["StartSubmissionUpload", "Upload"]


def test_a_dropped_upload_is_made_again(api: Api, server: Server, tmp_path: Path) -> None:
    server.fail("Upload", Failure(drop=True))
    assert submit(api, tmp_path).ref
    first, again = (request.body for request in server.requests if request.call == "Upload")
    assert first == again == (tmp_path / "digits-1234abcd.csv").read_bytes()


def test_an_upload_that_has_not_arrived_whole_is_not_taken(server: Server) -> None:
    path, login = f"{server.url}/api/v1/competitions.CompetitionApiService/", (server.username, server.key)
    asked = {"competitionName": "digits", "fileName": "a.csv", "contentLength": 5}
    given = requests.post(path + "StartSubmissionUpload", json=asked, auth=login).json()
    assert requests.put(given["createUrl"], data=b"1234").status_code == 400
    asked = {"competitionName": "digits", "blobFileTokens": given["token"]}
    assert requests.post(path + "CreateSubmission", json=asked, auth=login).status_code == 400


def test_an_upload_in_chunks_is_put_together(server: Server) -> None:
    path, login = f"{server.url}/api/v1/competitions.CompetitionApiService/", (server.username, server.key)
    asked = {"competitionName": "digits", "fileName": "a.csv", "contentLength": 5}
    given = requests.post(path + "StartSubmissionUpload", json=asked, auth=login).json()
    assert requests.put(given["createUrl"], data=iter([b"12", b"345"])).status_code == 200
    assert server.requests[-1].body == b"12345"


def test_a_call_that_is_not_known_cannot_fail(server: Server) -> None:
    with pytest.raises(UserError, match="did you mean 'CreateSubmission'"):
        server.fail("CreateSubmision", Failure(500))


# Data sets.


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A data set of a file and an empty one."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    facts = {"id": "tester/digits-weights", "title": "Digits weights", "licenses": [{"name": "CC0-1.0"}]}
    (folder / "dataset-metadata.json").write_text(json.dumps(facts), encoding="utf-8")
    (folder / "weights.bin").write_bytes(b"weights")
    (folder / "empty.txt").touch()
    return folder


def test_a_dataset_is_made_then_ready_then_given_a_version(api: Api, server: Server, dataset: Path) -> None:
    made = api.dataset_create_new(str(dataset), quiet=True)
    assert (made.status, made.error) == ("ok", "")
    stored = server.datasets["tester/digits-weights"]
    assert stored.files == {"weights.bin": b"weights", "empty.txt": b""}
    assert (stored.metadata["isPrivate"], stored.metadata["licenseName"]) == (True, "CC0-1.0")
    states = [api.dataset_status("tester/digits-weights") for _ in range(3)]
    assert states == ["blobs_received", "blobs_received", "ready"]
    assert api.dataset_create_new(str(dataset), quiet=True).status == "error"
    (dataset / "weights.bin").write_bytes(b"other")
    assert api.dataset_create_version(str(dataset), "other weights", quiet=True).status == "ok"
    assert server.datasets["tester/digits-weights"].files["weights.bin"] == b"other"
    assert "2" in api.dataset_status("tester/digits-weights", "json(current_version_number)")


def test_an_upload_broken_off_goes_on(api: Api, server: Server, dataset: Path) -> None:
    server.fail("Upload", Failure(503))
    api.dataset_create_new(str(dataset), quiet=True)
    assert server.datasets["tester/digits-weights"].files == {"weights.bin": b"weights", "empty.txt": b""}


def test_an_unknown_dataset_is_denied(api: Api) -> None:
    with pytest.raises(requests.HTTPError, match="denied") as refused:
        api.dataset_status("tester/none-such")
    assert refused.value.response.status_code == 403


# Kernels.

SCRIPT = """
import os, pathlib, sys
source, output = (pathlib.Path(os.environ["SOFTVOTE_" + name]) for name in ("INPUT", "OUTPUT"))
assert pathlib.Path.cwd() == output
try:
    import softvote
except ModuleNotFoundError:
    print("no softvote here")
import numpy
print(*sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()))
print(*sorted({oct(path.stat().st_mode & 0o777) for path in source.rglob("*")}))
print("warned", file=sys.stderr)
(output / "images").mkdir()
(output / "images" / "one.png").write_bytes(b"png")
(output / "submission.csv").write_text("ImageId,Label\\n")
"""


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A kernel folder with the script above."""
    return write_kernel(tmp_path / "kernel", SCRIPT)


def write_kernel(folder: Path, script: str) -> Path:
    folder.mkdir()
    facts = {
        "id": "tester/digits-infer",
        "title": "Digits infer",
        "code_file": "code.py",
        "language": "python",
        "kernel_type": "script",
        "enable_internet": "false",
        "dataset_sources": ["tester/digits-weights", "tester/none-such"],
        "competition_sources": ["digits", "numbers"],
    }
    (folder / "kernel-metadata.json").write_text(json.dumps(facts), encoding="utf-8")
    (folder / "code.py").write_text(script, encoding="utf-8")
    return folder


def final_state(api: Api) -> Any:
    """The answer about the session when it is over."""
    for _ in range(100_000):
        answer = api.kernels_status("tester/digits-infer")
        if answer.status.name not in ("QUEUED", "RUNNING"):
            return answer
    raise AssertionError("never over")


def test_a_push_is_queued_then_running_then_complete(api: Api, server: Server, kernel: Path) -> None:
    pushed = api.kernels_push(str(kernel))
    assert (pushed.version_number, pushed.error) == (1, "")
    assert pushed.invalid_dataset_sources == ["tester/digits-weights", "tester/none-such"]
    assert pushed.invalid_competition_sources == ["numbers"]
    assert server.kernels["tester/digits-infer"].metadata["text"] == SCRIPT
    states = [api.kernels_status("tester/digits-infer").status.name for _ in range(3)]
    assert states == ["QUEUED", "RUNNING", "COMPLETE"]
    assert api.kernels_push(str(kernel)).version_number == 2


def test_a_push_can_fail_under_a_success_code(api: Api, server: Server, kernel: Path) -> None:
    server.push_error = "Maximum weekly GPU quota of 30.00 hours was reached"
    assert api.kernels_push(str(kernel)).error == server.push_error
    assert server.kernels == {}


def test_output_comes_in_pages_with_the_log(api: Api, server: Server, tmp_path: Path) -> None:
    output = {f"part{index:02}.txt": str(index).encode() for index in range(45)}
    server.kernels["tester/digits-infer"] = testing.HostedKernel(output=output, log="[]")
    paths, _ = api.kernels_output("tester/digits-infer", str(tmp_path / "output"))
    found = {path.name: path.read_bytes() for path in (tmp_path / "output").iterdir()}
    assert found == output | {"digits-infer.log": b"[]"}
    assert len(paths) == 46
    assert calls(server).count("ListKernelSessionOutput") == 3


def test_a_session_that_failed_says_why(api: Api, server: Server, kernel: Path) -> None:
    server.kernels["tester/digits-infer"] = testing.HostedKernel(failure="Out of memory")
    api.kernels_push(str(kernel))
    answer = final_state(api)
    assert (answer.status.name, answer.failure_message) == ("ERROR", "Out of memory")


def test_an_unknown_kernel_is_denied(api: Api) -> None:
    with pytest.raises(ValueError, match="Cannot access kernel"):
        api.kernels_status("tester/none-such")


def test_a_kernel_is_run_as_kaggle_does(
    api: Api, server: Server, dataset: Path, kernel: Path, tmp_path: Path
) -> None:
    server.run_kernels = True
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("fold0/model.bin", b"0")
    (dataset / "models.zip").write_bytes(packed.getvalue())
    api.dataset_create_new(str(dataset), quiet=True)
    api.kernels_push(str(kernel))
    assert final_state(api).status.name == "COMPLETE", server.kernels["tester/digits-infer"].log
    api.kernels_output("tester/digits-infer", str(tmp_path / "output"))
    assert (tmp_path / "output" / "images" / "one.png").read_bytes() == b"png"
    assert (tmp_path / "output" / "submission.csv").read_text() == "ImageId,Label\n"
    events = json.loads((tmp_path / "output" / "digits-infer.log").read_text())
    assert [event["data"] for event in events] == [
        "no softvote here\n",
        "competitions/digits/images/one.bin competitions/digits/sample_submission.csv "
        "datasets/tester/digits-weights/empty.txt datasets/tester/digits-weights/models/fold0/model.bin "
        "datasets/tester/digits-weights/weights.bin\n",
        "0o444 0o555\n",
        "warned\n",
    ]
    assert events[-1]["stream_name"] == "stderr"


def test_a_kernel_that_raises_is_an_error_with_a_log(api: Api, server: Server, tmp_path: Path) -> None:
    server.run_kernels = True
    api.kernels_push(str(write_kernel(tmp_path / "broken", "raise SystemExit('no weights')")))
    answer = final_state(api)
    assert (answer.status.name, answer.failure_message) == ("ERROR", "The script ended with 1")
    assert "no weights" in api.kernels_logs("tester/digits-infer")


def test_a_running_kernel_ends_with_the_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        script = (
            "import os, socket, time\n"
            f"line = socket.create_connection({listener.getsockname()!r})\n"
            "os.fork()\n"
            "line.send(b'.')\n"
            "time.sleep(3600)\n"
        )
        with Server(folder, run_kernels=True) as server:
            api = client(server.environment(), monkeypatch, tmp_path)
            api.kernels_push(str(write_kernel(tmp_path / "endless", script)))
            line, _ = listener.accept()
            line.settimeout(30)
            assert line.recv(1) + line.recv(1) == b".."  # the script and its child
        assert line.recv(1) == b""
        line.close()
    assert not server.kernels["tester/digits-infer"].running


def test_nothing_else_of_the_package_imports_it() -> None:
    package = Path(softvote.__file__).parent
    users = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "kaggle.testing" in path.read_text(encoding="utf-8")
        or re.search(r"from softvote\.kaggle import .*\btesting\b", path.read_text(encoding="utf-8"))
    ]
    assert users and all(name.startswith("kaggle/testing/") for name in users)


# By hand.


def test_by_hand_a_shell_is_pointed_at_it_and_ctrl_c_ends_it(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "softvote.kaggle.testing", str(folder)]
    failing = ["--fail", "Download=drop", "--fail", "ListDataFiles=503:1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command + failing, **pipes)  # type: ignore[call-overload]
    try:
        shell = "".join(process.stdout.readline() for _ in range(8))
        assert shell.endswith("# serving digits; the lines above are for another shell\n")
        url = re.findall("http_proxy=(.*)", shell)[0]
        failed = requests.post(f"{url}/api/v1/competitions.CompetitionApiService/ListDataFiles")
        assert failed.status_code == 503
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{url}/digits.zip")
        environment = os.environ | {"HOME": str(tmp_path)}
        shell += f"exec {sys.executable} -m kaggle competitions files digits"
        listed = subprocess.run(["sh", "-c", shell], env=environment, capture_output=True, text=True)
        assert "sample_submission.csv" in listed.stdout, listed.stderr
    finally:
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate()
    assert rest.splitlines() == ["POST ListDataFiles 503", "GET Download dropped", "POST ListDataFiles 200"]
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["--fail", "ListFiles=500"], 1, "did you mean 'ListDataFiles'"),
        (["--fail", "Upload=200"], 2, "STATUS is 400 to 599, or drop"),
        (["--fail", "Upload=500:x"], 2, "TIMES is a number"),
        (["--port", "PORT"], 1, "Address already in use; name another"),
        (["--port", "65536"], 2, "not a number from 0 to 65535"),
        (["--polls", "-1"], 2, "not a number from 0"),
    ],
)
def test_bad_arguments_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, line: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        returned = exit_code(str(folder), *[port if word == "PORT" else word for word in words])
    said = capsys.readouterr()
    assert (returned, said.out) == (code, "")
    assert line in said.err.splitlines()[-1]


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_competitions_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "empty" / "digits").mkdir(parents=True)
    assert exit_code(str(tmp_path / name)) == 1
    said = f"{tmp_path / name}: holds no folder with a competition's files; make one first"
    assert capsys.readouterr().err == f"softvote.kaggle.testing: {said}\n"


def exit_code(*words: str) -> int:
    """What the program ends with; argparse leaves by an exception."""
    try:
        return int(main(words))
    except SystemExit as left:
        return int(left.code or 0)
