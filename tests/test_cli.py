"""softvote.cli: words, exit codes, one line per mistake; stopped and killed trainings that go on."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import Digits
from data_fixtures import write_csv
from projects import probabilities, process, softvote, write_project
from trainings import start, until

from softvote import __version__, cli, shell
from softvote.models import own_models


def commands() -> list[str]:
    parser = cli.create_parser()
    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return sorted(action.choices)


# ---------------------------------------------------------------- words


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"softvote {__version__}\n"


@pytest.mark.slow_but("more0")
@pytest.mark.parametrize("more", [[], ["--all"]])
def test_the_list_of_networks(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", *more]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines[2:]]
    assert set(own_models()) <= set(names)
    (cnn,) = [line for line in lines if line.startswith("cnn ")]
    assert cnn.split()[1] == "871,530"
    assert ("resnet18" in names) == bool(more)


def test_the_commands_are_these() -> None:
    expected = {
        "data",
        "init",
        "check",
        "schema",
        "folds",
        "train",
        "ensemble",
        "submit",
        "augmentation",
        "mistakes",
        "export",
        "predict",
    }
    assert expected <= set(commands())


@pytest.mark.parametrize(
    "words", [[], *([name] for name in commands())], ids=lambda words: words[0] if words else ""
)
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([*words, "--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith("usage: softvote") and len(told.splitlines()) > 4


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    told = capsys.readouterr().out
    lines = [line.split() for line in told.splitlines()]
    assert set(commands()) <= {line[0] for line in lines if line}


@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["train"], ["train", "tiny", "--nonsense"], ["init", ".", "--image", "28"]]
)
def test_words_it_does_not_know_exit_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    assert "softvote" in capsys.readouterr().err


HEAVY = ("torch", "timm", "numpy", "pandas", "scipy", "sklearn", "matplotlib", "pydantic", "yaml")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from softvote.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


@pytest.fixture
def fresh(tmp_path: Path, digits: Digits) -> Path:
    """A project with nothing done yet."""
    return write_project(tmp_path, digits, 60, 20)


def test_what_needs_no_network_imports_no_torch(fresh: Path) -> None:
    commands = [
        ["check", "nonsense"], ["train", "nonsense"], ["folds", "tiny"], ["train", "tiny", "--fold", "9"],
        ["ensemble", "tiny"], ["submit", "tiny"], ["export", "tiny"],
    ]  # fmt: skip
    code = (
        "import sys; from softvote.cli import main\n"
        f"for words in {commands!r}:\n"
        f"    main(['--root', {str(fresh)!r}, *words])\n"
        "    if 'torch' in sys.modules: break\n"
        "print('HEAVY', [words] if 'torch' in sys.modules else [])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


@pytest.mark.slow
def test_where_trainings_have_processes_of_their_own_torch_is_imported_there_alone(fresh: Path) -> None:
    one = ["--set", "members.cnn.epochs=1", "--set", "engine.workers=2", "--member", "cnn", "--fold", "0"]
    commands = [["folds", "tiny"], ["train", "tiny", *one]]
    code = (
        "import sys; from softvote.cli import main\n"
        f"ends = [main(['--root', {str(fresh)!r}, *words]) for words in {commands!r}]\n"
        "print(ends, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[0, 0] False", done.stdout


# ---------------------------------------------------------------- mistakes


ELSEWHERE = [
    f"--set=competition.{setting}" for setting in ("name=elsewhere", "kaggle=elsewhere", "solution=null")
]
MISTAKES = [
    (["check", "tinny"], "did you mean 'tiny'? known: tiny; make init writes one for a folder"),
    (["check", "missing.yaml"], "no such pipeline"),
    (["folds", "tiny", "--set", "folds.count=1"], "greater than or equal to 2"),
    (["folds", "tiny", "--set", "folds.count=90"], "90 folds need as many different images"),
    (["folds", "tiny", "--set", "competition.name=elsewhere"], "elsewhere: no such folder"),
    (
        ["submit", "tiny", "--set", "competition.name=elsewhere"],
        "get it with: make data ZIP=path/to/elsewhere",
    ),
    (
        ["submit", "tiny", *ELSEWHERE],
        "no such folder; get it from Kaggle with: make data PIPELINE=elsewhere, or with: make data ZIP=path",
    ),
    (["submit", "tiny", "--force"], "FORCE=1 (--force): is about sending, and nothing is sent; add SEND=1"),
    (["submit", "tiny", "--no-wait"], "add SEND=1 (--send), or leave it out"),
    (["folds", "tiny", "--set", "nonsense"], "write KEY=VALUE"),
    (["train", "tiny"], "run the folds stage"),
    (["ensemble", "tiny"], "run the folds stage"),
    (["submit", "tiny"], "run the folds stage"),
    (["submit", "tiny", "--member", "ccn"], "did you mean 'cnn'?"),
    (["mistakes", "tiny", "--member", "ccn"], "did you mean 'cnn'?"),
    (["mistakes", "tiny"], "run the folds stage"),
    (["export", "tiny", "--member", "ccn"], "did you mean 'cnn'?"),
    (["export", "tiny"], "run the folds stage"),
    (["predict", "--model", "models/tiny/vote", "1.png"], "no such model; make one with: softvote export"),
    (["augmentation", "tiny", "--member", "ccn"], "did you mean 'cnn'?"),
    (["check", "tiny", "--set", "members.cnn.model=resnt5"], "did you mean 'resnet5'?"),
    (["data", "missing.zip"], "missing.zip"),
    (["init", "input/nothing"], "nothing"),
]


@pytest.mark.parametrize(("words", "says"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_1(
    fresh: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(fresh)
    assert softvote(fresh, *words) == 1
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("softvote: ") and says in line
    assert "Traceback" not in out + err


def test_mistakes_after_the_folds(fresh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert softvote(fresh, "folds", "tiny") == 0
    for words, says in [
        (["train", "tiny", "--member", "ccn"], "--member: no member 'ccn'; did you mean 'cnn'?"),
        (["train", "tiny", "--fold", "7"], "--fold: no fold 7 to train; known: 0, 1"),
        (["train", "tiny", "--set", "members.cnn.model_args={nonsense: 1}"], "cannot be built"),
        (["train", "tiny", "--set", "members.cnn.model=stn_cnn"], "8 x 8 are too small"),
        (["ensemble", "tiny"], "members.cnn: fold 0, 1 is due (new); run the train stage"),
        (["submit", "tiny"], "vote: is not there or not whole; run the ensemble stage"),
        (["mistakes", "tiny"], "run the ensemble stage"),
        (["mistakes", "tiny", "--member", "cnn"], "run the train stage"),
        (["submit", "tiny", "--member", "ccn"], "did you mean 'cnn'?"),
        (["mistakes", "tiny", "--member", "ccn"], "did you mean 'cnn'?"),
        (["submit", "tiny", "--member", "cnn"], "run the train stage"),
    ]:
        capsys.readouterr()
        assert softvote(fresh, *words) == 1
        err = capsys.readouterr().err
        assert says in err and all(line.startswith("softvote: ") for line in err.splitlines())
    assert not list(fresh.rglob("*.safetensors"))


def test_of_several_commands_the_first_that_fails_ends_the_call(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["folds", "tiny", "+", "train", "tiny", "--fold", "7", "+", "ensemble", "tiny"]
    assert softvote(fresh, *words) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == f"wrote {fresh / 'models' / 'tiny' / 'folds.csv'}"
    assert err == "softvote: --fold: no fold 7 to train; known: 0, 1\n"


@pytest.mark.parametrize("last", ["+", "+ trian tiny", "+ train"])
def test_of_several_commands_none_is_run_before_all_are_understood(fresh: Path, last: str) -> None:
    with pytest.raises(SystemExit) as caught:
        softvote(fresh, "folds", "tiny", *last.split())
    assert caught.value.code == 2 and not (fresh / "models").exists()


def test_every_network_that_cannot_be_built_is_named_before_training(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert softvote(fresh, "folds", "tiny") == 0
    words = ["--set", "members.cnn.model=nonsense", "--set", "members.resnet5.model_args={nonsense: 1}"]
    assert softvote(fresh, "train", "tiny", *words) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and "members.cnn" in lines[0] and "members.resnet5" in lines[1]


def test_a_loss_that_is_no_number(fresh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert softvote(fresh, "folds", "tiny") == 0
    words = ["--member", "cnn", "--set", "members.cnn.optimizer={name: sgd, lr: 1.0e+30}"]
    assert softvote(fresh, "train", "tiny", *words) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("softvote: ")]
    assert [line.partition(":")[2].partition(":")[0] for line in told] == [" cnn fold 0", " cnn fold 1"]
    assert all("the loss is" in line and "learning rate" in line for line in told)
    assert not list(fresh.rglob("*.safetensors"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(fresh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (fresh / "models").mkdir()
    (fresh / "models").chmod(0o500)
    assert softvote(fresh, "folds", "tiny") == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_file_where_a_folder_should_be(fresh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (fresh / "models").write_text("")
    assert softvote(fresh, "folds", "tiny") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be written" in line


def test_a_pipe_that_closes_early(fresh: Path) -> None:
    running = process(fresh, "schema")
    assert running.stdout and running.stderr
    running.stdout.close()
    assert running.wait() in (0, 1)
    assert "Traceback" not in running.stderr.read()
    running.stderr.close()


# ---------------------------------------------------------------- data and init


def test_from_a_zip_to_a_pipeline_that_runs(
    tmp_path: Path, digits: Digits, capsys: pytest.CaptureFixture[str], known_throughput: None
) -> None:
    source = write_project(tmp_path / "elsewhere", digits, 60, 20)
    archive = tmp_path / "some-contest.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((source / "input" / "digits").iterdir()):
            file.write(path, path.name)
    root = tmp_path / "root"
    root.mkdir()
    assert softvote(root, "data", str(archive)) == 0
    folder = root / "input" / "some-contest"
    assert sorted(path.name for path in folder.glob("*.csv")) == [
        "sample_submission.csv", "solution.csv", "test.csv", "train.csv",
    ]  # fmt: skip
    assert softvote(root, "init", str(folder)) == 0
    facts = yaml.safe_load((root / "pipelines" / "some-contest.yaml").read_text())
    assert facts["competition"]["image"] == {"height": 8, "width": 8, "channels": 1}
    assert facts["competition"]["labels"] == {"first": 0, "last": 9}
    settings = ["--set", "folds.count=2"]
    assert softvote(root, "check", "some-contest", *settings) == 0
    assert softvote(root, "folds", "some-contest", *settings) == 0
    capsys.readouterr()
    assert softvote(root, "check", "some-contest", *settings) == 0
    assert "before training" not in capsys.readouterr().out


def test_init_leaves_a_pipeline_alone_that_is_there(fresh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (fresh / "pipelines" / "tiny.yaml").read_bytes()
    assert softvote(fresh, "init", str(fresh / "input" / "digits"), "--name", "tiny") == 1
    assert "is there already" in capsys.readouterr().err
    assert (fresh / "pipelines" / "tiny.yaml").read_bytes() == before


def test_init_refuses_a_folder_outside_input(
    fresh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "downloads"
    shutil.copytree(fresh / "input" / "digits", other)
    assert softvote(fresh, "init", str(other)) == 1
    assert "put it under" in capsys.readouterr().err


def test_init_with_an_image_size(fresh: Path) -> None:
    assert softvote(fresh, "init", str(fresh / "input" / "digits"), "--name", "wide", "--image", "4x16") == 0
    facts = yaml.safe_load((fresh / "pipelines" / "wide.yaml").read_text())
    assert (facts["competition"]["image"]["height"], facts["competition"]["image"]["width"]) == (4, 16)


def test_data_again_changes_nothing(fresh: Path, tmp_path: Path) -> None:
    archive = tmp_path / "more.zip"
    write_csv(tmp_path / "train.csv", ["label"], [[1]])
    with zipfile.ZipFile(archive, "w") as file:
        file.write(tmp_path / "train.csv", "train.csv")
    assert softvote(fresh, "data", str(archive), "--name", "more") == 0
    before = (fresh / "input" / "more" / "train.csv").stat().st_mtime_ns
    assert softvote(fresh, "data", str(archive), "--name", "more") == 0
    assert (fresh / "input" / "more" / "train.csv").stat().st_mtime_ns == before


# ---------------------------------------------------------------- stopped and killed


EPOCHS = 3
MEMBERS = {"quick": {"model": "resnet5", "epochs": 1}, "slow": {"model": "resnet5", "epochs": EPOCHS}}


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """A training that nobody stopped."""
    root = write_project(tmp_path_factory.mktemp("untouched"), digits, 200, 20, members=MEMBERS)
    assert softvote(root, "folds", "tiny") == softvote(root, "train", "tiny", "--fold", "0") == 0
    return root


@pytest.mark.parametrize(
    "how",
    [signal.SIGINT, *(pytest.param(how, marks=pytest.mark.slow) for how in (signal.SIGTERM, signal.SIGKILL))],
)
def test_a_stopped_training_goes_on_to_the_same_numbers(
    untouched: Path, tmp_path: Path, how: signal.Signals
) -> None:
    root = tmp_path / "stopped"
    for name in ("input", "pipelines"):
        shutil.copytree(untouched / name, root / name)
    assert softvote(root, "folds", "tiny") == 0
    quick, slow = (root / "models" / "tiny" / name / "fold0" for name in MEMBERS)
    # It goes on for far longer than it takes to be stopped; what it would give is not used.
    command = start(root, "train", "tiny", "--fold", "0", "--set", "members.slow.epochs=100000")
    with ThreadPoolExecutor(1) as pool:
        until(slow / ".lock", pool.submit(command.join))
        os.kill(command.pid or 0, how)
    err = (root / "log.txt").read_text()
    codes = {
        signal.SIGINT: shell.INTERRUPTED,
        signal.SIGTERM: shell.TERMINATED,
        signal.SIGKILL: -signal.SIGKILL,
    }
    assert command.exitcode == codes[how]
    assert "Traceback" not in err
    if how != signal.SIGKILL:
        kept_of = "stopped; what was finished is kept: 1 of 2 trainings"
        assert err.splitlines()[-1].startswith(f"softvote: {kept_of}")
        assert not (slow / "crash.log").exists()
    kept = (quick / "weights.safetensors").stat().st_mtime_ns
    assert not (slow / "weights.safetensors").exists() and not (slow / "recipe.json").exists()

    assert softvote(root, "train", "tiny", "--fold", "0") == 0
    assert (quick / "weights.safetensors").stat().st_mtime_ns == kept
    for folder in (quick, slow):
        whole = untouched / folder.relative_to(root)
        np.testing.assert_array_equal(probabilities(folder), probabilities(whole))
        np.testing.assert_array_equal(np.load(folder / "test.npy"), np.load(whole / "test.npy"))


@pytest.mark.parametrize(
    ("command", "old", "new"),
    [
        ("submit tiny", "--of cnn", "--member cnn"), ("mistakes tiny", "--of cnn", "--member cnn"),
        ("kernel tiny", "--of cnn", "--member cnn"), ("export tiny", "--of cnn", "--member cnn"),
        ("export tiny", "--to there", "--output there"), ("submit tiny", "--again", "--force"),
        ("predict --model m a.png", "--to b.csv", "--output b.csv"),
    ],
)  # fmt: skip
def test_flags_of_the_version_before_are_understood_and_not_shown(
    command: str, old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command.split()
    plain, before, today = (
        cli.create_parser().parse_args([*words, *more.split()]) for more in ("", old, new)
    )
    assert before == today != plain
    with pytest.raises(SystemExit):
        cli.main([words[0], "--help"])
    told = capsys.readouterr().out
    assert f" {old.split()[0]} " not in told and new.split()[0] in told
