# SPDX-License-Identifier: Apache-2.0
"""The Python functions that an inference runs through, by cProfile."""

from __future__ import annotations

import cProfile
import io
import marshal
import os
import pstats
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pyperf_infer.profile.inference_loop import batches
from pyperf_infer.results.atomic import resolve_target, write_atomically
from pyperf_infer.results.files import write_text
from pyperf_infer.results.profile_schema import ProfileRow

if TYPE_CHECKING:
    from pathlib import Path

    from pyperf_infer.profile.eager_model import EagerModel
    from pyperf_infer.profile.plan import ProfilePlan

_MOST_IN_A_BATCH = 10_000
_SHOWN = 60  # functions in the text
_NO_FILE = "~"  # what pstats calls the file of a function that is written in C

_Key = tuple[str, int, str]  # file, line, function
_Stats = Mapping[_Key, tuple[int, int, float, float, Any]]  # primitive calls, calls, seconds itself, seconds in all


class PythonPath:
    """Inferences of one model under cProfile."""

    def __init__(self, model: EagerModel) -> None:
        self._model = model
        self._profiler = cProfile.Profile()
        self.inferences = 0

    def measure(self, plan: ProfilePlan, call_ns: float) -> str | None:
        """Profiles as many as the plan asks for. Returns why that was not possible, None where it was.

        Args:
            plan: how many, and how long.
            call_ns: about how long one inference takes.
        """
        whole = self._model.whole(self._model.call)
        try:
            self._profiler.enable()
        except ValueError as error:  # Python allows one at a time
            return f"the Python path: {error}"
        self._profiler.disable()
        for count in batches("python", plan, call_ns, _MOST_IN_A_BATCH):
            self._profiler.enable()
            try:
                for _ in range(count):
                    whole()
            finally:
                self._profiler.disable()
            self.inferences += count
        return None

    def on(self) -> None:
        self._profiler.enable()

    def off(self) -> None:
        self._profiler.disable()

    def rows(self) -> tuple[list[ProfileRow], float]:
        """A row for each function, what took longest first, and the milliseconds of an inference."""
        return rows_of(self._stats(), self.inferences)

    def write(self, stats_file: Path, text_file: Path) -> None:
        """For `pstats` and whatever reads its files, and as text.

        Raises:
            InputError: a file cannot be written.
        """
        write_atomically(resolve_target(stats_file), marshal.dumps(self._stats()))
        text = io.StringIO()
        pstats.Stats(self._profiler, stream=text).sort_stats("tottime").print_stats(_SHOWN)
        write_text(text_file, f"{self.inferences} inferences\n{text.getvalue()}")

    def _stats(self) -> Any:
        self._profiler.create_stats()
        stats: Any = self._profiler
        return stats.stats


def rows_of(stats: _Stats, inferences: int) -> tuple[list[ProfileRow], float]:
    """See PythonPath.rows; the profiler's own function is left out."""
    own = {key: value for key, value in stats.items() if not (key[0] == _NO_FILE and "_lsprof.Profiler" in key[2])}
    whole_s = sum(in_itself for _, _, in_itself, _, _ in own.values())
    roots = _roots()
    rows = [
        ProfileRow(
            name=_name(key, roots),
            kind="built-in" if key[0] == _NO_FILE else "Python",
            calls=calls / inferences,
            input_shapes=[],
            output_shapes=[],
            time_ms=max(0.0, in_itself) * 1e3 / inferences,
            share=min(1.0, max(0.0, in_itself) / whole_s) if whole_s > 0 else None,
            total_ms=max(0.0, in_all) * 1e3 / inferences,
        )
        for key, (_, calls, in_itself, in_all, _) in own.items()
    ]
    return sorted(rows, key=lambda row: -(row.time_ms or 0.0)), whole_s * 1e3 / inferences


def _name(key: _Key, roots: Iterable[str]) -> str:
    file, line, function = key
    if file == _NO_FILE:
        return function
    root = next((root for root in roots if file.startswith(root)), "")
    return f"{file.removeprefix(root)}:{line}({function})"


def _roots() -> list[str]:
    """Folders that packages are found in, the longest first."""
    known = {*sys.path, *sysconfig.get_paths().values()} - {""}
    return sorted((folder.rstrip(os.sep) + os.sep for folder in known), key=len, reverse=True)
