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
_OPERATOR = re.compile(
    r"OpOverload\(op='([\w.]+)'|target=torch\.ops\.([\w.]+)|call_function\[target=([^\]]+)\]|^\s*target: ([\w.]+)$",
    re.MULTILINE,
)
_STACK_LINE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)\s*\n\s*(?P<code>[^\n]*)')
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_REASON_LIMIT = 400
_CHATTER_LINES = 8


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
    links = list(chain(error))
    operator = next((found for link in links if (found := _operator(str(link)))), None)
    # The innermost exception is the reason; what wraps it only says at which step of the export it came up.
    return Failure(_first_line(links[-1]), operator, _node_source(links) or _frame_source(links))


def last_lines(chatter: str, who: str) -> str:
    """What was printed meanwhile, as the end of a message: its last lines, or nothing."""
    lines = [line for line in _COLOUR.sub("", chatter).splitlines() if line.strip()][-_CHATTER_LINES:]
    return f"\n{who} printed:\n" + "\n".join(f"  {line}" for line in lines) if lines else ""


def chain(error: BaseException, *, contexts: bool = False) -> Iterator[BaseException]:
    """The error and what it was raised from. `contexts`: and what was being handled where a link names no cause."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (link.__context__ if contexts else None)


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


def _node_source(links: list[BaseException]) -> str | None:
    """The model's line of the graph node that could not be translated.

    The exception carries the node's name alone; the node itself, which knows its origin, is a local variable of the
    frame that translated it.
    """
    for link in reversed(links):
        for frame, _ in traceback.walk_tb(link.__traceback__):
            found = source_of(getattr(frame.f_locals.get("node"), "stack_trace", None))
            if found:
                return found
    return None


def source_of(stack_trace: object) -> str | None:
    """The innermost line of a graph node's stack trace, which is the model's or that of a layer it uses."""
    places = list(_STACK_LINE.finditer(stack_trace)) if isinstance(stack_trace, str) else []
    return "{file}:{line} in {function}: {code}".format(**places[-1].groupdict()) if places else None


def _frame_source(links: list[BaseException]) -> str | None:
    for link in reversed(links):
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
