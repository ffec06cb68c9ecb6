# SPDX-License-Identifier: Apache-2.0
"""What a core can do in a cycle, by its maker: microarchitectures.csv has a row for each microarchitecture.

A virtual machine may tell any model number, such as that of a client's processor on a server's cores. A number whose
row contradicts the sets of instructions that the processor has is therefore not believed. Sets that only one kind of
core has tell that kind all the same; where they do not, it is not known, and nothing is a percentage of anything.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pyperf_infer.system.files import read_fields

_TABLE = Path(__file__).with_name("microarchitectures.csv")


class Identity(NamedTuple):
    """What the kernel tells in /proc/cpuinfo. On Arm `vendor` is the implementer's code and `model` the part's."""

    vendor: str | None
    family: int | None
    model: int | None
    features: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table. `flops_per_cycle`: of one core, by column; what has no source is not there.

    A processor of this kind has all of `requires` and none of `forbids`. `only_here`: sets that no other kind has
    together; empty where there are no such sets.
    """

    name: str
    vendor: str
    family: int
    models: frozenset[int]
    requires: frozenset[str]
    forbids: frozenset[str]
    only_here: frozenset[str]
    flops_per_cycle: Mapping[str, float]
    source: str

    def fits(self, features: frozenset[str]) -> bool:
        return self.requires <= features and not self.forbids & features


@dataclass(frozen=True, kw_only=True)
class Microarchitecture:
    """`name` is None where it is not known; `source` says how it was told and where its figures are from, or why it
    is not known.
    """

    name: str | None
    source: str
    row: Row | None

    def flops_per_cycle(self, precision: str, instructions: str) -> float | None:
        """Of one core at most, by instructions such as "avx512 fma" or "amx int8"; None where that is not known."""
        if self.row is None:
            return None
        if precision in ("float64", "float32"):
            return self.row.flops_per_cycle.get(precision)
        kind = "amx" if instructions.startswith("amx") else "vector"
        return self.row.flops_per_cycle.get(f"{kind}_{precision}")


def read_identity(root: Path = Path("/")) -> Identity:
    fields = read_fields(root / "proc/cpuinfo")
    features = frozenset((fields.get("flags") or fields.get("Features") or "").split())
    if "CPU part" in fields:
        return Identity(
            fields.get("CPU implementer"),
            _number(fields.get("CPU architecture")),
            _number(fields["CPU part"]),
            features,
        )
    return Identity(fields.get("vendor_id"), _number(fields.get("cpu family")), _number(fields.get("model")), features)


def identify(identity: Identity) -> Microarchitecture:
    number = f"{identity.vendor} family {identity.family} model {_shown(identity)}"
    named = next((row for row in rows() if _has_number(row, identity)), None)
    if named is not None and named.fits(identity.features):
        return Microarchitecture(name=named.name, source=f"{number}; {named.source}", row=named)
    contradiction = ""
    if named is not None:
        has = sorted(named.forbids & identity.features)
        lacks = sorted(named.requires - identity.features)
        what = [f"has {', '.join(has)}"] * bool(has) + [f"lacks {', '.join(lacks)}"] * bool(lacks)
        contradiction = (
            f"{number} is the number of {named.name}, but the processor {' and '.join(what)}: "
            "the number is not believed"
        )
    for row in rows():
        told = row.only_here and row.only_here <= identity.features and row.fits(identity.features)
        if told and (row.vendor, row.family) == (identity.vendor, identity.family):
            reason = contradiction or f"{number} is not in the table"
            sets = " with ".join(sorted(row.only_here))
            return Microarchitecture(
                name=row.name, source=f"{reason}; {sets} is found on these alone; {row.source}", row=row
            )
    return Microarchitecture(
        name=None, source=contradiction or f"{number} is not in the table of microarchitectures", row=None
    )


@functools.cache
def rows() -> tuple[Row, ...]:
    with _TABLE.open(newline="", encoding="utf-8") as file:
        return tuple(_row(fields) for fields in csv.DictReader(file))


_COLUMNS = ("float64", "float32", "vector_float16", "vector_bfloat16", "vector_int8", "amx_bfloat16", "amx_int8")


def _row(fields: Mapping[str, str]) -> Row:
    return Row(
        name=fields["name"],
        vendor=fields["vendor"],
        family=int(fields["family"]),
        models=frozenset(_models(fields["models"])),
        requires=frozenset(fields["requires"].split()),
        forbids=frozenset(fields["forbids"].split()),
        only_here=frozenset(fields["only_here"].split()),
        flops_per_cycle={column: float(fields[column]) for column in _COLUMNS if fields[column]},
        source=fields["source"],
    )


def _models(text: str) -> list[int]:
    """ "0x30-0x32|0x60" -> [0x30, 0x31, 0x32, 0x60]."""
    models: list[int] = []
    for part in text.split("|") if text else ():
        first, _, last = part.partition("-")
        models.extend(range(int(first, 16), int(last or first, 16) + 1))
    return models


def _has_number(row: Row, identity: Identity) -> bool:
    return (row.vendor, row.family) == (identity.vendor, identity.family) and identity.model in row.models


def _shown(identity: Identity) -> str:
    if identity.model is None:
        return "unknown"
    return hex(identity.model) if (identity.vendor or "").startswith("0x") else str(identity.model)


def _number(text: str | None) -> int | None:
    try:
        return int(text or "", 0)
    except ValueError:
        return None
