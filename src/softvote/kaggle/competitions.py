"""Submissions to Kaggle's competitions."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from softvote.errors import Problem, UserError
from softvote.kaggle.sources import Source, remedies_of
from softvote.kaggle.transport import PAGE_SIZE, Client, NoAnswerError, RefusedError, stat_fields
from softvote.words import counted

SUBMISSION_FILE = "submission.csv"
"""What a kernel calls the file that it submits."""


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
    """Sends submissions and asks for their scores; see `Client` for whose, and for what goes wrong."""

    def quota(self, competition: str) -> Quota:
        """How many submissions were made today and may be made now.

        Raises:
            UserError: also for those who have not joined the competition.
        """
        doing, remedies = f"asking for the quota of {competition}", remedies_of(Source(competition))
        ask = self._api.competition_get_submission_limits
        limits = self._ask(doing, remedies, lambda: ask(competition))
        if not (limits.num_total or limits.num_today or limits.num_allowed_now):
            # What Kaggle says to those who are on no team.
            raise UserError.at(f"Kaggle, {doing}", "nothing was sent and nothing may be", remedies.forbidden)
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
        return self._with_quota(competition, lambda: self._submit(competition, file, description))

    def submit_code(self, competition: str, kernel: str, version: int, description: str) -> int:
        """Submit what a kernel writes: Kaggle runs that version again on all test rows and scores its file.

        Args:
            kernel: "owner/slug"; a version of it that has run to its end, and left `SUBMISSION_FILE`.

        Returns:
            Kaggle's number for the submission.

        Raises:
            NoAnswerError: it may have arrived.
            UserError: it did not.
        """
        doing = f"submitting version {version} of {kernel} to {competition}"
        return self._with_quota(
            competition,
            lambda: self._number_of(
                doing,
                lambda: self._ask(
                    doing,
                    remedies_of(Source(competition)),
                    lambda: self._api.competition_submit_code(
                        SUBMISSION_FILE, description, competition, kernel, version, quiet=True
                    ),
                ),
            ),
        )

    def takes_notebooks_only(self, competition: str) -> bool:
        """Whether submissions are files that kernels wrote, and none that are uploaded."""
        found = self._ask(
            f"looking up {competition}",
            remedies_of(Source(competition)),
            lambda: self._api.competitions_list(search=competition).competitions,
        )
        return any(
            each.is_kernels_submissions_only for each in found if each.ref.rpartition("/")[2] == competition
        )

    def _with_quota(self, competition: str, send: Callable[[], int]) -> int:
        """What `send` returns; a refusal is explained by a quota that is used up, where it is."""
        try:
            return send()
        except RefusedError as refused:
            failure: UserError = refused
        with contextlib.suppress(UserError):  # the first failure says more than a second one
            quota = self.quota(competition)
            if not quota.left:
                used = counted(quota.today, "submission was", "submissions were")
                failure = UserError.at(competition, f"{used} sent today and none is left", quota.resets())
        raise failure

    def _submit(self, competition: str, file: Path, description: str) -> int:
        verb = f"sending {file.name} to"
        start = self._call_competition(
            verb, competition, "start_submission_upload", file_name=file.name, **stat_fields(file)
        )
        self._upload(file, start.create_url)
        fields = {"blob_file_tokens": start.token, "submission_description": description}
        return self._number_of(
            f"{verb} {competition}",
            lambda: self._call_competition(verb, competition, "create_submission", **fields),
        )

    def _number_of(self, doing: str, submit: Callable[[], Any]) -> int:
        """Kaggle's number for the submission that `submit` makes.

        Raises:
            NoAnswerError: it may have been made.
        """
        try:
            made = submit()
            if made.ref:
                return int(made.ref)
            lost = Problem(f"Kaggle, {doing}", "the answer has no number for it")
        except NoAnswerError as error:
            lost = error.problems[0]
        hint = "it may have arrived: look with `leaderboard` before sending it again"
        raise NoAnswerError(replace(lost, hint=hint))

    def _call_competition(self, verb: str, competition: str, method: str, **fields: Any) -> Any:
        remedies = remedies_of(Source(competition))
        fields = {"competition_name": competition} | fields
        return self._call(f"{verb} {competition}", remedies, "competitions", method, **fields)


_SUBMISSION: dict[str, Status] = {"PENDING": "pending", "COMPLETE": "complete", "ERROR": "error"}


def _score(text: str) -> float | None:
    """Kaggle sends scores as text, and an empty one where there is none."""
    try:
        return float(text) if math.isfinite(float(text)) else None
    except ValueError:
        return None
