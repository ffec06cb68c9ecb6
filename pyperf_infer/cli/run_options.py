# SPDX-License-Identifier: Apache-2.0
"""The options of `pyperf-infer run`, in the order in which its help lists them."""

from __future__ import annotations

from typing import Any

import click

from pyperf_infer.cli.parameters import Parsed, apply_options, cpu_list, key_value, milliseconds, percentile, seconds
from pyperf_infer.cli.shared_options import ATOL, BATCH_SIZES, DEVICE, PRECISION, RTOL, SEED, SHAPE, THREADS, WEIGHTS
from pyperf_infer.units import parse_percent, parse_percentiles

_KEY_VALUE = Parsed("KEY=VALUE", key_value)
_PERCENT = Parsed("PERCENT", parse_percent)
_SECONDS = Parsed("SECONDS", seconds)
_MILLISECONDS = Parsed("MS", milliseconds)


def model_options(command: Any) -> Any:
    """What is run: models, backends, shapes, weights, precision, device."""
    options = (
        click.argument("models", nargs=-1, required=True, metavar="MODEL..."),
        click.option(
            "--backend",
            "backends",
            multiple=True,
            type=click.Choice(
                [
                    "torch",
                    "torch-compile",
                    "torch-aoti",
                    "torch-cudagraph",
                    "onnxruntime",
                    "onnxruntime-cudagraph",
                    "all",
                ]
            ),
            help="Repeatable. The cudagraph ones take --device cuda. [default: torch and onnxruntime]",
        ),
        BATCH_SIZES,
        SHAPE,
        WEIGHTS,
        PRECISION,
        DEVICE,
        SEED,
    )
    return apply_options(options, command)


def measuring_options(command: Any) -> Any:
    """How it is measured: mode, stop rule, warm-up, tolerances."""
    options = (
        click.option(
            "--mode",
            type=click.Choice(["latency", "throughput", "cold"]),
            default="latency",
            show_default=True,
            help="What one sample is: a call, the period between two completions, or a call with cold caches.",
        ),
        click.option("--duration", type=_SECONDS, default="1", show_default=True, help="Measure at least this long."),
        click.option(
            "--iterations",
            type=click.IntRange(1, 10**7),
            default=30,
            show_default=True,
            help="Take at least so many samples.",
        ),
        click.option(
            "--processes",
            type=click.IntRange(1, 1000),
            default=1,
            show_default=True,
            help="Repeat all of it in so many fresh processes, for the spread between them. compare takes 5 a side.",
        ),
        click.option(
            "--max-duration", type=_SECONDS, help="Stop then, converged or not. [default: 20, or 1.5 x --duration]"
        ),
        click.option(
            "--ci",
            type=_PERCENT,
            default="1%",
            show_default=True,
            help="Stop at this half-width of the interval of what --ci-of names.",
        ),
        click.option(
            "--ci-of",
            type=Parsed("PERCENTILE", percentile),
            default="median",
            show_default=True,
            help="Whose interval --ci is about: median, or a percentile such as p99.",
        ),
        click.option(
            "--percentiles",
            type=Parsed("50,90,...", parse_percentiles),
            help="Take the samples that these need. [default: p90, p95, p99 where the samples support them]",
        ),
        click.option(
            "--warmup-ms",
            type=_MILLISECONDS,
            default="5000",
            show_default=True,
            help="Spend at most this on getting steady.",
        ),
        click.option(
            "--warmup-iterations",
            type=click.IntRange(0, 10**9),
            default=1,
            show_default=True,
            help="Warm up with at least so many calls.",
        ),
        click.option(
            "--margin", type=_PERCENT, default="1%", show_default=True, help="Differences up to this count as the same."
        ),
        RTOL,
        ATOL,
        click.option(
            "--retry/--no-retry", default=True, show_default=True, help="Halve a batch that does not fit in memory."
        ),
    )
    return apply_options(options, command)


