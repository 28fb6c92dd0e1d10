"""Reading a pipeline file: what it extends, what the command line sets, and where each mistake stands."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from softvote.config.augment import Augment
from softvote.config.image import Image
from softvote.config.known_keys import find_key
from softvote.config.member_fit import find_changes_that_do_not_fit
from softvote.config.pipeline import Pipeline
from softvote.config.schema import ConfigError
from softvote.config.settings import Key, Places, apply_setting, name_today
from softvote.config.tuning import Recipes, TuneConfig, find_misfits
from softvote.config.views import TestTime
from softvote.errors import ErrorCollector, Problem, UserError, one_of

# The keys that say which kind of optimizer, schedule, view, metric, form, decision or files it is.
_CHOOSERS = {
    **dict.fromkeys(["optimizer", "schedule", "view", "metric", "form", "decision"], "name"),
    "files": "format",
}


_DEEPEST = 20  # no pipeline needs more levels; an alias of itself has no end


ReadNames = Callable[[str, str, str], list[str] | None]
"""(competition, file, column) gives the different labels in a column of one of the competition's tables; None
where there is no such table yet."""


def read_pipeline_file(
    path: Path, settings: Sequence[str] = (), read_names: ReadNames | None = None
) -> Pipeline:
    """Read, extend, override and validate a pipeline file.

    Args:
        path: the YAML file.
        settings: `members.cnn.epochs=2`, each over what the file says; values are read as YAML.
        read_names: reads class names where `competition.labels` says in which table they stand; left out,
            or where the table is not there yet, nothing that depends on them is checked.

    Raises:
        UserError: every problem found, one line each, with file, line, key and what to write instead.
    """
    values, places = _read_extended(path, ())
    problems = ErrorCollector()
    for setting in settings:
        try:
            apply_setting(values, places, setting)
        except UserError as error:
            problems.extend(error.problems)
    problems.raise_any()
    if read_names:
        _put_names_in(values, read_names)
    pipeline = _validate(values, places, path)
    if pipeline.tune:
        _check_space(pipeline.tune, values, places, path)
    return pipeline


def _validate(values: dict[str, Any], places: Places, path: Path) -> Pipeline:
    """The pipeline of these values; members get the defaults below their own keys."""
    members = values.get("members")
    if isinstance(members, dict) and isinstance(values.get("defaults"), dict):
        own = {name: _merge(values["defaults"], member) for name, member in members.items()}
        values = values | {"members": own}
    try:
        return Pipeline.model_validate(values)
    except ValidationError as error:
        problems = _problems_of(error, values, places, path)
    problems.raise_any()
    raise AssertionError("a validation error without a problem")


def _check_space(tune: TuneConfig, values: dict[str, Any], places: Places, path: Path) -> None:
    """Refuse a search that could propose what the pipeline cannot take, every key of it together."""

    def try_setting(setting: str) -> Recipes | UserError:
        changed, where = copy.deepcopy(values), dict(places)
        try:
            apply_setting(changed, where, setting)
            pipeline = _validate(changed, where, path)
        except UserError as error:
            return error
        trained = pipeline.with_sources(tune.searched(list(pipeline.members)))
        return {name: pipeline.members[name].model_dump(mode="json") for name in trained}

    problems = ErrorCollector()
    for key, problem in find_misfits(tune.space, try_setting):
        place = _place(("tune", "space", key), places, path)
        problems.extend([problem.within(f"{place}: tune.space.{key}")])
    problems.raise_any()


def _put_names_in(values: dict[str, Any], read_names: ReadNames) -> None:
    """Class names in place of the table that has them, where it can be read."""
    competition = values.get("competition")
    if not isinstance(competition, dict):
        return
    match competition:
        case {"name": str(name), "labels": {"file": str(file), "column": str(column), **rest}} if not rest:
            names = read_names(name, file, column)
            competition["labels"] = competition["labels"] if names is None else names


def _read_extended(path: Path, above: tuple[Path, ...]) -> tuple[dict[str, Any], Places]:
    """The file's content merged over that of the file it extends, and where each key stands."""
    if path.resolve() in above:
        chain = " -> ".join(str(step.name) for step in (*above, path))
        raise UserError.at(path, f"extends itself ({chain})", "remove one `extends`")
    values, places = _read_yaml(path)
    parent = values.get("extends")
    if not isinstance(parent, str):
        return values, places
    parent_path = path.parent / f"{parent}.yaml"
    if not parent_path.is_file():
        known = sorted(file.stem for file in parent_path.parent.glob("*.yaml") if file != path)
        place = f"{places[('extends',)]}: extends"
        raise UserError.at(place, f"there is no {parent_path}", one_of(known, parent_path.stem))
    base, base_places = _read_extended(parent_path, (*above, path.resolve()))
    return _merge(base, values), base_places | places


