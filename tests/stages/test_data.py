"""softvote data: what Kaggle hands out lies in input/ whole, or not at all."""

from __future__ import annotations

import errno
import io
import random
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import projects
import py7zr
import pytest
from kaggle_place import LEAK, Failure, Place, contents, forget_package, set_environment
from projects import write_pipeline

from softvote.data import archives
from softvote.data.archive_formats import ARCHIVES, NoRoomError
from softvote.kaggle.testing import HostedDataset
from softvote.kaggle.transport import Client
from softvote.stages import data, download
from softvote.storage.locks import try_lock
from softvote.storage.paths import ASKED_FILES

FETCHED = {"train.csv", "test.csv", "sample_submission.csv"}
HOME = "https://www.kaggle.com/competitions/digits"


@pytest.fixture
def place(place: Place) -> Place:
    """A project that has the pipeline, and the data of another competition."""
    for folder in ("models", "submissions", "input/digits"):
        shutil.rmtree(place.root / folder)
    (place.root / "input" / "other").mkdir()
    (place.root / "input" / "other" / "train.csv").write_text("label,pixel0\n1,2\n")
    return place


def read_fetched(place: Place, name: str = "digits") -> dict[str, bytes | None]:
    """A folder of input/, if nothing but it and the other competition lies there."""
    assert {path.name for path in (place.root / "input").iterdir()} == {name, "other"}
    found = contents(place.root / "input" / name)
    return {path: content for path, content in found.items() if path != ASKED_FILES}


def read_served(place: Place) -> dict[str, bytes | None]:
    return {name: (place.server.folder / "digits" / name).read_bytes() for name in FETCHED}


def test_a_competition_is_downloaded_and_unpacked(place: Place) -> None:
    told = place.done("data", "tiny")
    assert read_fetched(place) == read_served(place)
    folder = place.root / "input" / "digits"
    sizes = {path: f"{path.stat().st_size:,} bytes" for path in folder.iterdir()}
    assert told.out.splitlines() == [f"{path}  {sizes[path]}" for path in sorted(sizes)]
    assert told.err == []
    assert place.asked() == ["ListDataFiles", "DownloadDataFiles", "Download"]


def test_tables_are_listed_and_other_files_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = tmp_path / "cups.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(30):
            archive.writestr(f"images/{number:02}.JPG", b"four")
            archive.writestr(f"boxes/{number:02}.json", b"{}")
        for name in ("images/more/plate.png", "LICENSE"):
            archive.writestr(name, b"four")
        archive.writestr("train.csv", b"id,plate\n")
        archive.writestr("data/train.parquet", b"id")
    assert projects.softvote(tmp_path, "data", str(packed)) == 0
    folder = tmp_path / "input" / "cups"
    assert capsys.readouterr().out.splitlines() == [
        f"{folder}/train.csv  9 bytes",
        f"{folder}/data/train.parquet  2 bytes",
        f"{folder}: also 30 .json, 30 .jpg, 1 without a suffix, 1 .png; 64 files in all",
    ]


@pytest.mark.parametrize("kinds", [3, 9])
def test_of_many_kinds_the_commonest_are_named(tmp_path: Path, kinds: int) -> None:
    folder = tmp_path / "input" / "mine"
    others = {f".{number}": 9 - number for number in range(kinds)}
    told = str(data.DataResult(folder, "", (), "", others))
    assert told.startswith(f"{folder}: 9 .0, 8 .1, 7 .2") and ("2 .7, ...; 45 files" in told) == (kinds == 9)


