"""kaggle.notebook and softvote.kernel_entry: what is built runs in a folder laid out like Kaggle's."""

from __future__ import annotations

import ast
import base64
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import projects
import pytest
import timm
from conftest import Digits
from projects import probabilities, softvote, times, write_pipeline, write_project
from safetensors.torch import save_file
from slugify import slugify

import softvote as package
from softvote import kernel_entry
from softvote.config.pipeline import Pipeline
from softvote.config.pipeline_file import read_pipeline_file
from softvote.config.recipe import Recipe
from softvote.ensembling.decisions import DECISIONS
from softvote.ensembling.scorer import FittedDecision
from softvote.errors import UserError
from softvote.kaggle import kernel_program, notebook
from softvote.kaggle.kernel_program import Mode
from softvote.kaggle.notebook import DEFAULT_ACCELERATOR, build_kernel, flatten, unflatten
from softvote.kaggle.places import INPUT
from softvote.kaggle.testing import KaggleServer
from softvote.stages import Run, open_run
from softvote.stages.plan import make_plan
from softvote.storage.files import read_json
from softvote.storage.fingerprints import sha256_of
from softvote.storage.paths import KernelFolder, PipelineFolder, Workspace
from softvote.tracking.ledger import read_ledger

TRAIN, TEST = 160, 60
SLUG = "digit-contest"  # what Kaggle calls it; the pipeline calls it digits
ON_KAGGLE = projects.competition(solution=None, kaggle=SLUG)
DATASET = "softvote-tiny-weights"
CNN = {"model": "cnn"}

# Runs a kernel where softvote is not installed, some packages are missing, and the network is an error.
GUARD = """
import runpy, socket, sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

program, *missing = sys.argv[1:]

class Fewer(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in missing else PathFinder.find_spec(name, path, target)

def refused(*arguments, **named):
    sys.exit("the network was asked")

sys.path[:] = [place for place in sys.path if not (Path(place) / "softvote").is_dir()]
sys.meta_path[sys.meta_path.index(PathFinder)] = Fewer
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refused
assert find_spec("softvote") is None
sys.argv[1:] = []
runpy.run_path(program, run_name="__main__")
"""

# All that softvote names in setup.cfg but what timm itself cannot do without, by import names.
OPTIONAL = (
    "albumentations kaggle llvmlite matplotlib numba onnx onnxruntime onnxscript pandas scipy six sklearn"
    " slugify"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """A competition of Kaggle's after all four stages; copy it before changing it."""
    root = write_project(
        tmp_path_factory.mktemp("kernel"), digits, TRAIN, TEST,
        competition=ON_KAGGLE, defaults=projects.RECIPE | {"epochs": 1},
    )  # fmt: skip
    for words in (
        ["folds"],
        ["train"],
        ["ensemble"],
        ["submit"],
        ["submit", "--member=cnn"],
        ["submit", "--member=resnet5"],
    ):
        assert softvote(root, words[0], "tiny", *words[1:]) == 0
    return root


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "project"))


def build_for(
    run: Run, mode: Mode, owner: str, voter: str | None = None, accelerator: str = DEFAULT_ACCELERATOR
) -> KernelFolder:
    """As the stage builds it."""
    name = run.resolve_name(voter)
    if mode == "infer":
        make_plan(run).predictions(name)
    return build_kernel(run.workspace, run.name, run.pipeline, mode, name, owner, accelerator)


def build(root: Path, mode: Mode, voter: str | None = None, *settings: str, **how: Any) -> KernelFolder:
    return build_for(open_run(root, "tiny", settings), mode, "me", voter, **how)


def submission(root: Path, voter: str) -> Path:
    """What the stages submit for a voter."""
    (entry,) = (row for row in read_ledger(Workspace(root).ledger) if row.ensemble.split(":")[0] == voter)
    return root / "submissions" / entry.file


# ---------------------------------------------------------------- a place like Kaggle's


