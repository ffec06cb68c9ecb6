# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, each written once so that it means the same in all of them."""

from __future__ import annotations

from pathlib import Path

import click

from pyperf_infer.cli.parameters import Parsed, tolerance

MOST_BATCH = 2**31 - 1
_TOLERANCE = Parsed("NUMBER", tolerance)

BATCH_SIZES = click.option(
    "-b",
    "--batch-size",
    "batch_sizes",
    multiple=True,
    type=click.IntRange(1, MOST_BATCH),
    help="Repeatable. Fills the first dimension of every input that leaves it open. [default: 1]",
)
SHAPE = click.option(
    "--shape", "shapes", multiple=True, metavar="[NAME:]1x3x224x224", help="The whole shape of an input."
)
WEIGHTS = click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="A state_dict (.pth) or .safetensors file; without it weights are random.",
)
_PRECISION = click.Choice(["float32", "tf32", "float16", "bfloat16"])
_PRECISION_HELP = "float32 means it: TF32 is off. tf32 takes --device cuda, and the others a CPU made for them."
PRECISION = click.option("--precision", type=_PRECISION, default="float32", show_default=True, help=_PRECISION_HELP)
PRECISIONS = click.option(
    "--precision", "precisions", multiple=True, type=_PRECISION,
    help=f"Repeatable. {_PRECISION_HELP} [default: float32]",
)  # fmt: skip
DEVICE = click.option("--device", default="cpu", show_default=True, metavar="cpu|cuda[:N]", help="Where models run.")
SEED = click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=42,
    show_default=True,
    help="Of weights, inputs and order.",
)
THREADS = click.option("--threads", type=click.IntRange(1, 4096), help="Of each backend. [default: physical cores]")
RTOL = click.option(
    "--rtol",
    type=_TOLERANCE,
    help="Of the outputs, relative to how much they move. [default: by precision, 0.001 for float32]",
)
ATOL = click.option("--atol", type=_TOLERANCE, help="Of the outputs, in their own unit. [default: 0]")
