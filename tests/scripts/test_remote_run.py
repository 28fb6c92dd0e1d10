"""scripts/remote_run: to another machine and back; what is made there counts here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import Digits
from programs import ROOT
from projects import pipeline, softvote, write_project

from softvote.ensembling.predictions import read_predictions
from softvote.errors import UserError
from softvote.scheduling.engine import TimeLeft
from softvote.storage.files import read_json
from softvote.storage.git import git_state
from softvote.storage.paths import Workspace
from softvote.tracking.ledger import read_ledger

sys.path.insert(0, str(ROOT / "scripts"))

from remote_run import bring
from remote_run import pack as packing
from remote_run.contents import LACKING
from remote_run.halves import double, halve
from remote_run.main import main


@pytest.fixture(autouse=True)
def same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other machine's paths stay within a test."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setenv("PYTHONPATH", "")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of the right names: here nothing is missing, so they are not looked into."""
    folder = tmp_path_factory.mktemp("wheels")
    for module in LACKING.values():
        (folder / f"{module}-1.0-py3-none-any.whl").touch()
    return folder


@pytest.fixture
def project(tmp_path: Path, digits: Digits) -> Path:
    """Two members on two folds, to be trained in an epoch each."""
    defaults = pipeline()["defaults"] | {"epochs": 1}
    return write_project(tmp_path / "here", digits, defaults=defaults)


def pack(project: Path, wheels: Path, *more: str) -> Path:
    target = project.parent / "packed"
    words = ["pack", "tiny", *more, "--to", str(target), "--root", str(project), "--wheels", str(wheels)]
    assert main(words) == 0
    return target


def there(packed: Path, *more: str) -> tuple[Path, int]:
    """What the other machine leaves, and the exit code."""
    out = packed.parent / "out"
    return out, main(["run", str(packed), str(out), "600", "1", *more])


@pytest.mark.slow
def test_all_but_the_weights_come_home(
    project: Path, wheels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = pack(project, wheels)
    assert (packed / "run.sh").is_file() and len(list((packed / "wheels").iterdir())) == 4
    assert read_json(packed / "src/softvote/commit.json") == dict(
        zip(("commit", "clean"), git_state(ROOT), strict=True)
    )
    out, code = there(packed)
    assert code == 0 and {path.name for path in out.iterdir()} == {"results.tar.gz", "probabilities0.npz"}
    made = Workspace(packed / "work")
    assert main(["take", str(out), "--root", str(project)]) == 0
    said = capsys.readouterr().out
    assert "tiny: took 4 trainings of" in said and "4 of 4 trainings are there and unchanged" in said
    mine = Workspace(project)
    (theirs,), (entry,) = read_ledger(made.ledger), read_ledger(mine.ledger)
    assert entry.sha256 == theirs.sha256 and entry.device and entry.cv_score == theirs.cv_score
    assert (mine.submissions / entry.file).read_bytes() == (made.submissions / entry.file).read_bytes()
    assert sorted(path.name for path in mine.submissions.glob("*.csv")) == ["ledger.csv", entry.file]
    for voter in ("cnn", "resnet5", "vote"):
        one, other = (read_predictions(each.pipeline("tiny").predictions(voter)) for each in (made, mine))
        np.testing.assert_array_equal(one.rows, other.rows)
        for before, after in ((one.oof, other.oof), (one.test, other.test)):
            np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3)
            assert (
                after.argmax(1) == before.argmax(1)
            ).mean() > 0.98  # it hardly learned: some are all but ties
    assert softvote(project, "mistakes", "tiny") == 0
    assert not list((project / "models").rglob("*.safetensors"))