def comparing_options(command: Any) -> Any:
    """What is compared with the command's own models, and what fails a build."""
    options = (
        click.option(
            "--vs",
            multiple=True,
            metavar="'[MODEL] [OPTION...]'",
            help="Compare with this: a model, options of model and runtime, or both; the rest is as in the command. "
            "Repeatable.",
        ),
        click.option(
            "--fail-if-slower",
            type=_PERCENT,
            help="Exit with 1 where a contender is slower by more than this, with its whole interval.",
        ),
    )
    return apply_options(options, command)


def runtime_options(command: Any) -> Any:
    """Threads, and what ONNX Runtime and PyTorch are given."""
    options = (
        THREADS,
        click.option(
            "--inter-op-threads",
            type=click.IntRange(1, 4096),
            default=1,
            show_default=True,
            help="ONNX Runtime's, between nodes.",
        ),
        click.option("--cpu-affinity", type=Parsed("0,2-3", cpu_list), help="Run on these CPUs only."),
        click.option("--provider", help="ONNX Runtime's execution provider. [default: that of --device]"),
        click.option(
            "--provider-option", "provider_options", multiple=True, type=_KEY_VALUE, help="Passed through; repeatable."
        ),
        click.option(
            "--session-option", "session_options", multiple=True, type=_KEY_VALUE, help="Passed through; repeatable."
        ),
        click.option(
            "--opt-level",
            type=click.Choice(["disabled", "basic", "extended", "layout", "all"]),
            default="all",
            show_default=True,
            help="ONNX Runtime's graph optimisation.",
        ),
        click.option(
            "--execution-mode",
            type=click.Choice(["sequential", "parallel"]),
            default="sequential",
            show_default=True,
            help="ONNX Runtime's.",
        ),
        click.option("--opset", type=click.IntRange(7, 99), help="Of the ONNX export. [default: the exporter's]"),
        click.option("--allow-cpu-fallback", is_flag=True, help="Time it although nodes fall off the asked provider."),
        click.option(
            "--autocast", is_flag=True, help="Keep float32 weights and let torch choose where --precision holds."
        ),
        click.option("--channels-last", is_flag=True, help="Give torch its images in that memory format."),
        click.option(
            "--compile-mode",
            type=click.Choice(["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]),
            default="default",
            show_default=True,
            help="Of torch.compile, in backend torch-compile.",
        ),
    )
    return apply_options(options, command)


def gpu_options(command: Any) -> Any:
    """What only a GPU has; each is refused without --device cuda."""
    options = (
        click.option(
            "--cuda-graph/--no-cuda-graph",
            default=False,
            show_default=True,
            help="Capture each backend's work in a CUDA graph and launch that.",
        ),
        click.option(
            "--allow-eager-fallback", is_flag=True, help="Time a model eagerly where its capture in a graph fails."
        ),
        click.option(
            "--conv-search",
            type=click.Choice(["exhaustive", "heuristic"]),
            default="exhaustive",
            show_default=True,
            help="How cuDNN's convolution algorithms are chosen, in every backend alike.",
        ),
        click.option(
            "--streams",
            type=click.IntRange(1, 256),
            default=1,
            show_default=True,
            help="Sessions or captures, each on a stream of its own. Takes --mode throughput.",
        ),
        click.option("--include-transfers", is_flag=True, help="Copy inputs in and outputs out with every call."),
        click.option(
            "--spin-wait/--block-wait",
            "spin_wait",
            default=True,
            show_default=True,
            help="Wait for the GPU by asking again and again, or asleep.",
        ),
        click.option(
            "--gate/--no-gate",
            default=True,
            show_default=True,
            help="Hold the stream back until a cold call is queued, and to see that submit does not wait.",
        ),
        click.option(
            "--profile-range",
            is_flag=True,
            help="Mark the measured window for Nsight (NVTX, profiler start and stop). Switches the gate off.",
        ),
        click.option(
            "--poll-gpu/--no-poll-gpu",
            default=True,
            show_default=True,
            help="Read clocks, power and temperature meanwhile, in a process of its own.",
        ),
    )
    return apply_options(options, command)
