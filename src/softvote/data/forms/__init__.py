"""Forms of a submission, one file each: written, read, checked, and recognised from a sample.

Adding one is adding a module with a subclass of `Form` under `@register_form`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from softvote.config.entries import FormConfig
from softvote.config.registry import import_modules
from softvote.data.csv_table import open_table, read_table
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
    "read_repeating_sample",
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


def read_repeating_sample(path: Path, competition: Competition) -> SampleTable:
    """As `read_sample`, where nobody can fix the file: ids may stand there again, and there may be no rows.

    Raises:
        UserError: every other problem of the file, one line each.
    """
    problems = ErrorCollector()
    table = open_table(path, problems, may_be_empty=True)
    problems.raise_any()
    assert table, "a file that cannot be read has a problem"
    names = table.column(table.header[0])
    once = dict(zip(reversed(names), reversed(table.records), strict=True))
    records = [once[name] for name in dict.fromkeys(names)]
    form = as_form(competition.submission_form)
    sample = form.read_template(replace(table, records=records), competition, problems)
    problems.raise_any()
    if len(records) == len(names):
        return sample
    return sample._replace(template=replace(sample.template, repeated=names))


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
