# SPDX-License-Identifier: Apache-2.0
"""What can be timed, and the seconds that say how long."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

from pyperf_infer import _core
from pyperf_infer.errors import UsageError

Mode = Literal["latency", "throughput", "cold"]
Progress = Callable[[str, int, int, int, int], object]  # phase, calls, elapsed_ns, budget_ns, last_ns


class HasTarget(Protocol):
    """Anything with a native target, such as `OnnxSession`."""

    @property
    def target(self) -> _core.Target: ...


Measurable = Callable[[], object] | HasTarget | _core.Target


def as_target(what: Measurable) -> _core.Target:
    """The native target of anything that can be measured."""
    if isinstance(what, _core.Target):
        return what
    target = getattr(what, "target", None)
    if isinstance(target, _core.Target):
        return target
    function: Any = what
    return _core.CallableTarget(function)


@contextmanager
def garbage_collection(enabled: bool) -> Iterator[None]:
    """Switches Python's garbage collector for the time of a block, after a collection where one is due."""
    was_enabled = gc.isenabled()
    if was_enabled or enabled:  # inside of a block where it is off, the outer one has collected just before
        gc.collect()
    (gc.enable if enabled else gc.disable)()
    try:
        yield
    finally:
        (gc.enable if was_enabled else gc.disable)()


def to_ns(name: str, seconds: float) -> int:
    if not (isinstance(seconds, int | float) and math.isfinite(seconds) and 0 <= seconds <= 1e9):
        raise UsageError(f"{name} is a number of seconds from 0 on, and {seconds!r} is not")
    return round(seconds * 1e9)
