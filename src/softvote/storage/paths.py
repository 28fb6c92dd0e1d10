"""Every path and file name of the project."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_LOCK = ".lock"
_FOLD = re.compile(r"fold(?P<fold>\d+)(-repeat(?P<repeat>[1-9]\d*))?")


def tracker_lock(tracker: Path) -> Path:
    """What trainings share whose tracker writes into this folder; beside it, because the folder may go."""
    return tracker.with_name(f".{tracker.name}{_LOCK}")


ASKED_FILES = ".asked-files"
"""Lies among raw files while only some of them were fetched; JSON, but for none who looks for tables."""


@dataclass(frozen=True)
class Workspace:
    """The folders that data flows through, under one root (the project's folder, or a demo's)."""

    root: Path

    @property
    def pipelines(self) -> Path:
        """Pipeline files, and in a folder of their own those of the gallery."""
        return self.root / "pipelines"

    @property
    def gallery(self) -> Path:
        """Pipelines of well-known competitions, by their names on Kaggle."""
        return self.pipelines / "gallery"

    def pipeline_file(self, name: str) -> Path:
        """The file of a pipeline; one in `pipelines/` goes before the gallery's of that name."""
        own, shown = self.pipelines / f"{name}.yaml", self.gallery / f"{name}.yaml"
        return shown if shown.is_file() and not own.is_file() else own

    @property
    def models(self) -> Path:
        """What pipelines leave, a folder for each, and what is remembered between runs."""
        return self.root / "models"

    @property
    def cache(self) -> Path:
        """What can be found out again: parsed input files, by their content, and findings on this machine."""
        return self.models / ".cache"

    @property
    def autotune(self) -> Path:
        """In which precision and memory format networks run on this machine."""
        return self.cache / "choices"

    @property
    def throughputs(self) -> Path:
        """How fast members train on this machine."""
        return self.cache / "paces"

    @property
    def trackers(self) -> Path:
        """What trackers of trainings write, a folder for each."""
        return self.models / ".trackers"

    def tracker(self, name: str) -> Path:
        """What a tracker of trainings writes, of all pipelines."""
        return self.trackers / name

    @property
    def submissions(self) -> Path:
        """Checked submissions of all pipelines, and what is known of them."""
        return self.root / "submissions"

    @property
    def ledger(self) -> Path:
        """A row for each submission: what it was made from, and its score in cross-validation."""
        return self.submissions / "ledger.csv"

    @property
    def leaderboard(self) -> Path:
        """Every past submission as Kaggle reported it."""
        return self.submissions / "leaderboard.csv"

    @property
    def leaderboard_picture(self) -> Path:
        """Scores on the leaderboard against those of cross-validation."""
        return self.submissions / "leaderboard.png"

    @property
    def reports(self) -> Path:
        """Pages about pipelines, and what belongs to them."""
        return self.root / "reports"

    @property
    def report_index(self) -> Path:
        """The page over all pipelines."""
        return self.reports / "index.html"

    def report(self, pipeline: str) -> Path:
        """The page about a pipeline."""
        return self.reports / f"{pipeline}.html"

    @property
    def inputs(self) -> Path:
        """Raw files, a folder for each competition; no stage writes there."""
        return self.root / "input"

    def input(self, competition: str) -> Path:
        """Raw files of a competition."""
        return self.inputs / competition

    def asked_files(self, competition: str) -> Path:
        """Which files alone were asked for, of a competition that is not there whole."""
        return self.input(competition) / ASKED_FILES

    @property
    def weights(self) -> Path:
        """Files of published weights that networks start from, by the networks' names."""
        return self.inputs / "weights"

    @property
    def downloads(self) -> Path:
        """What came from Kaggle and is not unpacked yet."""
        return self.inputs / ".downloads"

    def download(self, source: str) -> Path:
        """Where a download from Kaggle lies until it is unpacked, whole or in part."""
        return self.downloads / source.replace("/", ".")

    def download_lock(self, source: str) -> Path:
        """What a download from Kaggle holds."""
        return self.downloads / f"{self.download(source).name}{_LOCK}"

    def download_locks(self) -> list[Path]:
        """Those of all downloads that are under way or were stopped."""
        return sorted(self.downloads.glob(f"*{_LOCK}"))

    def pipeline(self, pipeline: str) -> PipelineFolder:
        """What a pipeline leaves, by its name."""
        return PipelineFolder(self.models / pipeline)

    def submission(self, pipeline: str, sha256: str) -> Path:
        """The file of a submission, by the first eight hexadecimal digits of its sha256."""
        return self.submissions / f"{pipeline}-{sha256[:8]}.csv"

    def kernel(self, pipeline: str, mode: str) -> KernelFolder:
        """A kernel of a pipeline; the mode is `infer` or `train`."""
        return KernelFolder(self.root / "kernels" / pipeline / mode)


