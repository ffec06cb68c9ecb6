# SPDX-License-Identifier: Apache-2.0
"""Read a model's YAML into a checked configuration. docs/adding-a-model.md describes the format."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyperf_infer.errors import InputError
from pyperf_infer.models.signatures import SIGNATURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SECTIONS = ("backbone", "head")
_KEYS = ("description", "input", "num_classes", "names", *SECTIONS)
_MAX_REPEAT = 1000
_NAME = re.compile(r"([A-Za-z_]\w*|\d+)(\.([A-Za-z_]\w*|\d+))*(\.\*)?|\*", re.ASCII)


@dataclass(frozen=True)
class Row:
    """One row, checked: `arguments` is complete (defaults filled in), `name` is the dotted name, "*" for a number."""

    where: str
    repeat: int
    module: str
    arguments: Mapping[str, int | float | bool | None]
    name: str


@dataclass(frozen=True)
class ModelConfig:
    """A model as its YAML describes it. `input` is one item's shape, channels first."""

    path: Path
    description: str
    input: tuple[int, ...]
    rows: tuple[Row, ...]


def read_config(path: Path) -> ModelConfig:
    """Read and check `path`. InputError says which file, which row and what would be right."""
    document = _read_mapping(path)
    for key in document:
        if key not in _KEYS:
            raise InputError(f"{path}: unknown key {key!r}{nearest(str(key), _KEYS)}. Known: {', '.join(_KEYS)}.")
    description = document.get("description", "")
    if not isinstance(description, str):
        raise InputError(f"{path}: description must be text, not {description!r}.")
    shape = document.get("input")
    if not isinstance(shape, list) or len(shape) not in (1, 3) or not all(_is_size(size) for size in shape):
        raise InputError(
            f"{path}: input must be [channels, height, width] or [features], each at least 1, such as "
            f"[3, 224, 224]; it is {shape!r}."
        )
    classes = document.get("num_classes")
    if classes is not None and not _is_size(classes):
        raise InputError(f"{path}: num_classes must be a whole number of at least 1, not {classes!r}.")
    names = document.get("names", {})
    if not isinstance(names, dict) or not set(names) <= set(SECTIONS):
        raise InputError(f"{path}: names must be a mapping with the keys backbone and head, not {names!r}.")
    rows = [
        _row(path, section, number, row, name, classes)
        for section in SECTIONS
        for number, (row, name) in enumerate(_named_rows(path, section, document, names), start=1)
    ]
    return ModelConfig(path, description.strip(), tuple(shape), tuple(rows))


def _read_mapping(path: Path) -> dict[Any, Any]:
    import yaml

    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        # ValueError: PyYAML's own constructors raise it on an impossible date, for instance.
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split()) or type(error).__name__}.") from error
    if not isinstance(document, dict):
        raise InputError(
            f"{path}: a model's YAML is a mapping with the keys input, backbone and head; this one is "
            f"{'empty' if document is None else f'a {type(document).__name__}'}."
        )
    return document


def _named_rows(path: Path, section: str, document: dict[Any, Any], names: dict[Any, Any]) -> Iterable[tuple[Any, str]]:
    rows = document.get(section)
    if not isinstance(rows, list) or not rows:
        raise InputError(
            f"{path}: {section} must be a list of at least one [n_repeat, module, args] row, not {rows!r}."
        )
    named = names.get(section, f"{section}.*")
    if isinstance(named, str):
        named = [named] * len(rows)
    if not isinstance(named, list) or len(named) != len(rows):
        raise InputError(
            f"{path}: names.{section} must be one name for the whole section or one for each of its {len(rows)} rows; "
            f"it is {named!r}."
        )
    for name in named:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InputError(
                f'{path}: names.{section}: {name!r} is not a name such as conv1, layer1.* or "features.*".'
            )
    return zip(rows, named, strict=True)


def _row(path: Path, section: str, number: int, row: Any, name: str, classes: int | None) -> Row:
    where = f"{path}: {section} row {number}"
    if not isinstance(row, list) or len(row) != 3:
        raise InputError(f"{where}: a row is [n_repeat, module, args], such as [2, BasicBlock, [64]]; it is {row!r}.")
    repeat, module, args = row
    if not _is_size(repeat) or repeat > _MAX_REPEAT:
        raise InputError(f"{where}: n_repeat must be a whole number from 1 to {_MAX_REPEAT}, not {repeat!r}.")
    signature = SIGNATURES.get(module) if isinstance(module, str) else None
    if signature is None:
        known = ", ".join(SIGNATURES)
        raise InputError(f"{where}: unknown module {module!r}{nearest(str(module), SIGNATURES)}. Known: {known}.")
    if repeat * signature.parts > 1 and not name.endswith("*"):
        raise InputError(
            f"{where}: it adds {repeat * signature.parts} modules, so its name must end in '*' for their number; "
            f"names.{section} calls it {name!r}."
        )
    return Row(where, repeat, module, _arguments(where, module, args, classes), name)


def _arguments(where: str, module: str, args: Any, classes: int | None) -> dict[str, int | float | bool | None]:
    known = SIGNATURES[module].arguments
    usage = f"{module} takes [{', '.join(a.name if a.required else f'{a.name}=' for a in known)}]"
    if not isinstance(args, list):
        raise InputError(f"{where}: args must be a list, not {args!r}. {usage}.")
    by_name = args[-1] if args and isinstance(args[-1], dict) else {}
    positional = args[:-1] if by_name else args
    if len(positional) > len(known):
        raise InputError(f"{where}: {len(positional)} arguments are too many: {args!r}. {usage}.")
    given: dict[Any, Any] = dict(zip((a.name for a in known), positional, strict=False))
    for key, value in by_name.items():
        if key not in {a.name for a in known}:
            raise InputError(
                f"{where}: {module} has no argument {key!r}{nearest(str(key), [a.name for a in known])}. {usage}."
            )
        if key in given:
            raise InputError(f"{where}: {key} is given twice, by place and by name: {args!r}. {usage}.")
        given[key] = value
    complete: dict[str, int | float | bool | None] = {}
    for argument in known:
        if argument.name not in given:
            if argument.required:
                raise InputError(f"{where}: {argument.name} is missing from {args!r}. {usage}.")
            complete[argument.name] = argument.default
            continue
        value = given[argument.name]
        if value == "num_classes":
            if classes is None:
                raise InputError(f"{where}: it uses num_classes, which the file does not set.")
            value = classes
        problem = argument.problem(value)
        if problem:
            raise InputError(f"{where}: {problem}. {usage}.")
        complete[argument.name] = value
    return complete


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31


def nearest(name: str, known: Iterable[str]) -> str:
    """', did you mean A or B?' for the closest of `known`, ignoring case; '' where nothing is close."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    return f" (did you mean {' or '.join(by_lower[match] for match in close)}?)" if close else ""
