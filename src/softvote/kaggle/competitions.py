"""Kaggle's competitions: their files, and submissions to them."""

from __future__ import annotations

import contextlib
import math
import zipfile
import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from softvote.errors import Problem, UserError
from softvote.kaggle.transport import (
    AGAIN,
    MEND,
    PAGE_SIZE,
    Client,
    NoAnswerError,
    RefusedError,
    Remedies,
    save_body,
    stat_fields,
)
from softvote.storage.files import atomic_write

Status = Literal["pending", "complete", "error"]


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


class Competitions(Client):
    """Downloads competitions and sends submissions; see `Client` for whose, and for what goes wrong."""

    def download(self, competition: str, folder: Path) -> Path:
        """Fetch a competition's files as one zip, and verify its checksums.

        The only file of a competition comes bare from Kaggle; it is put into a zip.

        Returns:
            `folder`/`competition`.zip, written whole or not at all.
        """
        doing, path = f"downloading {competition}", folder / f"{competition}.zip"

        def fetch() -> str:
            answer = self._send("competitions", "download_data_files", competition_name=competition)
            return save_body(answer, file)

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
            raise UserError.at(f"Kaggle, {verb} {competition}", "none was sent and none may be", remedy)
        return Quota(limits.num_today, limits.num_allowed_now, limits.limited_by_total)

    def submissions(self, competition: str) -> list[Submission]:
        """Every past submission, the newest first."""
        found: dict[int, Submission] = {}
        page, token = 1, ""
        while True:
            answer = self._call_competition(
                "listing the submissions to", competition, "list_submissions",
                page=None if token else page, page_token=token, page_size=PAGE_SIZE,
            )  # fmt: skip
            # What is sent meanwhile pushes others onto the next page: they are listed twice.
            fresh = [row for row in answer.submissions if row.ref not in found]
            found |= {row.ref: self._submission(row) for row in fresh}
            page, token = page + 1, answer.next_page_token
            if not fresh or not (token or len(answer.submissions) == PAGE_SIZE):
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
        except RefusedError as refused:
            failure: UserError = refused
        with contextlib.suppress(UserError):  # the first failure says more than a second one
            quota = self.quota(competition)
            if not quota.left:
                used = f"{quota.today} submissions were sent today and none is left"
                failure = UserError.at(competition, used, quota.resets())
        raise failure

    def _submit(self, competition: str, file: Path, description: str) -> int:
        verb = f"sending {file.name} to"
        start = self._call_competition(
            verb, competition, "start_submission_upload", file_name=file.name, **stat_fields(file)
        )
        self._upload(file, start.create_url)
        try:
            made = self._call_competition(
                verb, competition, "create_submission",
                blob_file_tokens=start.token, submission_description=description,
            )  # fmt: skip
            if made.ref:
                return int(made.ref)
            lost = Problem(f"Kaggle, {verb} {competition}", "the answer has no number for it")
        except NoAnswerError as error:
            lost = error.problems[0]
        hint = "it may have arrived: look with `leaderboard` before sending it again"
        raise NoAnswerError(replace(lost, hint=hint))

    def _call_competition(self, verb: str, competition: str, method: str, **fields: Any) -> Any:
        remedies = _competition(competition)
        fields = {"competition_name": competition} | fields
        return self._call(f"{verb} {competition}", remedies, "competitions", method, **fields)


def _home(competition: str) -> str:
    return f"https://www.kaggle.com/competitions/{competition}"


def _competition(competition: str) -> Remedies:
    return Remedies(
        forbidden=f"join the competition and accept its rules at {_home(competition)}/rules",
        unknown=f"its name is the last part of its address: is there {_home(competition)} ?",
        otherwise=MEND,
    )


_SUBMISSION: dict[str, Status] = {"PENDING": "pending", "COMPLETE": "complete", "ERROR": "error"}


def _score(text: str) -> float | None:
    """Kaggle sends scores as text, and an empty one where there is none."""
    try:
        return float(text) if math.isfinite(float(text)) else None
    except ValueError:
        return None


def _check_zip(path: Path, where: str, page: str) -> None:
    remedy, size = f"{AGAIN}, or download it by hand from {page}", path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise UserError.at(where, f"the {size:,} bytes that came are not a whole zip file", remedy) from None
    if damaged:
        raise UserError.at(where, f"{damaged} came damaged", remedy)
