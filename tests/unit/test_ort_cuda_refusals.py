# SPDX-License-Identifier: Apache-2.0
"""What OnnxSession refuses on a GPU: what contradicts itself, what the CPU lacks, two copies of ONNX Runtime."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_ort import FakeOrt
from ort_on_fake_gpu import FakeGpu, X, fake_gpu

from pyperf_infer import ort_device, timers
from pyperf_infer.errors import BackendError, UsageError
from pyperf_infer.ort_session import OnnxSession, find_library


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeGpu]:
    with fake_gpu(monkeypatch, tmp_path) as gpu:
        yield gpu


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"provider_options": {"use_tf32": "1"}}, "use_tf32=1 contradicts the other settings: it is 0 there"),
        ({"provider_options": {"cudnn_conv_algo_search": "DEFAULT"}}, "cudnn_conv_algo_search=DEFAULT contradicts"),
        ({"provider_options": {"enable_cuda_graph": "1"}}, "enable_cuda_graph=1 contradicts"),
        ({"provider_options": {"device_id": "1"}}, "device_id=1 contradicts the device: the stream is on GPU 0"),
        ({"provider_options": {"user_compute_stream": "5"}}, "user_compute_stream is set by this tool"),
        ({"provider_options": {"has_user_compute_stream": "0"}}, "has_user_compute_stream is set by this tool"),
        ({"conv_search": "default"}, "'default'"),
        ({"wait": "sleep"}, "'sleep' is unknown"),
    ],
)
def test_what_contradicts_is_refused(gpu: FakeGpu, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        gpu.session(**options)
    assert gpu.left() == {}


@pytest.mark.parametrize("same", [{"use_tf32": "0"}, {"use_tf32": "False"}, {"device_id": "0"}])
def test_options_that_say_the_same_are_passed(gpu: FakeGpu, same: dict[str, str]) -> None:
    np.testing.assert_array_equal(gpu.session(provider_options=same).run({"x": X})["y"], X)


def test_a_device_that_is_not_the_streams_is_refused(gpu: FakeGpu) -> None:
    stream = timers.CudaStream(1)
    assert gpu.session(stream=stream).provider_options["device_id"] == "1"
    with pytest.raises(UsageError, match="the stream is on GPU 1, and device 0 was given"):
        gpu.session(stream=stream, device=0)


@pytest.mark.parametrize(
    "setting",
    [
        {"device": 0},
        {"cuda_graph": True},
        {"use_tf32": True},
        {"include_transfers": True},
        {"conv_search": "heuristic"},
    ],
)
def test_the_cpu_has_none_of_this(gpu: FakeGpu, setting: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="CPUExecutionProvider takes no stream"):
        OnnxSession(gpu.model, **setting)


def test_what_a_session_on_the_cpu_lacks_is_said(gpu: FakeGpu) -> None:
    session = OnnxSession(gpu.model)
    session.bind({"x": X})
    assert session.stream is None
    assert session.host_outputs == ()
    assert session.provider_options == {}
    for use in (session.poison_outputs, lambda: session.addresses, lambda: session.write({"x": X})):
        with pytest.raises(UsageError, match="runs on the CPU"):
            use()


def test_no_such_gpu(gpu: FakeGpu) -> None:
    with pytest.raises(BackendError, match="there is no GPU 7"):
        gpu.session(device=7)


def test_a_process_with_pythons_onnxruntime_gets_no_session_on_a_gpu(
    gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, ort_device._PYTHONS_OWN, types.ModuleType("onnxruntime"))
    with pytest.raises(BackendError, match="imported in this process"):
        gpu.session()
    np.testing.assert_allclose(OnnxSession(gpu.model).run({"x": X})["y"], 3 * X)  # the CPU is no matter


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The real library. A package with the name and the parts of Python's is there besides, and not imported."""
    library = find_library()
    capi = tmp_path / "site" / "onnxruntime" / "capi"
    capi.mkdir(parents=True)
    (capi.parent / "__init__.py").write_text("from onnxruntime.capi._pybind_state import CORE")
    (capi / "__init__.py").touch()
    (capi / "_pybind_state.py").write_text("from .onnxruntime_pybind11_state import *")
    (capi / "onnxruntime_pybind11_state.py").write_text("CORE = 'another one'")
    monkeypatch.syspath_prepend(tmp_path / "site")
    for name in [name for name in sys.modules if name.partition(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)
    return library


def _import_pythons_own() -> str:
    try:
        return str(importlib.import_module("onnxruntime").CORE)
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "onnxruntime"]:
            del sys.modules[name]


def test_pythons_onnxruntime_cannot_be_imported_once_there_is_a_session_on_a_gpu(gpu: FakeGpu, native: Path) -> None:
    OnnxSession(gpu.model, library=native)
    assert _import_pythons_own() == "another one"  # the CPU is no matter
    sessions = [gpu.session(), gpu.session()]
    for _ in range(2):
        with pytest.raises(ImportError, match="onnxruntime cannot be imported in this process: a native session"):
            _import_pythons_own()
    sessions.clear()
    with pytest.raises(ImportError, match="would share the provider"):  # the provider stays where it is loaded
        _import_pythons_own()
    assert importlib.util.find_spec("onnxruntime") is not None  # where the native library is looked for
    assert sys.meta_path.count(ort_device._PYTHONS_OWN_REFUSED) == 1


@pytest.mark.usefixtures("native")
def test_a_session_that_was_refused_leaves_pythons_onnxruntime_alone(gpu: FakeGpu) -> None:
    with pytest.raises(UsageError):
        gpu.session(conv_search="default")
    assert _import_pythons_own() == "another one"


@pytest.mark.parametrize("installed", [False, True])
def test_the_fake_gpu_leaves_the_import_system_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: bool
) -> None:
    finder = ort_device._PYTHONS_OWN_REFUSED
    before = [one for one in sys.meta_path if one is not finder]
    monkeypatch.setattr(sys, "meta_path", [finder, *before] if installed else [*before])
    with fake_gpu(monkeypatch, tmp_path) as gpu:
        assert finder not in sys.meta_path
        gpu.session()
        assert sys.meta_path == [finder, *before]
    assert sys.meta_path == ([finder, *before] if installed else before)


def test_two_libraries_do_not_share_a_process_on_a_gpu(gpu: FakeGpu, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        shutil.copytree(gpu.ort.path.parent, folder)
        (folder / "libonnxruntime_providers_shared.so").touch()
    libraries = [folder / gpu.ort.path.name for folder in folders]
    for library in libraries:
        with FakeOrt.loaded(gpu.cuda, library):
            pass
    first = gpu.session(library=libraries[0])
    with pytest.raises(BackendError, match=f"{libraries[0]} has a session on a GPU in this process"):
        gpu.session(library=libraries[1])
    gpu.session(library=libraries[0])
    assert first.stream is not None
