# SPDX-License-Identifier: Apache-2.0
"""Reads what an exporter's exception knows: the reason, the operator, and the line of the model that asked for it."""

from __future__ import annotations

import linecache
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Frames of these packages are the exporter's own; the last frame outside them is the model's.
_MACHINERY = ("torch", "onnx", "onnxscript", "onnx_ir", "sympy")
_OPERATOR = re.compile(r"OpOverload\(op='([\w.]+)'|target=torch\.ops\.([\w.]+)|call_function\[target=([^\]]+)\]")
_STACK_LINE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)\s*\n\s*(?P<code>[^\n]*)')
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_REASON_LIMIT = 400


class Failure(NamedTuple):
    reason: str
    operator: str | None
    source: str | None  # "file:line in function: code"

    def __str__(self) -> str:
        text = self.reason
        if self.operator and self.operator not in text:
            text += f" (operator {self.operator})"
        return f"{text}\n  at {self.source}" if self.source else text


def explain(error: BaseException) -> Failure:
    """What went wrong, in one line, with the operator and the source line where the exception chain has them."""
    chain = list(_chain(error))
    operator = next((found for link in chain if (found := _operator(str(link)))), None)
    # The innermost exception is the reason; what wraps it only says at which step of the export it came up.
    return Failure(_first_line(chain[-1]), operator, _node_source(chain) or _frame_source(chain))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__


def _operator(text: str) -> str | None:
    match = _OPERATOR.search(text)
    if match is None:
        return None
    return next(group for group in match.groups() if group).removeprefix("torch.ops.")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()]
    reason = lines[0] if lines else type(error).__name__
    if reason.endswith(":"):  # a heading: what it announces is the reason
        reason = " ".join(lines[:3])
    return reason if len(reason) <= _REASON_LIMIT else reason[:_REASON_LIMIT] + " ..."


def _node_source(chain: list[BaseException]) -> str | None:
    """The model's line of the graph node that could not be translated.

    The exception carries the node's name alone; the node itself, which knows its origin, is a local variable of the
    frame that translated it.
    """
    for link in reversed(chain):
        for frame, _ in traceback.walk_tb(link.__traceback__):
            trace = getattr(frame.f_locals.get("node"), "stack_trace", None)
            places = list(_STACK_LINE.finditer(trace)) if isinstance(trace, str) else []
            if places:
                return "{file}:{line} in {function}: {code}".format(**places[-1].groupdict())
    return None


def _frame_source(chain: list[BaseException]) -> str | None:
    for link in reversed(chain):
        found = None
        for frame, line in traceback.walk_tb(link.__traceback__):
            code = frame.f_code
            if not _is_machinery(code.co_filename):
                found = (
                    f"{code.co_filename}:{line} in {code.co_name}: {linecache.getline(code.co_filename, line).strip()}"
                )
        if found:
            return found
    return None


def _is_machinery(file: str) -> bool:
    path = Path(file)
    if not path.is_file():
        return True  # generated code: it has no line that anyone could change
    loaded = [getattr(sys.modules.get(name), "__file__", None) for name in _MACHINERY]
    if any(path.is_relative_to(Path(origin).parent) for origin in loaded if origin):
        return True
    if path.parent == Path(__file__).parent:
        return True
    sites = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    return path.is_relative_to(sysconfig.get_path("stdlib")) and not any(path.is_relative_to(site) for site in sites)
