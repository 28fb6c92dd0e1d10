"""Kernel: from a pipeline to a folder that Kaggle runs, and from there back to a submission."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from softvote.data.dataset import Dataset, read_dataset
from softvote.errors import UserError
from softvote.kaggle.kernels import Kernels, KernelState, Pushed
from softvote.kaggle.notebook import Mode, build_kernel
from softvote.kaggle.transport import NoAnswerError
from softvote.progress import poll
from softvote.stages import Run
from softvote.stages.plan import make_plan
from softvote.stages.send import kaggle_slug
from softvote.stages.submit import build_submission
from softvote.storage.files import atomic_directory
from softvote.storage.fingerprints import sha256_of
from softvote.storage.git import git_state
from softvote.storage.paths import KernelFolder
from softvote.tracking.ledger import Entry, append_entry, read_ledger
from softvote.tracking.submission import write_submission_file

# Seconds; Kaggle stops kernels after 12 h.
_PATIENCE = {"dataset": 3600.0, "infer": 3 * 3600.0, "train": 12 * 3600.0, "output": 3600.0}


def run(
    run: Run,
    mode: Mode,
    voter: str | None = None,
    owner: str | None = None,
    gpu: bool | None = None,
    push: bool = False,
) -> None:
    """Build the kernel's folder and, if wanted, let Kaggle run it and bring back what it wrote.

    Args:
        voter: a member instead of the ensemble.
        owner: the user of Kaggle whose kernel it becomes; left out, whose credentials are here.
        gpu: whether it runs on one; left out, it does to train, and predicts as the networks did here.
        push: whether it is pushed.

    Raises:
        UserError: what cannot become a kernel, what Kaggle refuses, a kernel that failed, or one whose
            submission is not what it should be.
    """
    slug, client = kaggle_slug(run), None
    if push or owner is None:
        client = Kernels()
        if owner not in (None, client.username):
            raise UserError.at(
                f"--owner {owner}",
                f"a kernel is pushed as {client.username}, whose credentials are here",
                "leave --owner out, or build without --push",
            )
        owner = client.username
    name = run.resolve_name(voter)
    if mode == "infer":
        make_plan(run).predictions(name)  # refuses networks that are not this pipeline's
    elif push:
        _dataset(run)  # what comes back, perhaps in hours, will be held against it
    on_gpu = mode == "train" if gpu is None else gpu
    folder = build_kernel(run.workspace, run.name, run.pipeline, mode, name, owner, on_gpu)
    _list(folder)
    if push and client is not None:
        _run_there(run, client, folder, mode, name)
    else:
        print(f"let Kaggle run it with the same command and --push (PUSH=1); competition {slug}")


def _list(folder: KernelFolder) -> None:
    for part in (folder.code, folder.dataset):
        files = sorted(part.iterdir()) if part.is_dir() else []
        if files:
            size = sum(file.stat().st_size for file in files)
            print(f"wrote {part}  {len(files)} files, {size:,} bytes")


def _run_there(run: Run, client: Kernels, folder: KernelFolder, mode: Mode, name: str) -> None:
    local = build_submission(run, name) if mode == "infer" else None  # first, because it may be refused
    if folder.dataset.is_dir():
        _push_dataset(client, folder)
    pushed = client.push_kernel(folder.code)
    print(f"pushed {pushed.ref} version {pushed.version}: {pushed.url}", flush=True)
    state = _ended(client, pushed, mode)
    files = _fetched(client, folder, pushed)
    submission = _submission_among(files, folder.output, pushed, state)
    entry = _compared(submission, *local) if local else _checked(run, submission)
    entry = replace(entry, kernel=f"{pushed.ref}/{pushed.version}")
    added = append_entry(run.workspace.ledger, entry)
    print(f"{'added a row to' if added else 'already in'} {run.workspace.ledger}")


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
    print(f"fetched {', '.join(map(str, names)) or 'nothing'} into {folder.output}")
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


def _compared(submission: Path, entry: Entry, local: Path) -> Entry:
    """The local submission's entry, if Kaggle's is the same byte for byte."""
    if sha256_of(submission) == entry.sha256:
        print(f"{submission}: the same as {local}, byte for byte")
        return entry
    theirs, ours = (path.read_bytes().splitlines()[1:] for path in (submission, local))
    other = sum(a != b for a, b in zip_longest(theirs, ours))
    raise UserError.at(
        submission, f"differs from {local} in {other} of {len(ours)} rows", "nothing was entered"
    )


def _checked(run: Run, submission: Path) -> Entry:
    """The entry that the kernel made of what it trained, once its submission has the right form."""
    entries = read_ledger(submission.with_name("ledger.csv"))
    if not entries or entries[-1].sha256 != sha256_of(submission):
        raise UserError.at(
            submission.parent, "its ledger.csv is not of its submission.csv", "nothing was entered"
        )
    dataset, classes = _dataset(run), run.pipeline.competition.classes
    text = submission.read_bytes().decode(errors="replace")
    path = write_submission_file(
        run.workspace, run.name, text, dataset.sample_header, dataset.test_ids, classes
    )
    print(f"wrote {path}")
    commit, clean = git_state(run.workspace.root)
    return replace(entries[-1], commit=commit, clean=clean)


def _dataset(run: Run) -> Dataset:
    return read_dataset(run.pipeline.competition, run.workspace)
