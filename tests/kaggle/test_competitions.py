"""Quotas and submissions, as the real kaggle package asks the stand-in for them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kaggle_calls import ACTS, PENDING, Client, calls, failure_of, submission_file
from kaggle_place import LEAK, Failure, Server

from softvote.kaggle.competitions import Quota, Submission
from softvote.kaggle.transport import NoAnswerError, RefusedError

pytestmark = pytest.mark.usefixtures("package")


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
    assert line.endswith("; it may have arrived: look with `leaderboard` before sending it again")
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


@pytest.mark.parametrize("failure", [Failure(drop=True, lost=True), Failure(502, LEAK), Failure(body=b"{}")])
def test_a_lost_answer_to_a_kernels_submission(filled: Server, client: Client, failure: Any) -> None:
    filled.fail("CreateCodeSubmission", failure)
    line = failure_of(lambda: client.submit_code("digits", "tester/done", 0, "vote"), NoAnswerError)
    assert line.startswith("Kaggle, submitting version 0 of tester/done to digits: ")
    assert line.endswith("; it may have arrived: look with `leaderboard` before sending it again")
    assert len(filled.submissions["digits"]) == failure.lost


def test_what_a_kernel_wrote_is_submitted(filled: Server, client: Client) -> None:
    assert not client.takes_notebooks_only("digits")
    hidden = filled.folder / "digits.hidden"
    hidden.mkdir()
    (hidden / "solution.csv").write_text("ImageId,Label\n1,3\n2,4\n")
    assert client.takes_notebooks_only("digits") and not client.takes_notebooks_only("digit")
    filled.kernels["tester/done"].output = {"submission.csv": b"ImageId,Label\n1,3\n2,5\n"}
    ref = client.submit_code("digits", "tester/done", 0, "vote sha256 ab12")
    client.submissions("digits")
    [scored] = client.submissions("digits")
    assert (scored.ref, scored.status, scored.public) == (ref, "complete", 0.5)
    assert (scored.file, scored.description) == ("submission.csv", "vote sha256 ab12")
    assert "400, The notebook version is not found" in failure_of(
        lambda: client.submit_code("digits", "tester/done", 7, "")
    )


def test_an_upload_to_a_competition_of_notebooks(filled: Server, client: Client, tmp_path: Path) -> None:
    (filled.folder / "digits.hidden").mkdir()
    line = failure_of(lambda: ACTS["submit"](client, tmp_path), RefusedError)
    assert "This competition only accepts Submissions from Notebooks" in line


def test_submission_file_that_is_not_there(client: Client, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.submit("digits", tmp_path / "gone.csv", "")


def test_quota_used_up(server: Server, client: Client, tmp_path: Path) -> None:
    server.daily_limit = 1
    assert client.quota("digits") == Quota(today=0, left=1)
    client.submit("digits", submission_file(tmp_path), "first")
    assert client.quota("digits") == Quota(today=1, left=0)
    line = failure_of(lambda: client.submit("digits", submission_file(tmp_path), "second"))
    used = "digits: 1 submission was sent today and none is left; the quota resets at midnight UTC, in "
    assert line.startswith(used)
    assert len(server.submissions["digits"]) == 1


def test_refused_submission_with_quota_left(server: Server, client: Client, tmp_path: Path) -> None:
    server.fail("CreateSubmission", Failure(400, "The deadline has passed"))
    line = failure_of(lambda: ACTS["submit"](client, tmp_path))
    assert "400, The deadline has passed; fix that and run the same command again" in line


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
