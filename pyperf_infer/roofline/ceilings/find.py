# SPDX-License-Identifier: Apache-2.0
"""Ceilings of a device: those kept from an earlier measurement where they still hold, else measured now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from pyperf_infer import __version__
from pyperf_infer.errors import InputError, UsageError
from pyperf_infer.roofline.ceilings.levels import MEMORY, told_caches
from pyperf_infer.roofline.ceilings.machine import ceilings_machine
from pyperf_infer.roofline.ceilings.store import load_ceilings, save_ceilings
from pyperf_infer.system.cpu import cores

if TYPE_CHECKING:
    from pyperf_infer.results.ceilings_schema import Ceilings

MOST_DAYS = 30
_MOST_DAYS_AHEAD = 1  # clocks of machines that share a home folder differ a little


def find_ceilings(
    device: str,
    threads: int,
    *,
    fresh: bool = False,
    cache_sizes: Mapping[str, int] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Ceilings:
    """The ceilings of `device` ("cpu", "cuda:0"), with one thread and with `threads` of them, or with as many as there
    are cores: `threads` of what is returned says.

    They are measured, and kept, where none are, where they are older than 30 days or by another release, and with
    `fresh`. Sizes of caches that are given always measure anew, and what was measured with them is kept only where the
    machine tells of no caches itself. `progress` is told in sentences what happens.

    Raises:
        UsageError: no such device, no threads, or sizes that cannot be.
        InputError: the sizes of the caches cannot be read, and none are given.
        MeasurementError: the machine is too busy, or something measured cannot be.
    """
    say = progress or _silent
    device, possible = _named(device, threads)
    ceilings = _found(device, possible, fresh, cache_sizes, say)
    if possible == threads or device != "cpu":
        return ceilings
    warning = (
        f"Asked for were ceilings with {threads} threads. They are measured with {possible}, since each thread has to "
        f"have a physical core of its own, and this process may use {possible}."
    )
    return msgspec.structs.replace(ceilings, warnings=[*ceilings.warnings, warning])


def cached_ceilings(device: str, threads: int) -> Ceilings | None:
    """What is kept of this machine and still holds; None otherwise. Nothing is measured. As with `find_ceilings`,
    `threads` are at most as many as there are cores.
    """
    device, threads = _named(device, threads)
    kept = _kept(device, threads)
    return kept if kept is not None and why_stale(kept) is None else None


def why_stale(ceilings: Ceilings, now: datetime | None = None) -> str | None:
    """Why ceilings do not hold any longer, as the end of a sentence; None while they do."""
    if ceilings.tool_version != __version__:
        return f"are by release {ceilings.tool_version}, and this is {__version__}"
    try:
        measured = datetime.fromisoformat(ceilings.measured_utc).astimezone(UTC)
    except ValueError:
        return "do not say when they were measured"
    age = (now or datetime.now(UTC)) - measured
    if age > timedelta(days=MOST_DAYS):
        return f"are {age.days} days old"
    if age < -timedelta(days=_MOST_DAYS_AHEAD):
        return f"are dated {measured:%Y-%m-%d}, which is yet to come"
    if not any(one.precision == "float32" for one in ceilings.compute):
        return "lack float32"
    if not any(one.level == MEMORY for one in ceilings.memory):
        return "lack the memory's bandwidth"
    return None


def _found(
    device: str, threads: int, fresh: bool, cache_sizes: Mapping[str, int] | None, say: Callable[[str], None]
) -> Ceilings:
    if not fresh and cache_sizes is None and (kept := _kept(device, threads)):
        if (stale := why_stale(kept)) is None:
            return kept
        say(f"The ceilings of {device} are measured again: those kept {stale}.")
    ceilings = _measure(device, threads, cache_sizes, say)
    if cache_sizes is not None and told_caches(cores()):
        return ceilings  # those with the machine's own sizes stay
    try:
        save_ceilings(ceilings)
    except InputError as error:  # the figures are good all the same
        ceilings.warnings.append(f"These ceilings could not be kept for later: {error}")
    return ceilings


def _kept(device: str, threads: int) -> Ceilings | None:
    """Every measurement has ceilings with one thread too: those with all cores serve as well."""
    machine = _machine(device)
    kept = load_ceilings(machine, device, threads)
    if kept is None and device == "cpu" and threads == 1:
        kept = load_ceilings(machine, device, len(cores()))
    return kept


def _measure(
    device: str, threads: int, cache_sizes: Mapping[str, int] | None, progress: Callable[[str], None]
) -> Ceilings:
    kind, _, index = device.partition(":")
    if kind == "cpu" and not index:
        from pyperf_infer.roofline.ceilings.cpu import measure_cpu

        return measure_cpu(threads, cache_sizes=cache_sizes, progress=progress)
    if kind == "cuda" and (index.isdecimal() or not index):
        from pyperf_infer.roofline.ceilings.gpu import measure_gpu

        return measure_gpu(int(index or 0), progress=progress)
    raise UsageError(f"There is no device {device!r} to measure ceilings of. There are cpu, and cuda:0, cuda:1 and on.")


def _named(device: str, threads: int) -> tuple[str, int]:
    """As they are kept: "cuda" is the first GPU, a GPU has no number of threads, and the CPU no more than cores."""
    if not device.startswith("cuda"):
        return device, min(threads, len(cores()))
    return ("cuda:0" if device == "cuda" else device), 1


def _machine(device: str) -> str:
    return ceilings_machine(device)


def _silent(_sentence: str) -> None:
    return None
