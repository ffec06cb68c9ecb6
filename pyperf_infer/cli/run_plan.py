# SPDX-License-Identifier: Apache-2.0
"""From the flags of `pyperf-infer run` to what is to be done, with what contradicts itself refused."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyperf_infer.errors import BackendError, UsageError

if TYPE_CHECKING:
    from pyperf_infer.measure.plan import RunPlan

_DEFAULT_MAX_DURATION_S = 20.0
_WITHOUT_GRAPHS = {"torch-compile", "torch-aoti"}  # of which there is no "-cudagraph" backend
_MOST_SAMPLES = 10_000_000  # what the loop has room for


def refuse_overwriting(asked: dict[str, Any], *targets: Path | None) -> None:
    """Raises UsageError where a file to be written is one of those to be measured."""
    sources = {Path(one).resolve() for one in (*asked["models"], asked["weights"]) if one is not None}
    for target in targets:
        if target is not None and target.is_file() and target.resolve() in sources:
            raise UsageError(f"{target} is read by this command; the results would overwrite it")


def refuse_contradictions(asked: dict[str, Any]) -> None:
    """Flags that cannot go together, before anything is loaded.

    Raises:
        UsageError: naming the flags. BackendError: a kind of device that is not in this version.
    """
    from pyperf_infer.timing.cuda import parse_device

    if asked["weights"] is not None and len(asked["models"]) > 1:
        raise UsageError("--weights is for one model, and several are named")
    if asked["compile_mode"] != "default" and not {"torch-compile", "all"} & set(asked["backends"]):
        raise UsageError(f"--compile-mode {asked['compile_mode']} takes --backend torch-compile, which uses it")
    if asked["cuda_graph"] and (without := sorted(_WITHOUT_GRAPHS & set(asked["backends"]))):
        raise UsageError(
            f"--cuda-graph has no form for {' and '.join(without)}; --compile-mode reduce-overhead puts torch-compile "
            "into CUDA graphs"
        )
    if asked["device"] == "mps":
        raise BackendError("--device mps is not in this version, which measures on cpu and cuda")
    if asked["autocast"] and asked["precision"] not in ("float16", "bfloat16"):
        raise UsageError("--autocast takes --precision float16 or bfloat16, which it computes in where torch allows")
    if parse_device(asked["device"]) is None:
        _refuse_gpu_flags(asked)
        return
    if asked["streams"] > 1 and asked["mode"] != "throughput":
        raise UsageError("--streams takes --mode throughput; a latency is that of one request at a time")
    if asked["provider"] is not None and asked["provider"].lower().removesuffix("executionprovider") == "cpu":
        raise UsageError(f"--provider cpu contradicts --device {asked['device']}; use --device cpu")


def _refuse_gpu_flags(asked: dict[str, Any]) -> None:
    on_a_gpu = {
        "--cuda-graph": asked["cuda_graph"],
        "--allow-eager-fallback": asked["allow_eager_fallback"],
        f"--conv-search {asked['conv_search']}": asked["conv_search"] != "exhaustive",
        "--streams": asked["streams"] > 1,
        "--include-transfers": asked["include_transfers"],
        "--block-wait": not asked["spin_wait"],
        "--no-gate": not asked["gate"],
        "--profile-range": asked["profile_range"],
        "--no-poll-gpu": not asked["poll_gpu"],
        "--precision tf32": asked["precision"] == "tf32",
        **{f"--backend {name}": name.endswith("-cudagraph") for name in asked["backends"]},
    }
    given = [flag for flag, is_given in on_a_gpu.items() if is_given]
    if given:
        raise UsageError(f"{', '.join(given)}: only with --device cuda in this version")


def _backends(asked: dict[str, Any]) -> tuple[str, ...]:
    """The names asked for; empty where all that run the model are meant."""
    from pyperf_infer.backends.registry import names_for

    names: Iterable[str] = asked["backends"]
    if "all" in asked["backends"]:
        names = names_for(asked["device"], everything=True)
    if not names and not asked["cuda_graph"]:
        return ()
    names = names or names_for(asked["device"], everything=False)
    if asked["cuda_graph"]:
        plain = (name for name in names if name not in _WITHOUT_GRAPHS)
        names = (name if name.endswith("-cudagraph") else f"{name}-cudagraph" for name in plain)
    return tuple(dict.fromkeys(names))


def set_affinity(cpus: tuple[int, ...]) -> None:
    """Keeps this process to these CPUs. Raises UsageError where they are not there."""
    try:
        os.sched_setaffinity(0, cpus)
    except (OSError, AttributeError) as error:
        raise UsageError(f"--cpu-affinity {','.join(map(str, cpus))} cannot be set: {error}") from error
    missing = set(cpus) - os.sched_getaffinity(0)  # the kernel passes over CPUs that are not there
    if missing:
        raise UsageError(f"--cpu-affinity: there is no CPU {', '.join(map(str, sorted(missing)[:8]))} to run on")


def plan_of(asked: dict[str, Any]) -> RunPlan:
    """What the flags ask for, with every default filled in. Raises UsageError."""
    from pyperf_infer.backends.base import BackendOptions
    from pyperf_infer.convert.parity import DEFAULT_ATOL, default_rtol
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.models.shapes import parse_shapes
    from pyperf_infer.statistics.estimate import samples_needed
    from pyperf_infer.system.cpu import usable_cores

    of_flags = [("--percentiles", one) for one in asked["percentiles"] or ()] + [("--ci-of", asked["ci_of"])]
    for flag, percent in of_flags:
        if samples_needed(percent) > _MOST_SAMPLES:
            raise UsageError(
                f"{flag} {percent:.12g} takes {samples_needed(percent):,} samples; at most {_MOST_SAMPLES:,}"
            )
    if not asked["ci"] > 0:
        raise UsageError("--ci takes a share above 0%: no interval is as narrow as that")
    if not asked["margin"] > 0:
        raise UsageError("--margin takes a share above 0%: no two times are equal to the last digit")
    threads = asked["threads"] or usable_cores()
    max_duration_s = asked["max_duration"]
    if max_duration_s is None:
        max_duration_s = max(_DEFAULT_MAX_DURATION_S, 1.5 * asked["duration"])
    if max_duration_s < asked["duration"]:
        raise UsageError(f"--max-duration {max_duration_s:g} is less than --duration {asked['duration']:g}")
    return RunPlan(
        models=asked["models"],
        backends=_backends(asked),
        options=BackendOptions(
            threads=threads,
            inter_op_threads=asked["inter_op_threads"],
            provider=asked["provider"] or ("cpu" if asked["device"] == "cpu" else "cuda"),
            provider_options=dict(asked["provider_options"]),
            session_options=dict(asked["session_options"]),
            opt_level=asked["opt_level"],
            execution_mode=asked["execution_mode"],
            allow_cpu_fallback=asked["allow_cpu_fallback"],
            opset=asked["opset"],
            device=asked["device"],
            precision=asked["precision"],
            autocast=asked["autocast"],
            channels_last=asked["channels_last"],
            conv_search=asked["conv_search"],
            streams=asked["streams"],
            include_transfers=asked["include_transfers"],
            wait="spin" if asked["spin_wait"] else "block",
            gate=asked["gate"] and not asked["profile_range"],
            allow_eager_fallback=asked["allow_eager_fallback"],
            compile_mode=asked["compile_mode"],
        ),
        batch_sizes=tuple(dict.fromkeys(asked["batch_sizes"])) or (None,),
        shapes=parse_shapes(asked["shapes"]),
        weights=asked["weights"],
        mode=asked["mode"],
        profile_range=asked["profile_range"],
        poll_gpu=asked["poll_gpu"],
        duration_s=asked["duration"],
        max_duration_s=max_duration_s,
        iterations=asked["iterations"],
        ci=asked["ci"],
        ci_of=asked["ci_of"],
        percentiles=asked["percentiles"],
        warmup_ms=asked["warmup_ms"],
        warmup_iterations=asked["warmup_iterations"],
        seed=asked["seed"],
        rtol=default_rtol(asked["precision"]) if asked["rtol"] is None else asked["rtol"],
        atol=DEFAULT_ATOL if asked["atol"] is None else asked["atol"],
        margin=asked["margin"],
        retry=asked["retry"],
        flags={
            "--max-duration": max_duration_s,
            "--ci": asked["ci"],
            "--warmup-ms": asked["warmup_ms"],
            "--threads": threads,
            "--cpu-affinity": asked["cpu_affinity"],
            "--duration": asked["duration"],
            "--device": asked["device"],
        },
    )
