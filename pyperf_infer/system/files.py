# SPDX-License-Identifier: Apache-2.0
"""Reading the small text files of /proc and /sys, any of which a container or a virtual machine may lack."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path) -> str | None:
    """The stripped content, or None where it is missing, not readable or empty."""
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """The content as an integer, or None where there is none ("max" in a control group's file)."""
    try:
        return int(read_text(path) or "")
    except ValueError:
        return None


def read_fields(path: Path) -> dict[str, str]:
    """A file of ``name: value`` or ``name value`` lines; empty where it cannot be read."""
    fields: dict[str, str] = {}
    for line in (read_text(path) or "").splitlines():
        name, colon, value = line.partition(":")
        if not colon:
            name, _, value = line.partition(" ")
        fields.setdefault(name.strip(), value.strip())
    return fields


def read_kib(path: Path, name: str) -> int | None:
    """A ``name:   123 kB`` line of /proc/meminfo or /proc/PID/status, in bytes."""
    value = read_fields(path).get(name, "").split()
    return int(value[0]) * 1024 if value and value[0].isdigit() else None


def parse_cpu_list(text: str | None) -> list[int]:
    """The kernel's list format: "0-3,8" is [0, 1, 2, 3, 8]. Empty for what is not one."""
    cpus: list[int] = []
    try:
        for part in (text or "").split(","):
            if part.strip():
                first, _, last = part.partition("-")
                cpus.extend(range(int(first), int(last or first) + 1))
    except ValueError:
        return []
    return cpus


def parse_size(text: str | None) -> int | None:
    """A cache's size as sysfs writes it: "512K" is 524288."""
    if not text:
        return None
    factor = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1].upper(), 1)
    digits = text if factor == 1 else text[:-1]
    return int(digits) * factor if digits.isdigit() else None
