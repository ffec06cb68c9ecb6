# SPDX-License-Identifier: Apache-2.0
"""What every job that makes rows of a result knows of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Result


class MakesRows(ABC):
    """A job whose findings are rows, of which some may have failed."""

    @property
    @abstractmethod
    def results(self) -> list[Result]:
        """All rows so far."""

    @property
    def has_any(self) -> bool:
        """Whether there is a row."""
        return bool(self.results)

    @property
    def failures(self) -> list[str]:
        """The messages of the rows that failed."""
        return [row.error.message for row in self.results if row.error is not None]
