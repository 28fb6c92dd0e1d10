"""The calls about datasets and kernels."""

from __future__ import annotations

import io
import time
import zipfile

from softvote.kaggle.testing.competitions import (
    competition_slugs,
    enter_submission,
    hidden_folder,
    score_submission,
)
from softvote.kaggle.testing.runs import KernelRun
from softvote.kaggle.testing.state import HostedDataset, HostedKernel, Kaggle, call
from softvote.kaggle.testing.wire import Answer, Refusal, page_of
from softvote.storage.cache import JsonObject


@call
def create_dataset(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """Take uploads as a new dataset; a name that is taken is told under the status 200.

    Raises:
        Refusal: 400, an upload is not complete.
    """
    name = f"{asked['ownerSlug']}/{asked['slug']}"
    if name in kaggle.datasets:
        return {"status": "error", "error": f'The requested title "{asked["title"]}" is already in use'}
    kaggle.datasets[name] = HostedDataset(asked, _files(kaggle, asked), polls=kaggle.polls)
    return _dataset_answer(name)


@call
def create_dataset_version(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """Take uploads as a new version of a dataset.

    Raises:
        Refusal: 400, an upload is not complete; 403, there is no such dataset.
    """
    name, dataset = _dataset(kaggle, asked)
    dataset.metadata, dataset.files = asked["body"], _files(kaggle, asked["body"])
    dataset.version += 1
    dataset.polls = kaggle.polls
    return _dataset_answer(name)


@call
def get_dataset(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """Name a dataset and its last version.

    Raises:
        Refusal: 403, there is no such dataset.
    """
    name, dataset = _dataset(kaggle, asked)
    return {"ref": name, "currentVersionNumber": dataset.version}


@call
def get_dataset_status(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """Say whether the last version of a dataset is ready, which it is when it was asked for often enough.

    Raises:
        Refusal: 403, there is no such dataset.
    """
    _, dataset = _dataset(kaggle, asked)
    if dataset.polls:
        dataset.polls -= 1
        return {"status": "BLOBS_RECEIVED"}
    return {"status": "READY"}


@call
def list_dataset_files(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """List the files of a dataset, a page at a time: name and bytes of each.

    Raises:
        Refusal: 403, there is no such dataset.
    """
    name, dataset = _dataset(kaggle, asked)
    names, token = page_of(sorted(dataset.files), asked)
    rows = [{"ref": name, "name": file, "totalBytes": len(dataset.files[file])} for file in names]
    return {"datasetFiles": rows, "nextPageToken": token}


@call
def download_dataset(kaggle: Kaggle, asked: JsonObject) -> Answer:
    """Lead to one file of a dataset, or to a zip file of all.

    Raises:
        Refusal: 403, there is no such dataset; 404, it has no such file.
    """
    _, dataset = _dataset(kaggle, asked)
    if file := asked.get("fileName"):
        if file not in dataset.files:
            raise Refusal(404, "Not Found")
        return kaggle.hand_out(file, dataset.files[file], 0)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file, content in sorted(dataset.files.items()):
            archive.writestr(zipfile.ZipInfo(file), content)
    return Answer(302, headers={"Location": kaggle.link("archive.zip", buffer.getvalue(), 0)})


def _files(kaggle: Kaggle, asked: JsonObject) -> dict[str, bytes]:
    return dict(kaggle.take_upload(file["token"]) for file in asked.get("files", []))


def _dataset_answer(name: str) -> JsonObject:
    return {"ref": f"/{name}", "url": f"https://www.kaggle.com/datasets/{name}", "status": "ok"}


def _dataset(kaggle: Kaggle, asked: JsonObject) -> tuple[str, HostedDataset]:
    name = f"{asked.get('ownerSlug')}/{asked.get('datasetSlug')}"
    if name not in kaggle.datasets:
        raise Refusal(403, "Permission 'datasets.get' was denied")
    return name, kaggle.datasets[name]


@call
def save_kernel(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """Take a kernel or a new version of it, and run it where the server runs kernels.

    Sources that are not there are named under the status 200, and so is `Kaggle.push_error`.
    """
    if kaggle.push_error:
        return {"error": kaggle.push_error}
    name = asked["slug"]
    kernel = kaggle.kernels.setdefault(name, HostedKernel())
    kernel.metadata, kernel.polls = asked, kaggle.polls
    kernel.version += 1
    if kaggle.run_kernels:
        kaggle.at_exit.append(KernelRun(kaggle, kernel).stop)
    wanted = asked.get("datasetDataSources", []), asked.get("competitionDataSources", [])
    return {
        "ref": f"/code/{name}",
        "url": f"https://www.kaggle.com/code/{name}",
        "versionNumber": kernel.version,
        "invalidDatasetSources": [source for source in wanted[0] if source not in kaggle.datasets],
        "invalidCompetitionSources": [
            source for source in wanted[1] if source not in competition_slugs(kaggle.folder)
        ],
    }


@call
def get_kernel_session_status(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """Say how far a kernel is, and why it failed.

    Raises:
        Refusal: 403, there is no such kernel; 404, it has no such version.
    """
    kernel = _kernel(kaggle, asked)
    if kernel.over:
        return {"status": "ERROR" if kernel.failure else "COMPLETE", "failureMessage": kernel.failure}
    first = kernel.polls == kaggle.polls
    kernel.polls = max(0, kernel.polls - 1)
    return {"status": "QUEUED" if first and kaggle.polls else "RUNNING"}


@call
def list_kernel_session_output(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """List what a kernel left, a page at a time, and its log; nothing while it is not over.

    Raises:
        Refusal: 403, there is no such kernel; 404, it has no such version.
    """
    kernel = _kernel(kaggle, asked)
    if not kernel.over:
        return {"files": [], "log": ""}
    names, token = page_of(sorted(kernel.output), asked)
    now = time.time()
    files = [{"fileName": name, "url": kaggle.link(name, kernel.output[name], now)} for name in names]
    return {"files": files, "log": kernel.log, "nextPageToken": token}


@call
def create_code_submission(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """Take what a kernel wrote as a submission, running it again where test files are hidden.

    Raises:
        Refusal: 400, the version is not the last, is not over, failed, left no such file, or may use the
            internet where test files are hidden; or no more are taken today. 403 or 404, there is no such
            kernel or competition.
    """
    slug, file = asked.get("competitionName", ""), asked.get("fileName", "")
    if slug not in competition_slugs(kaggle.folder):
        raise Refusal(404, "Not Found")
    kernel = _kernel(kaggle, {"userName": asked.get("kernelOwner")} | asked)
    if asked.get("kernelVersion", kernel.version) != kernel.version or not kernel.over:
        raise Refusal(400, "The notebook version is not found, or has not run to its end")
    if kernel.failure or file not in kernel.output:
        raise Refusal(400, f"The notebook did not output the file {file}")
    if kernel.metadata.get("enableInternet") and hidden_folder(kaggle.folder / slug):
        raise Refusal(400, "Your Notebook cannot use internet access in this competition")
    ref: int = enter_submission(kaggle, slug, file, asked)["ref"]
    folder = hidden_folder(kaggle.folder / slug) or kaggle.folder / slug

    def judge(rerun: HostedKernel) -> None:
        if rerun.failure:
            kaggle.verdicts[ref] = {"status": "ERROR", "errorDescription": "Notebook Threw Exception"}
        elif file not in rerun.output:
            kaggle.verdicts[ref] = {"status": "ERROR", "errorDescription": "Submission CSV Not Found"}
        else:
            kaggle.verdicts[ref] = score_submission(folder, rerun.output[file])

    if kaggle.run_kernels:
        rerun = kaggle.reruns[ref] = HostedKernel(kernel.metadata, kernel.version)
        kaggle.at_exit.append(KernelRun(kaggle, rerun, hidden=True, ended=judge).stop)
    else:
        judge(kernel)
    return {"ref": ref, "message": f"Successfully submitted to {slug}"}


def _kernel(kaggle: Kaggle, asked: JsonObject) -> HostedKernel:
    name = f"{asked.get('userName')}/{asked.get('kernelSlug')}"
    if name not in kaggle.kernels:
        raise Refusal(403, "Permission 'kernels.get' was denied")
    kernel = kaggle.kernels[name]
    label = asked.get("versionLabel")
    if label and not (label.startswith("v") and 0 < int(label[1:]) <= kernel.version):
        raise Refusal(404, "Not Found")
    return kernel
