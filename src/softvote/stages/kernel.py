"""Kernel: from a pipeline to a folder that Kaggle runs, and from there back to a submission."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from softvote.data.dataset import Dataset, read_dataset
from softvote.errors import UserError
from softvote.kaggle.kernels import Kernels, KernelState, Pushed
from softvote.kaggle.notebook import Mode, build_kernel
from softvote.kaggle.transport import NoAnswerError
from softvote.progress import poll
from softvote.stages import Report, Run, ignore
from softvote.stages.plan import make_plan
from softvote.stages.send import kaggle_slug
from softvote.stages.submit import build_submission, ledger_note
from softvote.storage.files import atomic_directory
from softvote.storage.fingerprints import sha256_of
from softvote.storage.git import git_state
from softvote.storage.paths import KernelFolder
from softvote.tracking.ledger import Entry, append_entry, read_ledger
from softvote.tracking.submission import SubmissionFormat, write_submission_file

# Seconds; Kaggle stops kernels after 12 h.
_PATIENCE = {"dataset": 3600.0, "infer": 3 * 3600.0, "train": 12 * 3600.0, "output": 3600.0}


@dataclass(frozen=True)
class KernelBuilt:
    """A kernel's folders.

    Attributes:
        parts: each folder, how many files it holds, and their bytes.
        competition: what Kaggle calls it.
        pushed: whether it is pushed next.
    """

    folder: KernelFolder
    parts: tuple[tuple[Path, int, int], ...]
    competition: str
    pushed: bool

    def __str__(self) -> str:
        lines = [f"wrote {part}  {files} files, {size:,} bytes" for part, files, size in self.parts]
        if not self.pushed:
            how = "let Kaggle run it with the same command and `push`"
            lines.append(f"{how}; competition {self.competition}")
        return "\n".join(lines)


@dataclass(frozen=True)
class KernelRan:
    """What a kernel left, once its submission was found to be what it should be.

    Attributes:
        submission: the file that Kaggle's kernel wrote.
        kept: the file it equals, or as which it was kept.
        equal: whether there was one made here, and it is the same byte for byte.
        added: whether its row is new in the ledger.
    """

    entry: Entry
    submission: Path
    kept: Path
    equal: bool
    ledger: Path
    added: bool

    def __str__(self) -> str:
        same = f"{self.submission}: the same as {self.kept}, byte for byte"
        first = same if self.equal else f"wrote {self.kept}"
        return f"{first}\n{ledger_note(self.ledger, self.added)}"


def run(
    run: Run,
    mode: Mode,
    voter: str | None = None,
    owner: str | None = None,
    gpu: bool | None = None,
    push: bool = False,
    report: Report = ignore,
) -> KernelBuilt | KernelRan:
    """Build the kernel's folder and, if wanted, let Kaggle run it and bring back what it wrote.

    Args:
        voter: a member instead of the ensemble.
        owner: the user of Kaggle whose kernel it becomes; left out, whose credentials are here.
        gpu: whether it runs on one; left out, it does to train, and predicts as the networks did here.
        push: whether it is pushed.
        report: takes, where it is pushed, what was built, pushed and fetched before the result.

    Raises:
        UserError: what cannot become a kernel, what Kaggle refuses, a kernel that failed, or one whose
            submission is not what it should be.
    """
    slug, client = kaggle_slug(run), None
    if push or owner is None:
        client = Kernels()
        if owner not in (None, client.username):
            raise UserError.at(
                f"`owner` {owner}",
                f"a kernel is pushed as {client.username}, whose credentials are here",
                "leave `owner` out, or build it without pushing",
            )
        owner = client.username
    name = run.resolve_name(voter)
    if mode == "infer":
        make_plan(run).predictions(name)  # refuses networks that are not this pipeline's
    elif push:
        _dataset(run)  # what comes back, perhaps in hours, will be held against it
    on_gpu = mode == "train" if gpu is None else gpu
    folder = build_kernel(run.workspace, run.name, run.pipeline, mode, name, owner, on_gpu)
    built = KernelBuilt(folder, tuple(_parts(folder)), slug, push)
    if not push or client is None:
        return built
    report(built)
    return _run_there(run, client, folder, mode, name, report)


def _parts(folder: KernelFolder) -> Iterator[tuple[Path, int, int]]:
    for part in (folder.code, folder.dataset):
        files = sorted(part.iterdir()) if part.is_dir() else []
        if files:
            yield part, len(files), sum(file.stat().st_size for file in files)


def _run_there(
    run: Run, client: Kernels, folder: KernelFolder, mode: Mode, name: str, report: Report
) -> KernelRan:
    local = build_submission(run, name) if mode == "infer" else None  # first, because it may be refused
    if folder.dataset.is_dir():
        _push_dataset(client, folder)
    pushed = client.push_kernel(folder.code)
    report(f"pushed {pushed.ref} version {pushed.version}: {pushed.url}")
    state = _ended(client, pushed, mode)
    files = _fetched(client, folder, pushed)
    names = [str(file.relative_to(folder.output)) for file in files]
    report(f"fetched {', '.join(names) or 'nothing'} into {folder.output}")
    submission = _submission_among(files, folder.output, pushed, state)
    entry, kept = _compared(submission, *local) if local else _checked(run, submission)
    entry = replace(entry, kernel=f"{pushed.ref}/{pushed.version}")
    added = append_entry(run.workspace.ledger, entry)
    return KernelRan(entry, submission, kept, local is not None, run.workspace.ledger, added)


def _push_dataset(client: Kernels, folder: KernelFolder) -> None:
    """Push the trained networks, and wait until a kernel can use them."""
    dataset = client.push_dataset(folder.dataset)

    def look() -> str:
        return "ready" if client.dataset_is_ready(dataset) else "being made"

    _wait(f"dataset {dataset}", look, ("ready",), _PATIENCE["dataset"])


def _ended(client: Kernels, pushed: Pushed, mode: Mode) -> KernelState:
    """How the kernel ended."""
    seen: list[KernelState] = []

    def look() -> str:
        seen.append(client.kernel_state(pushed.ref))
        return seen[-1].status

    try:
        _wait(f"kernel {pushed.ref}", look, ("complete", "error", "cancelled"), _PATIENCE[mode])
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped waiting; kernel {pushed.ref} runs on, see {pushed.url}") from None
    return seen[-1]


def _wait(what: str, look: Callable[[], str], lasting: tuple[str, ...], patience: float) -> None:
    state = poll(what, look, lasting, patience, passing=NoAnswerError)
    if state not in lasting:
        raise UserError.at(what, f"still {state} after {patience / 3600:g} h", "look at it on Kaggle")


def _fetched(client: Kernels, folder: KernelFolder, pushed: Pushed) -> list[Path]:
    """All that the kernel left; the last is its log, if there is one."""
    files: list[Path] = []
    with atomic_directory(folder.output) as temporary:

        def look() -> str:
            files[:] = client.kernel_output(pushed.ref, temporary)
            return "fetched"

        _wait(f"output of {pushed.ref}", look, ("fetched",), _PATIENCE["output"])
        names = [file.relative_to(temporary) for file in files]
    return [folder.output / name for name in names]


def _submission_among(files: list[Path], output: Path, pushed: Pushed, state: KernelState) -> Path:
    logs = [file for file in files if file.suffix == ".log"]
    look = f"see its log: {logs[-1]}, or {pushed.url}" if logs else f"see {pushed.url}"
    if state.status != "complete":
        said = state.message or "Kaggle does not say why"
        raise UserError.at(f"kernel {pushed.ref}", f"{state.status}, {said}", look)
    if output / "submission.csv" not in files:
        raise UserError.at(f"kernel {pushed.ref}", "left no submission.csv", look)
    return output / "submission.csv"


def _compared(submission: Path, entry: Entry, local: Path) -> tuple[Entry, Path]:
    """The local submission's entry and file, if Kaggle's is the same byte for byte."""
    if sha256_of(submission) == entry.sha256:
        return entry, local
    theirs, ours = (path.read_bytes().splitlines()[1:] for path in (submission, local))
    other = sum(a != b for a, b in zip_longest(theirs, ours))
    raise UserError.at(
        submission, f"differs from {local} in {other} of {len(ours)} rows", "nothing was entered"
    )


def _checked(run: Run, submission: Path) -> tuple[Entry, Path]:
    """The entry that the kernel made of what it trained, and the file its submission is kept as.

    The submission has the right form then.
    """
    entries = read_ledger(submission.with_name("ledger.csv"))
    if not entries or entries[-1].sha256 != sha256_of(submission):
        raise UserError.at(
            submission.parent, "its ledger.csv is not of its submission.csv", "nothing was entered"
        )
    wanted = SubmissionFormat.of(run.pipeline.competition, _dataset(run))
    text = submission.read_bytes().decode(errors="replace")
    path = write_submission_file(run.workspace, run.name, text, wanted)
    commit, clean = git_state(run.workspace.root)
    return replace(entries[-1], commit=commit, clean=clean), path


def _dataset(run: Run) -> Dataset:
    return read_dataset(run.pipeline.competition, run.workspace)
