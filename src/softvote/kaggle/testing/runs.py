"""Pushed kernels, really run in folders laid out like Kaggle's."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from softvote.kaggle.testing.competitions import SOLUTION, competition_slugs, hidden_folder
from softvote.kaggle.testing.state import HostedKernel, Kaggle
from softvote.storage.cache import JsonObject


class KernelRun:
    """A pushed script, run in folders laid out like Kaggle's, in a thread that ends with it.

    Args:
        hidden: mount the test files that are hidden from other runs.
        ended: is given the kernel when it has run.
    """

    def __init__(
        self,
        kaggle: Kaggle,
        kernel: HostedKernel,
        hidden: bool = False,
        ended: Callable[[HostedKernel], None] | None = None,
    ) -> None:
        kernel.running = True
        self._kaggle, self._kernel, self._hidden, self._ended = kaggle, kernel, hidden, ended
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Kill the script and whatever it started."""
        with suppress(ProcessLookupError):
            if self._process and self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._thread.join()

    def _run(self) -> None:
        with TemporaryDirectory(prefix="kaggle-") as root:
            folders = {name: Path(root, "kaggle", name) for name in ("input", "working", "src")}
            for folder in folders.values():
                folder.mkdir(parents=True)
            mount(self._kaggle, self._kernel.metadata, folders["input"], self._hidden)
            script = folders["src"] / "script.py"
            script.write_text(self._kernel.metadata["text"], encoding="utf-8")
            began = time.monotonic()
            self._process = _start(script, folders["input"], folders["working"])
            if self._kaggle.stopping.is_set():
                self._process.kill()
            streams = self._process.communicate()
            seconds = time.monotonic() - began
            self._keep(folders["working"], dict(zip(("stdout", "stderr"), streams, strict=True)), seconds)

    def _keep(self, working: Path, streams: dict[str, str], seconds: float) -> None:
        assert self._process
        code, kernel = self._process.returncode, self._kernel
        kernel.output = {
            path.relative_to(working).as_posix(): path.read_bytes()
            for path in sorted(working.rglob("*"))
            if path.is_file()
        }
        events = [
            {"stream_name": stream, "time": seconds, "data": line}
            for stream, text in streams.items()
            for line in text.splitlines(keepends=True)
        ]
        kernel.log = json.dumps(events)
        kernel.failure = f"The script ended with {code}" if code else ""
        if self._ended:
            self._ended(kernel)
        kernel.running = False


def _start(script: Path, source: Path, output: Path) -> subprocess.Popen[str]:
    # -S: no .pth files, by which a package under development is found; the packages beside it are.
    command = [sys.executable, "-S", "-s", "-P", str(script)]
    environment = {
        "PATH": os.defpath,
        "HOME": str(script.parent),
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "SOFTVOTE_INPUT": str(source),
        "SOFTVOTE_OUTPUT": str(output),
    }
    threads = {name: os.environ[name] for name in ("OMP_NUM_THREADS",) if name in os.environ}
    return subprocess.Popen(
        command,
        cwd=output,
        env=environment | threads,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def mount(kaggle: Kaggle, metadata: JsonObject, root: Path, hidden: bool = False) -> None:
    """Put what a kernel asks for under competitions/<slug>/ and datasets/<owner>/<slug>/, read-only.

    Args:
        hidden: what is hidden takes the place of files and folders of the same name.
    """
    without_solution = shutil.ignore_patterns(SOLUTION)
    for slug in set(metadata.get("competitionDataSources", [])) & set(competition_slugs(kaggle.folder)):
        shutil.copytree(kaggle.folder / slug, root / "competitions" / slug, ignore=without_solution)
        unseen = hidden_folder(kaggle.folder / slug) if hidden else None
        for path in unseen.iterdir() if unseen else ():
            target = root / "competitions" / slug / path.name
            if path.is_dir():
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(path, target)
            elif path.name != SOLUTION:
                shutil.copyfile(path, target)
    for name in set(metadata.get("datasetDataSources", [])) & kaggle.datasets.keys():
        for file, content in kaggle.datasets[name].files.items():
            target = root / "datasets" / name / file
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.suffix == ".zip" and zipfile.is_zipfile(io.BytesIO(content)):  # Kaggle unpacks these
                zipfile.ZipFile(io.BytesIO(content)).extractall(target.with_suffix(""))
            else:
                target.write_bytes(content)
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