class Place:
    """Folders laid out like Kaggle's: mounted files in one of its two layouts, and a working folder.

    Args:
        layout: new for `competitions/` and `datasets/<owner>/`, old for all side by side.
    """

    def __init__(self, path: Path, root: Path, folder: KernelFolder, layout: str = "new") -> None:
        self.input, self.output, self.temporary = path / "input", path / "working", path / "tmp"
        self.program = path / "src" / "script.py"
        self.competition = self.input / ("competitions" if layout == "new" else ".") / SLUG
        owned = read_json(folder.dataset_metadata) if folder.dataset.is_dir() else {"id": f"me/{DATASET}"}
        name = owned["id"].partition("/")[2]
        self.dataset = self.input / ("datasets/me" if layout == "new" else ".") / name
        hidden = shutil.ignore_patterns("solution.csv", "dataset-metadata.json")
        shutil.copytree(root / "input" / "digits", self.competition, ignore=hidden)
        if folder.dataset.is_dir():
            shutil.copytree(folder.dataset, self.dataset, ignore=hidden)
        for made in (self.output, self.temporary, self.program.parent):
            made.mkdir()
        shutil.copy(folder.program, self.program)

    def run(self, *missing: str) -> subprocess.CompletedProcess[str]:
        """Run the kernel without some packages, as Kaggle would: nothing can be written to its input."""
        for path in (self.input, *self.input.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = times(self.input), contents(self.input)
        places = {"SOFTVOTE_INPUT": self.input, "SOFTVOTE_OUTPUT": self.output, "TMPDIR": self.temporary}
        done = subprocess.run(
            [sys.executable, "-I", "-c", GUARD, str(self.program), *missing],
            capture_output=True, text=True, cwd=self.program.parent,
            env=os.environ | {name: str(place) for name, place in places.items()},
        )  # fmt: skip
        for path in (self.input, *self.input.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        assert (times(self.input), contents(self.input)) == before  # whatever rights root may have
        assert not list(self.temporary.iterdir())
        return done

    def refused(self, *missing: str) -> str:
        """The one line that a kernel without something ends with."""
        done = self.run(*missing)
        assert done.returncode == 1 and not list(self.output.iterdir())
        (line,) = done.stderr.splitlines()
        assert line.startswith("softvote: ")
        return line


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "sources-" not in path.name)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "voter"), [("new", "vote"), ("old", "cnn")])
def test_infer_gives_the_local_submission(project: Path, tmp_path: Path, layout: str, voter: str) -> None:
    place = Place(tmp_path / "kaggle", project, build(project, "infer", voter), layout)
    (place.competition / "train.csv").unlink()  # which may be large, and nothing of it is wanted
    done = place.run(*(name for name in OPTIONAL.split() if name != "pandas"))
    assert done.returncode == 0, done.stderr
    assert contents(place.output) == {"submission.csv": submission(project, voter).read_bytes()}
    assert f"softvote {package.__version__} from {place.temporary}/softvote-" in done.stdout
    assert sha256_of(submission(project, voter)) in done.stdout


