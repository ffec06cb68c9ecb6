# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer run`: the main job."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyperf_infer.cli.interrupts import INTERRUPTS
from pyperf_infer.cli.output import Output, output_options, save_rescue
from pyperf_infer.cli.parameters import Parsed, apply_options, cpu_list, key_value, milliseconds, seconds, tolerance
from pyperf_infer.errors import BackendError, InputError, UsageError
from pyperf_infer.units import parse_percent, parse_percentiles

if TYPE_CHECKING:
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.measure.run import Run

INTERRUPTED = 130
_DEFAULT_MAX_DURATION_S = 20.0
_KEY_VALUE = Parsed("KEY=VALUE", key_value)
_PERCENT = Parsed("PERCENT", parse_percent)
_SECONDS = Parsed("SECONDS", seconds)
_MILLISECONDS = Parsed("MS", milliseconds)
_TOLERANCE = Parsed("NUMBER", tolerance)
_MOST_BATCH = 2**31 - 1
_MOST_SAMPLES = 10_000_000  # what the loop has room for


def _model_options(command: Any) -> Any:
    options = (
        click.argument("models", nargs=-1, required=True, metavar="MODEL..."),
        click.option(
            "--backend",
            "backends",
            multiple=True,
            type=click.Choice(["torch", "onnxruntime", "all"]),
            help="Repeatable. [default: all that run the model]",
        ),
        click.option(
            "-b",
            "--batch-size",
            "batch_sizes",
            multiple=True,
            type=click.IntRange(1, _MOST_BATCH),
            help="Repeatable. Fills the first dimension of every input that leaves it open. [default: 1]",
        ),
        click.option(
            "--shape", "shapes", multiple=True, metavar="[NAME:]1x3x224x224", help="The whole shape of an input."
        ),
        click.option(
            "--weights",
            type=click.Path(path_type=Path),
            help="A state_dict (.pth) or .safetensors file; without it weights are random.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["float32", "float16", "bfloat16", "tf32"]),
            default="float32",
            show_default=True,
            help="This version measures float32.",
        ),
        click.option(
            "--device", default="cpu", show_default=True, metavar="cpu|cuda[:N]|mps", help="This version measures cpu."
        ),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**63 - 1),
            default=42,
            show_default=True,
            help="Of weights, inputs and order.",
        ),
    )
    return apply_options(options, command)


