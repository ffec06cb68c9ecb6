# SPDX-License-Identifier: Apache-2.0
"""What torch.compile says of itself: where it had to leave parts of a model to Python, and how often it compiled."""

from __future__ import annotations

import contextlib
import linecache
import logging
import re
from collections.abc import Iterator
from typing import NamedTuple

from torch._dynamo.utils import counters, get_compilation_metrics

# The ends of loggers' names, such as torch._dynamo.symbolic_convert.__graph_breaks.
_ARTIFACT = "__graph_breaks"
_PLACE = re.compile(r"in user code at (?P<file>.+):(?P<line>\d+)$", re.MULTILINE)
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_REASON = re.compile(r"^(?:Graph Break )?Reason: (?P<reason>.*?)(?:^User code traceback:|\Z)", re.MULTILINE | re.DOTALL)
_NUMBERED = re.compile(r"^\d+/\d+: ")
_UNKNOWN = "torch does not say why"


class GraphBreak(NamedTuple):
    """A place where a graph ends, since torch.compile leaves what comes there to Python."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        code = linecache.getline(self.file, self.line).strip()
        return f"{self.reason} at {self.file}:{self.line}" + (f": {code}" if code else "")


@contextlib.contextmanager
def graph_breaks() -> Iterator[list[GraphBreak]]:
    """Collects the graph breaks of what is compiled in the block: each place once, however often it is run through.

    torch's own count (`torch._dynamo.explain`) is that of graphs less one, which misses breaks before the first
    operator and functions that are left to Python as a whole.
    """
    collector = _Breaks()
    names = [name for name in list(logging.Logger.manager.loggerDict) if name.endswith(_ARTIFACT)]
    with contextlib.ExitStack() as kept:
        for name in names:
            kept.enter_context(_heard_by(collector, logging.getLogger(name), logging.DEBUG))
        yield collector.found


@contextlib.contextmanager
def warnings_kept() -> Iterator[list[str]]:
    """Collects what torch._dynamo warns of in the block, which would come up in the midst of a progress bar."""
    collector = _Texts()
    with _heard_by(collector, logging.getLogger("torch._dynamo"), logging.WARNING):
        yield collector.texts


@contextlib.contextmanager
def _heard_by(handler: logging.Handler, logger: logging.Logger, level: int) -> Iterator[None]:
    """`handler` gets what `logger` says, and nobody else."""
    before = logger.handlers, logger.level, logger.propagate
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.handlers, _, logger.propagate = before
        logger.setLevel(before[1])


def graphs_compiled() -> int:
    """Graphs that this process has compiled until now."""
    return int(counters["stats"]["unique_graphs"])


def frames_compiled() -> int:
    """Python functions, and parts of them, that this process has compiled until now or tried to."""
    return int(counters["frames"]["total"])


def last_recompile_reason() -> str | None:
    """The condition of something compiled earlier that did not hold the last time, with its line; None if unknown."""
    for one in reversed(get_compilation_metrics()):
        said = getattr(one, "recompile_reason", None)
        if said:
            # Such as "0/3: self.n == 2    # self.n += 1  # model.py:16 in forward (HINT: ...)" and then a stack.
            condition = _NUMBERED.sub("", str(said).split("\n", 1)[0]).partition("(HINT")[0]
            return " ".join(condition.split())
    return None


def cuda_graphs_skipped() -> int:
    """Graphs that Inductor was asked to put into CUDA graphs and did not, in this process until now."""
    return int(counters["inductor"]["cudagraph_skips"])


class _Texts(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


class _Breaks(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[GraphBreak] = []

    def emit(self, record: logging.LogRecord) -> None:
        one = _parsed(record)
        if one is not None and one not in self.found:
            self.found.append(one)


def _parsed(record: logging.LogRecord) -> GraphBreak | None:
    text = record.getMessage()
    place = _PLACE.search(text)
    if place is None:  # a function that is left to Python as a whole: the last frame is the place
        *_, place = [None, *_FRAME.finditer(text)]
    if place is None:
        return None
    return GraphBreak(place["file"], int(place["line"]), _reason(text, record))


def _reason(text: str, record: logging.LogRecord) -> str:
    found = _REASON.search(text)
    said = found["reason"] if found else str(record.exc_info[1]) if record.exc_info else ""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    # A heading, such as which bytecode was traced: what it announces is the reason.
    return next((line for line in lines if not line.endswith(":")), lines[0] if lines else _UNKNOWN)
