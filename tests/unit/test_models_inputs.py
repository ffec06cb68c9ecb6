# SPDX-License-Identifier: Apache-2.0
"""Shapes from flags, and the data of inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.errors import InputError, UsageError
from pyperf_infer.models.inputs import batch_of, make_inputs, parse_shape, parse_shapes, resolve_shapes
from pyperf_infer.models.spec import InputSpec

IMAGE = InputSpec("x", ("batch", 3, 8, 8), "float32")
FIXED = InputSpec("x", (1, 3), "float32")
IDS = InputSpec("ids", ("b", "seq"), "int64")
MASK = InputSpec("mask", ("batch_size", "seq"), "int64")
TABLE = InputSpec("table", (5, 2), "float32")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("1x3x224x224", (None, (1, 3, 224, 224))),
        ("ids:1X128", ("ids", (1, 128))),
        ("input:0:4", ("input:0", (4,))),
        ("x:7", ("x", (7,))),
    ],
)
def test_parse_shape(text: str, parsed: tuple[str | None, tuple[int, ...]]) -> None:
    assert parse_shape(text) == parsed


@pytest.mark.parametrize(
    "text", ["", "x", "ids:", ":1x2", "1x", "1xx2", "1,2", "-1x3", "1x0", "ids:axb", "1 x 2", "\u0661x\u0662"]
)
def test_parse_shape_refuses_what_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="--shape"):
        parse_shape(text)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=6), st.text("abc.:/0", max_size=8).map(lambda s: s or None))
def test_parse_shape_reads_back_what_is_written(shape: list[int], name: str | None) -> None:
    text = "x".join(map(str, shape))
    assert parse_shape(f"{name}:{text}" if name else text) == (name, tuple(shape))


def test_one_input_given_two_shapes_is_a_usage_error() -> None:
    assert parse_shapes(["a:1x2", "3", "a:1x2"]) == {"a": (1, 2), "": (3,)}
    with pytest.raises(UsageError, match=r"twice for a: 1x2, 2x2"):
        parse_shapes(["a:1x2", "a:2x2"])


@pytest.mark.parametrize(
    ("specs", "batch", "shapes", "resolved"),
    [
        ([IMAGE], 4, {}, {"x": (4, 3, 8, 8)}),
        ([IMAGE], None, {}, {"x": (1, 3, 8, 8)}),
        ([IMAGE], None, {"": (2, 3, 8, 8)}, {"x": (2, 3, 8, 8)}),
        ([IMAGE], 2, {"x": (2, 3, 8, 8)}, {"x": (2, 3, 8, 8)}),
        ([FIXED], None, {}, {"x": (1, 3)}),
        ([FIXED], 1, {}, {"x": (1, 3)}),
        # Files name the batch of each input differently, and other dimensions alike.
        ([IDS, MASK], 4, {"ids": (4, 16)}, {"ids": (4, 16), "mask": (4, 16)}),
        ([MASK, IDS], None, {"ids": (4, 16), "mask": (4, 16)}, {"mask": (4, 16), "ids": (4, 16)}),
        # An input that has no batch stays as it is where another one takes the batch.
        ([TABLE, IMAGE], 3, {}, {"table": (5, 2), "x": (3, 3, 8, 8)}),
        ([InputSpec("s", (), "float32"), IMAGE], 3, {}, {"s": (), "x": (3, 3, 8, 8)}),
        ([InputSpec("x", (None, 2), "bool")], 6, {}, {"x": (6, 2)}),
    ],
)
def test_resolve_shapes(
    specs: list[InputSpec], batch: int | None, shapes: dict[str, tuple[int, ...]], resolved: dict[str, Any]
) -> None:
    assert resolve_shapes(specs, batch, shapes) == resolved
    assert list(resolve_shapes(specs, batch, shapes)) == [spec.name for spec in specs]


@pytest.mark.parametrize(
    ("specs", "batch", "shapes", "said"),
    [
        ([FIXED], 4, {}, r"--batch-size 4: dimension 0 of input 'x' is fixed at 1"),
        ([IMAGE], 4, {"x": (2, 3, 8, 8)}, r"gives input 'x' a batch of 2 and --batch-size asks for 4"),
        ([IMAGE], None, {"x": (3, 8, 8)}, r"input 'x' has 4 dimensions \(batchx3x8x8\), not 3"),
        ([IMAGE], None, {"x": (1, 4, 8, 8)}, r"dimension 1 of input 'x' is fixed at 3 .* not 4"),
        ([IMAGE], None, {"y": (1, 3, 8, 8)}, r"no input 'y'; its inputs are x"),
        ([IDS, MASK], None, {"": (1, 2)}, r"say which input .* ids, mask"),
        ([IMAGE], None, {"": (1, 3, 8, 8), "x": (2, 3, 8, 8)}, r"given twice for input 'x'"),
        ([IDS], 4, {}, r"input 'ids': dimension 1 \(seq\) is open .* --shape ids:1xN"),
        ([InputSpec("x", (2, None), "bool")], None, {}, r"input 'x': dimension 1 is open .* --shape x:2xN"),
        ([IMAGE], 10**15, {}, r"the inputs alone need .* this machine has .*input 'x' at 1000000000000000x3x8x8"),
    ],
)
def test_what_contradicts_or_stays_open_is_named(
    specs: list[InputSpec], batch: int | None, shapes: dict[str, tuple[int, ...]], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        resolve_shapes(specs, batch, shapes)


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_below_one_is_a_usage_error(batch: int) -> None:
    with pytest.raises(UsageError, match=f"--batch-size {batch}"):
        resolve_shapes([IMAGE], batch)


def test_batch_of_is_that_of_the_first_open_input() -> None:
    assert batch_of([TABLE, IMAGE], {"table": (5, 2), "x": (3, 3, 8, 8)}) == 3
    assert batch_of([FIXED], {"x": (1, 3)}) == 1
    assert batch_of([InputSpec("s", (), "float32")], {"s": ()}) == 1


DTYPES = ["float64", "float32", "float16", "bfloat16", "bool"]
DTYPES += [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_have_the_asked_type_and_a_safe_range(dtype: str) -> None:
    spec = InputSpec("x", ("batch", 500), dtype)
    array = make_inputs([spec], {"x": (4, 500)}, seed=1)["x"]
    assert array.dtype.name == dtype
    assert array.shape == (4, 500)
    values = array.astype(np.float64)
    if "float" in dtype:
        assert abs(values.mean()) < 0.1
        assert abs(values.std() - 1.0) < 0.1
    else:
        assert set(np.unique(values)) == {0.0, 1.0}


def test_inputs_of_any_rank_are_arrays() -> None:
    for dtype in ("float32", "float64", "int64"):
        array = make_inputs([InputSpec("s", (), dtype)], {"s": ()}, seed=1)["s"]
        assert isinstance(array, np.ndarray)
        assert array.shape == ()


def test_the_seed_and_the_name_decide_and_other_inputs_do_not() -> None:
    alone = make_inputs([IMAGE], {"x": (1, 3, 8, 8)}, seed=1)["x"]
    beside = make_inputs([TABLE, IMAGE], {"table": (5, 2), "x": (1, 3, 8, 8)}, seed=1)
    np.testing.assert_array_equal(alone, beside["x"])
    assert not np.array_equal(alone, make_inputs([IMAGE], {"x": (1, 3, 8, 8)}, seed=2)["x"])
    renamed = InputSpec("y", IMAGE.shape, "float32")
    assert not np.array_equal(alone, make_inputs([renamed], {"y": (1, 3, 8, 8)}, seed=1)["y"])
