"""A kernel's run on Kaggle: pushed, waited for, fetched, checked, and entered in the ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from softvote.data.dataset import read_dataset
from softvote.errors import UserError
from softvote.kaggle.competitions import SUBMISSION_FILE
from softvote.kaggle.kernel_program import Mode
from softvote.kaggle.kernels import Kernels, KernelState
from softvote.kaggle.transport import NoAnswerError
from softvote.progress import poll
from softvote.stages import Report, Run
from softvote.stages.plan import make_plan
from softvote.stages.submit import build_submission, ledger_note
from softvote.storage.files import atomic_directory, remove_folder
from softvote.storage.fingerprints import sha256_of
from softvote.storage.git import git_state
from softvote.storage.paths import KernelFolder
from softvote.storage.records import JsonRecord
from softvote.tracking.ledger import Entry, append_entry, read_ledger
from softvote.tracking.submission import SubmissionFormat, write_submission_file
from softvote.words import counted

# Seconds; Kaggle stops kernels after 12 h.
_PATIENCE = {"dataset": 3600.0, "infer": 3 * 3600.0, "train": 12 * 3600.0, "output": 3600.0}


class PushedRecord(JsonRecord):
    """A version of a kernel that was pushed, for those who fetch what it wrote.

    Attributes:
        kernel: "owner/slug".
        url: where to look at it.
        voter: whose submission it writes.
        gpu: whether it runs on one, and may round otherwise.
        fingerprint: of the voter whose networks went along; empty where it trains its own.
    """

    kernel: str
    version: int
    url: str
    voter: str
    gpu: bool
    fingerprint: str = ""


@dataclass(frozen=True)
class KernelResult:
    """What a kernel left, once its submission was found to be what it should be.

    Attributes:
        submission: the file that Kaggle's kernel wrote.
        kept: the file it equals, or as which it was kept.
        said: how it compares with the one made here; empty where none is.
        added: whether its row is new in the ledger.
    """

    entry: Entry
    submission: Path
    kept: Path
    said: str
    ledger: Path
    added: bool

    def __str__(self) -> str:
        first = f"{self.submission}: {self.said}" if self.said else f"wrote {self.kept}"
        return f"{first}\n{ledger_note(self.ledger, self.added)}"


def push(
    client: Kernels, folder: KernelFolder, voter: str, gpu: bool, report: Report, fingerprint: str = ""
) -> PushedRecord:
    """Push a kernel's data sets and then the kernel, and note which version that was.

    Args:
        fingerprint: of the voter whose networks go along.

    Raises:
        UserError: what Kaggle refuses.
    """
    for dataset in (folder.dataset, folder.wheels):
        if dataset.is_dir():
            _push_dataset(client, dataset)
    pushed = client.push_kernel(folder.code)
    record = PushedRecord(
        kernel=pushed.ref, version=pushed.version, url=pushed.url,
        voter=voter, gpu=gpu, fingerprint=fingerprint,
    )  # fmt: skip
    record.write(folder.pushed)
    report(f"pushed {pushed.ref} version {pushed.version}: {pushed.url}")
    return record


def enter_output(run: Run, client: Kernels, pushed: PushedRecord, mode: Mode, report: Report) -> KernelResult:
    """Wait until a version of a kernel has run, fetch and check what it wrote, and enter that.

    Raises:
        UserError: it predicts with other networks than are here now, it failed, the wait is over, or its
            submission is not what it should be.
        KeyboardInterrupt: it says that the kernel is pushed, and is not to be pushed again.
    """
    try:
        return _enter_output(run, client, pushed, mode, report)
    except KeyboardInterrupt:
        told = f"kernel {pushed.kernel} version {pushed.version} runs on, see {pushed.url}"
        raise KeyboardInterrupt(f"stopped waiting; {told}; fetch it later with `fetch`") from None


def _enter_output(
    run: Run, client: Kernels, pushed: PushedRecord, mode: Mode, report: Report
) -> KernelResult:
    _refuse_other_networks(run, pushed)
    local = build_submission(run, pushed.voter) if mode == "infer" else None
    folder = run.workspace.kernel(run.name, mode)
    state = _wait_for_end(client, pushed, mode)
    files = _fetch_output(client, folder, pushed)
    names = [str(file.relative_to(folder.output)) for file in files]
    report(f"fetched {', '.join(names) or 'nothing'} into {folder.output}")
    submission = _find_submission(files, folder.output, pushed, state)
    if local is None:
        entry, kept, said = *_take_trained(run, submission), ""
    else:
        entry, kept, said = _compare_with_local(run, submission, *local, tolerant=pushed.gpu)
    entry = replace(entry, kernel=f"{pushed.kernel}/{pushed.version}")
    added = append_entry(run.workspace.ledger, entry)
    return KernelResult(entry, submission, kept, said, run.workspace.ledger, added)


def _refuse_other_networks(run: Run, pushed: PushedRecord) -> None:
    """Refuse what networks predict that are no longer those of the scores here."""
    if pushed.fingerprint and make_plan(run).fingerprint_of(pushed.voter) != pushed.fingerprint:
        what = f"predicts with other networks, or another vote, than {pushed.voter} has here now"
        raise UserError.at(f"kernel {pushed.kernel} version {pushed.version}", what, "push it again")


def _push_dataset(client: Kernels, folder: Path) -> None:
    """Push a data set, and wait until a kernel can use it."""
    dataset = client.push_dataset(folder)

    def look() -> str:
        return "ready" if client.dataset_is_ready(dataset) else "being made"

    _wait(f"dataset {dataset}", look, ("ready",), _PATIENCE["dataset"])


def _wait_for_end(client: Kernels, pushed: PushedRecord, mode: Mode) -> KernelState:
    """Wait until the kernel has ended, and say how."""
    seen: list[KernelState] = []

    def look() -> str:
        seen.append(client.kernel_state(pushed.kernel, pushed.version))
        return seen[-1].status

    _wait(f"kernel {pushed.kernel}", look, ("complete", "error", "cancelled"), _PATIENCE[mode])
    return seen[-1]


def _wait(what: str, look: Callable[[], str], lasting: tuple[str, ...], patience: float) -> None:
    state = poll(what, look, lasting, patience, passing=NoAnswerError)
    if state not in lasting:
        hint = "look at it on Kaggle" if what.startswith("dataset") else "fetch it later with `fetch`"
        raise UserError.at(what, f"still {state} after {patience / 3600:g} h", hint)


def _fetch_output(client: Kernels, folder: KernelFolder, pushed: PushedRecord) -> list[Path]:
    """Fetch all that the kernel left, in place of what an earlier one did; the last is its log, if any."""
    files: list[Path] = []
    with atomic_directory(folder.output) as temporary:

        def look() -> str:
            files[:] = client.kernel_output(pushed.kernel, temporary, pushed.version)
            return "fetched"

        _wait(f"output of {pushed.kernel}", look, ("fetched",), _PATIENCE["output"])
        names = [file.relative_to(temporary) for file in files]
        remove_folder(folder.output)
    return [folder.output / name for name in names]


def _find_submission(files: list[Path], output: Path, pushed: PushedRecord, state: KernelState) -> Path:
    logs = [file for file in files if file.suffix == ".log"]
    look = f"see its log: {logs[-1]}, or {pushed.url}" if logs else f"see {pushed.url}"
    if state.status != "complete":
        said = state.message or "Kaggle does not say why"
        raise UserError.at(f"kernel {pushed.kernel}", f"{state.status}, {said}", look)
    if output / SUBMISSION_FILE not in files:
        raise UserError.at(f"kernel {pushed.kernel}", f"left no {SUBMISSION_FILE}", look)
    return output / SUBMISSION_FILE


def _compare_with_local(
    run: Run, submission: Path, entry: Entry, local: Path, tolerant: bool
) -> tuple[Entry, Path, str]:
    """The entry and file of a submission that is the local one byte for byte, and words for it.

    Args:
        tolerant: take another one of the right form too: a GPU may round otherwise.
    """
    if sha256_of(submission) == entry.sha256:
        return entry, local, f"the same as {local}, byte for byte"
    theirs, ours = (path.read_bytes().splitlines()[1:] for path in (submission, local))
    other = sum(a != b for a, b in zip_longest(theirs, ours))
    differs = f"differs from {local} in {other} of {counted(len(ours), 'row')}"
    if not tolerant:
        raise UserError.at(submission, differs, "nothing was entered")
    kept = _keep_checked(run, submission)
    entry = replace(entry, sha256=sha256_of(submission), file=kept.name)
    return entry, kept, f"{differs}, as a GPU may round otherwise; kept as {kept}"


def _take_trained(run: Run, submission: Path) -> tuple[Entry, Path]:
    """The entry that the kernel made of what it trained, and the file its submission is kept as."""
    entries = read_ledger(submission.with_name("ledger.csv"))
    if not entries or entries[-1].sha256 != sha256_of(submission):
        raise UserError.at(
            submission.parent, "its ledger.csv is not of its submission.csv", "nothing was entered"
        )
    path = _keep_checked(run, submission)
    commit, clean = git_state(run.workspace.root)
    return replace(entries[-1], commit=commit, clean=clean), path


def _keep_checked(run: Run, submission: Path) -> Path:
    """Keep a submission that has the right form, and say as which file."""
    competition = run.pipeline.competition
    wanted = SubmissionFormat.of(competition, read_dataset(competition, run.workspace).template)
    text = submission.read_bytes().decode(errors="replace")
    return write_submission_file(run.workspace, run.name, text, wanted)
