"""Commit and cleanness of the work tree."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from softvote.storage.git import git_state


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_a_committed_tree_is_clean_whatever_submissions_hold(repository: Path) -> None:
    commit = git(repository, "rev-parse", "--short", "HEAD").strip()
    assert git_state(repository) == (commit, True)
    (repository / "submissions").mkdir()
    (repository / "submissions" / "ledger.csv").write_text("x")
    assert git_state(repository) == (commit, True)


@pytest.mark.parametrize("name", ["code.py", "new.py", "deep/new.py", "deep/submissions/new.py"])
def test_a_changed_or_unknown_file_makes_it_unclean(repository: Path, name: str) -> None:
    (repository / name).parent.mkdir(parents=True, exist_ok=True)
    (repository / name).write_text("2\n")
    assert git_state(repository)[1] is False


def test_a_root_inside_the_repository_sees_all_of_it(repository: Path) -> None:
    (repository / "demo" / "submissions").mkdir(parents=True)
    (repository / "demo" / "submissions" / "a.csv").write_text("x")
    assert git_state(repository / "demo")[1] is True
    (repository / "code.py").write_text("2\n")
    assert git_state(repository / "demo")[1] is False


def test_without_a_repository_or_git_there_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) == ("", False)
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) == ("", False)
    monkeypatch.setenv("PATH", "")
    assert git_state(tmp_path) == ("", False)


def test_a_packed_copy_says_what_it_was_made_from_wherever_it_runs(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "commit.json"
    monkeypatch.setattr("softvote.storage.git.PACKED_COMMIT", packed)
    own = git_state(repository)
    packed.write_text('{"commit": "abc1234", "clean": true}')
    assert git_state(repository) == ("abc1234", True) != own
