# SPDX-License-Identifier: Apache-2.0
"""Parameter types of the command line: text in, values out, and a usage error that names the text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import click

from pyperf_infer.errors import UsageError


class Parsed(click.ParamType[Any]):
    """Text read by one of the package's own parse functions."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


def apply_options(options: Sequence[Callable[[Any], Any]], command: Any) -> Any:
    """Decorates a command with click options, so that its help lists them in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def key_value(text: str) -> tuple[str, str]:
    """`session.intra_op.allow_spinning=0` -> the two sides."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"'{text}' is not of the form key=value")
    return key, value


def cpu_list(text: str) -> tuple[int, ...]:
    """`0,2-3` -> (0, 2, 3)."""
    cpus: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
        first, last = found.groups() if found else ("1", "0")
        if int(last or first) < int(first):
            raise UsageError(f"'{text}' is no list of CPUs such as 0,2-3")
        cpus.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(cpus))


def percentile(text: str) -> float:
    """`median`, `p99` or `99.9` -> 50, 99, 99.9: above 0 and below 100."""
    try:
        percent = 50.0 if text == "median" else float(text.removeprefix("p"))
    except ValueError:
        percent = math.nan
    if not 0 < percent < 100:
        raise UsageError(f"'{text}' is no percentile such as median, p90 or 99.9")
    return percent


def seconds(text: str) -> float:
    """A finite number of seconds from 0 on."""
    return _number(text, "seconds")


def milliseconds(text: str) -> float:
    """A finite number of milliseconds from 0 on."""
    return _number(text, "milliseconds")


def tolerance(text: str) -> float:
    """A finite number from 0 on."""
    return _number(text, "")


def _number(text: str, unit: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and 0 <= value <= 1e9):
        raise UsageError(f"'{text}' is no number{f' of {unit}' if unit else ''} from 0 to 1e9")
    return value