def test_what_is_there_is_not_asked_for(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place.done("data", "tiny")
    place.asked()
    before = contents(place.root)
    set_environment(monkeypatch, {}, tmp_path)  # no credentials
    told = place.done("data", "tiny")
    folder = place.root / "input" / "digits"
    assert told.out.startswith(f"{folder}: already there; remove the folder to get it again\n{folder}/")
    assert contents(place.root) == before
    assert place.asked() == []


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["digits"], "digits"),
        (["digits", "--name=mine"], "mine"),
        (["tiny", "--name=mine"], "mine"),
        (["renamed"], "mine"),
        ([f"{HOME}/data"], "digits"),
        (["{root}/pipelines/tiny.yaml"], "digits"),
    ],
)
def test_ways_to_say_what_is_wanted(place: Place, words: list[str], name: str) -> None:
    competition = projects.competition(name="mine", solution=None, kaggle="digits")
    write_pipeline(place.root, projects.pipeline(competition=competition), "renamed")
    place.done("data", *[word.format(root=place.root) for word in words])
    assert read_fetched(place, name) == read_served(place)


def test_a_pipeline_goes_before_a_file_of_its_name(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny").write_text("no zip")
    place.done("data", "tiny")
    assert read_fetched(place) == read_served(place)


def _zip(name: str = "train.csv") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"label,pixel0\n1,2\n" * 20)
    return buffer.getvalue()


