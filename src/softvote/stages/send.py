"""Send: from a checked submission and its row in the ledger to Kaggle, and to its score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from softvote.errors import Problem, UserError
from softvote.kaggle.competitions import Competitions, Submission
from softvote.kaggle.transport import NoAnswerError, RefusedError
from softvote.progress import poll
from softvote.stages import Report, Run, ignore
from softvote.tracking.ledger import Entry, read_ledger, record_submission_id
from softvote.tracking.submission_message import parse_sha256, submission_message
from softvote.words import counted

_PATIENCE = 20 * 60.0  # seconds; a score is there within a minute as a rule

_RERUN = 12 * 3600.0  # the longest that Kaggle lets a kernel run on all test rows


class NotebooksOnlyError(UserError):
    """The competition takes what kernels wrote, and no files; nothing was sent."""


@dataclass(frozen=True)
class SendOptions:
    """How to send.

    Attributes:
        force: even if the same file was sent before.
        wait: until it is scored.
    """

    force: bool = False
    wait: bool = True


def kaggle_slug(run: Run) -> str:
    """What Kaggle calls the competition.

    Raises:
        UserError: a competition that is not held there, or a trial: neither can ever be sent.
    """
    competition = run.pipeline.competition
    if competition.kaggle is None:
        raise UserError.at(
            run.name,
            f"{competition.name} is not hosted on Kaggle (competition.kaggle names no address)",
            "nothing was sent",
        )
    if run.settings:
        raise UserError.at(
            run.name,
            "a trial with `set` is never sent",
            f"write a pipeline that extends {run.name} with {' '.join(run.settings)}",
        )
    return competition.kaggle


@dataclass(frozen=True)
class SentSubmission:
    """A submission that Kaggle took.

    Attributes:
        what: the file, or the kernel with its version.
        competition: what Kaggle calls it.
        ref: Kaggle's number for the submission.
        left: how many more may be sent today.
    """

    what: str
    competition: str
    ref: int
    left: int

    def __str__(self) -> str:
        return f"sent {self.what} to {self.competition} as {self.ref}; {self.left} more may be sent today"


@dataclass(frozen=True)
class SendResult:
    """What Kaggle says of a submission.

    Attributes:
        waited: whether its score was waited for.
        found: the submission once it is scored; None before.
        percent: whether its scores are read as percentages.
    """

    competition: str
    ref: int
    waited: bool
    found: Submission | None
    percent: bool = True

    def __str__(self) -> str:
        if not self.waited:
            return ""
        if self.found is None:
            return f"{self.ref} was sent and is not scored yet; look later with: `leaderboard`"
        scores = {"public": self.found.public, "private": self.found.private}
        written = "{} {:.3%}" if self.percent else "{} {:.5f}"
        told = ", ".join(written.format(*each) for each in scores.items() if each[1] is not None)
        return f"{self.competition}: {told or 'no score'}; compare with: `leaderboard`"


def send(run: Run, entry: Entry, file: Path, how: SendOptions, report: Report = ignore) -> SendResult:
    """Send a submission once, note Kaggle's number for it in the ledger, and wait for its score.

    Args:
        entry: its row in the ledger.
        report: takes what was sent before its score is waited for.

    Raises:
        UserError: it was sent before, no submissions are left today, or what Kaggle refuses; or it was
            sent, and its score is an error, cannot be asked for, or was not waited for (Ctrl-C).
    """

    def submit(client: Competitions, slug: str, message: str) -> int:
        try:
            return client.submit(slug, file, message)
        except RefusedError as refused:
            if "notebook" in str(refused).lower() and client.takes_notebooks_only(slug):
                raise NotebooksOnlyError.at(slug, "takes only what notebooks write") from None
            raise

    return _send_once(run, entry, how, report, str(file), submit, _PATIENCE)


def send_kernel(run: Run, entry: Entry, how: SendOptions, report: Report = ignore) -> SendResult:
    """Submit the version of a kernel that wrote a submission, as `send` does a file.

    Kaggle runs it again on all test rows, which can take hours.

    Args:
        entry: its row in the ledger, which names the kernel.
    """
    kernel, _, version = entry.kernel.rpartition("/")

    def submit(client: Competitions, slug: str, message: str) -> int:
        return client.submit_code(slug, kernel, int(version), message)

    return _send_once(run, entry, how, report, f"{kernel} version {version}", submit, _RERUN)


def _send_once(
    run: Run,
    entry: Entry,
    how: SendOptions,
    report: Report,
    what: str,
    submit: Callable[[Competitions, str, str], int],
    patience: float,
) -> SendResult:
    """Submit unless it was submitted before, note Kaggle's number, and wait for the score.

    Args:
        submit: (client, what Kaggle calls the competition, message) -> Kaggle's number.
        patience: seconds that a score is waited for.
    """
    slug = kaggle_slug(run)
    if not how.force:
        refuse_repetition(run, entry)
    client = Competitions()
    _refuse_what_kaggle_has(run, entry, client.submissions(slug), how)
    quota = client.quota(slug)
    if quota.left < 1:
        used = counted(quota.today, "submission was", "submissions were")
        raise UserError.at(slug, f"{used} sent today and none is left", quota.resets())
    ref = submit(client, slug, submission_message(entry))
    report(SentSubmission(what, slug, ref, quota.left - 1))
    record_submission_id(run.workspace.ledger, entry, ref)
    found = _wait_until_scored(client, slug, ref, patience) if how.wait else None
    return SendResult(slug, ref, how.wait, found, run.pipeline.competition.metric.percent)


def refuse_repetition(run: Run, entry: Entry) -> None:
    """Refuse to send a file that the ledger knows as sent.

    Raises:
        UserError: it does.
    """
    sent = [
        old
        for old in read_ledger(run.workspace.ledger)
        if old.ref is not None and (old.sha256, old.competition) == (entry.sha256, entry.competition)
    ]
    if sent:
        _refuse(entry, sent[-1].ref, f"from {sent[-1].pipeline}")


def _refuse_what_kaggle_has(run: Run, entry: Entry, board: list[Submission], how: SendOptions) -> None:
    """A file may have been sent from another computer, or its answer lost on the way; Kaggle knows."""
    same = [old for old in board if parse_sha256(old.description) == entry.sha256]
    if same and not how.force:
        record_submission_id(run.workspace.ledger, entry, same[0].ref)
        _refuse(entry, same[0].ref, f"at {same[0].time}, which the ledger now knows")


def _refuse(entry: Entry, ref: int | None, when: str) -> None:
    raise UserError.at(
        entry.file,
        f"was sent as {ref} {when}",
        "see its score with `leaderboard`, or send it again with `force`",
    )


def _wait_until_scored(client: Competitions, slug: str, ref: int, patience: float) -> Submission | None:
    """The submission once it is scored; None if that takes too long."""
    found = _wait_for_score(client, slug, ref, patience)
    if found is not None and found.status == "error":
        raise UserError.at(slug, f"{ref} was not scored: {found.error or 'Kaggle does not say why'}")
    return found


def _wait_for_score(client: Competitions, slug: str, ref: int, patience: float) -> Submission | None:
    """The submission once Kaggle has scored it or failed to; None if that takes too long."""
    found: list[Submission] = []

    def look() -> str:
        found[:] = [old for old in client.submissions(slug) if old.ref == ref]
        return found[0].status if found else "not listed yet"

    sent = f"{ref} was sent, and nothing more is to be done; see its score with `leaderboard`"
    lasting = ("complete", "error")
    try:
        state = poll(f"score of {ref}", look, lasting, patience, passing=NoAnswerError)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped waiting; {sent}") from None
    except UserError as error:
        raise UserError(*(_also(problem, sent) for problem in error.problems)) from None
    return found[0] if state in lasting else None


def _also(problem: Problem, hint: str) -> Problem:
    return replace(problem, hint="; ".join(filter(None, [problem.hint, hint])))
