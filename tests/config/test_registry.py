"""config.registry: one more optimiser, schedule, head, layout or rule is one file, which the rest finds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import Digits, make_once
from projects import RECIPE, competition, pipeline, write_digits, write_pipeline

import softvote
from softvote.config import registry
from softvote.config.registry import (
    HEADS_PLACE,
    LOSSES_PLACE,
    OPTIMIZERS_PLACE,
    READERS_PLACE,
    RULES_PLACE,
    SCHEDULES_PLACE,
    Registry,
    load_registry,
)

PLACES = (HEADS_PLACE, LOSSES_PLACE, OPTIMIZERS_PLACE, READERS_PLACE, RULES_PLACE, SCHEDULES_PLACE)

OPTIMIZER = '''
from __future__ import annotations

from typing import Literal

from softvote.config.entries import OptimizerConfig
from softvote.config.schema import Positive
from softvote.training.optimizers.base import register_optimizer


@register_optimizer()
class NAdam(OptimizerConfig):
    name: Literal["nadam"]
    """`nadam`: torch.optim.NAdam."""
    lr: Positive = 2e-3
    """Highest learning rate."""

    def create(self, parameters, fused):
        from torch.optim import NAdam

        print("NADAM")
        return NAdam(parameters, self.lr)
'''

SCHEDULE = '''
from __future__ import annotations

from typing import Literal

from softvote.config.entries import ScheduleConfig
from softvote.training.schedules.base import register_schedule


@register_schedule()
class Linear(ScheduleConfig):
    name: Literal["linear"]
    """`linear`: torch's LinearLR."""

    def create(self, optimizer, steps):
        from torch.optim.lr_scheduler import LinearLR

        print("LINEAR")
        return LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
'''

HEAD = '''
from __future__ import annotations

from softvote.heads.base import register_head
from softvote.heads.softmax import SoftmaxHead


@register_head("tempered", needs_numbers=True)
class TemperedHead(SoftmaxHead):
    """Softmax of halved outputs."""

    def probabilities(self, outputs):
        return super().probabilities(outputs / 2)
'''

LOSS = '''
from __future__ import annotations

from typing import ClassVar, Literal

from softvote.config.entries import LossConfig
from softvote.heads.losses.base import register_loss


@register_loss()
class Brier(LossConfig):
    kinds: ClassVar = ("classes",)
    name: Literal["brier"]
    """`brier`: squared errors of the probabilities (Brier 1950)."""

    def of_classes(self, logits, wanted):
        return ((logits.softmax(1) - wanted) ** 2).sum(1)
'''

READER = '''
from __future__ import annotations

from dataclasses import replace
from typing import Literal

from softvote.config.entries import FilesConfig
from softvote.data.readers import npy
from softvote.data.readers.base import READERS, Images, Reader, existing, lazy_images
from softvote.data.readers.detection import DetectedLayout


class NpzFile(FilesConfig):
    """One .npz file of images and labels."""

    format: Literal["npz"]
    """`npz`: one file of arrays."""
    file: str = "digits.npz"
    """The file."""

    @property
    def test_source(self):
        return self.file


def sources(competition, folder):
    return existing(competition, folder, [competition.files.file])


def read(competition, folder, keep):
    import numpy as np

    held = np.load(folder / competition.files.file)
    return Images(held["train"], held["labels"]), Images(held["test"])


def detect(candidate):
    import numpy as np

    if not (candidate.folder / "digits.npz").is_file():
        return None
    held = np.load(candidate.folder / "digits.npz")
    return DetectedLayout({"format": "npz"}, 8, 8, 1, [str(label) for label in held["labels"]])


def open_test(competition, folder):
    return lazy_images(read(competition, folder, None)[1])


READERS.add("npz", Reader(NpzFile, sources, read, detect, open_test))
'''

RULE = '''


@rule(space="probability", fitted=True)
def first(oof: Members, labels: Labels, scorer: Scorer) -> Weights:
    """All weight to the first member."""
    return np.eye(len(oof))[0]