@pytest.mark.slow
def test_what_needs_weights_says_where_they_are(
    project: Path, wheels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = there(pack(project, wheels))
    main(["take", str(out), "--root", str(project)])
    place = read_json(project / "models/tiny/cnn/fold0/recipe.json")["weights_left_on"]
    capsys.readouterr()
    assert softvote(project, "export", "tiny") == 1
    assert f"weights.safetensors: stayed on {place}" in capsys.readouterr().err
    assert softvote(project, "train", "tiny", "--set", "members.cnn.tta.shift=1", "--fold", "0") == 0
    said = capsys.readouterr().out
    assert f"cnn: train fold 0 (its weights stayed on {place}, and" in said and "resnet5: train" not in said
    assert "weights_left_on" not in read_json(project / "models/tiny/cnn/fold0/recipe.json")


@pytest.mark.slow
def test_where_time_is_short_whole_folds_vote(
    project: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest is named, and can be gone on with here."""
    packed = pack(project, wheels)
    monkeypatch.setattr(TimeLeft, "is_enough", lambda this, job: job.label != "resnet5 fold 1")
    out, code = there(packed)
    said = capsys.readouterr().out
    assert code == 0 and "resnet5 fold 1: no time is left for it" in said
    assert "tiny: what is whole: folds.train=1" in said
    assert main(["take", str(out), "--root", str(project)]) == 0
    assert "took 3 trainings" in capsys.readouterr().out
    (entry,) = read_ledger(Workspace(project).ledger)
    assert entry.folds == "1/2" and entry.settings == ("folds.train=1",)
    monkeypatch.undo()
    assert softvote(project, "train", "tiny") == 0
    said = capsys.readouterr().out
    assert "train: 3 of 4 trainings are there" in said and "resnet5: train fold 1 (new)" in said


@pytest.mark.slow
def test_repeats_and_refits_go_along_and_are_left_out_where_they_were_not_reached(
    tmp_path: Path,
    digits: Digits,
    wheels: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    defaults = pipeline()["defaults"] | {"epochs": 1}
    members = {"cnn": {"model": "cnn", "repeats": 2, "refit": True}}
    project = write_project(tmp_path / "here", digits, defaults=defaults, members=members)
    packed = pack(project, wheels)
    monkeypatch.setattr(TimeLeft, "is_enough", lambda this, job: job.label != "cnn fold 1 repeat 1")
    out, code = there(packed)
    assert code == 0 and "what is whole: members.cnn.repeats=1" in capsys.readouterr().out
    assert main(["take", str(out), "--root", str(project)]) == 0
    assert "took 4 trainings" in capsys.readouterr().out
    (entry,) = read_ledger(Workspace(project).ledger)
    assert entry.folds == "2/2 + refit" and entry.settings == ("members.cnn.repeats=1",)
    folders = sorted(path.parent.name for path in (project / "models/tiny/cnn").glob("*/test.npy"))
    assert folders == ["fold0", "fold0-repeat1", "fold1", "refit"]


@pytest.mark.slow
def test_members_that_learned_every_fold_vote_without_the_others(
    project: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What else is done comes back all the same."""
    packed = pack(project, wheels)
    monkeypatch.setattr(TimeLeft, "is_enough", lambda this, job: job.label != "cnn fold 0")
    out, code = there(packed, "--in-turn")
    assert code == 0
    assert main(["take", str(out), "--root", str(project)]) == 0
    assert (project / "models/tiny/cnn/fold1/oof.npz").is_file()
    (entry,) = read_ledger(Workspace(project).ledger)
    assert (entry.folds, entry.settings) == ("2/2", ("members.cnn=null",))


@pytest.mark.slow
def test_what_is_done_comes_back_though_nothing_can_vote(project: Path, wheels: Path) -> None:
    out, code = there(pack(project, wheels), "--folds", "1")
    assert code == 1
    assert main(["take", str(out), "--root", str(project)]) == 0
    assert (project / "models/tiny/cnn/fold1/oof.npz").is_file()
    assert read_ledger(Workspace(project).ledger) == []


@pytest.mark.slow
def test_a_second_run_goes_on_and_its_submission_alone_is_taken(project: Path, wheels: Path) -> None:
    packed = pack(project, wheels)
    there(packed, "--set", "folds.train=1")
    out, code = there(packed)
    assert code == 0
    assert main(["take", str(out), "--root", str(project)]) == 0
    (entry,) = read_ledger(Workspace(project).ledger)
    assert entry.folds == "2/2"


def test_a_failing_pipeline_costs_no_other(
    project: Path, wheels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    defaults = pipeline()["defaults"] | {"epochs": 1}
    other = pipeline(defaults=defaults, members={"cnn": {"model": "cnn"}})
    (project / "pipelines" / "other.yaml").write_text(yaml.safe_dump(other))
    packed = pack(project, wheels, "other")
    (packed / "work/pipelines/tiny.yaml").write_text("members: 3\n")
    out, code = there(packed)
    assert code == 1 and "1 of 2 pipelines have a submission" in capsys.readouterr().out
    assert main(["take", str(out), "--root", str(project)]) == 0
    assert [entry.pipeline for entry in read_ledger(Workspace(project).ledger)] == ["other"]


@pytest.mark.slow
def test_a_trial_is_of_some_pipelines_and_says_what_it_laid_over_them(
    project: Path, wheels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "pipelines" / "other.yaml").write_text(yaml.safe_dump(pipeline()))
    packed = pack(project, wheels, "other")
    _, code = there(packed, "--only", "tiny", "--set", "folds.train=1", "members.cnn.epochs=2")
    assert code == 0 and "1 of 1 pipeline has a submission" in capsys.readouterr().out
    (entry,) = read_ledger(Workspace(packed / "work").ledger)
    assert (entry.pipeline, entry.settings) == ("tiny", ("folds.train=1", "members.cnn.epochs=2"))


@pytest.mark.slow
def test_other_folds_are_not_mixed_up(
    project: Path, wheels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = there(pack(project, wheels))
    folds = Workspace(project).pipeline("tiny").folds
    folds.parent.mkdir(parents=True)
    folds.write_text("row,label,fold\n")
    assert main(["take", str(out), "--root", str(project)]) == 1
    assert "holds other folds" in capsys.readouterr().err


def test_folds_that_are_there_go_along(project: Path, wheels: Path) -> None:
    assert softvote(project, "folds", "tiny") == 0
    packed = pack(project, wheels)
    folds = Workspace(project).pipeline("tiny").folds
    assert (packed / "work/models/tiny/folds.csv").read_bytes() == folds.read_bytes()


MISTAKES: dict[str, tuple[list[str], str]] = {
    "data": (["--data", "nowhere/digits.zip"], "nowhere/digits.zip: no such file"),
    "input": (["--input", "more"], "input/more: no such folder; give --data with a file more.zip"),
}


@pytest.mark.parametrize(("words", "says"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_a_line_and_leaves_nothing(
    project: Path, wheels: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = project.parent / "packed"
    command = ["pack", "tiny", "--to", str(target), "--root", str(project), "--wheels", str(wheels), *words]
    assert main(command) == 1
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1 and not target.exists()


def test_what_cannot_be_brought_home_is_not_sent(
    project: Path, wheels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, names in {"tagged": {"tags": ["a", "b"]}, "parts": {"targets": {"a": ["x", "y"]}}}.items():
        competition = {"name": name, "files": {"format": "image_folder"}, "image": {"height": 8, "width": 8}}
        each = {"competition": competition | names, "members": {"cnn": {"model": "cnn"}}}
        (project / "pipelines" / f"{name}.yaml").write_text(yaml.safe_dump(each))
    words = ["pack", "tiny", "tagged", "parts", "--to", str(project.parent / "p"), "--root", str(project)]
    assert main([*words, "--wheels", str(wheels)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["tagged", "parts"] and "one label per image" in lines[
        0
    ]
    assert not (project.parent / "p").exists()


def test_too_much_is_refused_by_what_takes_the_room(
    project: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "input/digits/noise.bin").write_bytes(np.random.default_rng(0).bytes(3 << 20))
    monkeypatch.setattr(packing, "LARGEST_PACK", 3 << 20)
    words = ["pack", "tiny", "--to", str(project.parent / "p"), "--root", str(project)]
    assert main([*words, "--wheels", str(wheels)]) == 1
    assert "at most 3 go (data/digits.zip 3." in capsys.readouterr().err


def test_wheels_that_are_missing_are_named(project: Path, wheels: Path, tmp_path: Path, capsys: Any) -> None:
    fewer = tmp_path / "fewer"
    shutil.copytree(wheels, fewer)
    next(fewer.glob("pydantic_core*")).unlink()
    words = ["pack", "tiny", "--to", str(tmp_path / "p"), "--root", str(project), "--wheels", str(fewer)]
    assert main(words) == 1
    assert "has no wheel of pydantic-core" in capsys.readouterr().err


@pytest.mark.parametrize("sharpness", [0.1, 1, 10, 100])
def test_half_precision_keeps_three_digits_of_what_is_likely_and_of_what_is_not(sharpness: float) -> None:
    logits = np.random.default_rng(0).normal(size=(500, 10)) * sharpness
    exact = np.exp(logits - logits.max(1, keepdims=True))
    exact = (exact / exact.sum(1, keepdims=True)).astype(np.float32)
    halved = halve(exact)
    assert halved.dtype == np.float16 and halved.nbytes == exact.nbytes // 2
    found = double(halved)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-3 if sharpness < 1 else 1e-6)
    np.testing.assert_allclose(found, exact, rtol=2e-3, atol=1e-9)
    np.testing.assert_array_equal(found.argmax(1), exact.argmax(1))


def test_rows_that_do_not_sum_to_one_are_not_halved() -> None:
    with pytest.raises(UserError, match="do not sum to 1"):
        halve(np.full((2, 3), 0.5, np.float32))


@pytest.mark.slow
def test_results_are_few_files_of_bounded_size(
    project: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What has no room is named, and the rest can be taken in."""
    monkeypatch.setattr(bring, "LARGEST_FILE", 10_000)
    monkeypatch.setattr(bring, "MOST_PROBABILITIES", 3)
    out, _ = there(pack(project, wheels))
    names = {path.name for path in out.iterdir()}
    assert names == {"results.tar.gz", *(f"probabilities{number}.npz" for number in range(3))}
    assert "no room for the probabilities of" in capsys.readouterr().out
    assert main(["take", str(out), "--root", str(project)]) == 0
    assert "took 3 trainings" in capsys.readouterr().out


def test_the_other_machine_needs_nothing_but_the_standard_library_to_begin() -> None:
    """What it lacks is laid out by what it begins with."""
    import ast

    found = set[str]()
    for path in (ROOT / "scripts/remote_run").glob("*.py"):
        body = ast.parse(path.read_text()).body
        found |= {
            alias.name.split(".")[0] for node in body if isinstance(node, ast.Import) for alias in node.names
        }
        found |= {str(node.module).split(".")[0] for node in body if isinstance(node, ast.ImportFrom)}
    assert found <= sys.stdlib_module_names | {"remote_run", "softvote"}
    command = "import sys; from remote_run import main; print(*sys.modules)"
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("scripts", "src"))
    done = subprocess.run(
        [sys.executable, "-c", command], env={"PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )
    packages = {"numpy", "pydantic", "torch", "yaml"}
    assert "softvote.shell" in done.stdout.split() and not packages & set(done.stdout.split())
