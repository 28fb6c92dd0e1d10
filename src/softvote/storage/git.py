"""What git says of the work tree, so that results can name the code they came from."""

from __future__ import annotations

import subprocess
from pathlib import Path

from softvote.storage.files import read_json

PACKED_COMMIT = Path(__file__).resolve().parents[1] / "commit.json"
"""In a copy of the package that was packed for another machine: the commit it was made from."""


def git_state(root: Path) -> tuple[str, bool]:
    """The short commit of the repository `root` is in, and whether the work tree is clean.

    Files git does not know count as changes. `submissions/` under `root` does not count, because the
    ledger itself changes there. Without git or a repository with a commit: `("", False)`. A packed copy of
    the package says what it was made from, wherever it runs.
    """
    if packed := read_json(PACKED_COMMIT):
        return str(packed["commit"]), bool(packed["clean"])
    commit = _git(root, "rev-parse", "--short", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", ":/", ":(exclude)submissions")
    if commit is None or changes is None:
        return "", False
    return commit.strip(), not changes


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
