# SPDX-License-Identifier: Apache-2.0
"""Which fields of the method have to be the same for two times to be comparable, and which merely may differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer.results.schema import StoredField

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyperf_infer.results.schema import Result, Setting

    Fields = Mapping[str, Setting]

# Settings that are not asked for but found out: versions, counts. They follow from the machine, the software and the
# model, and what they explain is told with the environment.
_FOUND = frozenset({
    "onnxruntime", "cudnn", "cuda_runtime", "cpu_capability", "cpu_instructions", "compiler", "compiled_isa",
    "torch_num_threads", "shape_nodes_on_cpu", "outputs_made_anew", "memcpy_nodes", "host_outputs", "casts",
    "float_types", "graphs", "cuda_graphs", "recompiled", "recompiled_because", "replay_check", "cache_flush_bytes",
    "inductor_environment",
})  # fmt: skip
# What says nothing of a sample: what a cache held, addresses, which of several GPUs.
_OF_NO_MATTER = frozenset({
    "export_cached", "package_cached", "package_rebuilt", "compile_cache", "provider:device_id",
    "provider:user_compute_stream", "provider:has_user_compute_stream", "provider:gpu_external_alloc",
    "provider:gpu_external_free", "provider:gpu_external_empty_cache",
})  # fmt: skip
_NOTED_PREFIX = "~"  # marks a field that may differ


def binding_fields(result: Result) -> Fields:
    """What must match between two rows of the same backend, provider and kind of device."""
    return {name: value for name, value in _fields(result).items() if not name.startswith(_NOTED_PREFIX)}


def compare_methods(baseline: Result, contender: Result) -> tuple[list[StoredField], list[StoredField]]:
    """The fields that must match and do not, and those that may differ and do.

    Of unlike backends, providers or kinds of device the loop and the settings are part of what is compared; of unlike
    kinds of device the threads too. A setting that only one side has comes from another version of the tool or of a
    library, and is noted; an option that somebody set for a session must be set on both.
    """
    sides = _fields(baseline), _fields(contender)
    same_device = baseline.method.device.split(":")[0] == contender.method.device.split(":")[0]
    same_backend = same_device and (baseline.method.backend, baseline.method.provider) == (
        contender.method.backend, contender.method.provider
    )  # fmt: skip
    binding: list[StoredField] = []
    noted: list[StoredField] = []
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        if all(name in side for side in sides):
            if sides[0][name] == sides[1][name]:
                continue
            may_differ = _may_differ(name, same_backend=same_backend, same_device=same_device)
        else:
            may_differ = not (same_backend and name.startswith("settings.session:"))
        field = StoredField(
            field=name.removeprefix(_NOTED_PREFIX), baseline=_text(sides[0], name), contender=_text(sides[1], name)
        )
        (noted if may_differ else binding).append(field)
    return binding, noted


def listed(fields: Iterable[StoredField]) -> str:
    """ "threads is 2 in the baseline and 4 in the contender; ..." """
    return "; ".join(
        f"{one.field} is {_or_absent(one.baseline)} in the baseline and {_or_absent(one.contender)} in the contender"
        for one in fields
    )


def _may_differ(name: str, *, same_backend: bool, same_device: bool) -> bool:
    if name.startswith(_NOTED_PREFIX):
        return True
    if name == "threads" or name.startswith("gpu."):
        return not same_device and name != "gpu.streams"
    return not same_backend and (name in ("inter_op_threads", "loop") or name.startswith("settings."))


def _fields(result: Result) -> dict[str, Setting]:
    """All of them by name; those that may always differ have a mark in front."""
    method, summary = result.method, result.summary
    quantity = "latency" if summary.latency else "period" if summary.period else "gpu" if summary.gpu else None
    fields: dict[str, Setting] = {
        "mode": method.mode,
        "clock": method.clock,
        "quantity": quantity,
        "threads": method.threads,
        "inter_op_threads": method.inter_op_threads,
        "loop": method.loop,
        "~seed": method.seed,
        "gpu.streams": method.gpu.streams if method.gpu else 1,
    }
    if (gpu := method.gpu) is not None:
        fields |= {
            "gpu.wait": gpu.wait,
            "gpu.gated": gpu.gated,
            "gpu.include_transfers": gpu.include_transfers,
            "gpu.profile_range": gpu.profile_range,
            "~gpu.flush_bytes": gpu.flush_bytes,
            "~gpu.asynchronous": gpu.asynchronous,
        }
    for name in sorted(method.settings.keys() - _OF_NO_MATTER):
        fields[f"{_NOTED_PREFIX if name in _FOUND else ''}settings.{name}"] = method.settings[name]
    if (warmup := method.warmup) is not None:
        fields |= {"~warmup.budget_ms": warmup.budget_ms, "~warmup.min_iterations": warmup.min_iterations}
    if (stop := method.stop) is not None:
        fields |= {
            "~stop.ci": stop.ci,
            "~stop.confidence": stop.confidence,
            "~stop.quantity": stop.quantity,
            "~stop.min_iterations": stop.min_iterations,
            "~stop.min_duration_s": stop.min_duration_s,
            "~stop.max_duration_s": stop.max_duration_s,
        }
    return fields


def _text(fields: Fields, name: str) -> str | None:
    if name not in fields:
        return None
    value = fields[name]
    return str(value).lower() if isinstance(value, bool) else "none" if value is None else str(value)


def _or_absent(text: str | None) -> str:
    return "absent" if text is None else text