NO_ZIP = f"not a whole zip file; run the same command again, or download it by hand from {HOME}/data"
BROKEN = "no connection, or it broke off; check the network and run the same command again"
SIGNING_IN = "make a token at https://www.kaggle.com/settings/api and put it into KAGGLE_API_TOKEN or"
FAILURES: dict[str, tuple[str, Any, str]] = {
    "truncated": ("Download", Failure(body=_zip()[:200]), f"the 200 bytes that came are {NO_ZIP}"),
    "json": ("Download", Failure(body=b"{}"), f"the 2 bytes that came are {NO_ZIP}"),
    "html": ("Download", Failure(body=b"<html>Sign in</html>"), f"the 20 bytes that came are {NO_ZIP}"),
    "damaged": ("Download", Failure(body=_zip().replace(b"1,2", b"1,7", 1)), "train.csv came damaged; run "),
    "drop": ("Download", Failure(drop=True), BROKEN),
    "drop-at-once": ("DownloadDataFiles", Failure(drop=True), BROKEN),
    "400": ("DownloadDataFiles", Failure(400, LEAK), "400, No key ***, "),
    "list-400": ("ListDataFiles", Failure(400, LEAK), "400, No key ***, "),
    "401": (
        "DownloadDataFiles", Failure(401, LEAK),
        f"401, wrong or expired credentials in KAGGLE_KEY; {SIGNING_IN}",
    ),
    "403": (
        "DownloadDataFiles", Failure(403, "You must accept the rules"),
        f"403, You must accept the rules; join the competition and accept its rules at {HOME}/rules",
    ),
    "404": (
        "DownloadDataFiles", Failure(404, "Not Found"),
        f"404, Not Found; its name is the last part of its address: is there {HOME} ?",
    ),
    "429": (
        "DownloadDataFiles", Failure(429, LEAK, {"Retry-After": "7200"}),
        "429, too many requests; try again in 120 min",
    ),
    "502": ("Download", Failure(502, LEAK), "502, No key ***, "),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failed_download_leaves_nothing(place: Place, kind: str) -> None:
    call, failure, words = FAILURES[kind]
    place.server.fail(call, failure)
    line = place.refused("data", "tiny")
    doing = "listing the files of digits" if call == "ListDataFiles" else "downloading digits"
    assert line.startswith(f"Kaggle, {doing}: {words}")
    place.done("data", "tiny")
    assert read_fetched(place) == read_served(place)


def test_an_answer_that_does_not_come(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client.__init__, "__defaults__", (place.clock.sleep, 0.3))
    place.server.fail("Download", Failure(delay=600))
    line = place.refused("data", "tiny")
    assert line == "Kaggle, downloading digits: no answer within 0.3 s; run the same command again"


def test_too_many_requests_are_waited_for(place: Place) -> None:
    place.server.fail("DownloadDataFiles", Failure(429, LEAK, {"Retry-After": "3"}))
    told = place.done("data", "tiny")
    assert told.err == ["Kaggle, downloading digits: too many requests, waiting 3 s"]
    assert place.clock.waits == [3]
    assert read_fetched(place) == read_served(place)


def test_no_credentials(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(monkeypatch, {}, tmp_path)
    forget_package(monkeypatch)
    line = place.refused("data", "tiny")
    assert line.startswith(f"Kaggle, signing in: no credentials that can be used in ~/.kaggle; {SIGNING_IN}")
    assert place.asked() == []


def test_a_competition_that_is_not_held_at_kaggle(place: Place) -> None:
    write_pipeline(place.root, projects.pipeline(competition=projects.competition(name="mine")), "demo")
    line = place.refused("data", "demo")
    assert line == (
        f"{place.root}/input/mine: is not there, and the competition has no address on Kaggle "
        "(competition.kaggle); unpack its files with: make data ZIP=path/to/it.zip, or see docs/results.md "
        "for making them"
    )
    (place.root / "input" / "mine").mkdir(parents=True)
    (place.root / "input" / "mine" / "train.csv").touch()
    assert "mine: already there" in place.done("data", "demo").out
    assert place.asked() == []


def test_a_slug_that_kaggle_does_not_know(place: Place) -> None:
    line = place.refused("data", "some-contest")
    address = "https://www.kaggle.com/competitions/some-contest"
    assert line.endswith(f"404, Not Found; its name is the last part of its address: is there {address} ?")


@pytest.mark.parametrize("words", [["digits", "--name=.."], ["tiny", "--name=a/b"]])
def test_no_other_folder_is_written(place: Place, words: list[str]) -> None:
    line = place.refused("data", *words)
    assert line.endswith(" is not a name: use letters, digits, - and _, or pass --name")
    assert place.asked() == []


def test_a_file_in_the_way(place: Place) -> None:
    file = place.root / "input" / "digits"
    file.write_text("mine")
    line = place.refused("data", "tiny")
    assert line == f"{file}: is a file where a folder should be; move it away, or pass another --name"
    assert place.asked() == []


def test_a_file_in_the_way_of_all_input(place: Place) -> None:
    shutil.rmtree(place.root / "input")
    (place.root / "input").write_text("mine")
    assert place.refused("data", "tiny") == f"{place.root / 'input'}: cannot be written (File exists)"


# ---------------------------------------------------------------- long downloads, single files, data sets


def test_a_download_goes_on_where_an_earlier_run_stopped(place: Place) -> None:
    noise = random.Random(0).randbytes(3 << 20)
    (place.server.folder / "digits" / "noise.bin").write_bytes(noise)
    place.server.fail("Download", Failure(cut=(1 << 20) + 7), *[Failure(502)] * 9)
    line = place.refused("data", "tiny", changes=["input/.downloads"])
    assert line.startswith("Kaggle, downloading digits: 502, ")
    place.server._failures.clear()
    place.server.requests.clear()
    told = place.done("data", "tiny")
    assert told.err == ["downloading digits: an earlier run fetched 1,048,576 bytes"]
    assert place.server.requests[-1].headers["range"] == "bytes=1048576-"
    assert read_fetched(place) == read_served(place) | {"noise.bin": noise}


def test_two_runs_do_not_download_the_same_at_once(place: Place) -> None:
    lock = place.root / "input" / ".downloads" / "digits.lock"
    with try_lock(lock):
        line = place.refused("data", "tiny")
    assert line == "digits: another run is downloading it; wait for it"


@pytest.mark.parametrize("bytes_in_a_copy", [0, 1 << 40])
def test_of_much_no_second_copy_is_made(
    place: Place, monkeypatch: pytest.MonkeyPatch, bytes_in_a_copy: int
) -> None:
    monkeypatch.setattr(download, "_MUCH", bytes_in_a_copy)
    place.server.wrapped_from = 1
    place.done("data", "tiny")
    assert read_fetched(place) == read_served(place)
    assert place.asked().count("DownloadDataFile") == (0 if bytes_in_a_copy else 3)


@pytest.mark.parametrize("source", ["tiny", "digits"])
def test_single_files_come_beside_what_is_there(place: Place, source: str) -> None:
    alone = "these files alone were asked for, ask without naming files to get all of digits"
    told = place.done("data", source, "--file", "train.csv")
    assert read_fetched(place) == {"train.csv": read_served(place)["train.csv"]}
    assert told.out.splitlines()[0] == f"{place.root}/input/digits: {alone}"
    assert place.asked() == ["DownloadDataFile", "Download"]
    told = place.done("data", source, "--file=train.csv", "--file=test.csv")
    assert told.out.splitlines()[0] == f"{place.root}/input/digits: train.csv already there; {alone}"
    assert set(read_fetched(place)) == {"train.csv", "test.csv"}
    assert place.asked() == ["DownloadDataFile", "Download"]


def test_the_rest_is_fetched_when_all_is_asked_for(place: Place) -> None:
    (place.server.folder / "digits" / "images.zip").write_bytes(_zip("more.csv"))
    place.done("data", "tiny", "--file=train.csv", "--file=images.zip")
    place.asked()
    told = place.done("data", "tiny")
    rest = "fetched the rest, sample_submission.csv, test.csv"
    folder = place.root / "input" / "digits"
    assert told.out.startswith(f"{folder}: train.csv, images.zip already there; {rest}\n")
    assert place.asked().count("DownloadDataFile") == 2
    assert read_fetched(place) == read_served(place) | {"more.csv": b"label,pixel0\n1,2\n" * 20}
    assert "already there; remove the folder to get it again" in place.done("data", "tiny").out
    assert place.asked() == []
    (folder / "test.csv").unlink()  # what is there whole is not asked for, whatever becomes of it
    told = place.done("data", "tiny", "--file=test.csv")
    assert "alone were asked for, remove the folder to get all of digits" in told.out


def test_what_is_missing_is_told_where_it_is_too_much(place: Place) -> None:
    place.done("data", "tiny", "--file=train.csv")
    for number in range(25):
        (place.server.folder / "digits" / f"{number:02}.bin").write_bytes(b"1")
    line = place.refused("data", "tiny")
    assert line == (
        f"{place.root}/input/digits: holds only what was asked for alone, train.csv, and lacks 27 files, as "
        "00.bin, 01.bin, 02.bin; remove the folder to get all of digits at once"
    )


def test_an_archive_among_them_is_unpacked(place: Place) -> None:
    (place.server.folder / "digits" / "images.zip").write_bytes(_zip())
    place.done("data", "tiny", "--file=images.zip")
    assert read_fetched(place) == {"train.csv": b"label,pixel0\n1,2\n" * 20}


def _fill_disk(archive: Path, folder: Path) -> None:
    (folder / "train.csv").write_bytes(b"half of it")
    raise OSError(errno.ENOSPC, "No space left on device")


def _refuse_room(archive: Path, folder: Path) -> None:
    raise NoRoomError.at(archive, "needs 9 bytes, 1 are free", "free some disk space")


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def _leave(folder: Any, *_: object) -> None:
    folder._finalizer.detach()


@pytest.mark.parametrize(
    ("unpacks", "merges"), [(_fill_disk, None), (_refuse_room, None), (_stop, None), (None, _stop)]
)
def test_what_could_not_be_unpacked_is_not_fetched_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, unpacks: Any, merges: Any
) -> None:
    """The third is Ctrl-C; the last is a run that was killed, whose temporary folders nobody removed."""
    (place.server.folder / "digits" / "images.zip").write_bytes(_zip("more.csv"))
    with monkeypatch.context() as patch:
        patch.setattr(download, "_MUCH", 0)
        if unpacks:
            patch.setitem(ARCHIVES, ".zip", unpacks)
        else:
            patch.setattr(archives, "_merge", merges)
            patch.setattr(tempfile.TemporaryDirectory, "__exit__", _leave)
        code, _, _ = place.softvote("data", "tiny")
        assert code == (130 if _stop in (unpacks, merges) else 1)
        assert place.asked().count("DownloadDataFile") == 4
    monkeypatch.setattr(download, "_MUCH", 0)
    place.done("data", "tiny")
    assert "DownloadDataFile" not in place.asked()
    assert read_fetched(place) == read_served(place) | {"more.csv": b"label,pixel0\n1,2\n" * 20}


@pytest.mark.parametrize("unpacked", [False, True])
@pytest.mark.parametrize("change", ["other", "renamed"])
def test_what_kaggle_changed_meanwhile_is_fetched_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, unpacked: bool, change: str
) -> None:
    monkeypatch.setattr(download, "_MUCH", 0)
    served = place.server.folder / "digits"
    (served / "images.zip").write_bytes(_zip("more.csv"))
    if unpacked:
        with monkeypatch.context() as patch:
            patch.setitem(ARCHIVES, ".zip", _refuse_room)
            place.softvote("data", "tiny")
    else:
        place.server.fail("Download", Failure(), Failure(), Failure(), *[Failure(502)] * 9)
        place.softvote("data", "tiny")
        place.server._failures.clear()
    place.asked()
    if change == "other":
        (served / "sample_submission.csv").write_bytes(b"another")
    else:
        (served / "sample_submission.csv").rename(served / "other.csv")
    told = place.done("data", "tiny")
    names = {path.name for path in served.iterdir()} - {"images.zip", "solution.csv"}
    assert read_fetched(place) == {name: (served / name).read_bytes() for name in names} | {
        "more.csv": b"label,pixel0\n1,2\n" * 20
    }
    assert place.asked().count("DownloadDataFile") == (4 if unpacked else 2)
    said = (
        "sample_submission.csv: an earlier run fetched 506 bytes, Kaggle lists 7 by now; it is fetched again"
    )
    assert (said in told.err) == (change == "other" and not unpacked)


