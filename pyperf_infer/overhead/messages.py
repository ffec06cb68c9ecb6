# SPDX-License-Identifier: Apache-2.0
"""What is said between the process that measures and one that holds paths of its own: one JSON line a message."""

from __future__ import annotations

import msgspec

from pyperf_infer.overhead.blocks import Alone, Block, BlockPlan  # noqa: TC001  msgspec reads them


class Open(msgspec.Struct, frozen=True, tag=True):
    """The first request: make what "module:function" makes of `arguments`, a JSON text."""

    factory: str
    arguments: str


class Outputs(msgspec.Struct, frozen=True, tag=True):
    """Write the outputs of `path` on both inputs into `folder`."""

    path: str
    folder: str


class MeasureAlone(msgspec.Struct, frozen=True, tag=True):
    """Warm `path` up and measure it."""

    path: str
    budget_s: float
    ci: float


class RunBlock(msgspec.Struct, frozen=True, tag=True):
    """Run one block of `path`."""

    path: str
    plan: BlockPlan


Request = Open | Outputs | MeasureAlone | RunBlock


class Opened(msgspec.Struct, frozen=True, tag=True):
    """The paths that are ready, and the effective value of what can be switched."""

    paths: list[str]
    settings: dict[str, str | int | float | bool | None]


class SavedArray(msgspec.Struct, frozen=True):
    """A .npy file of the folder; bfloat16 is stored as the integers that have its bits."""

    name: str
    file: str
    dtype: str


class Saved(msgspec.Struct, frozen=True, tag=True):
    """The outputs on the first inputs and on the second."""

    first: list[SavedArray]
    second: list[SavedArray]


class MeasuredAlone(msgspec.Struct, frozen=True, tag=True):
    """What a call takes alone."""

    times: Alone


class RanBlock(msgspec.Struct, frozen=True, tag=True):
    """What the block found."""

    block: Block


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The request could not be met. `kind`: the class of the error, by name."""

    kind: str
    message: str


Reply = Opened | Saved | MeasuredAlone | RanBlock | Failed
