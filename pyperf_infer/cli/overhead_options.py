# SPDX-License-Identifier: Apache-2.0
"""The options of `pyperf-infer overhead`, and what they ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pyperf_infer.cli.parameters import Parsed, apply_options, seconds
from pyperf_infer.cli.shared_options import ATOL, BATCH_SIZES, DEVICE, PRECISION, RTOL, SEED, SHAPE, WEIGHTS
from pyperf_infer.errors import BackendError, UsageError
from pyperf_infer.units import parse_percent

if TYPE_CHECKING:
    from pyperf_infer.overhead.plan import OverheadPlan

_PERCENT = Parsed("PERCENT", parse_percent)
_SECONDS = Parsed("SECONDS", seconds)


def overhead_options(command: Any) -> Any:
    """Adds those that `run_options.runtime_options` does not have, in the order in which the help lists them."""
    options = (
        click.argument("model", metavar="MODEL"),
        click.option(
            "--backend",
            type=click.Choice(["torch", "onnxruntime", "all"]),
            default="all",
            show_default=True,
            help="Whose paths are measured. Of all, those that take the model.",
        ),
        click.option(
            "--compile/--no-compile",
            "compiles",
            default=True,
            show_default=True,
            help="Measure torch.compile too, which takes a while to compile.",
        ),
        BATCH_SIZES,
        SHAPE,
        WEIGHTS,
        PRECISION,
        DEVICE,
        SEED,
        click.option(
            "--max-duration",
            type=_SECONDS,
            help="Of each batch size, once its paths are made. [default: 20, and up to 120 where calls are slow]",
        ),
        click.option(
            "--ci",
            type=_PERCENT,
            default="0.5%",
            show_default=True,
            help="Stop earlier at this half-width of the intervals of the paths' ratios.",
        ),
        click.option(
            "--margin", type=_PERCENT, default="1%", show_default=True, help="Shares below this do not matter."
        ),
        RTOL,
        ATOL,
        click.option(
            "--isolate", is_flag=True, help="Run Python's onnxruntime in a process of its own, as on a GPU always."
        ),
    )
    return apply_options(options, command)


def plan_of(asked: dict[str, Any]) -> OverheadPlan:
    """What the options ask for, with every default filled in.

    Raises:
        UsageError: options that contradict each other. BackendError: a kind of device that is not in this version.
    """
    from pyperf_infer.backends.base import BackendOptions
    from pyperf_infer.convert.parity import DEFAULT_ATOL, default_rtol
    from pyperf_infer.models.shapes import parse_shapes
    from pyperf_infer.overhead.plan import OverheadPlan
    from pyperf_infer.system.cpu import usable_cores

    _refuse_contradictions(asked)
    return OverheadPlan(
        model=asked["model"],
        options=BackendOptions(
            threads=asked["threads"] or usable_cores(),
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
            compile_mode=asked["compile_mode"],
        ),
        runtimes=() if asked["backend"] == "all" else (asked["backend"],),
        batch_sizes=tuple(dict.fromkeys(asked["batch_sizes"])) or (None,),
        shapes=parse_shapes(asked["shapes"]),
        weights=asked["weights"],
        compile=asked["compiles"],
        isolate=asked["isolate"],
        max_duration_s=asked["max_duration"],
        ci=asked["ci"],
        margin=asked["margin"],
        seed=asked["seed"],
        rtol=default_rtol(asked["precision"]) if asked["rtol"] is None else asked["rtol"],
        atol=DEFAULT_ATOL if asked["atol"] is None else asked["atol"],
    )


def _refuse_contradictions(asked: dict[str, Any]) -> None:
    from pyperf_infer.timing.cuda import parse_device

    if asked["device"] == "mps":
        raise BackendError("--device mps is not in this version, which measures on cpu and cuda")
    on_gpu = parse_device(asked["device"]) is not None
    if asked["precision"] == "tf32" and not on_gpu:
        raise UsageError("--precision tf32: only with --device cuda in this version")
    if asked["autocast"] and asked["precision"] not in ("float16", "bfloat16"):
        raise UsageError("--autocast takes --precision float16 or bfloat16, which it computes in where torch allows")
    if asked["compile_mode"] != "default" and (not asked["compiles"] or asked["backend"] == "onnxruntime"):
        raise UsageError(f"--compile-mode {asked['compile_mode']} is of torch.compile, which is not to be measured")
    for flag in ("ci", "margin"):
        if not asked[flag] > 0:
            raise UsageError(f"--{flag} takes a share above 0%, such as 1%")
    if asked["max_duration"] == 0:
        raise UsageError("--max-duration 0 leaves no time to measure in")
    provider = (asked["provider"] or "").lower().removesuffix("executionprovider")
    if on_gpu and provider == "cpu":
        raise UsageError(f"--provider cpu contradicts --device {asked['device']}; use --device cpu")