@dataclass(frozen=True)
class PipelineFolder:
    """`models/<pipeline>/`: the folds and what was made from them."""

    path: Path

    @property
    def folds(self) -> Path:
        """row, label, fold."""
        return self.path / "folds.csv"

    @property
    def folds_record(self) -> Path:
        """What the folds were made from."""
        return self.path / "folds.json"

    @property
    def tune(self) -> TuneFolder:
        """The search for better values."""
        return TuneFolder(self.path / "tune")

    def predictions(self, name: str) -> PredictionsFolder:
        """What a member or the ensemble leaves, by its name."""
        return PredictionsFolder(self.path / name)


@dataclass(frozen=True)
class TuneFolder:
    """`models/<pipeline>/tune/`: trials of a search, and what came of them."""

    path: Path

    @property
    def storage(self) -> Path:
        """Every trial of every search of the pipeline, as Optuna keeps them."""
        return self.path / "study.db"

    @property
    def record(self) -> Path:
        """The trials of the newest search; written last."""
        return self.path / "tune.json"

    @property
    def history(self) -> Path:
        """A picture of the score of each trial, in their order."""
        return self.path / "history.png"

    @property
    def importance(self) -> Path:
        """A picture of how much each value mattered."""
        return self.path / "importance.png"

    @property
    def lock(self) -> Path:
        """What a search holds while it runs."""
        return self.path / ".lock"

    def trial(self, study: str, number: int) -> PipelineFolder:
        """What a trial trained, in the folders that a pipeline has."""
        return PipelineFolder(self.path / study / f"trial{number}")


@dataclass(frozen=True)
class PredictionsFolder:
    """`models/<pipeline>/<member or ensemble>/`: what anything that predicts leaves behind.

    A single member, one fold of it and an ensemble hold the same three files, so that each of them
    can be scored, blended and submitted.
    """

    path: Path

    @property
    def oof(self) -> Path:
        """Out-of-fold predictions: rows int64 (n,) and probabilities float32 (n, K)."""
        return self.path / "oof.npz"

    @property
    def test(self) -> Path:
        """Probabilities of the test rows, float32 (T, K)."""
        return self.path / "test.npy"

    @property
    def probabilities(self) -> tuple[Path, Path]:
        """In the order of the checksums in `scores`."""
        return self.oof, self.test

    @property
    def scores(self) -> Path:
        """Scores, and the key of the work they came from; written last, so it marks done work."""
        return self.path / "scores.json"

    @property
    def vote(self) -> Path:
        """An ensemble's rule and weights."""
        return self.path / "vote.json"

    @property
    def decision(self) -> Path:
        """How its probabilities become what is submitted, where that could be fitted."""
        return self.path / "decision.json"

    @property
    def comparison(self) -> Path:
        """An ensemble's table of members and rules, as text."""
        return self.path / "comparison.txt"

    @property
    def augmentation(self) -> Path:
        """A picture of training images as augmentation changes them."""
        return self.path / "augmentation.png"

    @property
    def digits(self) -> Path:
        """A picture of hidden digits as a member reads them."""
        return self.path / "digits.png"

    @property
    def mistakes(self) -> Path:
        """A picture of the out-of-fold images that are named wrong."""
        return self.path / "mistakes.png"

    @property
    def export(self) -> ExportFolder:
        """It as one program."""
        return ExportFolder(self.path / "export")

    def fold(self, fold: int, repeat: int = 0) -> FoldFolder:
        """Where a training of a fold lies, the first or a repeat of it."""
        return FoldFolder(self.path / (f"fold{fold}-repeat{repeat}" if repeat else f"fold{fold}"))

    @property
    def refit(self) -> FoldFolder:
        """Where the training on all rows lies; its out-of-fold predictions are of no rows."""
        return FoldFolder(self.path / "refit")

    def folds(self) -> list[FoldFolder]:
        """The folders of trainings that are there: of all folds, repeat after repeat, then on all rows."""
        names = [_FOLD.fullmatch(path.name) for path in self.path.glob("fold*") if path.is_dir()]
        found = sorted((int(name["repeat"] or 0), int(name["fold"])) for name in names if name)
        refit = [self.refit] if self.refit.path.is_dir() else []
        return [self.fold(fold, repeat) for repeat, fold in found] + refit