@pytest.mark.slow
def test_infer_decides_by_what_was_fitted(project: Path, tmp_path: Path) -> None:
    """Cut points of grades, on a kernel that has neither scikit-learn nor scipy."""
    grades = ON_KAGGLE | {"ordered": True, "metric": "quadratic_weighted_kappa"}
    recipe = projects.RECIPE | {"epochs": 1}
    facts = projects.pipeline(competition=grades, defaults=recipe, decision="cut_points")
    projects.write_pipeline(project, facts)
    for stage in ("train", "ensemble", "submit"):
        assert softvote(project, stage, "tiny") == 0
    folder = build(project, "infer")
    assert (folder.dataset / "vote.decision.json").is_file()
    place = Place(tmp_path / "kaggle", project, folder)
    done = place.run(*(name for name in OPTIONAL.split() if name != "pandas"))
    assert done.returncode == 0, done.stderr
    newest = project / "submissions" / read_ledger(Workspace(project).ledger)[-1].file
    assert contents(place.output) == {"submission.csv": newest.read_bytes()}


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "voter"), [("old", "vote"), ("new", "resnet5")])
def test_train_gives_the_local_submission(project: Path, tmp_path: Path, layout: str, voter: str) -> None:
    place = Place(tmp_path / "kaggle", project, build(project, "train", voter), layout)
    done = place.run(
        "albumentations", "kaggle", "matplotlib", "onnx", "onnxruntime", "onnxscript", "six", "slugify"
    )
    assert done.returncode == 0, done.stderr
    assert set(contents(place.output)) == {"submission.csv", "scores.json", "ledger.csv", "log.csv"}
    assert (place.output / "submission.csv").read_bytes() == submission(project, voter).read_bytes()
    members = ["cnn", "resnet5"] if voter == "vote" else [voter]
    expected = {
        name: read_json(project / "models" / "tiny" / name / "scores.json") for name in {*members, voter}
    }
    assert scores(read_json(place.output / "scores.json")) == scores(expected)
    (row,) = read_ledger(place.output / "ledger.csv")
    assert (row.sha256, row.members) == (sha256_of(submission(project, voter)), tuple(members))
    log = (place.output / "log.csv").read_text().splitlines()
    assert log[0].startswith("training,epoch,")
    assert sorted(line.split(",")[0] for line in log[1:]) == [f"{m}/fold{k}" for m in members for k in (0, 1)]


BACKBONE = (
    "members.cnn.model=test_resnet",
    "members.cnn.model_args={pretrained: true}",
    "members.cnn.normalise=pretrained",
)


@pytest.mark.slow
def test_train_takes_published_weights_along(project: Path, tmp_path: Path) -> None:
    """The guard of a kernel's run turns any look at the network into an error."""
    file = project / "input" / "weights" / "test_resnet.safetensors"
    file.parent.mkdir()
    save_file(timm.create_model("test_resnet").state_dict(), file)
    folder = build(project, "train", "cnn", *BACKBONE)
    assert read_json(folder.code_metadata)["dataset_sources"] == ["me/softvote-tiny-backbones"]
    assert sha256_of(folder.dataset / file.name) == sha256_of(file)
    place = Place(tmp_path / "kaggle", project, folder)
    done = place.run("kaggle", "matplotlib", "slugify")
    assert done.returncode == 0, done.stderr
    settings = [word for setting in BACKBONE for word in ("--set", setting)]
    assert softvote(project, "train", "tiny", "--member=cnn", *settings) == 0
    assert softvote(project, "submit", "tiny", "--member=cnn", *settings) == 0
    newest = project / "submissions" / read_ledger(Workspace(project).ledger)[-1].file
    assert (place.output / "submission.csv").read_bytes() == newest.read_bytes()

    for path in place.output.iterdir():
        path.unlink()
    (place.dataset / file.name).write_bytes(b"others")
    assert "test_resnet.safetensors: is missing or of another version; upload" in place.refused("kaggle")


def test_published_weights_that_cannot_be_had(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(project / "hub"))
    text = refusal_of(project, settings=BACKBONE)
    assert text.startswith("members.cnn: model test_resnet: no published weights: timm/test_resnet.")
    assert f"put that file here as {project}/input/weights/test_resnet.safetensors" in text


def scores(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: score["accuracy"] | score["log_loss"] for name, score in facts.items()}


# ---------------------------------------------------------------- kernels that cannot go on


def test_missing_packages_are_named_in_one_line(finished: Path, project: Path, tmp_path: Path) -> None:
    infer = Place(tmp_path / "infer", project, build(project, "infer"))
    assert "lacks timm, pandas; choose" in infer.refused("timm", "pandas", "sklearn", "kaggle")
    train = Place(tmp_path / "train", project, build(project, "train"))
    assert "lacks timm, pandas, scikit-learn; choose" in train.refused("timm", "pandas", "sklearn", "kaggle")
    augmented = build(project, "train", None, "defaults.augment={engine: albumentations, rotate: 5}")
    train.program.write_bytes(augmented.program.read_bytes())
    assert "lacks pyyaml, albumentations; choose" in train.refused("yaml", "albumentations")


