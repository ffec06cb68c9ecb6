# SPDX-License-Identifier: Apache-2.0
"""What empties the processor's caches for mode cold."""

from __future__ import annotations

from pyperf_infer import _core
from pyperf_infer.errors import BackendError

_SIZES = 2  # a stream of twice the cache leaves nothing of what was there, whatever it replaces


def cache_flush() -> _core.CacheFlush:
    """A stream for every CPU this process may run on, of twice its part of the largest cache it sees.

    Others that share a cache take no part in flushing it, so that theirs falls to those that may be used.

    Raises:
        BackendError: the system does not tell the caches' sizes.
        OutOfMemoryError: no room for the streams.
    """
    from pathlib import Path

    from pyperf_infer.system.cpu import affinity, cache_parts

    shares = []
    usable = affinity()
    for cpu in usable:
        parts = cache_parts(Path("/"), cpu, usable)
        if not parts:
            raise BackendError(
                f"the sizes of CPU {cpu}'s caches cannot be read (/sys/devices/system/cpu/cpu{cpu}/cache), so that "
                "they cannot be flushed: mode cold cannot be measured on this machine"
            )
        shares.append((cpu, _SIZES * max(parts)))
    return _core.CacheFlush(shares)
