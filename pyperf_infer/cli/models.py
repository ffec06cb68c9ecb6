# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer models`: what there is to run."""

from __future__ import annotations

import click


@click.group()
def models() -> None:
    """List the models there are, or describe one."""


@models.command("list")
@click.argument("pattern", required=False)
def list_command(pattern: str | None) -> None:
    """List models whose name matches PATTERN (a part of it, or with * and ?).

    Built-in models are listed; a PATTERN that begins with timm: lists timm's, one that begins with hf: those of
    Hugging Face's transformers.

    Example: pyperf-infer models list 'timm:*vit*'
    """
    from pyperf_infer.models.catalog import list_models

    listings = list_models(pattern)
    width = max(len(one.name) for one in listings)
    for one in listings:
        click.echo(f"{one.name:{width}}  {one.description}".rstrip())


@models.command("info")
@click.argument("name")
def info_command(name: str) -> None:
    """Describe the model NAME: where it comes from, parameters, input shapes.

    Example: pyperf-infer models info resnet50
    """
    from pyperf_infer.models.catalog import resolve

    info = resolve(name).info()
    click.echo(f"name        {info.name}")
    click.echo(f"source      {info.source}")
    click.echo(f"parameters  {info.parameters:,}")
    for spec in info.inputs:
        shape = "x".join(str(size) if size is not None else "?" for size in spec.shape)
        click.echo(f"input       {spec.name}: {spec.dtype} {shape or 'scalar'}")
    if info.description:
        click.echo(f"about       {info.description}")