def test_a_competition_that_is_not_mounted(project: Path, tmp_path: Path) -> None:
    place = Place(tmp_path / "kaggle", project, build(project, "train"))
    shutil.rmtree(place.competition)
    line = place.refused()
    how = "add it under Input in the kernel's settings, and accept its rules"
    assert f"{place.input}: has neither competitions/{SLUG} nor {SLUG}; {how}" in line


def test_a_data_set_that_is_not_mounted_has_no_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INPUT, str(tmp_path))
    with pytest.raises(UserError) as error:
        kernel_entry._add_wheels("me/Wheels", tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: has neither datasets/me/Wheels nor Wheels; add it under Input in the kernel's "
        "settings, and check that it is open to you: https://www.kaggle.com/datasets/me/Wheels"
    )


@pytest.mark.slow
def test_a_competition_without_its_files(project: Path, tmp_path: Path) -> None:
    place = Place(tmp_path / "kaggle", project, build(project, "infer"))
    (place.competition / "test.csv").unlink()
    assert "test.csv" in place.refused()


@pytest.mark.slow
def test_a_dataset_that_is_not_mounted_or_another(project: Path, tmp_path: Path) -> None:
    place = Place(tmp_path / "kaggle", project, build(project, "infer"))
    (place.dataset / "cnn.fold1.weights.safetensors").unlink()
    assert "cnn.fold1.weights.safetensors: is missing or of another version; upload" in place.refused()
    shutil.copy(
        place.dataset / "cnn.fold0.weights.safetensors", place.dataset / "cnn.fold1.weights.safetensors"
    )
    assert "cnn.fold1.weights.safetensors: is missing or of another version; upload" in place.refused()
    shutil.rmtree(place.dataset)
    assert f"has neither datasets/me/{DATASET} nor {DATASET}; add it" in place.refused()


# ---------------------------------------------------------------- what is in the folder


def test_every_fact_is_written_out(project: Path) -> None:
    folder = build(project, "infer")
    assert read_json(folder.code_metadata) == {
        "id": "me/softvote-tiny-infer",
        "title": "softvote tiny infer",
        "code_file": "kernel.py",
        "language": "python",
        "kernel_type": "script",
        "is_private": True,
        "enable_gpu": True,
        "enable_tpu": False,
        "enable_internet": False,
        "machine_shape": "NvidiaTeslaT4",
        "keywords": [],
        "dataset_sources": [f"me/{DATASET}"],
        "kernel_sources": [],
        "competition_sources": [SLUG],
        "model_sources": [],
        "docker_image": None,
        "docker_image_pinning_type": "original",
    }
    facts = read_json(folder.dataset_metadata)
    assert facts == {
        "title": "softvote tiny weights",
        "id": f"me/{DATASET}",
        "licenses": [{"name": "unknown"}],
    }
    assert sorted(path.name for path in folder.code.iterdir()) == ["kernel-metadata.json", "kernel.py"]
    train = read_json(build(project, "train", accelerator="").code_metadata)
    assert (train["id"], train["dataset_sources"]) == ("me/softvote-tiny-train", [])
    assert (train["enable_gpu"], train["machine_shape"]) == (False, "")


@pytest.mark.parametrize(
    ("accelerator", "problem"),
    [
        ("TpuV5E8", "is not a GPU's name on Kaggle; name one, such as NvidiaTeslaT4"),
        ("NvidiaTeslaP100", "is retired, and Kaggle would run another; name NvidiaTeslaT4"),
    ],
)
def test_an_accelerator_that_would_not_be_what_runs_is_refused(
    project: Path, accelerator: str, problem: str
) -> None:
    with pytest.raises(UserError) as raised:
        build(project, "train", accelerator=accelerator)
    assert str(raised.value) == f"`accelerator` {accelerator}: {problem}"