'''


class Copy(NamedTuple):
    """A project, and a copy of the package with one entry more in each registry."""

    root: Path
    source: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "softvote", "--root", str(self.root), *words)

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *words]
        environment = {"PYTHONPATH": str(self.source), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Copy:
    root = make_once(tmp_path_factory, "registries", lambda folder: _write(folder, digits))
    return Copy(root, root / "source")


def _write(root: Path, digits: Digits) -> None:
    import numpy as np

    package = root / "source" / "softvote"
    hidden = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(softvote.__file__).parent, package, ignore=hidden)
    (package / "training" / "optimizers" / "nadam.py").write_text(OPTIMIZER)
    (package / "training" / "schedules" / "linear.py").write_text(SCHEDULE)
    (package / "heads" / "tempered.py").write_text(HEAD)
    (package / "heads" / "losses" / "brier.py").write_text(LOSS)
    (package / "data" / "readers" / "npz.py").write_text(READER)
    with (package / "ensembling" / "rules.py").open("a") as rules:
        rules.write(RULE)
    write_digits(root, digits, 60, 20)
    folder = root / "input" / "digits"
    (folder / "train.csv").unlink()
    (folder / "test.csv").unlink()
    images, labels = digits[0][:80, None], digits[1][:60]
    np.savez(folder / "digits.npz", train=images[:60], test=images[60:], labels=labels)
    own = {"optimizer": {"name": "nadam"}, "schedule": {"name": "linear"}, "head": "tempered", "epochs": 1}
    members = {"cnn": {"model": "cnn"}, "resnet5": {"model": "resnet5", "head": "softmax", "loss": "brier"}}
    facts = pipeline(
        competition=competition(files={"format": "npz"}),
        defaults=RECIPE | own,
        members=members,
        ensemble={"rule": "first"},
    )
    write_pipeline(root, facts)


@pytest.mark.parametrize("place", PLACES)
def test_what_is_registered_is_what_the_schema_allows(place: str) -> None:
    schema = _schema()
    assert load_registry(place)
    assert not [name for name in load_registry(place) if f'"{name}"' not in schema]


@cache
def _schema() -> str:
    from softvote.config.json_schema import json_schema

    return json.dumps(json_schema())


def test_new_entries_are_in_the_schema(more: Copy) -> None:
    schema = json.loads(more.run("schema").stdout)["$defs"]
    assert schema["Recipe"]["properties"]["head"]["enum"][-1] == "tempered"
    assert "nadam" in schema["Recipe"]["properties"]["optimizer"]["discriminator"]["mapping"]
    names, kinds = schema["Recipe"]["properties"]["loss"]["anyOf"]
    assert "brier" in names["enum"] and "brier" in kinds["discriminator"]["mapping"]
    assert "npz" in schema["Competition"]["properties"]["files"]["discriminator"]["mapping"]
    assert "linear" in schema["Recipe"]["properties"]["schedule"]["discriminator"]["mapping"]
    assert schema["EnsembleConfig"]["properties"]["rule"]["enum"][-2:] == ["first", "shares"]
    assert schema["NAdam"]["properties"]["lr"]["default"] == 2e-3


MISTAKES = [
    ("defaults.optimizer.name=nada", "did you mean 'nadam'? known: sgd, adam, adamw, nadam"),
    ("members.resnet5.loss=brie", "did you mean 'brier'? known: cross_entropy, focal, asymmetric, brier"),
    (
        "defaults.schedule.name=linea",
        "did you mean 'linear'? known: constant, plateau, cosine, one_cycle, linear",
    ),
    (
        "defaults.head=temper",
        "did you mean 'tempered'? known: softmax, regression, digits, digit_set, ",
    ),
    ("competition.files.format=npx", "npy, parquet, json, npz"),
    ("ensemble.rule=firs", "known: auto, mean, mean_logits, log_loss, greedy, first, shares"),
    ("competition.labels=[a, b]", "tempered needs labels that are numbers, not names"),
    (
        "defaults.label_smoothing=0.1",
        "label_smoothing: is for head: softmax, tags, targets; head: tempered has no use",
    ),
]

TRY_EACH = """
import sys
from softvote.cli import main
for setting in sys.argv[2:]:
    print(main(["--root", sys.argv[1], "folds", "tiny", "--set", setting]), file=sys.stderr)
"""


def test_messages_know_new_entries(more: Copy) -> None:
    """One after another in one process, which takes its time to start."""
    done = more.python("-c", TRY_EACH, str(more.root), *(setting for setting, _ in MISTAKES))
    told = done.stderr.splitlines()
    assert told[1::2] == ["1"] * len(MISTAKES), done.stderr
    for said, (_, line) in zip(told[::2], MISTAKES, strict=True):
        assert line in said


@pytest.mark.slow  # a copy of the package compiles its CPU kernels anew
def test_new_entries_work(more: Copy) -> None:
    for stage in ("folds", "train", "ensemble"):
        done = more.run(stage, "tiny")
        assert done.returncode == 0, done.stderr
        assert ("NADAM" in done.stdout) == ("LINEAR" in done.stdout) == (stage == "train")
    assert "vote: first (cnn 1.000, resnet5 0.000)" in done.stdout


def test_init_recognises_a_new_layout(more: Copy, tmp_path: Path) -> None:
    done = more.run("init", str(more.root / "input" / "digits"), "--name", "found")
    assert done.returncode == 0, done.stderr
    assert "format: npz" in (more.root / "pipelines" / "found.yaml").read_text()


def test_new_entries_are_read_without_torch(more: Copy) -> None:
    code = (
        "import sys; from softvote.config.pipeline_file import read_pipeline_file; from pathlib import Path\n"
        f"read_pipeline_file(Path({str(more.root / 'pipelines' / 'tiny.yaml')!r}))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(more.source)}, capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr


def test_a_name_is_registered_once() -> None:
    registry: Registry[int] = Registry()
    registry.add("b", 1, rank=2)
    registry.add("a", 2)
    registry.add("c", 3, rank=1)
    assert list(registry) == ["c", "b", "a"]
    with pytest.raises(ValueError, match="'a' is registered twice"):
        registry.add("a", 4)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (place, name)
        for place in (registry.METRICS_PLACE, registry.DECISIONS_PLACE, registry.FORMS_PLACE)
        for name in registry.load_registry(place)
    ],
)
def test_what_is_written_of_a_kind_leads_back_to_it(place: str, name: str) -> None:
    """Also where defaults are left out, as in a kernel's pipeline and in fingerprints."""
    kind = registry.load_registry(place)[name]
    one = kind()
    assert one.model_dump(exclude_defaults=True) == {"name": name}
    assert kind.model_validate(one.model_dump(mode="json", exclude_defaults=True)) == one
