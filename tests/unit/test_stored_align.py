# SPDX-License-Identifier: Apache-2.0
"""Which rows of two stored results are about the same thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import result_documents as made
import stored_documents as stored
from msgspec.structs import replace

from pyperf_infer.errors import InputError
from pyperf_infer.results import schema
from pyperf_infer.stored.align import Alignment, align
from pyperf_infer.stored.sources import read_sides


def aligned(folder: Path, baseline: list[schema.Result], contender: list[schema.Result]) -> Alignment:
    paths = [stored.save(folder / "a.json", *baseline), stored.save(folder / "b.json", *contender)]
    mine, theirs = read_sides(paths, last=1, progress=lambda _done, _total: None)
    return align(mine, theirs)


def paired(found: Alignment) -> list[tuple[str, str]]:
    return [(one.baseline.result.method.backend, one.contender.result.method.backend) for one in found.pairs]


def test_rows_of_the_same_subject_and_backend_are_paired_in_the_baselines_order(tmp_path: Path) -> None:
    rows = [stored.row(backend="onnxruntime"), stored.row(), stored.row(batch_size=8)]
    found = aligned(tmp_path, rows, rows[::-1])
    assert paired(found) == [("onnxruntime", "onnxruntime"), ("torch", "torch"), ("torch", "torch")]
    assert [one.contender.result.subject.batch_size for one in found.pairs] == [1, 1, 8]
    assert found.left_over == []


def test_unlike_backends_are_paired_where_each_side_has_one(tmp_path: Path) -> None:
    assert paired(aligned(tmp_path, [stored.row()], [stored.row(backend="onnxruntime")])) == [("torch", "onnxruntime")]


def test_unlike_backends_are_not_paired_where_a_side_has_two(tmp_path: Path) -> None:
    both = [stored.row(), stored.row(backend="onnxruntime")]
    found = aligned(tmp_path, both, [stored.row(backend="onnxruntime")])
    assert paired(found) == [("onnxruntime", "onnxruntime")]
    assert [(one.side, one.backend, one.reason) for one in found.left_over] == [
        ("baseline", "torch", "only in the baseline")
    ]


def test_a_cpu_is_paired_with_a_gpu_and_any_gpu_with_any_other(tmp_path: Path) -> None:
    assert len(aligned(tmp_path, [stored.row()], [stored.gpu_row()]).pairs) == 1
    other = stored.gpu_row("AMD Instinct MI300X")
    other.method.device = "cuda:1"
    assert len(aligned(tmp_path, [stored.gpu_row()], [other]).pairs) == 1


def test_several_backends_on_a_cpu_are_paired_with_the_same_on_a_gpu(tmp_path: Path) -> None:
    on_gpu = [stored.gpu_row(), stored.gpu_row()]
    on_gpu[1].method.backend, on_gpu[1].method.provider = "onnxruntime", "CUDAExecutionProvider"
    mine = [stored.row(), stored.row(backend="onnxruntime")]
    found = aligned(tmp_path, mine, on_gpu)
    assert paired(found) == [("torch", "torch"), ("onnxruntime", "onnxruntime")]
    assert found.left_over == []
    both = aligned(tmp_path, mine, [*mine, *on_gpu])
    assert {one.contender.result.method.device for one in both.pairs} == {"cpu"}
    assert [(one.side, one.device) for one in both.left_over] == [("contender", "cuda:0")] * 2


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("model", "resnet18", "model resnet50 against resnet18"),
        ("precision", "bfloat16", "precision float32 against bfloat16"),
        ("batch_size", 4, "batch size 1 against 4"),
        ("shapes", {"input": [1, 3, 320, 320]}, "shapes input:1x3x224x224 against input:1x3x320x320"),
        (
            "weights",
            schema.Weights(source="random", seed=1, sha256="f" * 64),
            "weights 0123456789ab... against ffffffffffff",
        ),
        ("weights", None, "weights 0123456789ab... against unknown"),
    ],
)
def test_unlike_subjects_are_refused_with_what_differs(tmp_path: Path, field: str, value: Any, said: str) -> None:
    other = stored.row()
    other.subject = replace(other.subject, **{field: value})
    with pytest.raises(InputError) as caught:
        aligned(tmp_path, [stored.row()], [other])
    assert said in str(caught.value)
    assert "a.json" in str(caught.value)
    assert "b.json" in str(caught.value)


def test_the_nearest_subject_is_the_one_that_tells_what_differs(tmp_path: Path) -> None:
    far = stored.row(model="vit_b_16", batch_size=8)
    with pytest.raises(InputError, match="about the same: batch size 1 against 2; shapes"):
        aligned(tmp_path, [stored.row()], [far, stored.row(batch_size=2)])


def test_what_is_on_one_side_only_is_listed_with_its_side(tmp_path: Path) -> None:
    found = aligned(tmp_path, [stored.row(), stored.row(model="a")], [stored.row(), stored.row(model="b")])
    assert [(one.side, one.model) for one in found.left_over] == [("baseline", "a"), ("contender", "b")]


def test_several_backends_of_which_none_is_on_both_sides_are_refused(tmp_path: Path) -> None:
    both = [stored.row(), stored.row(backend="torch-compile")]
    with pytest.raises(
        InputError, match="none is on both sides: torch on cpu, torch-compile on cpu against onnxruntime"
    ):
        aligned(tmp_path, both, [stored.row(backend="onnxruntime")])


def test_a_row_that_failed_on_the_other_side_says_so(tmp_path: Path) -> None:
    failed = made.failed("resnet50", 8, "torch", "out of memory")
    failed.subject = replace(failed.subject, weights=None, shapes={})  # as one that failed before it was loaded
    found = aligned(tmp_path, [stored.row(), stored.row(batch_size=8)], [stored.row(), failed])
    assert [(one.side, one.batch_size, one.reason) for one in found.left_over] == [
        ("baseline", 8, "not to be had from the other side: failed: out of memory"),
        ("contender", 8, "failed: out of memory"),
    ]


def test_a_side_on_which_all_has_failed_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no row of .*b\.json' has a time: failed: out of memory"):
        aligned(tmp_path, [stored.row()], [made.failed(message="out of memory")])


def test_an_impossible_time_is_not_compared(tmp_path: Path) -> None:
    impossible = stored.row(integrity=schema.Integrity(status="impossible", reason="faster than its memory"))
    found = aligned(tmp_path, [stored.row(), stored.row(batch_size=8)], [impossible, stored.row(batch_size=8)])
    assert [one.baseline.result.subject.batch_size for one in found.pairs] == [8]
    assert "faster than its memory" in found.left_over[0].reason


def test_rows_of_one_backend_with_unlike_options_are_paired_by_method(tmp_path: Path) -> None:
    basic, whole = stored.row(settings={"opt_level": "basic"}), stored.row(settings={"opt_level": "all"})
    found = aligned(tmp_path, [basic, whole], [whole, basic])
    levels = [(one.baseline, one.contender) for one in found.pairs]
    assert [(a.result.method.settings["opt_level"], b.result.method.settings["opt_level"]) for a, b in levels] == [
        ("basic", "basic"),
        ("all", "all"),
    ]


def file_row(path: str, sha256: str = "a" * 64, source: str = "onnx") -> schema.Result:
    one = stored.row(model=path, backend="onnxruntime")
    one.subject = replace(one.subject, source=source, weights=schema.Weights(source="x", seed=None, sha256=sha256))
    return one


def test_the_folder_that_an_onnx_file_lay_in_makes_it_no_other_model(tmp_path: Path) -> None:
    sides = [[file_row(f"{folder}/a.onnx")] for folder in ("main", "/home/me/pr")]
    assert len(aligned(tmp_path, *sides).pairs) == 1


def test_of_files_of_the_same_bytes_the_one_of_the_same_folder_is_paired(tmp_path: Path) -> None:
    found = aligned(tmp_path, [file_row("one/a.onnx"), file_row("two/a.onnx")], [file_row("two/a.onnx")])
    assert [one.baseline.result.subject.model for one in found.pairs] == ["two/a.onnx"]


def test_a_yaml_file_of_another_folder_is_another_model_although_its_tensors_are_alike(tmp_path: Path) -> None:
    one, other = (file_row(f"{folder}/net.yaml", source="config") for folder in ("one", "two"))
    with pytest.raises(InputError, match=r"model one/net\.yaml against two/net\.yaml"):
        aligned(tmp_path, [one], [other])


@pytest.mark.parametrize(("theirs", "sha256"), [("pr/a.onnx", "b" * 64), ("main/b.onnx", "a" * 64)])
def test_a_file_of_other_bytes_or_another_name_is_another_model(tmp_path: Path, theirs: str, sha256: str) -> None:
    with pytest.raises(InputError, match="about the same"):
        aligned(tmp_path, [file_row("main/a.onnx")], [file_row(theirs, sha256)])


def test_a_file_that_failed_in_another_folder_is_told_of(tmp_path: Path) -> None:
    failed = made.failed("pr/b.onnx", 1, "onnxruntime", "out of memory")
    failed.subject = replace(failed.subject, source="onnx", weights=None, shapes={})
    mine = [file_row("main/a.onnx"), file_row("main/b.onnx", "b" * 64)]
    found = aligned(tmp_path, mine, [file_row("pr/a.onnx"), failed])
    assert found.left_over[0].reason == "not to be had from the other side: failed: out of memory"
