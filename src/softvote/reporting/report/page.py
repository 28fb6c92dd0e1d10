"""Blocks to pages: one file each, with style, script and pictures inside."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from softvote.config.registry import import_modules
from softvote.errors import UserError
from softvote.reporting.report.blocks import Attachment, Block
from softvote.reporting.report.section import SECTIONS, LeftOutError, ReportData, Section
from softvote.storage.files import write_text

import_modules("softvote.reporting.report.sections")


@dataclass(frozen=True)
class BuiltSection:
    """A section with its blocks, or the reason why it has none; without either, nothing is missed."""

    section: Section
    blocks: Sequence[Block]
    left_out: str = ""


def build_sections(data: ReportData) -> list[BuiltSection]:
    """Build every section that the data allow, and say of the others why not."""
    return [_build(section, data) for section in SECTIONS.values()]


def _build(section: Section, data: ReportData) -> BuiltSection:
    reason = section.reason_to_leave_out(data)
    if reason:
        return BuiltSection(section, (), reason)
    try:
        return BuiltSection(section, section.build(data))
    except LeftOutError as left_out:
        return BuiltSection(section, (), str(left_out))
    except UserError as error:  # such as weights that stayed on another machine
        return BuiltSection(section, (), "; ".join(map(str, error.problems)))


def attachments_of(sections: Sequence[BuiltSection]) -> list[Attachment]:
    """The files that are written beside the page."""
    return [block for built in sections for block in built.blocks if isinstance(block, Attachment)]


def write_page(path: Path, template: str, **content: Any) -> None:
    """Render a template and write it, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    write_text(path, _environment().get_template(template).render(**content))


def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("softvote.reporting.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = _read_asset
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.filters["with_code"] = _mark_code
    environment.filters["breakable"] = _mark_breaks
    environment.filters["data_uri"] = _as_data_uri
    environment.filters["embedded_json"] = _as_json
    return environment


def _read_asset(name: str) -> Any:
    from markupsafe import Markup

    template = resources.files("softvote.reporting.report").joinpath("templates", name)
    return Markup(template.read_text(encoding="utf-8"))


def _mark_code(text: str) -> Any:
    """The text with what stands in backquotes as code."""
    from markupsafe import Markup, escape

    parts = text.split("`")
    marked = [Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts)]
    return Markup("").join(marked)


def _mark_breaks(text: str) -> Any:
    """The text with where a narrow column may break it: before `±`, and within the names of members and keys.

    A number never leaves its unit.
    """
    from markupsafe import Markup, escape

    value, plus_minus, error = text.partition(" ± ")
    if plus_minus:
        return Markup("<span>{}</span> <span>± {}</span>").format(value, error)
    parts = re.split(r"(?<=[a-zA-Z\d][_./])(?=[a-zA-Z])", text)
    return Markup("<wbr>").join(map(escape, parts))


def _as_data_uri(text: str) -> str:
    return f"data:text/csv;base64,{base64.b64encode(text.encode()).decode()}"


def _as_json(value: object) -> Any:
    """JSON that no `</script>` within it can end."""
    from markupsafe import Markup

    return Markup(json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c"))