def _measuring_options(command: Any) -> Any:
    options = (
        click.option(
            "--mode",
            type=click.Choice(["latency", "throughput", "cold"]),
            default="latency",
            show_default=True,
            help="What one sample is: a call, or the period between two completions. cold is not in this version.",
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
            "--max-duration", type=_SECONDS, help="Stop then, converged or not. [default: 20, or 1.5 x --duration]"
        ),
        click.option(
            "--ci",
            type=_PERCENT,
            default="1%",
            show_default=True,
            help="Stop at this half-width of the median's interval.",
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
        click.option(
            "--rtol", type=_TOLERANCE, help="Of the outputs, relative to how much they move. [default: 0.001]"
        ),
        click.option("--atol", type=_TOLERANCE, help="Of the outputs, in their own unit. [default: 0]"),
        click.option(
            "--retry/--no-retry", default=True, show_default=True, help="Halve a batch that does not fit in memory."
        ),
    )
    return apply_options(options, command)


def _runtime_options(command: Any) -> Any:
    options = (
        click.option("--threads", type=click.IntRange(1, 4096), help="Of each backend. [default: physical cores]"),
        click.option(
            "--inter-op-threads",
            type=click.IntRange(1, 4096),
            default=1,
            show_default=True,
            help="ONNX Runtime's, between nodes.",
        ),
        click.option("--cpu-affinity", type=Parsed("0,2-3", cpu_list), help="Run on these CPUs only."),
        click.option("--provider", default="cpu", show_default=True, help="ONNX Runtime's execution provider."),
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
    )
    return apply_options(options, command)


@click.command()
@_model_options
@_measuring_options
@_runtime_options
@output_options
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def run(quiet: bool, results_file: Path | None, results_format: Any, export_samples: Path | None, **asked: Any) -> int:
    """Time MODELs on PyTorch and ONNX Runtime, in a native loop.

    A MODEL is built in (pyperf-infer models list), timm:NAME, the path of an .onnx or .yaml file, or
    package.module:factory. Outputs are compared before anything is timed.

    Exit codes: 0 done; 1 outputs differ; 2 usage; 3 input that cannot be used; 4 backend not there; 5 the measurement
    failed; 130 interrupted, with what was measured so far saved.

    Example: pyperf-infer run resnet50 -b 1 -b 8 --results-file resnet50.json
    """
    from pyperf_infer.measure.phases import Phases

    phases = Phases()
    phases.add("start the process", _seconds_since_start())
    output = Output(results_file, results_format, export_samples)
    with phases.timed("import and check"):
        _refuse_unbuilt(asked)
        _refuse_overwriting(asked, results_file, export_samples)
        output.check()
        from pyperf_infer.cli.progress import ProgressBar
        from pyperf_infer.measure.run import Run

        if asked["cpu_affinity"]:
            _set_affinity(asked["cpu_affinity"])
        plan = _plan(asked)
    bar = ProgressBar(quiet=quiet, debug="PYPERF_INFER_DEBUG" in os.environ)
    job = Run(plan, command=["pyperf-infer", *sys.argv[1:]], observer=bar, phases=phases)
    # From here on there may be something to lose: Ctrl-C stops the job, and nothing that comes after it.
    with INTERRUPTS.held():
        try:
            with INTERRUPTS.let_through(), bar:
                INTERRUPTS.check()
                job.execute()
            status = "failed" if any(row.error for row in job.results) else "complete"
        except KeyboardInterrupt:
            status = "interrupted"
        except Exception:
            if not INTERRUPTS.pressed:
                if job.results:
                    _finish(job, output, "failed")
                raise
            status = "interrupted"
        INTERRUPTS.answer()
        _finish(job, output, status)
    return INTERRUPTED if status == "interrupted" else job.exit_code


def _finish(job: Run, output: Output, status: str) -> None:
    document = job.document(status)
    written: list[Path] = []
    failure: InputError | None = None
    try:
        written = output.save(document, job.samples)
    except InputError as error:  # the disk has become full while measuring
        failure = error
    if job.results and (failure or (status == "interrupted" and output.file is None)):
        try:
            written.append(save_rescue(document, job.samples))
        except InputError as error:
            failure = failure or error
    try:
        output.show(document, job.samples)
        sys.stdout.flush()
    finally:
        _tell(job, status, written, shown=output.shows_table and sys.stdout.isatty())
    if failure is not None:
        raise failure


def _tell(job: Run, status: str, written: list[Path], *, shown: bool) -> None:
    """What stands on standard error: failures where nobody sees the table, and where the files are."""
    from pyperf_infer.reports.escape import printable

    if not shown:
        for message in dict.fromkeys(row.error.message for row in job.results if row.error is not None):
            click.echo(f"Error: {printable(message)}", err=True)
    if status == "interrupted":
        click.echo("Interrupted." if job.results else "Interrupted before anything was measured.", err=True)
    for path in written:
        click.echo(f"Written to {printable(str(path))}", err=True)


def _refuse_overwriting(asked: dict[str, Any], *targets: Path | None) -> None:
    sources = {Path(one).resolve() for one in (*asked["models"], asked["weights"]) if one is not None}
    for target in targets:
        if target is not None and target.is_file() and target.resolve() in sources:
            raise UsageError(f"{target} is what is to be measured; the results would overwrite it")


def _refuse_unbuilt(asked: dict[str, Any]) -> None:
    if asked["mode"] == "cold":
        raise UsageError("--mode cold is not in this version; it comes with timing on a GPU. Use --mode latency")
    if asked["precision"] != "float32":
        raise UsageError(f"--precision {asked['precision']} is not in this version, which measures float32")
    if asked["device"] != "cpu":
        raise BackendError(f"--device {asked['device']} is not in this version, which measures on cpu")
    if asked["weights"] is not None and len(asked["models"]) > 1:
        raise UsageError("--weights is for one model, and several are named")


def _set_affinity(cpus: tuple[int, ...]) -> None:
    try:
        os.sched_setaffinity(0, cpus)
    except (OSError, AttributeError) as error:
        raise UsageError(f"--cpu-affinity {','.join(map(str, cpus))} cannot be set: {error}") from error
    missing = set(cpus) - os.sched_getaffinity(0)  # the kernel passes over CPUs that are not there
    if missing:
        raise UsageError(f"--cpu-affinity: there is no CPU {', '.join(map(str, sorted(missing)[:8]))} to run on")


def _plan(asked: dict[str, Any]) -> RunPlan:
    from pyperf_infer.backends.base import BackendOptions
    from pyperf_infer.convert.parity import DEFAULT_ATOL, DEFAULT_RTOL
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.models.shapes import parse_shapes
    from pyperf_infer.statistics.estimate import samples_needed
    from pyperf_infer.system.cpu import usable_cores

    for percent in asked["percentiles"] or ():
        if samples_needed(percent) > _MOST_SAMPLES:
            raise UsageError(
                f"--percentiles {percent:g} takes {samples_needed(percent):,} samples; at most {_MOST_SAMPLES:,}"
            )
    threads = asked["threads"] or usable_cores()
    max_duration_s = asked["max_duration"]
    if max_duration_s is None:
        max_duration_s = max(_DEFAULT_MAX_DURATION_S, 1.5 * asked["duration"])
    if max_duration_s < asked["duration"]:
        raise UsageError(f"--max-duration {max_duration_s:g} is less than --duration {asked['duration']:g}")
    return RunPlan(
        models=asked["models"],
        backends=() if "all" in asked["backends"] else tuple(dict.fromkeys(asked["backends"])),
        options=BackendOptions(
            threads=threads,
            inter_op_threads=asked["inter_op_threads"],
            provider=asked["provider"],
            provider_options=dict(asked["provider_options"]),
            session_options=dict(asked["session_options"]),
            opt_level=asked["opt_level"],
            execution_mode=asked["execution_mode"],
            allow_cpu_fallback=asked["allow_cpu_fallback"],
            opset=asked["opset"],
        ),
        batch_sizes=tuple(dict.fromkeys(asked["batch_sizes"])) or (None,),
        shapes=parse_shapes(asked["shapes"]),
        weights=asked["weights"],
        precision=asked["precision"],
        device=asked["device"],
        mode=asked["mode"],
        duration_s=asked["duration"],
        max_duration_s=max_duration_s,
        iterations=asked["iterations"],
        ci=asked["ci"],
        percentiles=asked["percentiles"],
        warmup_ms=asked["warmup_ms"],
        warmup_iterations=asked["warmup_iterations"],
        seed=asked["seed"],
        rtol=DEFAULT_RTOL if asked["rtol"] is None else asked["rtol"],
        atol=DEFAULT_ATOL if asked["atol"] is None else asked["atol"],
        margin=asked["margin"],
        retry=asked["retry"],
        flags={
            "--max-duration": max_duration_s,
            "--ci": asked["ci"],
            "--warmup-ms": asked["warmup_ms"],
            "--threads": threads,
            "--cpu-affinity": asked["cpu_affinity"],
        },
    )


def _seconds_since_start() -> float:
    """From the start of this process until now: the interpreter and the command line."""
    import time

    import psutil

    return max(0.0, time.time() - psutil.Process().create_time())
