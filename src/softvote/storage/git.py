"""What git says of the work tree, so that results can name the code they came from."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git_state(root: Path) -> tuple[str, bool]:
    """The short commit of the repository `root` is in, and whether the work tree is clean.

    Files git does not know count as changes. `submissions/` under `root` does not count, because the
    ledger itself changes there. Without git or a repository with a commit: `("", False)`.
    """
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
