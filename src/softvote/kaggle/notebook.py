"""Kernels: a folder that Kaggle runs, with the package, the pipeline and perhaps trained networks in it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from softvote.config.pipeline import Pipeline
from softvote.config.schema import NAME
from softvote.ensembling.ensemble import load_ensemble
from softvote.ensembling.predictions import read_predictions
from softvote.errors import ErrorCollector, UserError
from softvote.kaggle.kernel_program import Kernel, Mode, render_program
from softvote.storage.files import atomic_directory, remove_folder, write_json, write_text
from softvote.storage.fingerprints import sha256_of
from softvote.storage.paths import KernelFolder, PipelineFolder, PredictionsFolder, Workspace

_LONGEST_SLUG = 50


_ALWAYS = {
    "torch": "torch", "torchvision": "torchvision", "timm": "timm", "huggingface_hub": "huggingface_hub",
    "numpy": "numpy", "pydantic": "pydantic", "yaml": "pyyaml", "safetensors": "safetensors", "tqdm": "tqdm",
}  # fmt: skip


_TO_TRAIN = {"scipy": "scipy", "sklearn": "scikit-learn"}


DEFAULT_ACCELERATOR = "NvidiaTeslaT4"
"""What a kernel runs on where a GPU is wanted and none is named: two T4."""

_RETIRED_ACCELERATORS = ("NvidiaTeslaP100",)  # Kaggle runs another in their place, and says so nowhere


def build_kernel(
    workspace: Workspace,
    name: str,
    pipeline: Pipeline,
    mode: Mode,
    voter: str,
    owner: str,
    accelerator: str = DEFAULT_ACCELERATOR,
    wheels: Path | None = None,
) -> KernelFolder:
    """Write the folder of a kernel in place of an earlier one and its output; equal inputs give equal bytes.

    Args:
        name: the pipeline's.
        mode: infer predicts and votes with the networks on this disk, which the caller knows to be the
            pipeline's; train does all the stages there.
        voter: the ensemble or a member.
        owner: the user of Kaggle whose kernel it becomes.
        accelerator: the GPU that it asks for, as `machine_shape` of Kaggle's kernel-metadata.json has it;
            empty asks for none.
        wheels: a folder of .whl files that go along.

    Returns:
        `kernels/<pipeline>/<mode>/`, with a dataset in mode infer and where networks start from published
        weights, which are fetched if they are not here yet; and one of wheels where there are any.

    Raises:
        UserError: a competition, an owner or a name that Kaggle would not take, an accelerator that would not
            be what runs, networks that are not this pipeline's, files that would be missing on Kaggle,
            published weights that cannot be had, or too much code for Kaggle.
    """
    needed = _select_needed(pipeline, voter)
    slug = _slug(name, mode)
    _refuse(name, needed, mode, owner, accelerator)
    role, carried = _carried_files(workspace, name, needed, mode, voter)
    dataset = f"{owner}/{_slug(name, role)}" if carried else ""
    checksums = {file: sha256_of(path) for file, path in carried.items()}
    packed = _wheels_in(wheels) if wheels else {}
    wheels_dataset = f"{owner}/{_slug(name, 'wheels')}" if packed else ""
    safe = _mean_prediction(workspace.pipeline(name).predictions(voter)) if mode == "infer" else []
    kernel = Kernel(name, mode, voter, _packages(needed, mode), dataset, checksums, wheels_dataset, safe)
    program = render_program(kernel, needed)
    metadata = _metadata(f"{owner}/{slug}", kernel, str(pipeline.competition.kaggle), accelerator)
    folder = workspace.kernel(name, mode)
    with atomic_directory(folder.path) as temporary:
        built = KernelFolder(temporary)
        write_text(built.program, program)
        write_json(built.code_metadata, metadata)
        _write_dataset(built.dataset_metadata, dataset, carried)
        _write_dataset(built.wheels_metadata, wheels_dataset, packed)
        remove_folder(folder.path)
    return folder


def _select_needed(pipeline: Pipeline, voter: str) -> Pipeline:
    """The pipeline with no members but those that the voter is made of, and what those start from."""
    voters = [voter] if voter in pipeline.members else pipeline.voters
    names = pipeline.with_sources(voters)
    members = {name: member for name, member in pipeline.members.items() if name in names}
    alone = {"shares": None, "rule": "auto"} if voter in pipeline.members else {}
    ensemble = pipeline.ensemble.model_copy(update={"members": voters} | alone)
    return pipeline.model_copy(update={"members": members, "ensemble": ensemble})


def _slug(pipeline: str, role: str) -> str:
    """The name in Kaggle's addresses."""
    from slugify import slugify  # which Kaggle's image need not have

    slug = f"softvote-{slugify(pipeline)}-{role}"
    if "--" in slug:
        raise UserError.at(
            f"pipeline '{pipeline}'", "has no letter that an address can hold", "rename its file"
        )
    if len(slug) > _LONGEST_SLUG:
        raise UserError.at(
            f"pipeline '{pipeline}'",
            f"Kaggle takes {_LONGEST_SLUG} characters, not the {len(slug)} of {slug}",
            "give its file a shorter name",
        )
    return slug


