from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from softvote.data.archive_formats import ARCHIVES
from softvote.data.archives import packed_files, unpack
from softvote.errors import UserError
from softvote.storage.paths import Workspace

FILES = {"train.csv": "label,pixel0\n1,2\n", "test/1.png": "image"}
IMAGES = {"1.png": "one", "2.png": "two"}


def write_zip(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def content(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


@pytest.fixture
def digits_zip(tmp_path: Path) -> Path:
    return write_zip(tmp_path / "digits.zip", FILES)


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
    assert content(unpack(write_zip(tmp_path / "digits.zip", around), workspace)) == FILES


@pytest.mark.parametrize("kind", [".zip", ".tar.gz"])
def test_a_folder_that_says_whose_files_these_are_stays(
    kind: str, tmp_path: Path, workspace: Workspace
) -> None:
    """Images of training or of test that came without the rest; else nothing would tell which they are."""
    for name, left in (("train", True), ("test_images", True), ("my-train", False), ("digits", False)):
        files = {f"{name}/{image}": text for image, text in IMAGES.items()}
        path = tmp_path / f"my-train{kind}"
        path.write_bytes(PACKERS[kind](files))
        found = content(unpack(path, workspace, f"from-{name}"))
        assert found == (files if left else IMAGES)
        assert content(unpack(path, workspace, f"from-{name}")) == found  # there already


def test_only_one_folder_is_left_out(tmp_path: Path, workspace: Workspace) -> None:
    nested = {f"a/b/{name}": text for name, text in FILES.items()}
    found = content(unpack(write_zip(tmp_path / "digits.zip", nested), workspace))
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
    path = write_zip(tmp_path / "digits.zip", {"train.csv": "", name: "evil"})
    with pytest.raises(UserError, match="points outside the folder; nothing was unpacked"):
        unpack(path, workspace)
    assert [path.name for path in tmp_path.iterdir()] == ["digits.zip"]


def test_no_link_leaves_the_folder(tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "digits.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("train")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc")
    with pytest.raises(UserError, match="'train' points outside the folder"):
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
    with pytest.raises(UserError, match="is not a zip file, or is truncated; download it again"):
        unpack(digits_zip, workspace)


def test_an_error_page_called_zip(digits_zip: Path, workspace: Workspace) -> None:
    digits_zip.write_text("{}")
    with pytest.raises(UserError, match="is not a zip file"):
        unpack(digits_zip, workspace)


def test_no_file_and_no_files(tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        unpack(tmp_path / "none.zip", workspace)
    with pytest.raises(UserError, match="holds no files"):
        unpack(write_zip(tmp_path / "digits.zip", {}), workspace)


def test_a_name_that_is_no_folder(digits_zip: Path, workspace: Workspace) -> None:
    with pytest.raises(UserError, match=r"'\.\./x' is not a name"):
        unpack(digits_zip, workspace, "../x")


# ---------------------------------------------------------------- archives within


def in_zip(files: dict[str, str | bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def in_tar(mode: str) -> Callable[[dict[str, str]], bytes]:
    def write(files: dict[str, str]) -> bytes:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode=mode) as archive:  # type: ignore[call-overload]
            for name, text in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))
        return content.getvalue()

    return write


def in_7z(files: dict[str, str]) -> bytes:
    import py7zr

    content = io.BytesIO()
    with py7zr.SevenZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(text, name)
    return content.getvalue()


PACKERS: dict[str, Callable[[dict[str, str]], bytes]] = {
    ".zip": in_zip, ".tar": in_tar("w"), ".tar.gz": in_tar("w:gz"), ".tgz": in_tar("w:gz"),
    ".tar.bz2": in_tar("w:bz2"), ".tar.xz": in_tar("w:xz"), ".7z": in_7z,
    ".gz": lambda files: gzip.compress(next(iter(files.values())).encode()),
    ".bz2": lambda files: bz2.compress(next(iter(files.values())).encode()),
    ".xz": lambda files: lzma.compress(next(iter(files.values())).encode()),
}  # fmt: skip
OF_MANY = [suffix for suffix in PACKERS if suffix not in (".gz", ".bz2", ".xz")]


def unpack_download(tmp_path: Path, workspace: Workspace, files: dict[str, str | bytes]) -> dict[str, str]:
    """What a download of these files becomes."""
    path = tmp_path / "digits.zip"
    path.write_bytes(in_zip(files))
    found = content(unpack(path, workspace))
    assert content(unpack(path, workspace)) == found, "the same content is left alone"
    return found


def test_every_kind_of_archive_has_a_packer_here() -> None:
    assert set(PACKERS) == set(ARCHIVES)


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_table_that_is_packed_lies_beside(suffix: str, tmp_path: Path, workspace: Workspace) -> None:
    packed = {f"train.csv{suffix}": PACKERS[suffix]({"train.csv": "id,label"}), "test/1.png": "one"}
    assert unpack_download(tmp_path, workspace, packed) == {"train.csv": "id,label", "test/1.png": "one"}


@pytest.mark.parametrize("suffix", OF_MANY)
def test_images_in_an_archive_come_into_a_folder(suffix: str, tmp_path: Path, workspace: Workspace) -> None:
    pack = PACKERS[suffix]
    loose, folder = pack(IMAGES), pack({f"test/{name}": text for name, text in IMAGES.items()})
    found = unpack_download(
        tmp_path, workspace, {f"train{suffix}": loose, f"all{suffix}": folder, "a.csv": "x"}
    )
    images = {f"{split}/{name}": text for split in ("train", "test") for name, text in IMAGES.items()}
    assert found == images | {"a.csv": "x"}


def test_a_tar_in_a_7z_and_a_folder_in_several_archives(tmp_path: Path, workspace: Workspace) -> None:
    tar = in_tar("w")({f"train-jpg/{name}": text for name, text in IMAGES.items()})
    import py7zr

    content_7z = io.BytesIO()
    with py7zr.SevenZipFile(content_7z, "w") as archive:
        archive.writestr(tar, "train-jpg.tar")
    parts = {f"images_{part}.zip": in_zip({f"images/{part}.png": str(part)}) for part in range(3)}
    found = unpack_download(tmp_path, workspace, {"train-jpg.tar.7z": content_7z.getvalue(), **parts})
    expected = {f"train-jpg/{name}": text for name, text in IMAGES.items()}
    assert found == expected | {f"images/{part}.png": str(part) for part in range(3)}


def test_a_lone_file_deep_in_an_archive_lies_beside(tmp_path: Path, workspace: Workspace) -> None:
    packed = in_7z({"data/processed/train.json": "[]"})
    assert unpack_download(tmp_path, workspace, {"train.json.7z": packed, "b.csv": ""}) == {
        "train.json": "[]", "b.csv": "",
    }  # fmt: skip


def test_an_archive_that_is_all_there_is_takes_the_downloads_place(
    tmp_path: Path, workspace: Workspace
) -> None:
    packed = in_zip({"train.zip": in_zip(IMAGES), "train.csv": "x"})
    found = unpack_download(tmp_path, workspace, {"all.zip": packed})
    assert found == {f"train/{name}": text for name, text in IMAGES.items()} | {"train.csv": "x"}


def test_parts_are_put_together(tmp_path: Path, workspace: Workspace) -> None:
    whole = in_zip({f"train/{name}": text for name, text in IMAGES.items()})
    parts: dict[str, str | bytes] = {
        f"train.zip.{number:03}": whole[start : start + 60]
        for number, start in enumerate(range(0, len(whole), 60), 1)
    }
    expected = {f"train/{name}": text for name, text in IMAGES.items()}
    assert len(parts) > 2 and unpack_download(tmp_path, workspace, parts) == expected
    del parts["train.zip.002"]
    with pytest.raises(UserError, match=r"train\.zip: lacks one of its parts"):
        unpack_download(tmp_path, workspace, parts | {"a.csv": "other"})


def test_two_archives_that_disagree_are_refused(tmp_path: Path, workspace: Workspace) -> None:
    files: dict[str, str | bytes] = {f"{n}.zip": in_zip({"train/1.png": n}) for n in ("a", "b")}
    with pytest.raises(UserError, match=r"digits\.zip/b\.zip: '1\.png' is already there with other content"):
        unpack_download(tmp_path, workspace, files)
    assert list((tmp_path / "input").iterdir()) == []


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
@pytest.mark.parametrize("name", ["../outside.csv", "/outside.csv", "a/../../outside.csv"])
def test_no_file_of_an_inner_archive_leaves_the_folder(
    suffix: str, name: str, tmp_path: Path, workspace: Workspace
) -> None:
    packed = PACKERS[suffix]({"train.csv": "", name: "evil"})
    with pytest.raises(UserError, match="points outside the folder; nothing was unpacked"):
        unpack_download(tmp_path, workspace, {f"train{suffix}": packed, "a.csv": ""})
    assert not list(tmp_path.rglob("outside.csv")) and list((tmp_path / "input").iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_no_link_or_device_of_a_tar_is_made(kind: bytes, tmp_path: Path, workspace: Workspace) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo("train")
        info.type, info.linkname = kind, "/etc"
        archive.addfile(info)
    with pytest.raises(UserError, match="nothing was unpacked"):
        unpack_download(tmp_path, workspace, {"train.tar": packed.getvalue(), "a.csv": ""})


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_damaged_archive_within_is_named(suffix: str, tmp_path: Path, workspace: Workspace) -> None:
    whole = PACKERS[suffix]({"train.csv": "0123456789" * 50})
    damaged = whole[: 700 if suffix == ".tar" else len(whole) // 2]
    with pytest.raises(UserError, match=rf"digits\.zip/train\.csv\{suffix}: is .*download it again"):
        unpack_download(tmp_path, workspace, {f"train.csv{suffix}": damaged, "a.csv": ""})
    assert list((tmp_path / "input").iterdir()) == []


def test_a_tar_that_ends_between_two_files_is_cut_off(tmp_path: Path, workspace: Workspace) -> None:
    whole = in_tar("w")(IMAGES)
    with pytest.raises(UserError, match=r"digits\.zip/train\.tar: is truncated; download it again"):
        unpack_download(tmp_path, workspace, {"train.tar": whole[:1024], "a.csv": ""})


def test_without_the_library_a_7z_stays_packed(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: dict[str, str | bytes] = {"train.7z": in_7z(IMAGES), "a.csv": ""}
    monkeypatch.setitem(sys.modules, "py7zr", None)
    path = tmp_path / "digits.zip"
    path.write_bytes(in_zip(files))
    folder = unpack(path, workspace)
    assert packed_files(folder) == [folder / "train.7z"]


def test_an_archive_with_a_password_stays_packed(tmp_path: Path, workspace: Workspace) -> None:
    import py7zr

    content_7z = io.BytesIO()
    with py7zr.SevenZipFile(content_7z, "w", password="secret") as archive:
        archive.writestr("evil", "test/1.png")
    files: dict[str, str | bytes] = {"train.zip": in_zip(IMAGES), "test.7z": content_7z.getvalue()}
    path = tmp_path / "digits.zip"
    path.write_bytes(in_zip(files))
    folder = unpack(path, workspace)
    assert packed_files(folder) == [folder / "test.7z"] and (folder / "train" / "1.png").is_file()
    assert unpack(path, workspace) == folder


def test_archives_without_end_are_refused(tmp_path: Path, workspace: Workspace) -> None:
    packed = in_zip({"a.csv": "", "b.csv": ""})
    for _ in range(8):
        packed = in_zip({"next.zip": packed, "other.csv": ""})
    with pytest.raises(UserError, match="archives within archives"):
        unpack_download(tmp_path, workspace, {"next.zip": packed, "a.csv": ""})


@pytest.mark.parametrize("suffix", OF_MANY)
def test_a_download_of_another_kind(suffix: str, tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / f"digits{suffix}"
    path.write_bytes(PACKERS[suffix](FILES))
    assert (
        unpack(path, workspace) == workspace.input("digits") and content(workspace.input("digits")) == FILES
    )
