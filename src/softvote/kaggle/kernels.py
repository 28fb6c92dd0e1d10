"""Kaggle's kernels, and the private datasets that they read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from softvote.errors import UserError
from softvote.kaggle.transport import (
    AGAIN,
    LATER,
    MEND,
    PAGE_SIZE,
    Client,
    NoAnswerError,
    RefusedError,
    Remedies,
    always,
    build_message,
    service_types,
    stat_fields,
)
from softvote.storage.files import read_json, write_text

KernelStatus = Literal["queued", "running", "complete", "error", "cancelled"]


@dataclass(frozen=True)
class PushedVersion:
    """A kernel that Kaggle took and will run.

    Attributes:
        ref: "owner/slug".
        version: counts the pushes from 1.
        url: where to look at it.
    """

    ref: str
    version: int
    url: str


@dataclass(frozen=True)
class KernelState:
    """How far the last version of a kernel is.

    Attributes:
        message: why it failed, in one line; empty otherwise.
    """

    status: KernelStatus
    message: str


class Kernels(Client):
    """Pushes datasets and kernels of the user and fetches output; see `Client` for what goes wrong."""

    def push_dataset(self, folder: Path) -> str:
        """Create the private dataset that `folder`/dataset-metadata.json names, or a new version of it.

        Uploaded are the other files of the folder, not those of folders in it.

        Returns:
            "owner/slug".

        Raises:
            UserError: the metadata have no id, or what `Client` says.
        """
        metadata = read_json(folder / _DATASET)
        if not re.fullmatch(r"[^/]+/[^/]+", str(metadata.get("id"))):
            raise UserError.at(folder / _DATASET, f"has no id, such as {self.username}/weights", "add it")
        name, exists = str(metadata["id"]), self._has_dataset(metadata["id"])
        files = [
            build_message("datasets", "ApiDatasetNewFile", token=self._upload_blob(path))
            for path in sorted(folder.iterdir())
            if path.is_file() and path.name != _DATASET
        ]
        fields = _version(metadata, files) if exists else _first_version(metadata, files)
        method = "create_dataset_version" if exists else "create_dataset"
        doing = f"pushing the dataset {name}"
        answer = self._call(doing, _dataset(name), "datasets", method, **fields)
        made = (answer.status or "").lower() == "ok"
        self._check_pushed(doing, answer, [] if made else [f"its status is {answer.status or 'not told'}"])
        return name

    def _has_dataset(self, dataset: str) -> bool:
        try:
            self._dataset_status(dataset)
        except RefusedError as refused:
            if refused.status in (403, 404):  # what nobody has is forbidden as what another has
                return False
            raise
        return True

    def dataset_is_ready(self, dataset: str) -> bool:
        """Whether the last version of a dataset, "owner/slug", can be used in a kernel.

        Raises:
            UserError: also where Kaggle could not make it.
        """
        status = self._dataset_status(dataset)
        if status in ("FAILED", "DELETED"):
            remedy = f"see https://www.kaggle.com/datasets/{dataset}"
            raise UserError.at(f"Kaggle, making the dataset {dataset}", status.lower(), remedy)
        return status == "READY"

    def _dataset_status(self, dataset: str) -> str:
        doing = f"asking for the dataset {dataset}"
        return str(self._ask(doing, _dataset(dataset), lambda: self._api.dataset_status(dataset))).upper()

    def _upload_blob(self, path: Path) -> str:
        fields = {"type": service_types("blobs").ApiBlobType.DATASET, "name": path.name} | stat_fields(path)
        start = self._call(f"uploading {path.name}", always(AGAIN), "blobs", "start_blob_upload", **fields)
        self._upload(path, start.create_url)
        return str(start.token)

    def push_kernel(self, folder: Path) -> PushedVersion:
        """Upload the kernel that `folder`/kernel-metadata.json describes; Kaggle then runs it.

        Raises:
            UserError: Kaggle's package refuses the metadata, or what `Client` says.
        """
        doing, remedies = "pushing the kernel", always(f"check that its id begins with {self.username}/")

        def push() -> Any:
            try:
                return self._api.kernels_push(str(folder))
            except ValueError as error:  # the package's own checks
                if type(error) is not ValueError:  # an answer that is not JSON
                    raise
                mistake = self._words(str(error))
            raise UserError.at(folder / _KERNEL, mistake)

        answer = self._ask(doing, remedies, push)
        self._check_pushed(doing, answer, [])
        ref = "/".join(urlsplit(answer.ref or answer.url).path.strip("/").split("/")[-2:])
        if not (answer.version_number and ref):
            raise NoAnswerError.at(f"Kaggle, {doing}", "the answer has no version of it", LATER)
        return PushedVersion(ref, answer.version_number, answer.url)

    def kernel_state(self, kernel: str, version: int | None = None) -> KernelState:
        """How far a version of a kernel, "owner/slug", is; the last where none is named."""
        answer = self._call_kernel("asking for", kernel, "get_kernel_session_status", **_label(version))
        return KernelState(_KERNEL_STATUS[answer.status.name], self._words(answer.failure_message))

    def kernel_output(self, kernel: str, folder: Path, version: int | None = None) -> list[Path]:
        """Fetch every file that a version of a kernel, "owner/slug", left, and its log; else the last.

        Returns:
            Files in `folder` or in folders there; the last is `folder`/slug.log, if there is a log.

        Raises:
            UserError: a file is named so that it would lie outside `folder`, or what `Client` says.
        """
        paths: list[Path] = []
        for answer in self._output_pages(kernel, version):
            for item in answer.files:
                path = folder / item.file_name
                if not path.resolve().is_relative_to(folder.resolve()):
                    raise UserError.at(
                        kernel, f"output {item.file_name!r} would leave {folder}", "rename it there"
                    )
                self._fetch(item.url, path)
                paths.append(path)
        if answer.log:
            paths.append(folder / f"{kernel.split('/')[-1]}.log")
            write_text(paths[-1], answer.log)
        return paths

    def _output_pages(self, kernel: str, version: int | None) -> Iterator[Any]:
        tokens = [""]
        while True:
            fields = {"page_token": tokens[-1], "page_size": PAGE_SIZE} | _label(version)
            answer = self._call_kernel("fetching", kernel, "list_kernel_session_output", **fields)
            yield answer
            if not answer.next_page_token or answer.next_page_token in tokens:
                return
            tokens.append(answer.next_page_token)

    def _call_kernel(self, verb: str, kernel: str, method: str, **fields: Any) -> Any:
        owner, slug = kernel.split("/")
        remedies = always(f"check that it exists and is yours: https://www.kaggle.com/code/{kernel}")
        fields = {"user_name": owner, "kernel_slug": slug} | fields
        return self._call(f"{verb} the kernel {kernel}", remedies, "kernels", method, **fields)

    def _check_pushed(self, doing: str, answer: Any, problems: list[str]) -> None:
        """Raise for what Kaggle refuses under the status 200."""
        problems = [answer.error] if answer.error else problems
        for kind in ("tags", "dataset_sources", "competition_sources", "kernel_sources", "model_sources"):
            if names := getattr(answer, f"invalid_{kind}", []):
                problems.append(f"no valid {kind.replace('_', ' ')}: {', '.join(names)}")
        if problems:
            raise UserError.at(f"Kaggle, {doing}", f"refused, {self._words('; '.join(problems))}", MEND)


def _dataset(dataset: str) -> Remedies:
    remedy = f"check that it exists and is yours: https://www.kaggle.com/datasets/{dataset}"
    return Remedies(remedy, remedy, MEND)


_KERNEL_STATUS: dict[str, KernelStatus] = {
    "NEW_SCRIPT": "queued",
    "QUEUED": "queued",
    "RUNNING": "running",
    "COMPLETE": "complete",
    "ERROR": "error",
    "CANCEL_REQUESTED": "cancelled",
    "CANCEL_ACKNOWLEDGED": "cancelled",
}


def _label(version: int | None) -> dict[str, Any]:
    """How a request names a version of a kernel."""
    return {} if version is None else {"version_label": f"v{version}"}


_DATASET, _KERNEL = "dataset-metadata.json", "kernel-metadata.json"


def _first_version(metadata: dict[str, Any], files: list[Any]) -> dict[str, Any]:
    owner, slug = metadata["id"].split("/")
    request = {"owner_slug": owner, "slug": slug, "title": metadata.get("title"), "is_private": True}
    return request | {"license_name": metadata["licenses"][0]["name"]} | _content(metadata, files)


def _version(metadata: dict[str, Any], files: list[Any]) -> dict[str, Any]:
    owner, slug = metadata["id"].split("/")
    content = {"version_notes": "pushed by softvote"} | _content(metadata, files)
    body = build_message("datasets", "ApiCreateDatasetVersionRequestBody", **content)
    return {"owner_slug": owner, "dataset_slug": slug, "body": body}


def _content(metadata: dict[str, Any], files: list[Any]) -> dict[str, Any]:
    words = {name: metadata.get(name) for name in ("subtitle", "description")}
    return {"files": files, "category_ids": metadata.get("keywords", [])} | words
