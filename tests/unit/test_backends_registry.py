# SPDX-License-Identifier: Apache-2.0
"""Which backends there are, and which of them a device gets."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.backends.registry import NAMES, make_backend, names_for
from pyperf_infer.errors import UsageError

PLAIN = ("torch", "onnxruntime")


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
def test_the_plain_backends_run_where_none_was_named(device: str) -> None:
    assert names_for(device, everything=False) == PLAIN


def test_all_means_what_compilers_make_and_where_there_is_a_gpu_graphs_too() -> None:
    assert names_for("cpu", everything=True) == ("torch", "torch-compile", "torch-aoti", "onnxruntime")
    assert sorted(names_for("cuda:1", everything=True)) == sorted(NAMES)
    assert {"torch-cudagraph", "onnxruntime-cudagraph"} < set(NAMES)


@pytest.mark.parametrize("name", ["torch-cudagraph", "onnxruntime-cudagraph"])
def test_a_graph_backend_on_the_cpu_is_a_usage_error_that_names_the_way_out(name: str) -> None:
    with pytest.raises(UsageError, match=rf"'{name}' needs a GPU; use --device cuda, or --backend {name[:-10]}"):
        make_backend(name, BackendOptions(threads=1))


def test_an_unknown_backend_is_answered_with_all_there_are() -> None:
    with pytest.raises(UsageError, match="'tensorflow' is unknown; it can be torch, torch-compile, torch-aoti"):
        make_backend("tensorflow", BackendOptions(threads=1))


def test_asking_for_names_imports_neither_torch_nor_onnxruntime() -> None:
    script = (
        "import sys; from pyperf_infer.backends.registry import names_for; names_for('cuda', True);"
        "assert not {'torch', 'onnxruntime', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", script], check=True)