def test_an_archive_that_came_damaged_is_fetched_again(place: Place) -> None:
    path = place.server.folder / "digits" / "images.zip"
    path.write_bytes(_zip()[:-5])
    assert "truncated; download it again" in place.refused("data", "tiny", "--file=images.zip")
    path.write_bytes(_zip())
    place.done("data", "tiny", "--file=images.zip")
    assert read_fetched(place) == {"train.csv": b"label,pixel0\n1,2\n" * 20}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "trian.csv",
            "digits: has no file 'trian.csv'; did you mean 'train.csv'? known: sample_submission.csv",
        ),
        ("../train.csv", "../train.csv: points outside the folder; write it as Kaggle lists it"),
    ],
)
def test_a_file_that_is_not_there(place: Place, name: str, line: str) -> None:
    assert place.refused("data", "tiny", "--file", name).startswith(line)


def test_a_data_set_is_downloaded(place: Place) -> None:
    content = {"a.csv": b"a\n1\n", "b.csv": b"b\n2\n"}
    place.server.datasets["some-body/Some-Data"] = HostedDataset({}, content)
    place.done("data", "some-body/Some-Data")
    assert read_fetched(place, "Some-Data") == content
    place.done("data", "https://www.kaggle.com/datasets/some-body/Some-Data", "--name=mine", "--file=b.csv")
    shutil.rmtree(place.root / "input" / "Some-Data")
    assert read_fetched(place, "mine") == {"b.csv": b"b\n2\n"}


def test_archives_within_are_unpacked_and_those_that_are_not_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = io.BytesIO()
    with py7zr.SevenZipFile(packed, "w") as archive:
        archive.writestr("image", "test/1.png")
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as download:
        download.writestr("train.csv.zip", _zip())
        download.writestr("test.7z", packed.getvalue())
    folder = tmp_path / "input" / "mine"
    whole = data.run(tmp_path, str(tmp_path / "mine.zip"), None)
    assert whole.packed == "" and (folder / "test" / "1.png").read_text() == "image"
    shutil.rmtree(folder)
    monkeypatch.setitem(sys.modules, "py7zr", None)
    told = str(data.run(tmp_path, str(tmp_path / "mine.zip"), None)).splitlines()
    assert told[0] == (
        f"{folder}: still packed: {folder}/test.7z; what is 7z needs softvote[formats]; "
        "what has a password: 7z x"
    )
    assert (folder / "train.csv").is_file()
