# SPDX-License-Identifier: Apache-2.0
"""Several quantities of the same samples go to disk, come back and are exported side by side."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import gpu_documents as gpus
import msgspec
import numpy as np
import pytest
import result_documents as made
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.errors import InputError
from pyperf_infer.results import schema
from pyperf_infer.results.export import export_samples
from pyperf_infer.results.files import document_text, load_all_samples, load_samples, read_document, write_document
from pyperf_infer.results.samples import MAX_INLINE, inline, pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

Quantities = dict[str, "NDArray[np.int64]"]


def quantities(count: int, *names: str) -> Quantities:
    return {name: np.arange(count, dtype=np.int64) + index * 2**40 for index, name in enumerate(names)}


def same(one: Quantities, other: Quantities) -> bool:
    """Equal, in the same order too: the judged quantity comes first."""
    return list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("count", [1, MAX_INLINE, MAX_INLINE + 1])
@pytest.mark.parametrize(
    "names",
    [("latency",), ("period",), ("gpu",), ("latency", "submit", "gpu"), ("gpu", "submit", "h2d", "d2h")],
)
def test_every_quantity_reads_back_in_its_order(tmp_path: Path, count: int, names: tuple[str, ...]) -> None:
    written = quantities(count, *names)
    write_document(made.document([made.result()]), tmp_path / "run.json", [written])
    document = read_document(tmp_path / "run.json")
    (read,) = load_all_samples(document, tmp_path)
    assert read is not None
    assert same(read, written)
    assert all(one.dtype == np.int64 and one.flags.c_contiguous for one in read.values())
    data = document.results[0].samples
    assert data is not None
    assert data.quantity == names[0]
    assert (data.file is None) == (count <= MAX_INLINE)


@given(
    st.lists(st.from_regex("[a-z][a-z0-9_]*", fullmatch=True), min_size=1, max_size=4, unique=True),
    st.integers(1, 9),
    st.randoms(use_true_random=False),
)
def test_inline_quantities_read_back_exactly(names: list[str], count: int, random: Random) -> None:
    written = {name: np.array([random.randrange(2**63) for _ in range(count)], dtype=np.int64) for name in names}
    document = made.document([msgspec.structs.replace(made.result(), samples=inline(written))])
    back = msgspec.json.decode(msgspec.json.encode(document), type=schema.Document)
    assert same(load_samples(back, back.results[0], Path()), written)


def test_the_array_in_a_file_has_a_column_for_each_quantity_and_one_dimension_for_one(tmp_path: Path) -> None:
    many = MAX_INLINE + 1
    for names, shape in ((("latency", "gpu"), (many, 2)), (("latency",), (many,))):
        data, content = pack(quantities(many, *names), tmp_path / "run.json", 0)
        assert content is not None
        assert np.load(io.BytesIO(content), allow_pickle=False).shape == shape
        assert data.columns == (list(names) if len(names) > 1 else None)


def test_the_whole_text_of_a_document_holds_every_quantity() -> None:
    written = quantities(MAX_INLINE + 1, "gpu", "submit")
    document = msgspec.json.decode(document_text(made.document([made.result()]), [written]), type=schema.Document)
    assert same(load_samples(document, document.results[0], Path()), written)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({}, "one length"),
        ({"latency": np.arange(3), "gpu": np.arange(2)}, "one length, not {'latency': 3, 'gpu': 2}"),
        ({"latency": np.arange(3), "gpu": np.arange(3.0)}, "gpu must be one-dimensional int64"),
        ({"latency": np.arange(3), "gpu": -np.arange(3)}, "gpu must be"),
        ({"latency": np.zeros((2, 2), np.int64)}, "latency must be"),
    ],
)
def test_quantities_of_another_kind_are_refused(tmp_path: Path, samples: Quantities, message: str) -> None:
    for attempt in (
        lambda: write_document(made.document([made.result()]), tmp_path / "run.json", [samples]),
        lambda: document_text(made.document([made.result()]), [samples]),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()
    assert list(tmp_path.iterdir()) == []


MANY = quantities(MAX_INLINE + 1, "latency", "gpu")
TABLE = np.column_stack(list(MANY.values()))


def npy(array: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(MANY["latency"]), "bytes, which 10001 samples of latency, gpu cannot have"),
        (npy(np.column_stack([TABLE, TABLE])), "bytes"),
        (npy(TABLE.T), r"int64\(2, 10001\), not int64\(10001, 2\)"),
        (npy(TABLE.reshape(-1)), r"int64\(20002,\)"),
        (npy(TABLE.astype(np.float64)), "float64"),
        (npy(-TABLE), "below zero"),
        (npy(TABLE)[:-8] + bytes(8), None),
    ],
)
def test_a_file_of_other_columns_is_refused(tmp_path: Path, content: bytes, message: str | None) -> None:
    document = write_document(made.document([made.result()]), tmp_path / "run.json", [MANY])
    data = document.results[0].samples
    assert data is not None
    assert data.file is not None
    (tmp_path / data.file).write_bytes(content)
    if message is not None:  # the hash fits: what is wrong is found by what the file holds
        data.sha256 = hashlib.sha256(content).hexdigest()
    with pytest.raises(InputError, match=message or "SHA-256"):
        load_samples(document, document.results[0], tmp_path)


def test_old_samples_of_mode_throughput_are_periods(tmp_path: Path) -> None:
    row = gpus.gpu_result(mode="throughput")
    row.samples = schema.SampleData(count=2, latency_ns=[5, 6])
    document = made.document([row])
    assert same(load_samples(document, row, tmp_path), {"period": np.array([5, 6])})
    np.save(tmp_path / "a.npy", MANY["latency"])
    digest = hashlib.sha256((tmp_path / "a.npy").read_bytes()).hexdigest()
    row.samples = schema.SampleData(count=MANY["latency"].size, file="a.npy", sha256=digest)
    assert same(load_samples(document, row, tmp_path), {"period": MANY["latency"]})


def test_a_column_is_exported_for_every_quantity_that_any_result_has(tmp_path: Path) -> None:
    document = gpus.gpu_document([gpus.gpu_result(), made.failed(), made.result(batch_size=4)])
    samples = [
        {"latency": np.array([30, 10]), "gpu": np.array([20, 7]), "submit": np.array([2, 1])},
        None,
        {"period": np.array([2**62])},
    ]
    export_samples(document, samples, tmp_path / "samples.csv")
    with (tmp_path / "samples.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row[5:] for row in rows] == [
        ["index", "latency_ns", "period_ns", "submit_ns", "gpu_ns"],
        ["0", "30", "", "2", "20"],
        ["1", "10", "", "1", "7"],
        ["0", "", str(2**62), "", ""],
    ]


def test_a_quantity_of_a_newer_version_is_exported_behind_the_known_ones(tmp_path: Path) -> None:
    samples = [{"npu": np.array([3]), "h2d": np.array([2])}]
    export_samples(made.document([made.result()]), samples, tmp_path / "samples.csv")
    assert (tmp_path / "samples.csv").read_text().splitlines()[0].endswith("index,h2d_ns,npu_ns")


def test_arrays_of_unlike_lengths_are_not_exported(tmp_path: Path) -> None:
    samples = [{"latency": np.array([3, 1]), "gpu": np.array([2])}]
    with pytest.raises(ValueError, match="shorter"):
        export_samples(made.document([made.result()]), samples, tmp_path / "samples.csv")
    assert list(tmp_path.iterdir()) == []
