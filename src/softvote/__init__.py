"""softvote: from raw competition files to a checked submission with an honest score.

Everything for programs and notebooks is named here and loaded when it is first used:

    import softvote as sv

    pipeline = sv.load_pipeline("digit-recognizer")
    data = sv.load_dataset(pipeline)
    folds = sv.make_folds(data, n_folds=5)
    members = [sv.cross_val_predict(pipeline.members[name], data, folds) for name in pipeline.members]
    vote = sv.SoftVoting().fit(members, data.train.labels, folds)
    print(vote.table_)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from softvote.api.image_data import ImageData
    from softvote.api.learning import FittedMember, cross_val_predict, fit, load
    from softvote.api.pipelines import load_dataset, load_pipeline, make_folds, run, write_submission
    from softvote.api.voting import SoftVoting, compare
    from softvote.config.pipeline import Pipeline
    from softvote.config.recipe import Member
    from softvote.data.split import ImageSplit
    from softvote.errors import UserError
    from softvote.reporting.comparison import ComparisonTable
    from softvote.stages import Run
    from softvote.training.callbacks import Callback, ShowProgress

__version__ = "0.1.0"

__all__ = [
    "Callback",
    "ComparisonTable",
    "FittedMember",
    "ImageData",
    "ImageSplit",
    "Member",
    "Pipeline",
    "Run",
    "ShowProgress",
    "SoftVoting",
    "UserError",
    "__version__",
    "compare",
    "cross_val_predict",
    "fit",
    "load",
    "load_dataset",
    "load_pipeline",
    "make_folds",
    "run",
    "write_submission",
]

_MODULES = {
    "softvote.api.image_data": ["ImageData"],
    "softvote.api.learning": ["FittedMember", "cross_val_predict", "fit", "load"],
    "softvote.api.pipelines": ["load_dataset", "load_pipeline", "make_folds", "run", "write_submission"],
    "softvote.api.voting": ["SoftVoting", "compare"],
    "softvote.config.pipeline": ["Pipeline"],
    "softvote.config.recipe": ["Member"],
    "softvote.data.split": ["ImageSplit"],
    "softvote.errors": ["UserError"],
    "softvote.reporting.comparison": ["ComparisonTable"],
    "softvote.stages": ["Run"],
    "softvote.training.callbacks": ["Callback", "ShowProgress"],
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562), so that `import softvote` takes no time."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'softvote' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
