# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer count`: how much work models are. Nothing is run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyperf_infer.cli.output import deliver, results_options
from pyperf_infer.cli.run_plan import refuse_overwriting
from pyperf_infer.cli.shared_options import BATCH_SIZES, SHAPE
from pyperf_infer.errors import PyperfInferError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyperf_infer.results.count_schema import CountedModel


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@BATCH_SIZES
@SHAPE
@click.option("--per-op", is_flag=True, help="Every operator of the graph, and which of them run in one go.")
@results_options
def count(
    models: tuple[str, ...],
    batch_sizes: tuple[int, ...],
    shapes: tuple[str, ...],
    per_op: bool,
    results_file: Path | None,
    results_format: Any,
) -> int:
    """Count the work of one call of each MODEL: operations, parameters, activations, bytes.

    A model is named as for `run`. Counts are of its graph (torch.export's, or the .onnx file's) at the given shapes;
    nothing is run, and no weights are drawn. docs/counting.md says what each count is, and how fvcore's differs.

    Exit codes: 0 done; 2 usage; 3 a model that cannot be counted (the others are printed); 4 a package that is missing.

    Example: pyperf-infer count resnet50 timm:vit_tiny_patch16_224 -b 1 -b 32
    """
    if results_file is not None:
        from pyperf_infer.results.files import check_writable

        refuse_overwriting({"models": models, "weights": None}, results_file)
        check_writable(results_file)
    counted, code = _counted(models, batch_sizes or (None,), shapes, per_op=per_op)
    from pyperf_infer.reports.counts import counts_csv, counts_json, counts_markdown, render_counts

    texts = {"json": counts_json, "csv": counts_csv, "markdown": counts_markdown}
    deliver(
        results_file, results_format, lambda form: texts[form](counted), lambda console: render_counts(counted, console)
    )
    return code


def _counted(
    models: Sequence[str], batch_sizes: Sequence[int | None], shapes: Sequence[str], *, per_op: bool
) -> tuple[list[CountedModel], int]:
    """Those that can be counted, and the exit code of the first that cannot; what is wrong with it is told at once."""
    from pyperf_infer.models.catalog import resolve
    from pyperf_infer.models.shapes import parse_shapes, resolve_shapes
    from pyperf_infer.reports.escape import printable
    from pyperf_infer.roofline.work.count import count as count_work
    from pyperf_infer.roofline.work.rows import counted_model

    given = parse_shapes(shapes)
    found, code = [], 0
    for name in dict.fromkeys(models):
        try:
            model = resolve(name).structure(shapes=given or None)
            for batch_size in dict.fromkeys(batch_sizes):
                resolved = resolve_shapes(model.inputs, batch_size, given or None, drawn=False)
                found.append(counted_model(count_work(model, resolved), model.inputs, per_op=per_op))
        except UsageError:
            raise
        except PyperfInferError as error:
            click.echo("\n".join(map(printable, f"Error: {error}".splitlines())), err=True)
            code = code or error.exit_code
    return found, code
