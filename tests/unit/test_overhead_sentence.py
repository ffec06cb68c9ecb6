# SPDX-License-Identifier: Apache-2.0
"""The one sentence of an overhead: it says what the intervals support, and calls nothing Python's that is not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import overhead_documents as made
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.overhead.sentence import sentence_of

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Overhead, OverheadPath

NATIVE = made.path("native loop", 0.0, half=0.0)


def said(*paths: OverheadPath, **fields: object) -> str:
    return sentence_of([made.overhead(*paths, NATIVE, **fields)])  # type: ignore[arg-type]


CASES = [
    ([made.path("session.run", 0.12)], "Python is 12% of a request through session.run."),
    (
        [made.path("session.run", 0.12), made.path("run_with_iobinding", 0.05)],
        "Python is 12% of a request through session.run and 5% through run_with_iobinding.",
    ),
    ([made.path("session.run", 0.004, half=0.003)], "Python does not matter (below 1%)."),
    (
        [made.path("session.run", 0.004, half=0.003), made.path("run_with_iobinding", -0.02, half=0.025)],
        "Python does not matter (below 1%).",
    ),
    (
        [made.path("session.run", 0.01, half=0.006)],
        "whether Python matters cannot be told (0.4% to 1.6% through session.run).",
    ),
    (
        [made.path("session.run", 0.12, share_interval=None)],
        "whether Python matters cannot be told (too few rounds through session.run).",
    ),
    (
        [made.path("session.run", 0.12, interference="1% to 2% when each runs alone")],
        "whether Python matters cannot be told (paths disturb each other through session.run).",
    ),
    (
        [made.path("session.run", -0.05)],
        "a request through session.run takes less time than in the native loop, which is not for want of Python.",
    ),
    (
        [
            made.path("AOTI Python loader", 0.61),
            made.path("session.run", 0.004, half=0.003),
            made.path("run_with_iobinding", 0.005, half=0.003),
        ],
        (
            "Python is 61% of a request through the AOTI Python loader, and it does not matter (below 1%) through "
            "session.run and run_with_iobinding."
        ),
    ),
    (
        [
            made.path("AOTI Python loader", 0.61),
            made.path("session.run", 0.004, half=0.003),
            made.path("run_with_iobinding", 0.01, half=0.006),
        ],
        (
            "Python is 61% of a request through the AOTI Python loader, and it does not matter (below 1%) through "
            "session.run, and whether it matters cannot be told (0.4% to 1.6% through run_with_iobinding)."
        ),
    ),
]


@pytest.mark.parametrize(("paths", "text"), CASES, ids=[text[:40] for _, text in CASES])
def test_what_the_intervals_support_is_said(paths: list[OverheadPath], text: str) -> None:
    assert said(*paths) == f"At batch 1 {text}"


def test_batch_sizes_stand_in_one_sentence() -> None:
    batches = [
        made.overhead(made.path("session.run", 0.12), NATIVE, batch=1),
        made.overhead(made.path("session.run", 0.002, half=0.001), NATIVE, batch=8),
        made.overhead(made.path("session.run", 0.001, half=0.001), NATIVE, batch=32),
    ]
    assert sentence_of(batches) == (
        "At batch 1 Python is 12% of a request through session.run; at batch 8 and 32 it does not matter (below 1%)."
    )


def test_batch_sizes_of_which_the_same_is_to_be_said_share_it_from_the_first_on() -> None:
    small = [made.overhead(made.path("session.run", 0.002, half=0.001), NATIVE, batch=batch) for batch in (1, 4)]
    large = made.overhead(made.path("session.run", 0.12), NATIVE, batch=8)
    assert sentence_of([*small, large]) == (
        "At batch 1 and 4 Python does not matter (below 1%); at batch 8 it is 12% of a request through session.run."
    )


@pytest.mark.parametrize("name", ["eager", "compiled"])
def test_what_runs_other_kernels_is_not_called_python(name: str) -> None:
    alone = said(made.path(name, 0.8))
    assert "not known" in alone
    assert "80%" not in alone
    beside = said(made.path(name, 0.8), made.path("session.run", 0.12))
    assert beside == "At batch 1 Python is 12% of a request through session.run."


def test_copies_to_a_gpu_are_not_called_python() -> None:
    assert "12%" not in said(made.path("session.run", 0.12, same_code=False))


def test_paths_that_failed_are_passed_over() -> None:
    failed = made.path("session.run", failed="it broke")
    assert said(failed, made.path("run_with_iobinding", 0.05)).endswith("5% of a request through run_with_iobinding.")
    assert "not known" in said(failed)


def test_without_a_batch_size_nothing_is_said() -> None:
    assert sentence_of([]) == ""


SHARES = st.lists(st.tuples(st.floats(-0.3, 0.9), st.floats(0, 0.2)), min_size=1, max_size=2)


@given(st.lists(SHARES, min_size=1, max_size=3), st.sampled_from([0.001, 0.01, 0.05]))
def test_it_never_says_more_than_every_interval_does(batches: list[list[tuple[float, float]]], margin: float) -> None:
    names = ("session.run", "run_with_iobinding")
    overheads: list[Overhead] = []
    for number, shares in enumerate(batches):
        paths = [made.path(name, share, half) for name, (share, half) in zip(names, shares, strict=False)]
        overheads.append(made.overhead(*paths, NATIVE, batch=2**number, margin=margin))
    text = sentence_of(overheads)
    assert text.startswith("At batch 1")
    assert text.endswith(".")
    intervals = [
        one.share_interval for overhead in overheads for one in overhead.paths if one.share_interval and one != NATIVE
    ]
    if "does not matter" in text:
        assert any(high < margin for _, high in intervals)
    if "% of a request" in text:
        assert any(low >= margin for low, _ in intervals)
    if all(high < margin and high >= -margin for _, high in intervals):
        assert "cannot be told" not in text
        assert not re.search(r"is \d", text)
    if any(low < margin <= high for low, high in intervals):
        assert "cannot be told" in text
