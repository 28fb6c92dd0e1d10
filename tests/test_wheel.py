"""The built wheel: what it holds, and that it goes from nothing to a submission outside any clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from softvote import __version__

REPOSITORY = Path(__file__).parents[1]
SOURCES = ["src", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"]

pytestmark = pytest.mark.slow


def run(command: list[object], **kwargs: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **kwargs)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources, so that nothing of an earlier build comes along."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    sources.mkdir()
    for name in SOURCES:
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, sources / name, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
        else:
            shutil.copy(path, sources / name)
    run([sys.executable, "-m", "pip", "wheel", sources, "--no-deps", "--no-build-isolation", "-w", folder])
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a folder of its own; what it depends on comes from the environment of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    run([sys.executable, "-m", "pip", "install", wheel, "--no-deps", "--no-index", "--target", folder])
    return folder


def test_the_wheel_holds_every_module_and_no_tests(wheel: Path) -> None:
    assert wheel.name == f"softvote-{__version__}-py3-none-any.whl"
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("softvote/")}
    source = REPOSITORY / "src"
    templates = (source / "softvote" / "reporting" / "report" / "templates").iterdir()
    files = [*(source / "softvote").rglob("*.py"), *templates]
    expected = {path.relative_to(source).as_posix() for path in files}
    assert names == expected | {"softvote/demo.yaml", "softvote/py.typed"}


def test_the_demo_runs_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(installed)}

    def softvote(*words: str) -> str:
        return run([installed / "bin" / "softvote", *words], cwd=tmp_path, env=environment)

    where = run([sys.executable, "-c", "import softvote; print(softvote.__file__)"], env=environment)
    assert Path(where).is_relative_to(installed)
    assert softvote("--version") == f"softvote {__version__}\n"
    write = (
        "from pathlib import Path; from softvote.stages import demo; demo.write_demo_pipeline(Path('demo'))"
    )
    run([sys.executable, "-c", write], cwd=tmp_path, env=environment)
    path = tmp_path / "demo" / "pipelines" / "demo.yaml"
    pipeline = yaml.safe_load(path.read_text(encoding="utf-8"))
    pipeline["defaults"] |= {"epochs": 2, "no_aug_epochs": 1}  # whether it learns well is tested elsewhere
    pipeline["members"] = {"cnn": pipeline["members"]["cnn"]}
    path.write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    told = softvote("demo")
    (submission,) = (tmp_path / "demo" / "submissions").glob("demo-*.csv")
    assert submission.name in told and len(submission.read_text().splitlines()) == 600
