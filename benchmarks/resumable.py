# SPDX-License-Identifier: Apache-2.0
"""A long benchmark that may be broken off: one JSON line for each trial that is done, and none is run twice."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from common import HERE


class Trials:
    """The trials of one run, in a file whose first line says how they are made.

    A line that was cut short when the run was broken off counts as not there. Trials made in another way are refused:
    they do not belong into one table.
    """

    def __init__(self, path: Path, settings: dict[str, Any], *, fresh: bool = False) -> None:
        """`settings` is whatever has to be alike in all trials, as JSON.

        Raises:
            SystemExit: the file holds trials made in another way, or is no such file.
        """
        self._path = path
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self.done: list[dict[str, Any]] = []
        if fresh or not path.exists() or path.stat().st_size == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_line({"settings": self.settings}))
            return
        whole, *_ = path.read_text().rpartition("\n")
        first, *lines = _parse(path, whole)
        self._refuse_unlike(first.get("settings"))
        self.done = lines
        _replace(path, "".join(map(_line, [first, *lines])))  # without what was cut short

    def add(self, trial: dict[str, Any]) -> None:
        """Keeps one more trial; it is in the file when this returns."""
        with self._path.open("a") as file:
            file.write(_line(trial))
        self.done.append(trial)

    def _refuse_unlike(self, found: object) -> None:
        if not isinstance(found, dict):
            raise SystemExit(f"{self._path} holds no trials of a benchmark; name another file with --state")
        unlike = [key for key in self.settings if found.get(key) != self.settings[key]]
        if unlike:
            how = "; ".join(f"{key}: {found.get(key)} there, {self.settings[key]} now" for key in unlike)
            raise SystemExit(f"{self._path} holds trials made in another way ({how}); --fresh starts anew")


def here_and_now() -> dict[str, Any]:
    """The processor and the commit: of the settings of any run."""
    from pyperf_infer.system.environment import collect

    commit = subprocess.run(["git", "describe", "--always"], cwd=HERE, check=False, capture_output=True, text=True)
    return {"cpu": collect().cpu_model, "commit": commit.stdout.strip()}


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value) + "\n"


def _parse(path: Path, whole: str) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
    except ValueError:
        lines = []
    if not lines or not all(isinstance(line, dict) for line in lines):
        raise SystemExit(f"{path} holds no trials of a benchmark; name another file with --state")
    return lines


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text)
    os.replace(beside, path)  # noqa: PTH105  says that it replaces