@dataclass(frozen=True)
class FoldFolder(PredictionsFolder):
    """`models/<pipeline>/<member>/fold<k>/`: one training; prediction needs nothing else.

    Of further repeats it is `fold<k>-repeat<r>/`, and `refit/` of a training that left no fold out.
    """

    @property
    def weights(self) -> Path:
        """Parameters and buffers of the network."""
        return self.path / "weights.safetensors"

    @property
    def recipe(self) -> Path:
        """Everything the weights were made with; written after them, so it marks them whole."""
        return self.path / "recipe.json"

    @property
    def log(self) -> Path:
        """One row per epoch."""
        return self.path / "log.csv"

    @property
    def glyphs(self) -> Path:
        """Single digits of its training rows, and what they are by readings and sums."""
        return self.path / "glyphs.npz"

    @property
    def checkpoint(self) -> Path:
        """The state of a training that is under way, or was stopped."""
        return self.path / "checkpoint.pt"

    @property
    def crash(self) -> Path:
        """What a process said that ended in the middle of this training."""
        return self.path / "crash.log"

    @property
    def lock(self) -> Path:
        """What a training holds while it runs."""
        return self.path / ".lock"


@dataclass(frozen=True)
class ExportFolder:
    """`models/<pipeline>/<voter>/export/`, or elsewhere: a voter as one program, in two formats."""

    path: Path

    @property
    def torch(self) -> Path:
        """For torch alone, as `torch.export` writes it."""
        return self.path / "program.pt2"

    @property
    def onnx(self) -> Path:
        """For ONNX Runtime and others."""
        return self.path / "program.onnx"

    @property
    def programs(self) -> tuple[Path, Path]:
        """In the order of the checksums in `record`."""
        return self.torch, self.onnx

    @property
    def record(self) -> Path:
        """What the program takes and gives, what it was made from, and how to call it; written last."""
        return self.path / "program.json"


@dataclass(frozen=True)
class KernelFolder:
    """`kernels/<pipeline>/<mode>/`: a program for Kaggle, what it needs there, and what came back."""

    path: Path

    @property
    def code(self) -> Path:
        """What is pushed as the kernel: its metadata and one code file."""
        return self.path / "code"

    @property
    def code_metadata(self) -> Path:
        """What Kaggle's client reads of a kernel: its title, its data, and whether it has a GPU."""
        return self.code / "kernel-metadata.json"

    @property
    def program(self) -> Path:
        """What Kaggle runs."""
        return self.code / "kernel.py"

    @property
    def dataset(self) -> Path:
        """What is uploaded beside it, in one level, because Kaggle's client leaves folders out."""
        return self.path / "dataset"

    @property
    def dataset_metadata(self) -> Path:
        """What Kaggle's client reads of a data set: its title and its licence."""
        return self.dataset / "dataset-metadata.json"

    @property
    def wheels(self) -> Path:
        """Packages that Kaggle's image lacks, uploaded as a data set of their own."""
        return self.path / "wheels"

    @property
    def wheels_metadata(self) -> Path:
        """The same of the packages."""
        return self.wheels / "dataset-metadata.json"

    @property
    def pushed(self) -> Path:
        """Which version was pushed last; beside the folder, which each build replaces."""
        return self.path.with_suffix(".json")

    @property
    def output(self) -> Path:
        """What the kernel left in its working folder, once it was fetched."""
        return self.path / "output"
