"""The state of a training while it runs, on disk, so that a training that was killed goes on from there."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from softvote.errors import UserError
from softvote.progress import note
from softvote.storage.files import atomic_write, remove_if_exists
from softvote.training.callbacks import Callback
from softvote.training.state import TrainingState

_CHECKSUM = 64  # characters of a sha256, before the state itself


class Checkpoints(Callback):
    """The one checkpoint of a training; each takes the place of the one before.

    `train` is given it among its callbacks, and what `read` finds to go on from.

    Args:
        path: of the file.
        key: says which training this is; the state of another is not gone on from.
        seconds: between two checkpoints.
        keep: given each file's content as well, for where the disk may be lost with the machine.
        threads: of this process; None where the bits of a training do not depend on them.
        processes: that train together.
    """

    def __init__(
        self,
        path: Path,
        key: str,
        seconds: float,
        keep: Callable[[bytes], None] | None = None,
        threads: int | None = None,
        processes: int = 1,
    ) -> None:
        self.path, self.key, self.seconds, self.keep = path, key, seconds, keep
        self.threads, self.processes = threads, processes
        self._written = time.monotonic()

    def read(self) -> dict[str, Any] | None:
        """The state to go on from; None where there is none, or it is of another training.

        A file that is damaged is named, set aside under `<name>.damaged`, and counts as none. One that other
        threads computed is named and counts as none too: going on would give the bits of neither. So does one
        of another number of processes; on accelerators, which repeat no bits, it is named and gone on from.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError.at(self.path, f"cannot be read ({error.strerror})") from None
        state = _state_in(content)
        if state is None:
            self._set_aside()
        return state if state is not None and self._is_ours(state) else None

    def _is_ours(self, state: dict[str, Any]) -> bool:
        if state["key"] != self.key:
            return False
        before = state.get("processes", 1)  # which older ones do not say
        if state["threads"] != self.threads:
            what = f"threads changed, {state['threads']} -> {self.threads}, and with them the bits"
            note(f"{self.path}: {what}; this training starts again")
        elif before != self.processes:
            what = f"devices_per_training changed, {before} -> {self.processes}, and with it the bits"
            goes = "goes on" if self.threads is None else "starts again"
            note(f"{self.path}: {what}; this training {goes}")
        repeats = before == self.processes or self.threads is None
        return bool(state["threads"] == self.threads) and repeats

    def _set_aside(self) -> None:
        aside = self.path.with_suffix(".damaged")
        try:
            self.path.replace(aside)
        except OSError as error:
            raise UserError.at(self.path, f"is damaged and cannot be moved ({error.strerror})") from None
        what = f"is damaged, set aside as {aside.name}; this training starts again"
        note(f"{self.path}: {what}")

    def on_step(self, state: TrainingState) -> None:
        """Write a checkpoint when one is due; never of a training that is lost already."""
        if self.is_due():
            self.write(state.state_dict())

    def is_due(self) -> bool:
        """Whether the last one is old enough for the next."""
        return time.monotonic() - self._written >= self.seconds

    def write(self, state: dict[str, Any]) -> None:
        """Write the state, of tensors, numbers, text, lists and mappings, whole or not at all.

        Raises:
            UserError: it cannot be written; the one before is left as it is.
        """
        buffer = io.BytesIO()
        torch.save(state | self._whose(), buffer)
        content = hashlib.sha256(buffer.getvalue()).hexdigest().encode() + buffer.getvalue()
        with atomic_write(self.path) as temporary:
            temporary.write_bytes(content)
        if self.keep:
            self.keep(content)
        self._written = time.monotonic()

    def _whose(self) -> dict[str, Any]:
        return {"key": self.key, "threads": self.threads, "processes": self.processes}

    def remove(self) -> None:
        """Call when the training left its weights."""
        remove_if_exists(self.path)


def _state_in(content: bytes) -> dict[str, Any] | None:
    """The state a file holds; None unless every byte is as it was written, and is a state."""
    state = content[_CHECKSUM:]
    if hashlib.sha256(state).hexdigest().encode() != content[:_CHECKSUM]:
        return None
    try:
        loaded: dict[str, Any] = torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
    except Exception:  # whatever was written there, it is not a state
        return None
    return loaded