def test_the_dataset_is_flat_and_holds_what_votes(project: Path) -> None:
    trained = {f"{m}.fold{k}.{what}" for m in ("cnn", "resnet5") for k in (0, 1)
               for what in ("recipe.json", "weights.safetensors")}  # fmt: skip
    names = set(contents(build(project, "infer").dataset)) - {"dataset-metadata.json"}
    assert names == trained | {"vote.vote.json"}
    voter = PipelineFolder(project / "models" / "tiny").predictions("vote")
    FittedDecision(DECISIONS["argmax"](name="argmax")).record().write(voter.decision)
    decided = build(project, "infer")
    assert set(contents(decided.dataset)) == names | {"dataset-metadata.json", "vote.decision.json"}
    of_left_out_rows = probabilities(voter.path).mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(constants(decided)["KERNEL"]["safe"], of_left_out_rows, atol=1e-6)
    alone = build(project, "infer", "cnn")
    assert set(contents(alone.dataset)) - {"dataset-metadata.json"} == {n for n in trained if n[:3] == "cnn"}
    for name, sha256 in constants(alone)["KERNEL"]["files"].items():
        assert sha256_of(project / "models" / "tiny" / unflatten(name)) == sha256
    assert not build(project, "train").dataset.exists()


def test_kaggles_own_package_takes_it(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, mounted = build(project, "infer"), tmp_path / "competitions" / SLUG
    shutil.copytree(project / "input" / "digits", mounted)
    with KaggleServer(mounted.parent, username="me") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        from kaggle.api.kaggle_api_extended import KaggleApi

        monkeypatch.setattr(KaggleApi, "args", ["--local"])  # read from the environment only once
        api = KaggleApi()
        api.authenticate()
        assert api.dataset_create_new(str(folder.dataset), quiet=True).status == "ok"
        capsys.readouterr()
        pushed = api.kernels_push(str(folder.code))
        assert capsys.readouterr().out == ""  # no word on the title
        assert not (pushed.error or pushed.invalid_dataset_sources or pushed.invalid_competition_sources)
        notebook = server.kernels["me/softvote-tiny-infer"].metadata
        dataset = server.datasets[f"me/{DATASET}"]
    assert notebook["text"] == folder.program.read_text(encoding="utf-8")
    assert (notebook["isPrivate"], notebook["enableInternet"]) == (True, False)
    assert notebook["machineShape"] == "NvidiaTeslaT4"
    sent = {name: bytes_ for name, bytes_ in contents(folder.dataset).items() if name[:8] != "dataset-"}
    assert dataset.files == sent and dataset.metadata["isPrivate"]


def test_flat_names_become_paths_again() -> None:
    for path in (Path("a_b-c/fold0/weights.safetensors"), Path("vote/vote.json")):
        assert "/" not in flatten(path) and unflatten(flatten(path)) == path


def constants(folder: KernelFolder) -> dict[str, Any]:
    """What the code file says of itself."""
    tree = ast.parse(folder.program.read_text(encoding="utf-8"))
    return {
        part.targets[0].id: ast.literal_eval(part.value)
        for part in tree.body
        if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name)
    }


def test_the_code_file_carries_every_module_but_the_stand_in(project: Path) -> None:
    folder, source = build(project, "train"), Path(package.__file__).parent
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(constants(folder)["PACKAGE"]))) as archive:
        carried = {name: archive.read(name) for name in archive.namelist()}
        times_said = {info.date_time for info in archive.infolist()}
    assert times_said == {(1980, 1, 1, 0, 0, 0)}
    assert carried == {
        f"softvote/{name}": text
        for name, text in contents(source).items()
        if name.endswith(".py") and not name.startswith("kaggle/testing/")
    }


def test_the_code_file_can_be_read(project: Path) -> None:
    head = build(project, "train").program.read_text(encoding="utf-8").partition("PACKAGE = ")[0].splitlines()
    assert head[0].startswith("# softvote, pipeline tiny: makes folds, trains, lets the networks vote")
    assert len(head) < 100 and max(map(len, head)) <= 110


