# SPDX-License-Identifier: Apache-2.0
"""The options of `pyperf-infer profile`, and what they ask for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyperf_infer.cli.parameters import Parsed, apply_options, seconds
from pyperf_infer.cli.shared_options import DEVICE, MOST_BATCH, PRECISION, SEED, SHAPE, THREADS, WEIGHTS
from pyperf_infer.errors import BackendError, UsageError

if TYPE_CHECKING:
    from pyperf_infer.backends.base import BackendOptions
    from pyperf_infer.profile.job import Job
    from pyperf_infer.profile.plan import ProfilePlan
    from pyperf_infer.timing.target import Progress

_SECONDS = Parsed("SECONDS", seconds)
_TOP = 20

HOW_LONG = (
    click.option(
        "--inferences",
        type=click.IntRange(1, 10**6),
        default=30,
        show_default=True,
        help="The least that a table's times are means over.",
    ),
    click.option(
        "--duration", type=_SECONDS, default="2", show_default=True, help="The least time of those inferences."
    ),
    click.option(
        "--max-duration",
        type=_SECONDS,
        help="Of each table, what its instrument costs included. [default: 20, or 10 x --duration]",
    ),
)
TOP = click.option(
    "--top",
    type=click.IntRange(0),
    default=_TOP,
    show_default=True,
    help="Rows of each table on the terminal; 0 for all of them.",
)


def profile_options(command: Any) -> Any:
    """Adds them to the command, in the order in which its help lists them."""
    options = (
        click.argument("model", metavar="MODEL"),
        click.option(
            "--backend",
            type=click.Choice(["torch", "onnxruntime", "all"]),
            default="all",
            show_default=True,
            help="Of all, those that take the model.",
        ),
        click.option(
            "-b",
            "--batch-size",
            type=click.IntRange(1, MOST_BATCH),
            help="Fills the first dimension of every input that leaves it open. [default: 1]",
        ),
        SHAPE,
        WEIGHTS,
        PRECISION,
        DEVICE,
        THREADS,
        SEED,
        *HOW_LONG,
        click.option(
            "--output-dir",
            type=click.Path(path_type=Path),
            help="A folder that is empty or not there. [default: MODEL-profile-DATE-TIME]",
        ),
        TOP,
        click.option("--no-memory", is_flag=True, help="Leave the memory out."),
        click.option("--no-python", is_flag=True, help="Leave the cProfile of the Python path out."),
        click.option("--no-trace", is_flag=True, help="Leave the traces over time out."),
    )
    return apply_options(options, command)


def job_of(asked: dict[str, Any], progress: Progress, folder: Path) -> Job:
    """What the options ask for, with every default filled in.

    Raises:
        UsageError: options that contradict each other. BackendError: a kind of device that is not in this version.
    """
    from pyperf_infer.models.shapes import parse_shapes
    from pyperf_infer.profile.job import Job

    return Job(
        model=asked["model"],
        options=backend_options(asked["device"], asked["precision"], asked["threads"]),
        plan=replace(
            profile_plan(asked, progress),
            memory=not asked["no_memory"],
            python=not asked["no_python"],
            trace=not asked["no_trace"],
        ),
        folder=folder,
        backends=() if asked["backend"] == "all" else (asked["backend"],),
        batch_size=asked["batch_size"],
        shapes=parse_shapes(asked["shapes"]),
        weights=asked["weights"],
        seed=asked["seed"],
    )


def backend_options(device: str, precision: str, threads: int | None) -> BackendOptions:
    """Of the backends that a profile runs; `threads` None is one a core. Raises as `job_of`."""
    from pyperf_infer.backends.base import BackendOptions
    from pyperf_infer.system.cpu import usable_cores
    from pyperf_infer.timing.cuda import parse_device

    if device == "mps":
        raise BackendError("--device mps is not in this version, which measures on cpu and cuda")
    on_gpu = parse_device(device) is not None
    if precision == "tf32" and not on_gpu:
        raise UsageError("--precision tf32: only with --device cuda in this version")
    return BackendOptions(
        threads=threads or usable_cores(), device=device, precision=precision, provider="cuda" if on_gpu else "cpu"
    )


def profile_plan(asked: dict[str, Any], progress: Progress) -> ProfilePlan:
    """How long each table takes. Raises UsageError where the flags of HOW_LONG contradict each other."""
    from pyperf_infer.profile.plan import ProfilePlan

    duration_s, max_duration_s = asked["duration"], asked["max_duration"]
    if max_duration_s is None:
        max_duration_s = max(20.0, 10 * duration_s)
    if max_duration_s < duration_s:
        raise UsageError(f"--max-duration {max_duration_s:g} is less than --duration {duration_s:g}")
    if not max_duration_s:
        raise UsageError("--max-duration 0 leaves no time to profile in")
    return ProfilePlan(
        inferences=asked["inferences"],
        duration_s=duration_s,
        max_duration_s=max_duration_s,
        seed=asked["seed"],
        progress=progress,
    )
