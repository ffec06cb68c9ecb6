# SPDX-License-Identifier: Apache-2.0
"""Samples survive the way to disk and back, and a side file never is what the document's author did not write."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
import result_documents as made
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.errors import InputError
from pyperf_infer.results import schema
from pyperf_infer.results.export import export_samples
from pyperf_infer.results.files import load_all_samples, load_samples, read_document, write_document
from pyperf_infer.results.samples import MAX_INLINE

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEW = np.arange(MAX_INLINE, dtype=np.int64)
MANY = np.arange(MAX_INLINE + 1, dtype=np.int64) + 2**40


def npys(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.glob("*.npy"))


def latency(samples: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    return {"latency": samples}


def written(folder: Path, samples: NDArray[np.int64] = MANY) -> schema.Document:
    return write_document(made.document(), folder / "run.json", [latency(FEW), latency(samples)])


def test_few_samples_stand_in_the_document_and_many_beside_it(tmp_path: Path) -> None:
    returned = written(tmp_path)
    document = read_document(tmp_path / "run.json")
    assert document == returned
    few, many = (one.samples for one in document.results)
    assert few is not None
    assert many is not None
    assert (few.count, few.file) == (MAX_INLINE, None)
    assert (many.count, many.latency_ns) == (MAX_INLINE + 1, None)
    assert npys(tmp_path) == [many.file]
    for one, expected in zip(document.results, (FEW, MANY), strict=True):
        samples = load_samples(document, one, tmp_path)
        assert list(samples) == ["latency"]
        assert samples["latency"].dtype == np.int64
        np.testing.assert_array_equal(samples["latency"], expected)


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20))
def test_inline_samples_read_back_exactly(values: list[int]) -> None:
    data = schema.SampleData(count=len(values), latency_ns=values)
    result = msgspec.structs.replace(made.result(), samples=data)
    document = msgspec.json.decode(msgspec.json.encode(made.document([result])), type=schema.Document)
    assert load_samples(document, document.results[0], Path())["latency"].tolist() == values


def test_a_result_without_samples_says_so(tmp_path: Path) -> None:
    document = write_document(made.document(), tmp_path / "run.json", [None, latency(FEW)])
    with pytest.raises(InputError, match="holds no samples"):
        load_samples(document, document.results[0], tmp_path)
    first, second = load_all_samples(document, tmp_path)
    assert first is None
    assert second is not None
    np.testing.assert_array_equal(second["latency"], FEW)


@pytest.mark.parametrize(
    "samples",
    [np.zeros(3), np.zeros((2, 2), np.int64), np.zeros(0, np.int64), np.array([-1]), np.zeros(3, np.uint64)],
)
def test_samples_of_another_kind_are_refused(tmp_path: Path, samples: NDArray[np.int64]) -> None:
    with pytest.raises(ValueError, match="int64"):
        write_document(made.document(), tmp_path / "run.json", [latency(samples), None])
    with pytest.raises(ValueError, match="1 entries of samples for 2 results"):
        write_document(made.document(), tmp_path / "run.json", [latency(FEW)])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_side_file_is_named(tmp_path: Path) -> None:
    document = written(tmp_path)
    (name,) = npys(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=name):
        load_samples(document, document.results[1], tmp_path)
    with pytest.raises(InputError, match="missing"):
        write_document(document, tmp_path / "run.json")


def npy(array: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "honest", "message"),
    [
        (b"", False, "0 bytes"),
        (npy(MANY)[:-8], False, "SHA-256"),
        (npy(MANY)[:-800], False, "bytes"),
        (npy(MANY) + bytes(8192), False, "bytes"),
        (npy(MANY + 1), False, "SHA-256"),
        (npy(MANY.astype(np.float64)), True, "float64"),
        (npy(MANY.reshape(1, -1)), True, "int64"),
        (npy(-MANY), True, "below zero"),
        (bytes(MANY.nbytes + 128), True, "damaged"),
        (npy(MANY).replace(b"(10001,)", b"(90001,)"), True, "damaged"),
    ],
)
def test_a_damaged_side_file_is_refused(tmp_path: Path, content: bytes, honest: bool, message: str) -> None:
    document = written(tmp_path)
    (name,) = npys(tmp_path)
    (tmp_path / name).write_bytes(content)
    if honest:  # the hash fits: what is wrong is found by what the file holds
        assert document.results[1].samples is not None
        document.results[1].samples.sha256 = hashlib.sha256(content).hexdigest()
    with pytest.raises(InputError, match=message):
        load_samples(document, document.results[1], tmp_path)


@pytest.mark.parametrize("name", ["../x.npy", "/x.npy", "sub/x.npy", "..", ".", "", "x.txt", "a\0.npy", "..\\x.npy"])
def test_a_side_file_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "sub"
    folder.mkdir()
    for place in (tmp_path / "x.npy", folder / "x.npy"):
        np.save(place, MANY)
    if name == "/x.npy":
        name = str(tmp_path / "x.npy")
    digest = hashlib.sha256((tmp_path / "x.npy").read_bytes()).hexdigest()
    data = schema.SampleData(count=MANY.size, file=name, sha256=digest)
    document = made.document([msgspec.structs.replace(made.result(), samples=data)])
    with pytest.raises(InputError, match=r"not a plain \.npy file beside it"):
        load_samples(document, document.results[0], folder)
    data.file = "x.npy"
    np.testing.assert_array_equal(load_samples(document, document.results[0], folder)["latency"], MANY)


def test_a_side_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    document = written(tmp_path)
    (name,) = npys(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    (tmp_path / name).symlink_to(tmp_path / "elsewhere" / name)
    with pytest.raises(InputError, match="not a plain"):
        load_samples(document, document.results[1], tmp_path)


def test_a_new_run_removes_the_side_files_of_the_one_it_replaces(tmp_path: Path) -> None:
    written(tmp_path)
    (old,) = npys(tmp_path)
    (tmp_path / "mine.npy").write_bytes(b"")
    written(tmp_path, MANY + 1)
    assert len(npys(tmp_path)) == 2
    assert old not in npys(tmp_path)
    assert "mine.npy" in npys(tmp_path)


def test_a_copied_document_keeps_its_samples(tmp_path: Path) -> None:
    written(tmp_path)
    shutil.copy(tmp_path / "run.json", tmp_path / "baseline.json")
    written(tmp_path, MANY + 1)
    baseline = read_document(tmp_path / "baseline.json")
    np.testing.assert_array_equal(load_samples(baseline, baseline.results[1], tmp_path)["latency"], MANY)


def test_a_stranger_s_document_cannot_have_other_files_removed(tmp_path: Path) -> None:
    document = written(tmp_path)
    np.save(tmp_path / "precious.npy", MANY)
    assert document.results[1].samples is not None
    document.results[1].samples.file = "precious.npy"
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(document))
    write_document(made.document(), tmp_path / "run.json")
    assert "precious.npy" in npys(tmp_path)


def test_a_failed_document_leaves_the_old_one_with_its_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    before = sorted(tmp_path.iterdir())
    fsync, calls = os.fsync, iter(range(100))

    def full_after_the_side_file(descriptor: int) -> None:
        if next(calls) >= 2:  # the side file and its folder; then the document
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr("pyperf_infer.results.atomic.os.fsync", full_after_the_side_file)
    with pytest.raises(InputError, match="disk is full"):
        written(tmp_path, MANY + 1)
    monkeypatch.undo()
    assert sorted(tmp_path.iterdir()) == before
    document = read_document(tmp_path / "run.json")
    np.testing.assert_array_equal(load_samples(document, document.results[1], tmp_path)["latency"], MANY)


@pytest.mark.parametrize("name", ["n" * 240 + ".json", "\N{SNOWMAN}" * 80 + ".json", "a\\b.json", ".json", "r"])
def test_side_files_work_beside_documents_of_unusual_names(tmp_path: Path, name: str) -> None:
    write_document(made.document(), tmp_path / name, [latency(MANY), None])
    document = read_document(tmp_path / name)
    np.testing.assert_array_equal(load_samples(document, document.results[0], tmp_path)["latency"], MANY)


def test_every_sample_is_exported_with_its_row(tmp_path: Path) -> None:
    document = made.document([made.result(model="=cmd()"), made.failed(), made.result(batch_size=4)])
    samples = [latency(np.array([3, 1])), None, latency(np.array([2**62]))]
    export_samples(document, samples, tmp_path / "samples.csv")
    with (tmp_path / "samples.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["result", "model", "batch_size", "precision", "backend", "index", "latency_ns"],
        ["0", "'=cmd()", "1", "float32", "torch", "0", "3"],
        ["0", "'=cmd()", "1", "float32", "torch", "1", "1"],
        ["2", "resnet50", "4", "float32", "torch", "0", str(2**62)],
    ]


def test_nothing_to_export_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no samples"):
        export_samples(made.document(), [None, None], tmp_path / "samples.csv")
    assert list(tmp_path.iterdir()) == []
