# SPDX-License-Identifier: Apache-2.0
"""Who is compared with whom in `run A --vs B`: each model, batch size and backend of A with every B."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyperf_infer.backends.registry import names_for
from pyperf_infer.errors import UsageError

if TYPE_CHECKING:
    from pyperf_infer.measure.plan import RunPlan

REMEDY = "use two runs with --processes 5, and pyperf-infer compare on their results"
MOST_SIDES = 26


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One side as the command line has it. `plan` is complete; what it has no `own_...` of is as in A's contest."""

    label: str
    text: str  # the value of --vs; "" for A
    plan: RunPlan
    own_model: bool = False
    own_backend: bool = False
    own_batch: bool = False


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of one contest: one model at one batch size on one backend."""

    label: str
    text: str
    plan: RunPlan
    backend: str

    @property
    def model(self) -> str:
        return self.plan.models[0]

    @property
    def asked_batch(self) -> int | None:
        return self.plan.batch_sizes[0]


Contest = tuple[Side, ...]  # A first


def side_label(number: int) -> str:
    """0 -> "A", the baseline.

    Raises:
        UsageError: more sides than letters.
    """
    if number >= MOST_SIDES:
        raise UsageError(f"--vs is given more than {MOST_SIDES - 1} times")
    return chr(ord("A") + number)


def contests_of(asked: Sequence[Asked], is_onnx_file: Callable[[str], bool]) -> list[Contest]:
    """One contest for each model, batch size and backend of A, in that order.

    Where A names no backend it has those that can run the models of every side without a backend of its own.

    Raises:
        UsageError: sides that cannot be in one process; no backend that runs both.
    """
    first = asked[0]
    contests = [
        tuple(_side(one, model, backend, batch) for one in asked)
        for model in first.plan.models
        for backend in _backends(asked, model, is_onnx_file)
        for batch in first.plan.batch_sizes
    ]
    for contest in contests:
        refuse_process_wide(contest)
    return contests


def _backends(asked: Sequence[Asked], model: str, is_onnx_file: Callable[[str], bool]) -> tuple[str, ...]:
    first = asked[0]
    if first.plan.backends:
        return first.plan.backends
    following = [one for one in asked if not one.own_backend]
    names = names_for(first.plan.device, everything=False)
    if any(is_onnx_file(one.plan.models[0] if one.own_model else model) for one in following):
        names = tuple(name for name in names if name.startswith("onnxruntime"))
    return names


def _side(asked: Asked, model: str, backend: str, batch: int | None) -> Side:
    plan = asked.plan
    backend = plan.backends[0] if asked.own_backend else backend
    plan = replace(
        plan,
        models=plan.models if asked.own_model else (model,),
        backends=(backend,),
        batch_sizes=plan.batch_sizes if asked.own_batch else (batch,),
    )
    return Side(label=asked.label, text=asked.text, plan=plan, backend=backend)


def refuse_process_wide(contest: Contest) -> None:
    """What PyTorch keeps once a process cannot differ between two sides that use it.

    Raises:
        UsageError: naming the option and the sides.
    """
    on_torch = [one for one in contest if one.backend.startswith("torch")]
    if len(on_torch) < 2:
        return
    first = on_torch[0]
    for other in on_torch[1:]:
        who = f"{first.label} and {other.label}"
        if other.plan.options.threads != first.plan.options.threads:
            raise UsageError(
                f"--threads {first.plan.options.threads} and {other.plan.options.threads}: PyTorch's threads are the "
                f"process's, and {who} are both on it; {REMEDY}"
            )
        if (other.plan.precision == "tf32") != (first.plan.precision == "tf32"):
            raise UsageError(
                f"--precision {first.plan.precision} and {other.plan.precision}: whether PyTorch computes in TF32 is "
                f"set for the process, and {who} are both on it; {REMEDY}"
            )
    compiled = [one.label for one in contest if one.backend == "torch-compile"]
    if len(compiled) > 1:
        raise UsageError(
            f"--backend torch-compile on {' and '.join(compiled)}: torch.compile keeps what it compiles once a "
            f"process, and each compilation throws away the last one's; {REMEDY}"
        )
