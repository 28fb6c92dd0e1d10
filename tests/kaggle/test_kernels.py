"""Datasets and kernels, as the real kaggle package pushes them to the stand-in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kaggle_calls import Client, calls, dataset_folder, failure_of, kernel_folder
from kaggle_place import LEAK, Failure, Server

from softvote.kaggle.kernels import KernelState, PushedVersion
from softvote.kaggle.transport import NoAnswerError

pytestmark = pytest.mark.usefixtures("package")


# ---------------------------------------------------------------- datasets


def test_push_dataset(
    server: Server, client: Client, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = dataset_folder(tmp_path)
    assert client.push_dataset(folder) == "tester/softvote-weights"
    dataset = server.datasets["tester/softvote-weights"]
    assert dataset.metadata["isPrivate"] is True
    assert (dataset.metadata["title"], dataset.metadata["licenseName"]) == ("softvote weights", "CC0-1.0")
    names = ["cnn.fold0.safetensors", "empty.json"]
    assert dataset.files == {name: (folder / name).read_bytes() for name in names}
    assert not client.dataset_is_ready("tester/softvote-weights")
    assert client.dataset_is_ready("tester/softvote-weights")
    (folder / "empty.json").write_bytes(b"{}")
    assert client.push_dataset(folder) == "tester/softvote-weights"
    assert (dataset.version, dataset.files["empty.json"]) == (2, b"{}")
    assert capfd.readouterr() == ("", "")


def test_dataset_without_one_of_its_files_is_not_made(server: Server, client: Client, tmp_path: Path) -> None:
    """The package itself leaves a file out whose upload failed."""
    server.fail("Upload", Failure(), Failure(400, "No"))
    line = failure_of(lambda: client.push_dataset(dataset_folder(tmp_path)))
    assert line == "Kaggle, uploading empty.json: 400, No; nothing was sent; run the same command again"
    assert server.datasets == {}


@pytest.mark.parametrize("call", ["CreateDataset", "CreateDatasetVersion"])
def test_dataset_refused_under_the_status_of_success(
    server: Server, client: Client, tmp_path: Path, call: str
) -> None:
    folder = dataset_folder(tmp_path)
    if call == "CreateDatasetVersion":
        client.push_dataset(folder)
    refusals = (
        {"status": "error", "error": "The title is in use"},
        {"status": "ok", "invalidTags": ["x", "y"]},
    )
    server.fail(call, *[Failure(body=json.dumps(refusal).encode()) for refusal in refusals])
    line = failure_of(lambda: client.push_dataset(folder))
    assert line == (
        "Kaggle, pushing the dataset tester/softvote-weights: refused, The title is in use; "
        "fix that and run the same command again"
    )
    assert "refused, no valid tags: x, y; fix" in failure_of(lambda: client.push_dataset(folder))


def test_dataset_that_kaggle_cannot_make(server: Server, client: Client) -> None:
    server.fail("GetDatasetStatus", Failure(body=b'{"status": "FAILED"}'))
    line = failure_of(lambda: client.dataset_is_ready("tester/some"))
    page = "https://www.kaggle.com/datasets/tester/some"
    assert line == f"Kaggle, making the dataset tester/some: failed; see {page}"


@pytest.mark.parametrize("name", [None, "weights"])
def test_dataset_without_a_name(client: Client, tmp_path: Path, name: str | None) -> None:
    line = failure_of(lambda: client.push_dataset(dataset_folder(tmp_path, id=name)))
    assert line.endswith("dataset-metadata.json: has no id, such as tester/weights; add it")


# ---------------------------------------------------------------- kernels


def test_push_kernel(
    server: Server, client: Client, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = "https://www.kaggle.com/code/tester/softvote-infer"
    folder = kernel_folder(tmp_path, enable_internet=False)
    assert client.push_kernel(folder) == PushedVersion("tester/softvote-infer", 1, url)
    assert server.kernels["tester/softvote-infer"].metadata["text"] == "print('four')\n"
    states = [client.kernel_state("tester/softvote-infer") for _ in range(2)]
    assert states == [KernelState("queued", ""), KernelState("complete", "")]
    assert client.push_kernel(folder).version == 2
    assert capfd.readouterr() == ("", "")


def test_kernel_refused_under_the_status_of_success(server: Server, client: Client, tmp_path: Path) -> None:
    server.push_error = f"Notebook is too large, {LEAK}"
    line = failure_of(lambda: client.push_kernel(kernel_folder(tmp_path)))
    assert line.startswith("Kaggle, pushing the kernel: refused, Notebook is too large, No key ***")
    server.push_error = ""
    folder = kernel_folder(tmp_path, dataset_sources=["tester/gone"], competition_sources=["gone"])
    line = failure_of(lambda: client.push_kernel(folder))
    assert "no valid dataset sources: tester/gone; no valid competition sources: gone; fix" in line


def test_kernel_that_the_package_itself_refuses(server: Server, client: Client, tmp_path: Path) -> None:
    folder = kernel_folder(tmp_path, title="four")
    line = failure_of(lambda: client.push_kernel(folder))
    assert line == f"{folder / 'kernel-metadata.json'}: Title must be at least five characters"
    assert calls(server) == []


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("NEW_SCRIPT", "queued"),
        ("RUNNING", "running"),
        ("CANCEL_REQUESTED", "cancelled"),
        ("CANCEL_ACKNOWLEDGED", "cancelled"),
    ],
)
def test_kernel_state(filled: Server, client: Client, status: str, state: str) -> None:
    filled.fail("GetKernelSessionStatus", Failure(body=json.dumps({"status": status}).encode()))
    assert client.kernel_state("tester/done") == KernelState(state, "")


def test_kernel_that_failed(filled: Server, client: Client) -> None:
    filled.kernels["tester/done"].failure = "The script\nended with 1"
    assert client.kernel_state("tester/done") == KernelState("error", "The script ended with 1")


def test_kernel_that_is_not_there(server: Server, client: Client) -> None:
    line = failure_of(lambda: client.kernel_state("tester/gone"))
    assert line.endswith("; check that it exists and is yours: https://www.kaggle.com/code/tester/gone")


def test_kernel_output_of_every_page(filled: Server, client: Client, tmp_path: Path) -> None:
    kernel = filled.kernels["tester/done"]
    kernel.output = {f"folds/{number}.txt": b"four" * number for number in range(45)}
    kernel.log = '[{"data": "four"}]'
    folder = tmp_path / "output"
    paths = client.kernel_output("tester/done", folder)
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths[:-1]} == kernel.output
    assert paths[-1] == folder / "done.log"
    assert paths[-1].read_text() == kernel.log
    assert calls(filled).count("ListKernelSessionOutput") == 3


def test_kernel_output_stays_in_its_folder(filled: Server, client: Client, tmp_path: Path) -> None:
    filled.kernels["tester/done"].output = {"../outside.txt": b""}
    line = failure_of(lambda: client.kernel_output("tester/done", tmp_path / "output"))
    assert "output '../outside.txt' would leave" in line
    assert not (tmp_path / "outside.txt").exists()


def test_kernel_output_cut_off(filled: Server, client: Client, tmp_path: Path) -> None:
    filled.fail("Download", Failure(cut=5))
    line = failure_of(lambda: client.kernel_output("tester/done", tmp_path / "output"), NoAnswerError)
    assert line.startswith("Kaggle, downloading submission.csv: no connection, or it broke off")
    assert not list((tmp_path / "output").iterdir())