def test_the_pipeline_is_resolved(project: Path) -> None:
    facts = {
        "extends": "tiny",
        "competition": {"labels": ["yes", "no", 'a "\\n b', "é", *"456789"]},
        "defaults": {"augment": {"rotate": 5}, "epochs": 3},
        "members": {
            "cnn": {"augment": None, "epochs": 12, "optimizer": {"lr": 0.001}},
            "resnet5": {"augment": {}, "tta": {"shift": 1}, "schedule": {"name": "plateau"}},
        },
    }
    path = write_pipeline(project, facts, "odd")
    carried = resolve(Run(Workspace(project), "odd", read_pipeline_file(path)), "train")
    assert carried == without_ways(read_pipeline_file(path))
    assert carried.members["cnn"].augment is None and carried.members["cnn"].epochs == 12
    assert carried.competition.classes[2] == 'a "\\n b'


def test_only_members_that_are_needed_come_along(project: Path) -> None:
    members = {
        "a": CNN,
        "b": CNN | {"init_from": "a"},
        "c": CNN,
        "d": {"model": "test_coatnet", "model_args": {"pretrained": True}},
    }
    path = write_pipeline(
        project,
        projects.pipeline(competition=ON_KAGGLE, members=members, ensemble={"members": ["b", "c"]}),
        "four",
    )
    run = Run(Workspace(project), "four", read_pipeline_file(path))
    for voter, names, voting in ((None, "abc", ["b", "c"]), ("b", "ab", ["b"])):
        carried = resolve(run, "train", voter)
        assert "".join(sorted(carried.members)) == names and carried.voters == voting
    with pytest.raises(UserError, match=r"members\.d: model test_coatnet: has no published weights"):
        build_for(run, "train", "me", "d")


def resolve(run: Run, mode: Mode, voter: str | None = None) -> Pipeline:
    """The pipeline as a kernel reads it."""
    path = run.workspace.root / "carried.yaml"
    path.write_text(constants(build_for(run, mode, "me", voter))["PIPELINE"], encoding="utf-8")
    return read_pipeline_file(path)


def without_ways(pipeline: Pipeline) -> Pipeline:
    """A pipeline without how it came about."""
    ensemble = pipeline.ensemble.model_copy(update={"members": pipeline.voters})
    return pipeline.model_copy(update={"extends": None, "defaults": Recipe(), "ensemble": ensemble})


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_equal_inputs_give_equal_bytes(project: Path, mode: Mode) -> None:
    folder = build(project, mode)
    before = contents(folder.path)
    folder.output.mkdir()
    (folder.output / "submission.csv").write_text("of the kernel before")
    assert contents(build(project, mode).path) == before


def test_where_trainings_run_here_is_not_told_there(project: Path) -> None:
    engine = "engine={name: ray, address: head.internal}"
    text = build(project, "train", None, engine).program.read_text()
    assert "head.internal" not in text and "ray" not in constants(build(project, "train"))["PIPELINE"]


def test_no_secret_gets_in(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / ".kaggle").mkdir(parents=True)
    (home / ".kaggle" / "kaggle.json").write_text('{"username": "me", "key": "5ecre7-file"}')
    (home / ".kaggle" / "access_token").write_text("5ecre7-saved")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KAGGLE_KEY", "5ecre7-key")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "5ecre7-token")
    for folder in (build(project, "infer"), build(project, "train")):
        package_zip = base64.b64decode(constants(folder)["PACKAGE"])
        with zipfile.ZipFile(io.BytesIO(package_zip)) as archive:
            carried = [archive.read(name) for name in archive.namelist()]
        for bytes_ in (*contents(folder.path).values(), *carried):
            assert b"5ecre7" not in bytes_ and str(home).encode() not in bytes_
            assert str(project).encode() not in bytes_


# ---------------------------------------------------------------- names


