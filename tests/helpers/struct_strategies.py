# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies for msgspec Structs, drawn from the very types that the reader checks."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from pyperf_infer.results import schema, selftest_schema

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


# What a document holds one kind of, as a command writes it; drawn all at once they would take minutes.
_KINDS = ("results", "comparisons", "overheads", "profiles", "stored", "selftest")


def documents() -> st.SearchStrategy[schema.Document]:
    """Any document that the schema allows, with one kind of findings."""
    info: Any = inspect.type_info(schema.Document)
    fields = {one.name: of_type(one.type) for one in info.fields}
    nothing: dict[str, st.SearchStrategy[Any]] = {
        name: st.none() if name == "selftest" else st.just([]) for name in _KINDS
    }

    def of_kind(kind: str) -> st.SearchStrategy[schema.Document]:
        others = {name: empty for name, empty in nothing.items() if name != kind}
        return of_struct(schema.Document, fields | others)

    return st.sampled_from(_KINDS).flatmap(of_kind)


def of_type(info: Any) -> st.SearchStrategy[Any]:
    """Values of one type of the schema, its constraints kept."""
    match info:
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case inspect.IntType(ge=low):
            return st.integers(-(2**63) if low is None else low, 2**63 - 1)
        case inspect.FloatType(ge=low, gt=above, le=high, lt=below):
            strategy = st.floats(
                low if low is not None else above,
                high if high is not None else below,
                exclude_min=above is not None,
                exclude_max=below is not None,
                allow_nan=False,
                allow_infinity=False,
            )
            return strategy.map(lambda value: value + 0.0)  # -0.0 equals 0.0, and stays what it is
        case inspect.StrType(pattern=None):
            return TEXT
        case inspect.StrType(pattern=str(pattern)):
            return st.from_regex(f"{pattern.removesuffix('$')}\\Z")
        case inspect.ListType(item_type=item):
            return st.lists(of_type(item), max_size=2)
        case inspect.TupleType(item_types=items):
            return st.tuples(*map(of_type, items)).map(lambda pair: tuple(sorted(pair)))
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(of_type(key), of_type(value), max_size=2)
        case inspect.UnionType(types=types):
            return st.one_of(*map(of_type, types))
        case inspect.StructType(cls=cls):
            return of_struct(cls, {one.name: of_type(one.type) for one in info.fields})
    raise AssertionError(f"the schema has a type without a strategy: {info}")


def of_struct(cls: type[msgspec.Struct], fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Structs whose fields agree with one another as ``__post_init__`` asks."""
    return st.fixed_dictionaries(fields).map(lambda values: cls(**_agreeing(cls, values)))


def _agreeing(cls: type[msgspec.Struct], values: dict[str, Any]) -> dict[str, Any]:
    if cls is schema.Percentile:
        values["refused"] = "too few" if values["value_ms"] is None else None
    elif cls is schema.SampleData:
        values |= _inline(values) if values["latency_ns"] else _in_a_file(values)
    elif cls is schema.QuantityBlock:
        low, middle, high = sorted([values["min_ms"], values["p50_ms"], values["max_ms"]])
        values |= {"min_ms": low, "p50_ms": middle, "max_ms": high}
    elif cls is schema.Comparison and values["interval"] is None:
        values["verdict"] = "undecided"
    elif cls is schema.Summary and values["launch_bound"] is not None:
        values["launch_bound_evidence"] = values["launch_bound_evidence"] or "submit p50 is 0.97 of gpu p50"
    elif cls is schema.GpuMethod:
        values["gate_reason"] = "it synchronises" if values["gated"] is False else None
    elif cls is schema.GpuActivity and not values["readings"]:
        values["missing"] = values["missing"] or "NVML is not there"
    elif cls is schema.Integrity and values["status"] != "ok":
        values["reason"] = values["reason"] or "too fast"
    elif cls is schema.OverheadPath:
        values["failed"] = "it broke" if values["p50_us"] is None else None
        values["share"] = None if values["difference_us"] is None else values["share"] or 0.0
    elif cls is schema.Processes:
        values["runs"] = values["runs"] or [
            schema.ProcessRun(p50_ms=1.0, p50_interval_ms=None, count=1, converged=True)
        ]
        values["asked"] = max(values["asked"], len(values["runs"]))
    elif cls is selftest_schema.SelfTestComparisons:
        values["trials"] = 1 + sum(values[name] for name in ("faster", "slower", "same", "undecided"))
        values["same"] += 1
        values["kind"] = "A/A" if values["slow_down"] == 0 else "power"
    elif cls is selftest_schema.SelfTestJudgement:
        values["reason"] = "too few trials" if values["status"] == "not judged" else None
    elif cls is schema.StoredRow:
        values |= _compared(values) if not values["refused"] else {"ratio": None, "verdict": None}
    return values


def _compared(values: dict[str, Any]) -> dict[str, Any]:
    """Without an interval nothing is decided."""
    verdict = "undecided" if values["interval"] is None else values["verdict"] or "same"
    return {"ratio": values["ratio"] or 1.0, "verdict": verdict}


def _inline(values: dict[str, Any]) -> dict[str, Any]:
    """Every quantity of one length, and the judged one not twice."""
    count = len(values["latency_ns"])
    more = {name: [*one, *values["latency_ns"]][:count] for name, one in values["more_ns"].items()}
    more.pop(values["quantity"], None)
    return {"count": count, "more_ns": more, "file": None, "columns": None}


def _in_a_file(values: dict[str, Any]) -> dict[str, Any]:
    """The judged quantity first and each once; a single one needs no columns."""
    names = list(dict.fromkeys([values["quantity"], *(values["columns"] or [])]))
    columns = names if len(names) > 1 else None
    return {"latency_ns": None, "more_ns": {}, "file": "a.npy", "columns": columns, "sha256": "0" * 64}
