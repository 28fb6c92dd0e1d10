"""Write the pages of the documentation that are made from the program itself.

    python scripts/make_docs.py
    python scripts/make_docs.py --check site

The first writes docs/reference/: every key of a pipeline file from the schema, every command from the
argument parser, every make target from the Makefile, and the guide for contributors and the changelog from
their files. The second reads the built site and fails where a page points to a file that is missing, or
needs the network.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import yaml

from softvote.cli import create_parser
from softvote.config.json_schema import json_schema

REPOSITORY = Path(__file__).parents[1]
REFERENCE = REPOSITORY / "docs" / "reference"
WIDTH = 100  # columns of a usage line

Schema = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", type=Path, metavar="SITE", help="check a built site instead")
    if site := parser.parse_args().check:
        problems = check_site(site)
        sys.exit("\n".join(problems) if problems else 0)
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, render in PAGES.items():
        (REFERENCE / name).write_text(render(), encoding="utf-8")


# ---------------------------------------------------------------- configuration


class Section(NamedTuple):
    """One mapping of a pipeline file.

    Attributes:
        title: its dotted key; of several kinds, with the key that chooses this one.
        anchor: what links to it.
        text: what it is.
        properties: the JSON Schema of each of its keys.
    """

    title: str
    anchor: str
    text: str
    properties: dict[str, Schema]


def render_configuration() -> str:
    """Render every key of a pipeline file: meaning, type, range, default."""
    schema = json_schema()
    anchors: dict[str, str] = {}
    sections = find_sections(schema, anchors)
    count = sum(len(section.properties) for section in sections)
    lines = [
        "# Configuration",
        "",
        f"The {count} keys of a pipeline file. [Pipelines](../pipelines.md) explains how files are written",
        "and extended; `pipelines/schema.json` holds the same for editors. What is *required* may stand in",
        "the file that is extended. Intervals: [0, 1) includes 0 and excludes 1.",
    ]
    for section in sections:
        lines += ["", f"## {section.title} {{ #{section.anchor} }}", ""]
        lines += [section.text, ""] if section.text else []
        lines += ["| key | meaning | type and range | default |", "|---|---|---|---|"]
        for key, entry in section.properties.items():
            cells = [f"`{key}`", entry["description"], describe_type(entry, anchors), describe_default(entry)]
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def find_sections(schema: Schema, anchors: dict[str, str]) -> list[Section]:
    """Walk the schema from the top, each class once; note in `anchors` what to link to each class by."""
    definitions = schema["$defs"]

    def walk(path: str, name: str, part: Schema) -> Iterator[Section]:
        chooser = find_chooser(part)
        anchors[name] = f"[`{chooser}`](#{name.lower()})" if chooser else f"[keys](#{name.lower()})"
        title = f"`{path}`" if path else "Top level"
        properties, text = part["properties"], part.get("description", "")
        if name == "Member":  # a member takes every key of a recipe too
            recipe = definitions["Recipe"]["properties"]
            properties = {key: entry for key, entry in properties.items() if key not in recipe}
            text += " It takes every key of [`defaults`](#recipe) as well."
        yield Section(f"{title} with `{chooser}`" if chooser else title, name.lower(), text, properties)
        for key, entry in properties.items():
            inner = f"{path}.{key}" if path else key
            inner += ".NAME" if isinstance(entry.get("additionalProperties"), dict) else ""
            for below in find_references(entry):
                if below not in anchors:
                    yield from walk(inner, below, definitions[below])

    return list(walk("", "Pipeline", schema))


def find_chooser(part: Schema) -> str:
    """Find the key and value that choose this class among several, such as `name: sgd`."""
    fixed = {key: entry["const"] for key, entry in part["properties"].items() if "const" in entry}
    return next((f"{key}: {fixed[key]}" for key in ("name", "format") if key in fixed), "")


def alternatives(entry: Schema) -> list[Schema]:
    """What a key may hold, one entry per kind, however deep the schema nests them."""
    kinds = [*entry.get("oneOf", []), *entry.get("anyOf", [])]
    return [part for kind in kinds for part in (alternatives(kind) or [kind])]


def find_references(entry: Schema) -> list[str]:
    """List the classes a key may hold."""
    kinds = [entry, *alternatives(entry)]
    if isinstance(named := entry.get("additionalProperties"), dict):
        kinds += [named, *alternatives(named)]
    return [kind["$ref"].rsplit("/", 1)[1] for kind in kinds if "$ref" in kind]


def describe_type(entry: Schema, anchors: dict[str, str]) -> str:
    """Describe what may stand there, in words and intervals."""
    classes = [anchors[name] for name in find_references(entry)]
    kinds = [kind for kind in alternatives(entry) if "$ref" not in kind]
    if not kinds and not classes:
        return describe_value(entry)
    return " or ".join(classes + [describe_value(kind) for kind in kinds if kind.get("type") != "null"])


def describe_value(entry: Schema) -> str:
    if not entry:
        return "any value"
    if "const" in entry:
        return f"`{entry['const']}`"
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    kind = entry.get("type")
    if kind in ("integer", "number"):
        return describe_number(kind, entry)
    if kind == "array" and "prefixItems" in entry:
        return f"list of {len(entry['prefixItems'])}, each: {describe_value(entry['prefixItems'][0])}"
    if kind == "array":
        least = f", at least {entry['minItems']}" if "minItems" in entry else ""
        return f"list of {describe_type(entry['items'], {})}{least}"
    return {"boolean": "true or false", "string": "text", "object": "keys and values"}[str(kind)]


def describe_number(kind: str, entry: Schema) -> str:
    low, high = entry.get("minimum"), entry.get("maximum")
    above, below = entry.get("exclusiveMinimum"), entry.get("exclusiveMaximum")
    if high is None and below is None:
        if low is not None:
            return f"{kind}, at least {low:g}"
        return f"{kind}, above {above:g}" if above is not None else f"any {kind}"
    start = f"[{low:g}" if low is not None else f"({above:g}"
    end = f"{high:g}]" if high is not None else f"{below:g})"
    return f"{kind} in {start}, {end}"


def describe_default(entry: Schema) -> str:
    """Describe the default as YAML; none where the key has to be given."""
    if "default" not in entry:
        return "required"
    value = entry["default"]
    if value is None:
        return "left out"
    if isinstance(value, dict) and "$ref" in entry:
        return "see there"
    text = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False)
    return f"`{text.removesuffix(chr(10)).removesuffix('...').strip()}`"


# ---------------------------------------------------------------- commands


def render_commands() -> str:
    """Render every command with its arguments, and every make target."""
    os.environ["COLUMNS"] = str(WIDTH)
    parser = create_parser()
    lines = [
        "# Commands",
        "",
        "Most make targets are one of these commands with its usual arguments. The exit code is 0; 1 after a "
        "mistake that can be fixed; 2 for words that the command line does not know; 130 after Ctrl-C.",
        "",
        "## softvote",
        "",
        *render_parser(parser),
        "",
        f"{parser.epilog}.",
    ]
    for name, command in find_commands(parser).items():
        text = command.description or ""
        lines += ["", f"## softvote {name}", "", f"{text[:1].upper()}{text[1:]}.", ""]
        lines += render_parser(command)
    lines += ["", "## make", "", "| target | what it does |", "|---|---|"]
    lines += [f"| `make {target}` | {text} |" for target, text in find_targets()]
    return "\n".join(lines) + "\n"


def find_commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Find the subcommands of a parser, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def render_parser(parser: argparse.ArgumentParser) -> list[str]:
    usage = re.sub(r"\n +", "\n    ", parser.format_usage().removeprefix("usage: ").rstrip())
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        if action.help == argparse.SUPPRESS:  # an old name, understood and not shown
            continue
        rows.append(f"| {name_of(action)} | {(action.help or '').replace('|', chr(92) + '|')} |")
    table = ["", "| argument | meaning |", "|---|---|", *rows] if rows else []
    return ["```text", usage, "```", *table]


def name_of(action: argparse.Action) -> str:
    """The argument as it is written on the command line."""
    value = action.metavar or (None if action.choices is None else "{" + ",".join(action.choices) + "}")
    if not action.option_strings:
        return f"`{value or action.dest}`"
    shown = "" if action.nargs == 0 else f" {value or action.dest.upper()}"
    return ", ".join(f"`{option}{shown}`" for option in action.option_strings)


def find_targets() -> list[tuple[str, str]]:
    """Find the targets of the Makefile that say what they do."""
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    return re.findall(r"^([a-z-]+):.*## (.*)$", makefile, re.MULTILINE)


# ---------------------------------------------------------------- files of the repository


def copy_page(name: str) -> str:
    """A file of the repository as a page, its links made those of a page in docs/reference/."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    text = text.replace("](docs/", "](../")
    return re.sub(r"\]\((CONTRIBUTING|CHANGELOG)\.md", lambda link: f"]({link[1].lower()}.md", text)


# ---------------------------------------------------------------- the built site


class _Page(HTMLParser):
    """Collects what a page points to, and what a browser fetches by itself to show it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if value and name in ("href", "src"):
                (self.links if tag == "a" else self.fetched).append(value)


def check_site(site: Path) -> list[str]:
    """List what is missing from a built site, and what its pages would fetch from the network."""
    pages = [path for path in sorted(site.rglob("*.html")) if path.name != "404.html"]
    problems = [] if pages else [f"{site}: holds no pages; build it first"]
    for path in pages:
        page = _Page(path.read_text(encoding="utf-8"))
        for target in page.links + page.fetched:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.fetched and parts.scheme != "data":
                    problems.append(f"{path}: fetches {target} from the network; keep a copy in docs/")
            elif parts.path and not (path.parent / unquote(parts.path)).exists():
                problems.append(f"{path}: {target} is missing; fix the link")
    return problems


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": render_configuration,
    "commands.md": render_commands,
    "contributing.md": lambda: copy_page("CONTRIBUTING.md"),
    "changelog.md": lambda: copy_page("CHANGELOG.md"),
}

if __name__ == "__main__":
    main()