def _read_yaml(path: Path) -> tuple[dict[str, Any], Places]:
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    except FileNotFoundError:
        known = sorted(file.stem for file in path.parent.glob("*.yaml"))
        there = f"{path.parent} holds none; name another folder's file"
        if known:
            there = f"{one_of(known, path.stem)}; `init` writes one for a folder of files"
        raise UserError.at(path, "no such pipeline", there) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError.at(path, f"cannot be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError.at(
            f"{path}{line}", f"is not YAML: {getattr(error, 'problem', None) or error}"
        ) from None
    if not isinstance(root, yaml.MappingNode):
        raise UserError.at(path, "must hold keys and values", "a pipeline needs competition and members")
    problems, places = ErrorCollector(), Places()
    values = _construct(root, (), path, places, problems)
    problems.raise_any()
    return values, places


def _construct(node: yaml.Node, key: Key, path: Path, places: Places, problems: ErrorCollector) -> Any:
    """The node's value; notes in `places` the line of every key, and in `problems` each key given twice."""
    places[key] = f"{path}, line {node.start_mark.line + 1}"
    if len(key) > _DEEPEST:
        raise UserError.at(places[key], "is nested too deep", "does an alias contain itself?")
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*key, i), path, places, problems) for i, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError):
            problems.add(
                places[key],
                f"{node.value!r} is not a valid {node.tag.rsplit(':', 1)[-1]}",
                "put it in quotes",
            )
            return None
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        written = str(key_node.value)
        name = name_today((*key, written))
        if name in values:
            again = name if name == written else f"{name}, once {written},"
            problems.add(
                f"{path}, line {key_node.start_mark.line + 1}", f"{again} is given twice", "keep one"
            )
        values[name] = _construct(value_node, (*key, name), path, places, problems)
        places[(*key, name)] = f"{path}, line {key_node.start_mark.line + 1}"
    return values


def _merge(base: Any, over: Any, of: str = "") -> Any:
    """`over` laid on `base`: mappings key by key, anything else replaced, null taking the key out.

    A mapping of another kind (another optimizer, say) replaces the base's whole. `of` is the key they
    stand under.
    """
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    chooser = _CHOOSERS.get(of)
    if chooser in over and chooser in base and over[chooser] != base[chooser]:
        return over
    both = base | {key: _merge(base.get(key), value, key) for key, value in over.items()}
    return {key: value for key, value in both.items() if not (value is None and key in over and key in base)}


def _problems_of(
    error: ValidationError, values: dict[str, Any], places: Places, path: Path
) -> ErrorCollector:
    problems, seen = ErrorCollector(), set[Key]()
    for problem in error.errors():
        key, known, deeper = find_key(problem["loc"], values)
        cause = problem.get("ctx", {}).get("error")
        found = cause.problems if isinstance(cause, ConfigError) else [_in_words(problem, known, key, deeper)]
        for each in found:
            # Where several keys are at odds with each other, each problem names the key to fix.
            inner = each.where.split(".") if each.where else []
            written = _key_as_written(_with_numbers((*key, *inner), values), places)
            if written not in seen:  # the defaults' mistakes come back with every member
                where = f"{_place(written, places, path)}: {'.'.join(map(str, written))}"
                problems.add(where, each.what, each.hint)
            seen.add(written)
    for member, each in _find_change_misfits(values):
        written = _key_as_written(_with_numbers(("members", member, *each.where.split(".")), values), places)
        if written not in seen:
            where = f"{_place(written, places, path)}: {'.'.join(map(str, written))}"
            problems.add(where, each.what, each.hint)
        seen.add(written)
    return problems


