"""Published weights: the file that a network starts from, in a folder of the project or from the hub.

`<folder>/<name>.safetensors` goes before the hub, and what once came from the hub is in the cache of its own
client. A network of ours that starts from those of a timm network says which in `PUBLISHED` of its module.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

import timm
import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from timm.models._hub import download_cached_file
from torch import nn

from softvote.config.recipe import Member, split_checkpoint_args
from softvote.errors import ErrorCollector, Problem, UserError

_HUB_FILE = "model.safetensors"
_HUB_TIMEOUT = 5.0
"""Seconds to wait for the hub's first answer."""


@dataclass(frozen=True)
class PublishedWeights:
    """Where the published weights of a network are to be had.

    Attributes:
        name: as which a file of them is looked for.
        repository: of the hub; empty where it has none.
        remote: the file there, or an address.
        folder: the project's, which is looked into first; None for no such folder.
    """

    name: str
    repository: str
    remote: str
    folder: Path | None

    @property
    def place(self) -> Path | None:
        """Where a file of them may be put."""
        return None if self.folder is None else self.folder / f"{self.name}.safetensors"

    @property
    def source(self) -> str:
        """Their file on the hub, or its address; empty where nothing is published."""
        return f"{self.repository}/{self.remote}" if self.repository else self.remote

    def find(self) -> Path | None:
        """Their file where it is on this machine already: in the folder, or in the hub's or torch's cache."""
        if self.place is not None and self.place.is_file():
            return self.place
        if not self.repository:
            return self._find_downloaded()
        try:
            return Path(hf_hub_download(self.repository, self.remote, local_files_only=True))
        except LocalEntryNotFoundError:
            return None

    def _find_downloaded(self) -> Path | None:
        """The file of an address, where torch's hub, to which timm leaves it, put it once."""
        name = Path(urlparse(self.remote).path).name
        file = Path(torch.hub.get_dir()) / "checkpoints" / name
        return file if name and file.is_file() else None

    def fetch(self) -> Path:
        """Their file, from the hub where it is not on this machine yet.

        Raises:
            UserError: nothing is published, the hub cannot be reached or does not give it, or what is here is
                damaged.
        """
        if found := self.find():
            refuse_damaged(found)
            return found
        if not self.remote:
            raise UserError(Problem("", "has no published weights", self._remedy))
        try:
            return self._download()
        except Exception as error:  # whatever the hub's client and its HTTP library raise
            what = (
                f"no published weights: {self.source} is not on this machine, and does not come from the hub"
            )
            raise UserError(Problem("", f"{what} ({in_short(error)})", self._remedy)) from None

    def _download(self) -> Path:
        if not self.repository:
            return Path(download_cached_file(self.remote))
        # Downloading retries for the better part of a minute when there is no network; this asks once.
        get_hf_file_metadata(hf_hub_url(self.repository, self.remote), timeout=_HUB_TIMEOUT)
        return Path(hf_hub_download(self.repository, self.remote))

    @property
    def _remedy(self) -> str:
        put = f"put that file here as {self.place}" if self.place else "name a file in model_args"
        return f"{put}, or leave pretrained out to train from scratch"


def refuse_damaged(file: Path) -> None:
    """Refuse a file that ends in `.safetensors` and is none.

    Raises:
        UserError: so it is, or it is cut short.
    """
    if file.suffix != ".safetensors":
        return
    try:
        with safe_open(file, "pt"):  # which reads the table of contents alone
            pass
    except (SafetensorError, OSError) as error:
        raise UserError.at(
            file, f"is not a file of weights ({in_short(error)})", "put it there anew"
        ) from None


def published_weights(model: str, args: dict[str, Any], folder: Path | None) -> PublishedWeights | None:
    """The published weights that a network starts from; None where it starts from none, or from a named file.

    Args:
        model: its name.
        args: its arguments, of which `pretrained` asks for them.
        folder: the project's own files of weights; None for the hub alone.
    """
    if (
        not args.get("pretrained")
        or split_checkpoint_args(args)[1]
        or not timm.is_model(_architecture(model))
    ):
        return None
    name = getattr(_module_of(model), "PUBLISHED", "") if _is_ours(model) else model
    if not name:
        return None
    config = timm.get_pretrained_cfg(name)
    if config is None:
        return PublishedWeights(name, "", "", folder)
    repository = config.hf_hub_id or ""
    remote = (config.hf_hub_filename or _HUB_FILE) if repository else str(config.url or "")
    return PublishedWeights(name, repository, remote, folder)


def published_files(members: Mapping[str, Member], folder: Path) -> dict[str, Path]:
    """The published weights that members start from, by the names under which networks look for them.

    Raises:
        UserError: weights that cannot be had, or that are no `.safetensors`; of all members.
    """
    problems, files = ErrorCollector(), dict[str, Path]()
    for name, member in members.items():
        weights = published_weights(member.model, member.model_args, folder)
        if weights is None:
            continue
        try:
            file = weights.fetch()
            if file.suffix != ".safetensors":
                raise UserError(
                    Problem("", f"{file} is no .safetensors file", "only those are taken to another machine")
                )
            files[f"{weights.name}.safetensors"] = file
        except UserError as error:
            problems.extend(error.within(f"members.{name}: model {member.model}").problems)
    problems.raise_any()
    return files


def start_from(model: str, args: dict[str, Any], file: Path) -> dict[str, Any]:
    """A network's arguments with which it starts from a file of published weights."""
    if _is_ours(model):
        return args | {"weights": str(file)}
    # What is published as a plain file of tensors needs no loader of the network's own.
    overlay = {"file": str(file), "custom_load": file.suffix == ".npz"}
    return args | {"pretrained_cfg_overlay": (args.get("pretrained_cfg_overlay") or {}) | overlay}


def _architecture(model: str) -> str:
    return model.partition(".")[0]


def _module_of(model: str) -> ModuleType:
    return sys.modules[timm.model_entrypoint(_architecture(model)).__module__]


def _is_ours(model: str) -> bool:
    return _module_of(model).__name__.startswith(f"{__package__}.")


@contextlib.contextmanager
def missing_layers() -> Iterator[list[str]]:
    """Collect the names of layers that a file lacks while timm builds a network of it; only its log tells."""
    names, log = list[str](), logging.getLogger("timm.models._builder")
    handler, level = _Missing(names), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield names
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class _Missing(logging.Handler):
    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.names = names

    def emit(self, record: logging.LogRecord) -> None:
        if found := re.match(r"Missing keys \((?P<names>.*?)\) discovered", record.getMessage()):
            self.names += found["names"].split(", ")


def published_levels(model: nn.Module, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """The mean and standard deviation of each channel, 0..255, with which a network's weights were published.

    For three channels they are timm's; other numbers of channels, whose first kernels timm sums or repeats,
    have the mean of the three. None where timm knows none.
    """
    config = getattr(model, "pretrained_cfg", None) or {}
    if not (config.get("mean") and config.get("std")):
        return None
    mean, std = ([255 * float(level) for level in config[name]] for name in ("mean", "std"))
    if len(mean) != channels:
        mean, std = ([sum(levels) / len(levels)] * channels for levels in (mean, std))
    return tuple(mean), tuple(std)


def in_short(error: Exception) -> str:
    """What an error says, in one line of bearable length."""
    return shorten(str(error) or type(error).__name__, 160, placeholder=" ...")
