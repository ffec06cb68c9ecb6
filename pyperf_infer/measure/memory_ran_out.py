# SPDX-License-Identifier: Apache-2.0
"""Memory that ran out: of one backend by itself, or of a GPU that several share."""

from __future__ import annotations

from pyperf_infer.system.memory import is_out_of_memory


class CrowdedError(Exception):
    """Memory ran out on a GPU that several backends share."""


def raise_if_out_of_memory(error: Exception, *, crowded: bool, alone: bool) -> None:
    """Raises an error of that kind: on a `crowded` GPU as a CrowdedError, otherwise as it is where `alone` is set."""
    if not is_out_of_memory(error):
        return
    if crowded:
        raise CrowdedError from error
    if alone:
        raise error
