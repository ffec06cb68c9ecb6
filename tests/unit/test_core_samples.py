# SPDX-License-Identifier: Apache-2.0
"""The NumPy view of native samples."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from pyperf_infer import _core


def measured(calls: int) -> _core.Samples:
    samples = _core.Samples()
    _core.run_batch(_core.NoopTarget(), samples, calls)
    return samples


def test_samples_are_int64_nanoseconds_in_one_dimension() -> None:
    view = measured(100).ns
    assert view.dtype == np.int64
    assert view.shape == (100,)
    assert (view >= 0).all()


def test_the_view_is_no_copy() -> None:
    samples = measured(100)
    first, second = samples.ns, samples.ns
    assert first.ctypes.data == second.ctypes.data
    assert not first.flags.owndata


def test_the_view_is_read_only() -> None:
    view = measured(100).ns
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        view.flags.writeable = True


def test_the_view_keeps_the_memory_alive() -> None:
    samples = measured(200_000)
    view = samples.ns
    copy = view.copy()
    del samples
    gc.collect()
    noise = [measured(200_000) for _ in range(5)]
    np.testing.assert_array_equal(view, copy)
    assert len(noise) == 5


def test_the_view_stays_as_it_is_while_samples_grow() -> None:
    samples = measured(1_000)
    view = samples.ns
    copy = view.copy()
    for _ in range(20):
        _core.run_batch(_core.NoopTarget(), samples, 100_000)
    assert len(view) == 1_000
    np.testing.assert_array_equal(view, copy)
    np.testing.assert_array_equal(samples.ns[:1_000], copy)
    assert len(samples) == 2_001_000


def test_no_samples_are_an_empty_view() -> None:
    assert _core.Samples().ns.shape == (0,)
    assert len(_core.Samples()) == 0


def test_views_do_not_leak() -> None:
    import tracemalloc

    samples = measured(10)
    tracemalloc.start()
    for _ in range(100):
        _ = samples.ns
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(2_000):
        _ = samples.ns
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    # 2,000 views would take over 200,000 bytes; what other threads of the tests allocate meanwhile is far less.
    assert grown < 50_000
