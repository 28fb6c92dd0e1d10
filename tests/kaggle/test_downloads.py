"""Downloads, as the real kaggle package asks the stand-in for them: whole, in part, and gone on with."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
from kaggle_calls import DIGITS, Client, calls, failure_of
from kaggle_place import Failure, Server

from softvote.errors import UserError
from softvote.kaggle.downloads import RemoteFile
from softvote.kaggle.sources import Source, parse_source

pytestmark = pytest.mark.usefixtures("package")


def test_a_competition_comes_as_one_zip(
    server: Server, client: Client, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = client.download(DIGITS, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "digits.zip"
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["sample_submission.csv", "train.csv"]
        assert archive.read("train.csv") == b"label,pixel0\n1,2\n"
    assert [file.name for file in path.parent.iterdir()] == ["digits.zip"]
    assert capfd.readouterr() == ("", "")


def test_a_dataset_comes_as_one_zip(filled: Server, client: Client, tmp_path: Path) -> None:
    with zipfile.ZipFile(client.download(Source("tester/there"), tmp_path / "new")) as archive:
        assert archive.read("a.csv") == b"a\n1\n"


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("train.csv", b"label,pixel0\n1,2\n" * 20)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (Failure(body=b"{}"), "the 2 bytes that came are not a whole zip file"),
        (Failure(body=b"{}", headers={"Content-Type": "application/json"}), "the 2 bytes that came are no"),
        (Failure(body=b""), "the 0 bytes that came are not a whole zip file"),
        (Failure(body=_zip()[:200]), "the 200 bytes that came are not a whole zip file"),
        (Failure(body=_zip().replace(b"1,2", b"1,7", 1)), "train.csv came damaged"),
    ],
)
def test_what_is_no_whole_zip_is_not_kept(
    server: Server, client: Client, tmp_path: Path, failure: Any, words: str
) -> None:
    server.fail("Download", failure)
    line = failure_of(lambda: client.download(DIGITS, tmp_path / "fetched"))
    assert line.startswith(f"Kaggle, downloading digits: {words}")
    assert "run the same command again" in line
    assert list((tmp_path / "fetched").iterdir()) == []


def test_the_only_file_of_a_competition_comes_bare(server: Server, client: Client, tmp_path: Path) -> None:
    folder = server.folder / "alone"
    folder.mkdir()
    (folder / "train.csv").write_text("label\n7\n")
    server.fail(
        "DownloadDataFiles", Failure(302, headers={"Location": f"{server.url}/x/train.csv"}, body=b"")
    )
    server.fail("Download", Failure(body=b"label\n7\n"))
    with zipfile.ZipFile(client.download(Source("alone"), tmp_path / "new")) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"train.csv": b"label\n7\n"}


def test_full_disk_is_no_failure_of_kaggle(client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = failure_of(lambda: client.download(DIGITS, tmp_path / "file"))
    assert "cannot be written" in line and "Kaggle," not in line


# ---------------------------------------------------------------- a connection that breaks

MEBIBYTE = 1 << 20  # the package writes no less


@pytest.fixture
def large(server: Server) -> bytes:
    """A file that is not over at once, in the competition."""
    content = random.Random(0).randbytes(2 * MEBIBYTE)
    (server.folder / "digits" / "noise.bin").write_bytes(content)
    return content


def test_a_download_goes_on_where_it_broke(
    server: Server, client: Client, large: bytes, tmp_path: Path, waits: list[float]
) -> None:
    server.fail("Download", Failure(cut=MEBIBYTE + 100))
    with zipfile.ZipFile(client.download(DIGITS, tmp_path / "new")) as archive:
        assert archive.read("noise.bin") == large
    assert server.requests[-1].headers["range"] == f"bytes={MEBIBYTE}-"
    assert len(waits) == 1


@pytest.mark.parametrize("act", ["whole", "file"])
@pytest.mark.parametrize("changed", [False, True])
def test_a_later_run_goes_on_unless_the_file_is_another_now(
    server: Server, client: Client, large: bytes, tmp_path: Path, act: str, changed: bool,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = tmp_path / "new"

    def fetch() -> Path:
        if act == "whole":
            return client.download(DIGITS, folder)
        return client.download_file(DIGITS, "noise.bin", folder)

    server.fail("Download", Failure(cut=MEBIBYTE + 100), *[Failure(503)] * 9)
    assert "503" in failure_of(fetch)
    part = next(path for path in folder.iterdir() if path.suffix != ".kaggle-partial")
    assert part.stat().st_size == MEBIBYTE
    server._failures.clear()
    if changed:
        large = large[::-1]
        (server.folder / "digits" / "noise.bin").write_bytes(large)
    server.requests.clear()
    content = (
        zipfile.ZipFile(path).read("noise.bin") if (path := fetch()).suffix == ".zip" else path.read_bytes()
    )
    assert content == large
    ranges = [request.headers.get("range") for request in server.requests if request.call == "Download"]
    assert ranges == ([None] if changed else [None, f"bytes={MEBIBYTE}-"])
    assert list(folder.iterdir()) == [path]
    assert "an earlier run fetched 1,048,576 bytes" in capfd.readouterr().err


# ---------------------------------------------------------------- single files


@pytest.mark.parametrize("wrapped_from", [1, 1 << 20])
def test_a_single_file_comes_as_it_is_listed(
    filled: Server, client: Client, tmp_path: Path, wrapped_from: int
) -> None:
    filled.wrapped_from = wrapped_from
    (filled.folder / "digits" / "images").mkdir()
    (filled.folder / "digits" / "images" / "1.bin").write_bytes(b"one")
    path = client.download_file(DIGITS, "images/1.bin", tmp_path / "new")
    assert path == tmp_path / "new" / "images" / "1.bin" and path.read_bytes() == b"one"
    path = client.download_file(Source("tester/there"), "a.csv", tmp_path / "other")
    assert path == tmp_path / "other" / "a.csv" and path.read_bytes() == b"a\n1\n"


def test_a_file_that_is_not_there(filled: Server, client: Client, tmp_path: Path) -> None:
    line = failure_of(lambda: client.download_file(DIGITS, "trian.csv", tmp_path / "new"))
    assert line.startswith("digits: has no file 'trian.csv'; did you mean 'train.csv'? known: sample_sub")
    line = failure_of(lambda: client.download_file(Source("tester/there"), "b.csv", tmp_path / "new"))
    assert line.startswith("tester/there: has no file 'b.csv'; ")
    assert not list((tmp_path / "new").rglob("*"))


def test_files_of_every_page(server: Server, client: Client) -> None:
    for number in range(45):
        (server.folder / "digits" / f"{number:02}.bin").write_bytes(bytes(number))
    files = list(client.files(DIGITS))
    assert files[7] == RemoteFile("07.bin", 7) and len(files) == 47
    assert calls(server) == ["ListDataFiles"] * 3


# ---------------------------------------------------------------- what is meant


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("digit-recognizer", "digit-recognizer"), ("Kannada-MNIST", "Kannada-MNIST"),
        ("https://www.kaggle.com/competitions/Kannada-MNIST/data?select=a.csv", "Kannada-MNIST"),
        ("kaggle.com/c/digit-recognizer", "digit-recognizer"),
        ("https://www.kaggle.com/competitions/ubc-ocean/overview#rules", "ubc-ocean"),
        ("zalando-research/fashionmnist", "zalando-research/fashionmnist"),
        ("https://www.kaggle.com/datasets/some-body/Some-Data/data", "some-body/Some-Data"),
    ],
)  # fmt: skip
def test_a_pasted_address_is_understood(text: str, slug: str) -> None:
    source = parse_source(text)
    assert source == Source(slug)
    assert parse_source(source.page) == source


@pytest.mark.parametrize(
    "text",
    ["", "../elsewhere", "a/b/c", "https://www.kaggle.com/code/tester/kernel", "https://other.org/c/a"],
)
def test_what_is_no_place_at_kaggle(text: str) -> None:
    with pytest.raises(UserError, match="is not a Kaggle competition or data set; write its name"):
        parse_source(text)
