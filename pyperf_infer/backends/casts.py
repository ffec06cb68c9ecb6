# SPDX-License-Identifier: Apache-2.0
"""Kernels that ONNX Runtime runs in float32 although the graph says float16, between Casts that it puts in.

A provider without a float16 kernel for a node does not refuse it: the node, and its weights, become float32 while the
model is loaded. What ran in which type stands in ONNX Runtime's own profile.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyperf_infer.backends.session import open_session

if TYPE_CHECKING:
    from pyperf_infer.backends.base import Array, BackendOptions
    from pyperf_infer.ort_session import OnnxSession

_INSERTED = "Inserted"  # InsertedCast_..., InsertedPrecisionFreeCast_...: what ONNX Runtime calls the Casts of its own


@dataclass(frozen=True)
class Casts:
    """Of the kernels that one inference runs. `inserted`: Casts that are not the model's."""

    inserted: int
    in_float32: Mapping[str, int]  # by operator
    kernels: int  # of the model's own, after fusion

    def __str__(self) -> str:
        total = sum(self.in_float32.values())
        named = ", ".join(f"{op_type} {count}" for op_type, count in Counter(self.in_float32).most_common())
        return f"{total} of {self.kernels} kernels in float32 ({named}), between {self.inserted} inserted Casts"


def casts_of(
    session: OnnxSession, model: Path, options: BackendOptions, provider: str, inputs: Mapping[str, Array]
) -> Casts | None:
    """What the profile of a second session shows; None where ONNX Runtime has put no Cast in."""
    with tempfile.TemporaryDirectory(prefix="pyperf-infer-") as folder:
        prefix = str(Path(folder) / "profile")
        second = open_session(model, options, provider, library=session.library, profile_prefix=prefix)
        second.bind(inputs)
        return casts_in_profile(second.end_profiling().read_text())


def casts_in_profile(text: str) -> Casts | None:
    """As `casts_of`, from the profile's text (Chrome trace JSON)."""
    events = {event["name"]: event["args"] for event in json.loads(text) if _is_kernel(event)}
    ours = [name for name, args in events.items() if args.get("op_name") == "Cast" and name.startswith(_INSERTED)]
    if not ours:
        return None
    models = [args for name, args in events.items() if name not in ours]
    return Casts(
        inserted=len(ours),
        in_float32=Counter(args.get("op_name", "") for args in models if _in_float32(args)),
        kernels=len(models),
    )


def _is_kernel(event: Mapping[str, Any]) -> bool:
    return event.get("cat") == "Node" and event["name"].endswith("_kernel_time")


def _in_float32(args: Mapping[str, Any]) -> bool:
    """By the outputs and the first input: a kernel of float16 may take other numbers, such as scales, in float32.

    A Cast of the model's own computes in neither.
    """
    if args.get("op_name") == "Cast":
        return False
    looked_at = [*args.get("input_type_shape", [])[:1], *args.get("output_type_shape", [])]
    return any("float" in one for one in looked_at)