@pytest.mark.slow_but("Step_4-CNN_x5-step-4-cnn-x5", "tiny-tiny")
@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("tiny", "tiny"),
        ("Step_4-CNN_x5", "step-4-cnn-x5"),
        ("a__b--c", "a-b-c"),
        ("été 2", "ete-2"),
        ("n" * 33, "n" * 33),
    ],
)
def test_names_that_kaggle_takes(project: Path, name: str, slug: str) -> None:
    run = Run(Workspace(project), name, open_run(project, "tiny").pipeline)
    facts = read_json(build_for(run, "train", "An_Owner-2").code_metadata)
    assert facts["id"] == f"An_Owner-2/softvote-{slug}-train"
    assert slugify(facts["title"]) == f"softvote-{slug}-train"
    assert 5 <= len(facts["title"]) <= 50
    assert build_for(run, "train", "me").path == project / "kernels" / name / "train"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("n" * 36, f"Kaggle takes 50 characters, not the 51 of softvote-{'n' * 36}-train"),
        ("__", "'__': has no letter that an address can hold"),
    ],
)
def test_names_that_kaggle_does_not_take(project: Path, name: str, message: str) -> None:
    run = Run(Workspace(project), name, open_run(project, "tiny").pipeline)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        build_for(run, "train", "me")
    assert "\n" not in str(caught.value) and not (project / "kernels").exists()


def test_a_dataset_has_a_longer_name_than_its_kernel(project: Path) -> None:
    run = open_run(project, "tiny")
    long = Run(run.workspace, "n" * 34, run.pipeline)
    (project / "models" / "tiny").rename(project / "models" / long.name)
    with pytest.raises(UserError, match=f"the 51 of softvote-{'n' * 34}-weights; give"):
        build_for(long, "infer", "me")


# ---------------------------------------------------------------- refused


def refusal_of(root: Path, mode: Mode = "train", owner: str = "me", settings: tuple[str, ...] = ()) -> str:
    before = contents(root)
    with pytest.raises(UserError) as caught:
        build_for(open_run(root, "tiny", settings), mode, owner)
    assert contents(root) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("owner", ["", "me/it", "me me", "-me", "mé"])
def test_an_owner_that_is_none(project: Path, owner: str) -> None:
    assert f"owner {owner!r}: is not a Kaggle user; write" in refusal_of(project, owner=owner)


def test_a_competition_that_is_not_kaggles(project: Path) -> None:
    settings = ("competition.kaggle=null",)
    assert "competition.kaggle: is not given; set it to the end of" in refusal_of(project, settings=settings)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model_args={weights: ~/cnn.pth}", "members.cnn.model_args: starts from "),
        ("extra_train={images: more.npy, labels: l.npy}", "members.cnn.extra_train: reads more.npy, which"),
    ],
)
def test_files_that_kaggle_has_not(project: Path, setting: str, message: str) -> None:
    text = refusal_of(project, settings=(f"members.cnn.{setting}",))
    assert text.startswith(message) and text.endswith("is not on Kaggle; train here and use mode infer")


def test_corrections_that_kaggle_has_not(project: Path) -> None:
    text = refusal_of(project, settings=("competition.corrections=fix.csv",))
    assert "competition.corrections: reads fix.csv, which is not on Kaggle" in text


def test_networks_that_are_not_the_pipelines(project: Path) -> None:
    assert "run the ensemble stage" in refusal_of(project, "infer", settings=("members.cnn.epochs=2",))
    (project / "models" / "tiny" / "vote" / "test.npy").unlink()
    assert "run the ensemble stage" in refusal_of(project, "infer")
    (project / "models" / "tiny" / "folds.csv").unlink()
    assert "folds" in refusal_of(project, "infer")


def test_too_much_code(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(project, "train")
    monkeypatch.setattr(kernel_program, "_MOST_BYTES", 100_000)
    assert "bytes of code are more than the 100,000 that Kaggle takes" in refusal_of(project)


def test_a_folder_is_replaced_whole_or_not_at_all(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(build(project, "infer", "cnn").path)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(notebook.shutil, "copyfile", full)
        with pytest.raises(UserError, match="No space left"):
            build(project, "infer")
    folder = project / "kernels" / "tiny"
    assert contents(folder / "infer") == before and [path.name for path in folder.iterdir()] == ["infer"]
    after = contents(build(project, "infer").path)
    assert after != before and [path.name for path in folder.iterdir()] == ["infer"]
