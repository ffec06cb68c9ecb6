# SPDX-License-Identifier: Apache-2.0
"""Warnings of several processes, each said once with how many processes gave it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pyperf_infer.results.schema import Failure
from pyperf_infer.results.schema import Warning as Notice

_NUMBER = re.compile(r"\d[\d.,]*")


def merged_warnings(of_each: Sequence[Sequence[Notice]]) -> list[Notice]:
    """The warnings of each process. Those that differ in their numbers only are one, in the words of the first."""
    found: dict[tuple[str, str, str], Notice] = {}
    times: dict[tuple[str, str, str], int] = {}
    for listed in of_each:
        own = {_subject(one): one for one in reversed(listed)}
        for key, one in reversed(own.items()):
            found.setdefault(key, one)
            times[key] = times.get(key, 0) + 1
    return [
        Notice(code=one.code, message=_counted(one.message, times[key], len(of_each)), remedy=one.remedy)
        for key, one in found.items()
    ]


def failed_in(failures: Sequence[Failure], processes: int) -> list[Notice]:
    """What processes failed of a row that others measured, of so many processes in all."""
    times: dict[str, int] = {}
    for one in failures:
        message = f"{one.kind}: {one.message}"
        times[message] = times.get(message, 0) + 1
    return [
        Notice(
            code="process_failed",
            message=_counted(f"Could not be measured: {message}", count, processes),
            remedy="The numbers are those of the other processes; find the cause before you trust them.",
        )
        for message, count in times.items()
    ]


def _subject(one: Notice) -> tuple[str, str, str]:
    return one.code, _NUMBER.sub("#", one.message), _NUMBER.sub("#", one.remedy)


def _counted(message: str, times: int, processes: int) -> str:
    plain = message.removesuffix(".")
    return f"{plain} (in {times} of {processes} processes){'.' * (plain != message)}"
