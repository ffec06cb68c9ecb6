# SPDX-License-Identifier: Apache-2.0
"""The options of `pyperf-infer roofline`, and what they ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pyperf_infer.cli.parameters import Parsed, apply_options
from pyperf_infer.cli.profile_options import HOW_LONG, TOP, backend_options, profile_plan
from pyperf_infer.cli.shared_options import BATCH_SIZES, DEVICE, PRECISIONS, SEED, SHAPE, THREADS, WEIGHTS
from pyperf_infer.errors import UsageError

if TYPE_CHECKING:
    from pyperf_infer.attribution.job import Job
    from pyperf_infer.timing.target import Progress

_WITH_FROM = {"again", "plot", "top", "results_file", "results_format", "quiet"}


def _cache_sizes(text: str) -> dict[str, int]:
    from pyperf_infer.roofline.ceilings.cache_sizes import parse_cache_sizes

    return dict(parse_cache_sizes(text))


def roofline_options(command: Any) -> Any:
    """Adds them to the command, in the order in which its help lists them."""
    options = (
        click.argument("models", nargs=-1, metavar="[MODEL]..."),
        click.option(
            "--backend",
            "backends",
            multiple=True,
            type=click.Choice(["torch", "onnxruntime", "all"]),
            help="Repeatable. [default: all that take the model]",
        ),
        BATCH_SIZES,
        SHAPE,
        WEIGHTS,
        PRECISIONS,
        DEVICE,
        THREADS,
        SEED,
        *HOW_LONG,
        click.option(
            "--plot",
            type=click.Path(path_type=Path),
            metavar="FILE.png|.svg",
            help="Also draw the plot, a panel each model, batch, precision and backend. Needs the extra 'report'.",
        ),
        click.option(
            "--from",
            "again",
            type=click.Path(path_type=Path),
            metavar="FILE.json",
            help="Show, plot and write again what --results-file has kept, without measuring.",
        ),
        click.option("--fresh-ceilings", is_flag=True, help="Measure the machine's ceilings again, and keep them."),
        click.option(
            "--caches",
            type=Parsed("L1=48KiB,...", _cache_sizes),
            help="Sizes of the caches a core, L3 whole, where the machine does not tell them, or not the truth.",
        ),
        TOP,
    )
    return apply_options(options, command)


def refuse_beside_from(ctx: click.Context) -> None:
    """Raises UsageError for options that ask for a measurement, which --from does without."""
    given = [
        "a MODEL" if isinstance(one, click.Argument) else one.opts[-1]
        for one in ctx.command.params
        if one.name not in _WITH_FROM
        and ctx.get_parameter_source(one.name or "") is ParameterSource.COMMANDLINE
        and ctx.params[one.name or ""]
    ]
    if given:
        raise UsageError(f"--from measures nothing: leave out {', '.join(given)}")


def job_of(asked: dict[str, Any], progress: Progress) -> Job:
    """What the options ask for, with every default filled in.

    Raises:
        UsageError: options that contradict each other. BackendError: a kind of device that is not in this version.
    """
    from pyperf_infer.attribution.job import Job
    from pyperf_infer.models.shapes import parse_shapes

    models = asked["models"]
    if asked["weights"] is not None and len(models) > 1:
        raise UsageError("--weights is for one model, and several are named")
    precisions = tuple(dict.fromkeys(asked["precisions"])) or ("float32",)
    options = [backend_options(asked["device"], one, asked["threads"]) for one in precisions]
    if asked["caches"] and options[0].gpu_index is not None:
        raise UsageError("--caches is for the CPU's ceilings, and --device is a GPU")
    return Job(
        models=models,
        options=options[0],
        plan=profile_plan(asked, progress),
        precisions=precisions,
        backends=() if "all" in asked["backends"] else tuple(dict.fromkeys(asked["backends"])),
        batch_sizes=asked["batch_sizes"] or (None,),
        shapes=parse_shapes(asked["shapes"]),
        weights=asked["weights"],
        seed=asked["seed"],
        fresh_ceilings=asked["fresh_ceilings"],
        cache_sizes=asked["caches"],
    )
