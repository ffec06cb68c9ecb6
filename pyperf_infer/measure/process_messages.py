# SPDX-License-Identifier: Apache-2.0
"""What a process of `run --processes` tells the one that started it: one JSON line a message, on its stdout."""

from __future__ import annotations

from msgspec import Struct

PLAN_FILE = "plan.pickle"  # in the folder that both know


class Stage(Struct, tag="stage"):
    """A new step has begun."""

    text: str


class Told(Struct, tag="told"):
    """Something the user should know now."""

    text: str


class Ended(Struct, tag="ended", kw_only=True):
    """The last message. Its results are in the document, unless `saved` is false."""

    exit_code: int
    saved: bool
    kind: str | None = None  # of the error that ended it, or for which nothing could be saved; None without one
    message: str = ""


Message = Stage | Told | Ended


def document_name(number: int) -> str:
    """The file for the results of process `number`, in that folder."""
    return f"process-{number}.json"
