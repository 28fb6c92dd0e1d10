"""Forms of a submission, one file each: written, read, checked, and recognised from a sample.

Adding one is adding a module with a subclass of `Form` under `@register_form`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from softvote.config.entries import FormConfig
from softvote.config.registry import import_modules
from softvote.data.csv_table import read_table
from softvote.data.forms.base import (
    FORMS,
    Form,
    RecognisedForm,
    SampleTable,
    SubmissionTemplate,
    recognise_table,
    register_form,
)
from softvote.errors import ErrorCollector, UserError
from softvote.task import LabelSpace

if TYPE_CHECKING:
    from softvote.config.competition import Competition

__all__ = [
    "FORMS",
    "Form",
    "RecognisedForm",
    "SampleTable",
    "SubmissionTemplate",
    "as_form",
    "read_sample",
    "recognise_form",
    "register_form",
]

import_modules(__name__)


def as_form(config: FormConfig) -> Form:
    """The form that a pipeline file names; they are one object."""
    assert isinstance(config, Form)
    return config


def read_sample(path: Path, competition: Competition) -> SampleTable:
    """Read what a sample submission asks for.

    Raises:
        UserError: every problem of the file, one line each.
    """
    problems = ErrorCollector()
    sample = as_form(competition.submission_form).read_template(read_table(path), competition, problems)
    problems.raise_any()
    return sample


def recognise_form(path: Path, space: LabelSpace) -> RecognisedForm:
    """Find out which form a sample submission has.

    Args:
        space: the labels of the train files.

    Raises:
        UserError: it cannot be read, or has no form that is known.
    """
    table = read_table(path)
    found = recognise_table(table, space)
    if found is None:
        columns = ", ".join(table.header[:8])
        labels = ", ".join(space.names[:3])
        what = f"columns {columns} are not a form of a submission for labels such as {labels}"
        raise UserError.at(path, what, f"known forms: {', '.join(FORMS)}; write the pipeline by hand")
    return found
