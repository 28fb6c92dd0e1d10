"""Kernel: from a pipeline to a folder that Kaggle runs, and from there back to a submission."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from softvote.data.dataset import read_dataset
from softvote.errors import UserError
from softvote.kaggle.kernel_program import Mode
from softvote.kaggle.kernels import Kernels
from softvote.kaggle.notebook import DEFAULT_ACCELERATOR, build_kernel
from softvote.stages import Report, Run, ignore
from softvote.stages.kernel_run import KernelResult, PushedRecord, enter_output, push
from softvote.stages.plan import make_plan
from softvote.stages.send import SendOptions, SendResult, kaggle_slug, refuse_repetition, send_kernel
from softvote.stages.submit import build_submission
from softvote.storage.paths import KernelFolder
from softvote.words import counted


@dataclass(frozen=True)
class KernelOptions:
    """What becomes of a kernel.

    Attributes:
        mode: infer predicts and votes with the networks trained here; train does all the stages there.
        voter: a member instead of the ensemble.
        owner: the user of Kaggle whose kernel it becomes; if omitted, whose credentials are here.
        gpu: whether it runs on one; if omitted, it does to train, and predicts as the networks did here.
        accelerator: the GPU, as Kaggle's package names it; if omitted, the usual one.
        wheels: a folder of packages that Kaggle's image lacks, which go along as a data set.
        push: whether it is pushed.
        fetch: instead of building one, wait for the one that was pushed last, and fetch what it wrote.
        submit: how its version is submitted once it has run; None and it is not.
    """

    mode: Mode = "infer"
    voter: str | None = None
    owner: str | None = None
    gpu: bool | None = None
    accelerator: str | None = None
    wheels: Path | None = None
    push: bool = False
    fetch: bool = False
    submit: SendOptions | None = None


@dataclass(frozen=True)
class KernelBuild:
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
        lines = [
            f"wrote {part}  {counted(files, 'file')}, {size:,} bytes" for part, files, size in self.parts
        ]
        if not self.pushed:
            how = "let Kaggle run it with the same command and `push`"
            lines.append(f"{how}; competition {self.competition}")
        return "\n".join(lines)


def run(
    run: Run, options: KernelOptions | None = None, report: Report = ignore
) -> KernelBuild | KernelResult | SendResult:
    """Build the kernel's folder and, if wanted, let Kaggle run it, bring back what it wrote, and submit that.

    Args:
        options: left out, the folder is built to predict with the ensemble.
        report: takes, where it is pushed, what was built, pushed, fetched and sent before the result.

    Raises:
        UserError: what cannot become a kernel, what Kaggle refuses, a kernel that failed, or one whose
            submission is not what it should be, which is not submitted.
    """
    options = options or KernelOptions()
    slug = kaggle_slug(run)
    if options.submit and not (options.push or options.fetch):
        raise UserError.at("`submission`", "is for a kernel that has run", "add `push` or `fetch`")
    if options.fetch:
        return _finish(run, Kernels(), _read_last_push(run, options.mode), options, report)
    client, owner = _client_and_owner(options)
    name = run.resolve_name(options.voter)
    fingerprint = ""
    if options.mode == "infer":
        plan = make_plan(run)
        plan.predictions(name)  # refuses networks that are not this pipeline's
        fingerprint = plan.fingerprint_of(name)
    elif options.push:
        read_dataset(run.pipeline.competition, run.workspace)  # what comes back will be held against it
    accelerator = _accelerator(options)
    folder = build_kernel(
        run.workspace, run.name, run.pipeline, options.mode, name, owner, accelerator, options.wheels
    )
    built = KernelBuild(folder, tuple(_parts(folder)), slug, options.push)
    if not options.push or client is None:
        return built
    report(built)
    if options.mode == "infer":
        entry, _ = build_submission(run, name)  # before anything is pushed, because it may be refused
        if options.submit and not options.submit.force:
            refuse_repetition(run, entry)
    pushed = push(client, folder, name, bool(accelerator), report, fingerprint)
    return _finish(run, client, pushed, options, report)


def _accelerator(options: KernelOptions) -> str:
    """The GPU to ask for; empty for none."""
    if options.accelerator:
        return options.accelerator
    wanted = options.mode == "train" if options.gpu is None else options.gpu
    return DEFAULT_ACCELERATOR if wanted else ""


def _client_and_owner(options: KernelOptions) -> tuple[Kernels | None, str]:
    """A client where one is needed, and whose kernel it becomes."""
    if options.owner and not options.push:
        return None, options.owner
    client = Kernels()
    if options.owner not in (None, client.username):
        raise UserError.at(
            f"`owner` {options.owner}",
            f"a kernel is pushed as {client.username}, whose credentials are here",
            "leave `owner` out, or build it without pushing",
        )
    return client, client.username


def _read_last_push(run: Run, mode: Mode) -> PushedRecord:
    path = run.workspace.kernel(run.name, mode).pushed
    record = PushedRecord.read(path)
    if record is None:
        raise UserError.at(path, f"names no kernel of mode {mode} that was pushed", "push one with `push`")
    return record


def _finish(
    run: Run, client: Kernels, pushed: PushedRecord, options: KernelOptions, report: Report
) -> KernelResult | SendResult:
    """Wait for a pushed kernel, enter what it wrote, and submit its version where that is wanted."""
    ran = enter_output(run, client, pushed, options.mode, report)
    if options.submit is None:
        return ran
    report(ran)
    return send_kernel(run, ran.entry, options.submit, report)


def _parts(folder: KernelFolder) -> Iterator[tuple[Path, int, int]]:
    for part in (folder.code, folder.dataset, folder.wheels):
        files = sorted(part.iterdir()) if part.is_dir() else []
        if files:
            yield part, len(files), sum(file.stat().st_size for file in files)
