"""Commands about pipelines and what they can name: check, models, clean, schema."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from softvote.cli.arguments import add_command, add_pipeline_command, open_pipeline, show

if TYPE_CHECKING:
    from softvote.cli.arguments import Commands


def add_pipelines(commands: Commands) -> None:
    """Add what looks at pipelines and changes nothing that is trained: check, models, clean, schema."""
    add_pipeline_command(
        commands, "check", _check, "say what a pipeline would run and how long it would take"
    )
    models = add_command(commands, "models", _models, "list the networks that a member can name")
    models.add_argument("--all", action="store_true", help="list the names of all backbones of timm too")
    clean = add_command(commands, "clean", _clean, "remove what is outdated, and say what caches take")
    clean.add_argument(
        "names", nargs="*", metavar="NAME", help="remove this too, as the list names it: tune/my-contest"
    )
    clean.add_argument("--all", action="store_true", help="remove caches and unfinished downloads too")
    add_command(commands, "schema", _schema, "print the JSON Schema of pipeline files, for editors")


def _check(parsed: argparse.Namespace) -> None:
    run = open_pipeline(parsed)  # a typing error shall not wait for torch

    from softvote.stages import check

    show(check.run(run, show))


def _models(parsed: argparse.Namespace) -> None:
    from softvote.models import describe_models, timm_models
    from softvote.reporting.tables import render

    lines = [[name, f"{count:,}" if count else "", text] for name, count, text in describe_models()]
    print(render(["model", "parameters", "what it is"], lines), end="")
    print("parameters: for grey images of 28 x 28 and ten classes; empty where it takes only others")
    if parsed.all:
        print(*timm_models(), sep="\n")


def _clean(parsed: argparse.Namespace) -> None:
    from softvote.stages import clean

    show(clean.run(parsed.root, parsed.all, parsed.names))


def _schema(parsed: argparse.Namespace) -> None:
    import json

    from softvote.config.json_schema import json_schema

    print(json.dumps(json_schema(), indent=2))