def _refuse(name: str, pipeline: Pipeline, mode: Mode, owner: str, accelerator: str) -> None:
    problems = ErrorCollector()
    if pipeline.competition.kaggle is None:
        hint = "set it to the end of the competition's address, such as digit-recognizer"
        problems.add(f"{name}: competition.kaggle", "is not given", hint)
    if not NAME.fullmatch(owner):
        problems.add(f"owner {owner!r}", "is not a Kaggle user", "write the name in your profile's address")
    if accelerator and not accelerator.startswith("Nvidia"):
        what, hint = "is not a GPU's name on Kaggle", f"name one, such as {DEFAULT_ACCELERATOR}"
        problems.add(f"`accelerator` {accelerator}", what, hint)
    if accelerator in _RETIRED_ACCELERATORS:
        what = "is retired, and Kaggle would run another"
        problems.add(f"`accelerator` {accelerator}", what, f"name {DEFAULT_ACCELERATOR}")
    remedy = "which is not on Kaggle; train here and use mode infer"
    if mode == "train" and (corrections := pipeline.competition.corrections):
        problems.add(f"{name}: competition.corrections", f"reads {corrections}, {remedy}")
    for member_name, member in pipeline.members.items() if mode == "train" else ():
        key = f"members.{member_name}"
        if member.weights_file:
            problems.add(f"{key}.model_args", f"starts from {member.weights_file}, {remedy}")
        if member.extra_train:
            problems.add(f"{key}.extra_train", f"reads {member.extra_train.images}, {remedy}")
    problems.raise_any()


def _carried_files(
    workspace: Workspace, name: str, needed: Pipeline, mode: Mode, voter: str
) -> tuple[str, dict[str, Path]]:
    """What a kernel's data set is called, and the weights in it by their names there."""
    if mode == "infer":
        return "weights", _trained_files(workspace.pipeline(name), voter)
    from softvote.models import published_files  # which kernels without any need not import

    return "backbones", published_files(needed.members, workspace.weights)


def _trained_files(pipeline: PipelineFolder, voter: str) -> dict[str, Path]:
    """What prediction needs, by its name in the dataset."""
    folder = pipeline.predictions(voter)
    folds = [fold for member in load_ensemble(folder.path).voting for fold in member.folds]
    files = [file for fold in folds for file in (fold.weights, fold.recipe)]
    files += [file for file in (folder.vote, folder.decision) if file.is_file()]
    return {flatten(file.relative_to(pipeline.path)): file for file in sorted(files)}


def _wheels_in(folder: Path) -> dict[str, Path]:
    """The packages in a folder, by their names."""
    found = {path.name: path for path in sorted(folder.glob("*.whl"))}
    if not found:
        raise UserError.at(folder, "holds no .whl files", "docs/kaggle.md says how to get them")
    return found


def _mean_prediction(folder: PredictionsFolder) -> list[float]:
    """What a voter says on the average of rows it was not trained on; of test rows if there are none."""
    predictions = read_predictions(folder)
    rows = predictions.oof if len(predictions.oof) else predictions.test
    return [round(share, 6) for share in rows.mean(axis=0, dtype=np.float64).tolist()]


def flatten(path: Path) -> str:
    """A path of names without dots as one file name: `cnn/fold0/recipe.json` is `cnn.fold0.recipe.json`."""
    return ".".join(path.parts)


def unflatten(name: str) -> Path:
    """The path that `flatten` made the name of."""
    parts, _, suffix = name.rpartition(".")
    return Path(*parts.split(".")).with_suffix(f".{suffix}")


def _packages(pipeline: Pipeline, mode: Mode) -> dict[str, str]:
    """What is imported on the way, as `import name: name of the package`."""
    needed = _ALWAYS | pipeline.competition.files.packages
    if mode == "infer":
        return needed
    for member in pipeline.members.values():
        augment = member.augment
        if augment and (augment.engine == "albumentations" or augment.albumentations):
            needed["albumentations"] = "albumentations"
    return needed | _TO_TRAIN


def _metadata(id_: str, kernel: Kernel, competition: str, accelerator: str) -> dict[str, Any]:
    """kernel-metadata.json, with nothing left to what Kaggle takes for granted."""
    return {
        "id": id_,
        "title": _title(id_),
        "code_file": KernelFolder(Path()).program.name,
        "language": "python",
        "kernel_type": "script",
        "is_private": True,
        "enable_gpu": bool(accelerator),
        "enable_tpu": False,
        "enable_internet": False,
        "machine_shape": accelerator,
        "keywords": [],
        "dataset_sources": [name for name in (kernel.dataset, kernel.wheels) if name],
        "kernel_sources": [],
        "competition_sources": [competition],
        "model_sources": [],
        "docker_image": None,
        "docker_image_pinning_type": "original",
    }


def _title(id_: str) -> str:
    """The title whose address is the id's."""
    return id_.partition("/")[2].replace("-", " ")


def _write_dataset(metadata: Path, name: str, sources: dict[str, Path]) -> None:
    """Write the folder of a data set, unless it has no name."""
    if not name:
        return
    write_json(metadata, {"title": _title(name), "id": name, "licenses": [{"name": "unknown"}]})
    for file, path in sources.items():
        shutil.copyfile(path, metadata.with_name(file))
