"""The calls about competitions: their files, submissions and scores."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from softvote.kaggle.testing.state import Kaggle, call
from softvote.kaggle.testing.wire import Answer, Refusal, page_of, timestamp
from softvote.storage.cache import JsonObject

SOLUTION = "solution.csv"


SAMPLE = "sample_submission.csv"


HIDDEN = ".hidden"
"""Ends the name of the folder that hides the test files of a competition which takes notebooks only."""


def _competition(kaggle: Kaggle, asked: JsonObject) -> str:
    slug: str = asked.get("competitionName", "")
    if slug not in competition_slugs(kaggle.folder):
        raise Refusal(404, "Not Found")
    return slug


@call
def list_data_files(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """List the files of a competition, a page at a time: name, bytes and time of each.

    Raises:
        Refusal: 404, there is no such competition.
    """
    folder = kaggle.folder / _competition(kaggle, asked)
    files, token = page_of(data_files(folder), asked)
    rows = [
        {"name": name, "totalBytes": (folder / name).stat().st_size, "creationDate": timestamp(modified)}
        for name, modified in files
    ]
    return {"files": rows, "nextPageToken": token}


@call
def download_data_files(kaggle: Kaggle, asked: JsonObject) -> Answer:
    """Lead to a zip file of all files of a competition.

    Raises:
        Refusal: 404, there is no such competition.
    """
    slug = _competition(kaggle, asked)
    files = data_files(kaggle.folder / slug)
    content = _zip(kaggle.folder / slug, tuple(files))
    newest = max(modified for _, modified in files)
    return Answer(302, headers={"Location": kaggle.link(f"{slug}.zip", content, newest)})


@call
def download_data_file(kaggle: Kaggle, asked: JsonObject) -> Answer:
    """Lead to one file of a competition.

    Raises:
        Refusal: 404, there is no such competition or file.
    """
    folder = kaggle.folder / _competition(kaggle, asked)
    modified = dict(data_files(folder)).get(asked.get("fileName", ""))
    if modified is None:
        raise Refusal(404, "Not Found")
    name = asked["fileName"]
    return kaggle.hand_out(name, (folder / name).read_bytes(), modified)


@call
def get_submission_limits(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """Count the submissions of today (UTC) and of all days, and how many more are taken today.

    Raises:
        Refusal: 404, there is no such competition.
    """
    rows = kaggle.submissions[_competition(kaggle, asked)]
    today = sum(row.get("date", "").startswith(timestamp()[:10]) for row in rows)
    left = max(0, kaggle.daily_limit - today)
    return {"numToday": today, "numTotal": len(rows), "numAllowedNow": left}


@call
def start_submission_upload(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """Say where the bytes of a submission are to be sent.

    Raises:
        Refusal: 404, there is no such competition.
    """
    _competition(kaggle, asked)
    return kaggle.expect(asked.get("fileName", ""), asked.get("contentLength", 0))


@call
def create_submission(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """Take an upload as a submission; its score is told when it was asked for often enough.

    Raises:
        Refusal: 400, the competition takes notebooks only, the upload is not complete, or no more are taken
            today; 404, there is no such competition.
    """
    slug = _competition(kaggle, asked)
    if hidden_folder(kaggle.folder / slug):
        raise Refusal(
            400, "Submission not allowed: This competition only accepts Submissions from Notebooks."
        )
    name, content = kaggle.take_upload(asked.get("blobFileTokens", ""))
    row = enter_submission(kaggle, slug, name, asked)
    row["totalBytes"] = len(content)
    kaggle.verdicts[row["ref"]] = score_submission(kaggle.folder / slug, content)
    return {"ref": row["ref"], "message": f"Successfully submitted to {slug}"}


@call
def _list_competitions(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    slugs = [slug for slug in competition_slugs(kaggle.folder) if asked.get("search", "") in slug]
    rows = [
        {
            "ref": f"https://www.kaggle.com/competitions/{slug}",
            "isKernelsSubmissionsOnly": hidden_folder(kaggle.folder / slug) is not None,
        }
        for slug in slugs
    ]
    return {"competitions": rows}


def enter_submission(kaggle: Kaggle, slug: str, name: str, asked: JsonObject) -> JsonObject:
    """Add the row of a new submission, which is pending.

    Raises:
        Refusal: 400, the day's allowance is used up.
    """
    if not get_submission_limits(kaggle, asked)["numAllowedNow"]:
        allowance = f"Your team has used its daily Submission allowance ({kaggle.daily_limit}) today"
        raise Refusal(400, f"Submission not allowed: {allowance}, please try again tomorrow UTC.")
    ref = 1 + max((row["ref"] for rows in kaggle.submissions.values() for row in rows), default=40_000_000)
    row = {
        "ref": ref,
        "fileName": name,
        "date": timestamp(),
        "description": asked.get("submissionDescription", ""),
        "status": "PENDING",
        "publicScore": "",
        "privateScore": "",
        "submittedBy": kaggle.username,
    }
    kaggle.submissions[slug].insert(0, row)
    return row


@call
def list_submissions(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """List the submissions to a competition, the newest first, a page at a time.

    Raises:
        Refusal: 404, there is no such competition.
    """
    rows, token = page_of(kaggle.submissions[_competition(kaggle, asked)], asked)
    for row in rows:
        _settle(kaggle, row)
    return {"submissions": rows, "nextPageToken": token}


@call
def get_submission(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """Say how far a submission is, by its number.

    Raises:
        Refusal: 404, there is no such submission.
    """
    for row in (row for rows in kaggle.submissions.values() for row in rows):
        if row["ref"] == asked.get("ref"):
            _settle(kaggle, row)
            return row
    raise Refusal(404, "Not Found")


def _settle(kaggle: Kaggle, row: JsonObject) -> None:
    ref = row["ref"]
    if ref in kaggle.verdicts and kaggle.listed[ref] >= kaggle.polls:
        row.update(kaggle.verdicts.pop(ref))
    kaggle.listed[ref] += 1


def competition_slugs(folder: Path) -> list[str]:
    """The slugs of the competitions in a folder."""
    folders = (path for path in folder.iterdir() if path.is_dir() and path.suffix != HIDDEN)
    return sorted(path.name for path in folders if data_files(path))


def hidden_folder(folder: Path) -> Path | None:
    """What takes the place of a competition's files when a kernel is run again; None where all are shown."""
    hidden = folder.with_name(folder.name + HIDDEN)
    return hidden if hidden.is_dir() else None


def score_submission(folder: Path, content: bytes) -> JsonObject:
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


def data_files(folder: Path) -> list[tuple[str, float]]:
    """Names and times of the files that a competition hands out."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != SOLUTION)
    return sorted((path.relative_to(folder).as_posix(), path.stat().st_mtime) for path in paths)


@lru_cache(maxsize=8)
def _zip(folder: Path, files: tuple[tuple[str, float], ...]) -> bytes:
    """The files of a competition; the times are there so that changed ones are packed again."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for name, _ in files:
            archive.write(folder / name, PurePosixPath(name))
    return buffer.getvalue()
