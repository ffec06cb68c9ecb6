# SPDX-License-Identifier: Apache-2.0
"""`--vs`: a small command line in one value, read by the very options of `run`.

What it leaves out is as in the command itself, so that `--vs "--opt-level basic"` differs in that and in nothing else.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
from click.core import ParameterSource

from pyperf_infer.cli.output import output_options
from pyperf_infer.cli.run_options import (
    comparing_options,
    gpu_options,
    measuring_options,
    model_options,
    runtime_options,
)
from pyperf_infer.cli.run_plan import plan_of, refuse_contradictions
from pyperf_infer.errors import BackendError, UsageError
from pyperf_infer.measure.contests import Asked, side_label

# What is compared, and what it is run by. All else says how it is measured, and has to be the same for all sides.
_MAY_DIFFER = {
    "models", "backends", "batch_sizes", "shapes", "weights", "precision", "seed", "threads", "inter_op_threads",
    "provider", "provider_options", "session_options", "opt_level", "execution_mode", "opset", "allow_cpu_fallback",
    "autocast", "channels_last", "compile_mode", "cuda_graph", "allow_eager_fallback",
}  # fmt: skip
# The process's, whatever backend: see backends/torch_precision.py, cli/run_plan.py.
_OF_THE_PROCESS = {"conv_search", "cpu_affinity", "device"}
_ONE_EACH = {"models": "model", "backends": "--backend", "batch_sizes": "--batch-size"}
_TWO_RUNS = "Use two runs with --processes 5, and pyperf-infer compare on their results"
_EXAMPLE = '--vs resnet18, --vs "--opt-level basic"'


@dataclass(frozen=True)
class Given:
    """One value of `--vs`: the text, and the options that stand in it, by their names in `run`."""

    text: str
    options: dict[str, Any]


def parse_vs(text: str) -> Given:
    """Reads one value of `--vs`.

    Raises:
        UsageError: quotes that do not close, an option that `run` does not have, or one that must not differ.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(
            f"--vs {text!r}: {error}. Quote the whole value once: --vs '--session-option k=\"a b\"'"
        ) from error
    command = _command()
    try:
        context = command.make_context("--vs", words)
    except click.UsageError as error:
        raise UsageError(f"--vs {text!r}: {error.format_message()}") from error
    stated = {
        one.name: one
        for one in command.params
        if one.name is not None and context.get_parameter_source(one.name) is ParameterSource.COMMANDLINE
    }
    options = {name: context.params[name] for name in stated}
    for name, parameter in stated.items():
        _check(text, name, _flag(parameter), options[name])
    return Given(text, {name: value for name, value in options.items() if name != "models" or value})


def asked_sides(asked: dict[str, Any], texts: Sequence[str]) -> tuple[Asked, ...]:
    """The command's own side, which is A, and one for each value of `--vs`.

    Raises:
        UsageError: as `parse_vs`, or flags of one side that contradict each other. BackendError: a device that is not
        in this version.
    """
    if asked["mode"] != "latency":
        raise UsageError(f"--vs takes --mode latency; in mode {asked['mode']} nothing is compared")
    if (asked.get("processes") or 1) > 1:
        raise UsageError(
            "--vs compares in one process, which --processes contradicts; give one of them. For two runs with "
            "--processes 5 there is pyperf-infer compare"
        )
    sides = [Asked(label=side_label(0), text="", plan=plan_of(asked))]
    for number, given in enumerate(map(parse_vs, texts), start=1):
        try:
            own = _as_in_the_command(asked, given.options)
            refuse_contradictions(own)
            plan = plan_of(own)
        except (UsageError, BackendError) as error:
            raise type(error)(f"--vs {given.text!r}: {error}") from error
        sides.append(
            Asked(
                label=side_label(number),
                text=given.text.strip(),
                plan=plan,
                own_model="models" in given.options,
                own_backend="backends" in given.options,
                own_batch="batch_sizes" in given.options,
            )
        )
    return tuple(sides)


def _as_in_the_command(asked: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The options of a side: its own, and the command's where it has none."""
    own = {**asked, **given}
    for name in ("session_options", "provider_options"):  # by key: the last one given for a key holds
        own[name] = (*asked[name], *given.get(name, ()))
    if "models" in given and given["models"] != asked["models"] and "weights" not in given:
        own["weights"] = None  # they are those of the other model
    # What the command's precision or backend brought along would contradict this side's own.
    if "precision" in given and "autocast" not in given and own["precision"] not in ("float16", "bfloat16"):
        own["autocast"] = False
    if "backends" in given and "compile_mode" not in given and "torch-compile" not in own["backends"]:
        own["compile_mode"] = "default"
    return own


def _check(text: str, name: str, flag: str, value: Any) -> None:
    if name in _OF_THE_PROCESS:
        raise UsageError(f"--vs {text!r}: {flag} is the whole process's and cannot differ in it. {_TWO_RUNS}")
    if name not in _MAY_DIFFER:
        raise UsageError(
            f"--vs {text!r}: {flag} is no part of what is compared; give it once, outside of --vs, for all sides"
        )
    if name in _ONE_EACH and len(value) > 1:
        raise UsageError(
            f"--vs {text!r}: one {_ONE_EACH[name]} stands in a --vs, and here are {len(value)}; repeat --vs instead"
        )
    if name == "backends" and value == ("all",):
        raise UsageError(f"--vs {text!r}: --backend all names several; repeat --vs, each with one of them")


def _command() -> click.Command:
    """The options of `run`, to be read once: click takes them off the function that they decorate."""

    @model_options
    @comparing_options
    @measuring_options
    @gpu_options
    @runtime_options
    @output_options
    @click.option("-q", "--quiet", is_flag=True)
    def options(**_: Any) -> None:
        pass

    command = click.command(add_help_option=False)(options)
    for one in command.params:
        one.required = False  # the model is as in the command where none is named
    return command


def _flag(parameter: click.Parameter) -> str:
    return max(parameter.opts, key=len) if isinstance(parameter, click.Option) else "the model"
