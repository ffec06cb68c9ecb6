# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer hardware`: what a model would take on devices that need not be there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pyperf_infer.cli.output import deliver, results_options
from pyperf_infer.cli.run_plan import refuse_overwriting
from pyperf_infer.cli.shared_options import BATCH_SIZES, SHAPE

_MOST_GPUS = 4096


@click.command()
@click.argument("model")
@BATCH_SIZES
@SHAPE
@click.option(
    "--device",
    "devices",
    multiple=True,
    required=True,
    metavar="NAME|FILE.yaml",
    help="Repeatable. A GPU by its name, such as H200, or a YAML file of figures.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "tf32", "float16", "bfloat16", "float8", "int8"]),
    default="float32",
    show_default=True,
    help="Of products, and of floating-point tensors: 4, 4, 2, 2, 1 and 1 bytes an element.",
)
@click.option(
    "--gpus",
    multiple=True,
    type=click.IntRange(1, _MOST_GPUS),
    help="Repeatable. Split the batch over so many. [default: as many as the YAML file has]",
)
@click.option(
    "--interconnect",
    type=click.Choice(["PCIE", "NVLINK"], case_sensitive=False),
    help="Between them. [default: the faster that the device has]",
)
@click.option(
    "--measured",
    type=click.Path(path_type=Path),
    help="A results file of `run`: the model's error on the same model, batch, precision and device.",
)
@click.option("--per-layer", is_flag=True, help="Every kernel with what bounds it.")
@results_options
def hardware(
    model: str,
    batch_sizes: tuple[int, ...],
    shapes: tuple[str, ...],
    devices: tuple[str, ...],
    results_file: Path | None,
    results_format: Any,
    **asked: Any,
) -> int:
    """Say what a device's figures allow MODEL to take, without running it, or owning the device.

    Every figure is a model: each kernel takes the longer of its products at the device's dense peak and its bytes at
    the bandwidth of its memory. Devices mostly take longer than that; docs/hardware.md says what is left out.

    Exit codes: 0 done; 2 usage; 3 a model, a device or a file that cannot be used; 4 a package that is missing.

    Example: pyperf-infer hardware resnet50 -b 1 -b 64 --device H200 --device 'RTX 4090' --precision float16
    """
    if results_file is not None:
        from pyperf_infer.results.files import check_writable

        read = (model, *devices, *([str(asked["measured"])] if asked["measured"] else []))
        refuse_overwriting({"models": read, "weights": None}, results_file)
        check_writable(results_file)
    from pyperf_infer.roofline.hardware_job import Asked, model_runs

    runs = model_runs(
        Asked(
            model=model,
            batch_sizes=batch_sizes or (None,),
            shapes=shapes,
            devices=devices,
            precision=asked["precision"],
            gpus=asked["gpus"],
            interconnect=asked["interconnect"],
            measured=asked["measured"],
            per_layer=asked["per_layer"],
        )
    )
    if asked["measured"] is not None and all(one.measured_ms is None for one in runs):
        click.echo(
            f"{asked['measured']} holds no row of this model, precision and shapes on any of these devices", err=True
        )
    from pyperf_infer.reports.hardware import hardware_csv, hardware_json, hardware_markdown, render_hardware

    texts = {"json": hardware_json, "csv": hardware_csv, "markdown": hardware_markdown}
    deliver(
        results_file, results_format, lambda form: texts[form](runs), lambda console: render_hardware(runs, console)
    )
    return 0
