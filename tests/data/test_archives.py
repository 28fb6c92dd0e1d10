from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from softvote.data.archives import unpack
from softvote.errors import UserError
from softvote.storage.paths import Workspace

FILES = {"train.csv": "label,pixel0\n1,2\n", "test/1.png": "image", "more.zip": "a zip inside"}


def zipped(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def content(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


@pytest.fixture
def digits_zip(tmp_path: Path) -> Path:
    return zipped(tmp_path / "digits.zip", FILES)


def test_unpacks_under_the_zips_name(digits_zip: Path, workspace: Workspace) -> None:
    folder = unpack(digits_zip, workspace)
    assert folder == workspace.input("digits") and content(folder) == FILES


def test_unpacks_under_another_name(digits_zip: Path, workspace: Workspace) -> None:
    assert content(unpack(digits_zip, workspace, "mnist")) == FILES
    assert not workspace.input("digits").exists()


def test_a_folder_around_everything_is_left_out(tmp_path: Path, workspace: Workspace) -> None:
    around = {f"digits-v1/{name}": text for name, text in FILES.items()} | {
        "__MACOSX/digits-v1/._train.csv": "x"
    }
    assert content(unpack(zipped(tmp_path / "digits.zip", around), workspace)) == FILES


def test_only_one_folder_is_left_out(tmp_path: Path, workspace: Workspace) -> None:
    nested = {f"a/b/{name}": text for name, text in FILES.items()}
    found = content(unpack(zipped(tmp_path / "digits.zip", nested), workspace))
    assert found == {f"b/{name}": text for name, text in FILES.items()}


def test_same_content_is_left_alone(digits_zip: Path, workspace: Workspace) -> None:
    folder = unpack(digits_zip, workspace)
    before = (folder / "train.csv").stat()
    assert unpack(digits_zip, workspace) == folder
    after = (folder / "train.csv").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    ("name", "text"), [("train.csv", "label,pixel0\n1,3\n"), ("train.csv", ""), ("further.csv", "")]
)
def test_other_content_is_not_overwritten(
    name: str, text: str, digits_zip: Path, workspace: Workspace
) -> None:
    folder = unpack(digits_zip, workspace)
    (folder / name).write_text(text)
    with pytest.raises(UserError, match=f"differs from digits.zip in {name}; remove the folder"):
        unpack(digits_zip, workspace)
    assert (folder / name).read_text() == text


@pytest.mark.parametrize(
    "name", ["../outside.csv", "/outside.csv", "a/../../outside.csv", "..\\outside.csv", "C:/x"]
)
def test_no_file_leaves_the_folder(name: str, tmp_path: Path, workspace: Workspace) -> None:
    path = zipped(tmp_path / "digits.zip", {"train.csv": "", name: "evil"})
    with pytest.raises(UserError, match="would leave the folder; nothing was unpacked"):
        unpack(path, workspace)
    assert [path.name for path in tmp_path.iterdir()] == ["digits.zip"]


def test_no_link_leaves_the_folder(tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "digits.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("train")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc")
    with pytest.raises(UserError, match="'train' would leave the folder"):
        unpack(path, workspace)


def test_a_flipped_bit_is_noticed_and_nothing_is_left(tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "digits.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "first")
        archive.writestr("b.csv", "0123456789")
    path.write_bytes(path.read_bytes().replace(b"0123456789", b"0123456788"))
    with pytest.raises(UserError, match=r"is damaged .*b\.csv.*; download it again"):
        unpack(path, workspace)
    assert list((tmp_path / "input").iterdir()) == []


@pytest.mark.parametrize("kept", [0, 20, 0.5, 0.99])
def test_cut_off(kept: float, digits_zip: Path, workspace: Workspace) -> None:
    whole = digits_zip.read_bytes()
    digits_zip.write_bytes(whole[: int(kept * len(whole)) if 0 < kept < 1 else int(kept)])
    with pytest.raises(UserError, match="is no zip file, or is cut off; download it again"):
        unpack(digits_zip, workspace)


def test_an_error_page_called_zip(digits_zip: Path, workspace: Workspace) -> None:
    digits_zip.write_text("{}")
    with pytest.raises(UserError, match="is no zip file"):
        unpack(digits_zip, workspace)


def test_no_file_and_no_files(tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        unpack(tmp_path / "none.zip", workspace)
    with pytest.raises(UserError, match="holds no files"):
        unpack(zipped(tmp_path / "digits.zip", {}), workspace)


def test_a_name_that_is_no_folder(digits_zip: Path, workspace: Workspace) -> None:
    with pytest.raises(UserError, match=r"'\.\./x' is not a name"):
        unpack(digits_zip, workspace, "../x")
