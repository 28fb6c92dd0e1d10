"""Every call that the client makes of Kaggle, and what it is given."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from kaggle_place import SECRETS, Server

from softvote.errors import UserError
from softvote.kaggle.competitions import Competitions
from softvote.kaggle.downloads import Downloads
from softvote.kaggle.kernels import Kernels
from softvote.kaggle.sources import Source

PENDING = {"ref": 1, "date": "2025-01-31T12:00:00.123Z", "status": "PENDING"}


DIGITS = Source("digits")


class Client(Competitions, Downloads, Kernels):
    """All calls at once."""


Act = Callable[[Client, Path], object]


def failure_of(act: Callable[[], object], kind: type[UserError] = UserError) -> str:
    """The line of a failure, which holds no secret, and has none behind it."""
    with pytest.raises(kind) as caught:
        act()
    line = str(caught.value)
    assert "\n" not in line
    shown = "".join(traceback.format_exception(caught.value))
    assert not [secret for secret in SECRETS if secret in shown]
    return line


def calls(server: Server) -> list[str]:
    return [request.call for request in server.requests]


def submission_file(folder: Path) -> Path:
    path = folder / "digits-1234abcd.csv"
    path.write_text("ImageId,Label\n1,3\n2,5\n")
    return path


def dataset_folder(folder: Path, **facts: object) -> Path:
    path = folder / "dataset"
    path.mkdir(exist_ok=True)
    (path / "cnn.fold0.safetensors").write_bytes(bytes(range(256)) * 300)
    (path / "empty.json").write_bytes(b"")
    named = {"id": "tester/softvote-weights", "title": "softvote weights", "licenses": [{"name": "CC0-1.0"}]}
    (path / "dataset-metadata.json").write_text(json.dumps(named | facts))
    return path


def kernel_folder(folder: Path, **facts: object) -> Path:
    path = folder / "kernel"
    path.mkdir(exist_ok=True)
    (path / "infer.py").write_text("print('four')\n")
    named = {"id": "tester/softvote-infer", "title": "softvote infer", "code_file": "infer.py"}
    kind = {"language": "python", "kernel_type": "script", "competition_sources": ["digits"]}
    (path / "kernel-metadata.json").write_text(json.dumps(named | kind | facts))
    return path


ACTS: dict[str, Act] = {
    "download": lambda client, folder: client.download(DIGITS, folder / "fetched"),
    "download_file": lambda client, folder: client.download_file(DIGITS, "train.csv", folder / "fetched"),
    "dataset": lambda client, folder: client.download(Source("tester/there"), folder / "fetched"),
    "files": lambda client, _: list(client.files(DIGITS)),
    "quota": lambda client, folder: client.quota("digits"),
    "submissions": lambda client, folder: client.submissions("digits"),
    "submit": lambda client, folder: client.submit("digits", submission_file(folder), "cnn sha256 12"),
    "submit_code": lambda client, _: client.submit_code("digits", "tester/done", 0, "cnn sha256 12"),
    "takes_notebooks_only": lambda client, _: client.takes_notebooks_only("digits"),
    "push_dataset": lambda client, folder: client.push_dataset(dataset_folder(folder)),
    "dataset_is_ready": lambda client, folder: client.dataset_is_ready("tester/there"),
    "push_kernel": lambda client, folder: client.push_kernel(kernel_folder(folder)),
    "kernel_state": lambda client, folder: client.kernel_state("tester/done"),
    "kernel_output": lambda client, folder: client.kernel_output("tester/done", folder / "fetched"),
}
CALLS = [
    ("download", "DownloadDataFiles"),
    ("download", "Download"),
    ("download_file", "DownloadDataFile"),
    ("download_file", "Download"),
    ("dataset", "DownloadDataset"),
    ("files", "ListDataFiles"),
    ("quota", "GetSubmissionLimits"),
    ("submissions", "ListSubmissions"),
    ("submit", "StartSubmissionUpload"),
    ("submit", "Upload"),
    ("submit", "CreateSubmission"),
    ("submit_code", "CreateCodeSubmission"),
    ("takes_notebooks_only", "ListCompetitions"),
    ("push_dataset", "StartBlobUpload"),
    ("push_dataset", "Upload"),
    ("push_dataset", "CreateDataset"),
    ("dataset_is_ready", "GetDatasetStatus"),
    ("push_kernel", "SaveKernel"),
    ("kernel_state", "GetKernelSessionStatus"),
    ("kernel_output", "ListKernelSessionOutput"),
    ("kernel_output", "Download"),
]