def _find_change_misfits(values: dict[str, Any]) -> Iterator[tuple[str, Problem]]:
    """What members do to images that cannot be done, where the rest of the file is wrong too.

    A whole pipeline looks for that itself; one that is no pipeline yet would tell it in a second round.

    Yields:
        the member's name, and a problem whose place is a key of it.
    """
    competition, members = values.get("competition"), values.get("members")
    try:
        image = Image.model_validate((competition if isinstance(competition, dict) else {}).get("image"))
    except ValidationError:
        return
    for name, member in members.items() if isinstance(members, dict) else ():
        for key, kind in (("augment", Augment), ("tta", TestTime)):
            try:
                changes = kind.model_validate(member[key]) if member.get(key) else None
            except (ValidationError, AttributeError, TypeError):  # which is told with all others
                continue
            for problem in find_changes_that_do_not_fit(key, changes, image):
                yield str(name), problem


def _in_words(problem: Any, known: list[str], key: Key, deeper: list[str]) -> Problem:
    """One validation problem in words, with what would be right; the place is left to the caller.

    Args:
        known: the keys that would be known in its place.
        deeper: keys of the same name below one of these.
    """
    kind, message = problem["type"], str(problem["msg"])
    what, hint = f"{message[0].lower()}{message[1:]}, not {problem['input']!r}", ""
    if kind == "extra_forbidden":
        what = "unknown key"
        hint = f"did you mean {' or '.join(map(repr, deeper))}?" if deeper else one_of(known, str(key[-1]))
    elif kind == "too_short":
        what = f"needs more than {problem['input']!r}"
        if not problem["input"]:
            what, hint = "needs at least one", "add it"
    elif kind == "missing":
        what, hint = "is missing", "add it"
    elif kind == "union_tag_not_found":
        what = f"needs {problem['ctx']['discriminator']} to say which kind it is"
    elif kind == "union_tag_invalid":
        expected = [tag.strip("' ") for tag in problem["ctx"]["expected_tags"].split(",")]
        what, hint = f"unknown kind '{problem['ctx']['tag']}'", one_of(expected, problem["ctx"]["tag"])
    elif kind == "literal_error":
        expected = [word.strip("' ") for word in problem["ctx"]["expected"].replace(" or ", ",").split(",")]
        what = f"'{problem['input']}' is not one of them"
        hint = one_of(expected, str(problem["input"]))
    elif kind in ("dict_type", "model_type", "model_attributes_type"):
        what = f"must hold keys and values, not {problem['input']!r}"
    elif kind == "value_error":
        what = message.removeprefix("Value error, ")
    return Problem("", what, hint)


def _with_numbers(key: Key, values: Any) -> Key:
    """The key with the parts as numbers that count the items of a list."""
    found: list[str | int] = []
    for part in key:
        found.append(int(part) if isinstance(values, list) and str(part).isdigit() else part)
        try:
            values = values[found[-1]]
        except (KeyError, IndexError, TypeError):
            values = None
    return tuple(found)


def _key_as_written(key: Key, places: Places) -> Key:
    """The key, or the default's where a member has it from there, so that its mistake is told once."""
    default = ("defaults", *key[2:])
    from_default = len(key) > 2 and key[0] == "members" and key not in places and default in places
    return default if from_default else key


def _place(key: Key, places: Places, path: Path) -> str:
    """Where a key stands, or what it is missing from."""
    while key and key not in places:
        key = key[:-1]
    return places.get(key, str(path))
