# SPDX-License-Identifier: Apache-2.0
"""The limits that a control group (a container, a systemd slice, a batch job) sets: version 1 and version 2.

Documentation: https://docs.kernel.org/admin-guide/cgroup-v2.html and .../cgroup-v1/memory.html
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pyperf_infer.system.files import read_fields, read_int, read_text

# Version 1 writes "no limit" as the largest multiple of the page size; no machine comes near this.
_NO_LIMIT_BYTES = 2**60


class _Mount(NamedTuple):
    root: str  # which part of the hierarchy is mounted
    point: Path
    version: int
    controllers: frozenset[str]


class MemoryGroup(NamedTuple):
    limit_bytes: int
    reclaimable_use_bytes: int  # page cache: counted against the limit, and given up when it is reached
    use_bytes: int

    @property
    def available_bytes(self) -> int:
        return max(0, self.limit_bytes - max(0, self.use_bytes - self.reclaimable_use_bytes))


def memory_groups(root: Path = Path("/")) -> list[MemoryGroup]:
    """Every group with a memory limit that this process is in; each of them holds at once."""
    groups = []
    for folder, version in _groups(root, "memory"):
        if version == 2:
            limit, use = read_int(folder / "memory.max"), read_int(folder / "memory.current")
            prefix = ""
        else:
            limit, use = read_int(folder / "memory.limit_in_bytes"), read_int(folder / "memory.usage_in_bytes")
            prefix = "total_"
        if limit is None or limit >= _NO_LIMIT_BYTES:
            continue
        counts = read_fields(folder / "memory.stat")
        cached = sum(int(counts.get(f"{prefix}{name}_file", 0)) for name in ("inactive", "active"))
        groups.append(MemoryGroup(limit, cached, use or 0))
    return groups


def memory_limit_bytes(root: Path = Path("/")) -> int | None:
    """The tightest limit, None without one."""
    return min((group.limit_bytes for group in memory_groups(root)), default=None)


def cpu_limit_cores(root: Path = Path("/")) -> float | None:
    """CPU time a wall second that the tightest quota allows, None without one."""
    limits = []
    for folder, version in _groups(root, "cpu"):
        if version == 2:
            quota_text, _, period_text = (read_text(folder / "cpu.max") or "").partition(" ")
            quota = int(quota_text) if quota_text.isdigit() else None
            period = int(period_text) if period_text.isdigit() else None
        else:
            quota, period = read_int(folder / "cpu.cfs_quota_us"), read_int(folder / "cpu.cfs_period_us")
        if quota is not None and quota > 0 and period:
            limits.append(quota / period)
    return min(limits, default=None)


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """The folders of this process's group and of the groups around it, innermost first."""
    mounts = list(_mounts(root))
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        names, _, own = rest.partition(":")
        version = 2 if number == "0" and not names else 1
        if version == 1 and controller not in names.split(","):
            continue
        for mount in mounts:
            if mount.version != version or (version == 1 and controller not in mount.controllers):
                continue
            yield from ((folder, version) for folder in _upwards(mount, own))
            break


def _upwards(mount: _Mount, own: str) -> Iterator[Path]:
    """From the group to the mount point.

    Inside a container the path may name the host's hierarchy, of which only the container's part is mounted: what
    cannot be found below the mount point is taken to be the mount point itself.
    """
    group = PurePosixPath(own)
    inner = group.relative_to(mount.root) if group.is_relative_to(mount.root) else PurePosixPath()
    if ".." in inner.parts or not (mount.point / inner).is_dir():
        inner = PurePosixPath()
    for part in (inner, *inner.parents):
        yield mount.point / part
        if part == PurePosixPath():
            return


def _mounts(root: Path) -> Iterator[_Mount]:
    for line in (read_text(root / "proc/self/mountinfo") or "").splitlines():
        head, _, tail = line.partition(" - ")
        fields, kinds = head.split(), tail.split()
        if len(fields) < 5 or len(kinds) < 3 or kinds[0] not in ("cgroup", "cgroup2"):
            continue
        point = root / fields[4].lstrip("/")
        yield _Mount(fields[3], point, 2 if kinds[0] == "cgroup2" else 1, frozenset(kinds[2].split(",")))
