# SPDX-License-Identifier: Apache-2.0
"""Compiled models on a stream of a GPU, as a script uses them: the fake AOTInductor on the fake driver.

torch's own part, which would need a GPU, is left out: inputs are copies in the fake driver's memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aoti_archives import model_files, write_archive
from aoti_on_fake_gpu import AotiGpu

from pyperf_infer import aoti_inputs, aoti_package, timers
from pyperf_infer.aoti_inputs import Layout
from pyperf_infer.aoti_model import AotiModel, several_streams
from pyperf_infer.aoti_package import AotiPackage
from pyperf_infer.errors import BackendError, InputError, UsageError

X = np.arange(6, dtype=np.float32).reshape(2, 3)
QUICK: dict[str, Any] = {"duration": 0.01, "max_duration": 0.2, "warmup": 0.05}
RUN = "AOTInductorModelContainerRunSingleThreaded"


class Torch:
    """What the model asks of torch."""

    def __init__(self) -> None:
        self.prepared: list[str] = []
        self.waited_for: list[str] = []


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AotiGpu]:
    with AotiGpu.loaded(tmp_path) as gpu:
        monkeypatch.setenv("PYPERF_INFER_LIBCUDA", str(gpu.cuda.path))
        # The fake is model and libtorch at once, so that its library is loaded from where it is.
        monkeypatch.setattr(AotiPackage, "extract", lambda *_: str(gpu.aoti.path))
        monkeypatch.setattr(aoti_package, "copy_of", lambda library: library)
        yield gpu


@pytest.fixture(autouse=True)
def fake_torch(gpu: AotiGpu, monkeypatch: pytest.MonkeyPatch) -> Torch:
    torch = Torch()

    def layout_of(values: Any) -> Layout:
        return Layout(str(values.dtype), values.shape, tuple(stride // values.itemsize for stride in values.strides))

    monkeypatch.setattr(aoti_inputs, "torch_library", lambda: str(gpu.aoti.path))
    monkeypatch.setattr(aoti_inputs, "prepare_gpu", torch.prepared.append)
    monkeypatch.setattr(aoti_inputs, "wait_for_torch", torch.waited_for.append)
    monkeypatch.setattr(aoti_inputs, "take", lambda _what, given, _device: given)
    monkeypatch.setattr(aoti_inputs, "layout_of", layout_of)
    monkeypatch.setattr(aoti_inputs, "describe", lambda _what, values: gpu.tensor(values))
    return torch


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return package(tmp_path)


def package(folder: Path, **options: Any) -> Path:
    files = model_files(facts={"AOTI_DEVICE_KEY": "cuda", **options}, kernel__cubin=b"")
    return write_archive(folder / "gpu.pt2", {"model": files})


def test_it_runs_on_a_stream_of_its_own(path: Path, fake_torch: Torch) -> None:
    model = AotiModel(path, device="cuda")
    np.testing.assert_array_equal(model.run(X)[0], X)
    samples = timers.measure(model, **QUICK)
    assert not model.target.needs_python
    assert list(samples.columns) == ["latency", "submit", "gpu"]
    assert model.first_run_ns is not None
    assert fake_torch.prepared == ["cuda:0"]
    assert fake_torch.waited_for == ["cuda:0"]
    model.close()


def test_it_runs_on_the_stream_that_is_given(path: Path, gpu: AotiGpu) -> None:
    stream = timers.CudaStream()
    model = AotiModel(path, device="cuda:0", stream=stream)
    model.bind(X)
    gpu.cuda.log()
    model.run()
    assert model.stream is not None
    assert model.stream.handle == stream.handle
    model.close()


def test_a_stream_of_another_gpu(path: Path) -> None:
    stream = timers.CudaStream(1)
    with pytest.raises(UsageError, match="the stream is on GPU 1, and device cuda:0 was given"):
        AotiModel(path, device="cuda:0", stream=stream)
    model = AotiModel(path, device="cuda", stream=stream)  # which says no number
    assert model.stream is not None
    assert model.stream.context.facts.ordinal == 1
    model.close()


def test_a_gpu_that_is_not_there(path: Path) -> None:
    with pytest.raises(BackendError):
        AotiModel(path, device="cuda:77")


def test_transfers_are_timed_where_asked(path: Path) -> None:
    model = AotiModel(path, device="cuda", include_transfers=True)
    np.testing.assert_array_equal(model.run(X)[0], X)
    assert {"h2d", "d2h"} <= set(timers.measure(model, **QUICK).columns)
    model.close()


@pytest.mark.parametrize("mode", ["latency", "throughput", "cold"])
@pytest.mark.parametrize("options", [{"wait": "block"}, {"gate": False, "timeout": 1.0}])
def test_it_is_waited_for_as_asked(path: Path, mode: Any, options: dict[str, Any]) -> None:
    model = AotiModel(path, device="cuda", **options)
    model.bind(X)
    assert len(timers.measure(model, mode=mode, **QUICK).ns) > 0
    model.close()


def test_several_streams_are_one_target(path: Path) -> None:
    models = [AotiModel(path, device="cuda") for _ in range(2)]
    with pytest.raises(UsageError, match="bind the inputs of every model first"):
        several_streams(models)
    for number, model in enumerate(models):
        model.bind(X + number)
    assert len(timers.measure(several_streams(models), mode="throughput", **QUICK).ns) > 0
    for number, model in enumerate(models):
        np.testing.assert_array_equal(model.run()[0], X + number)
        model.close()


def test_the_target_stays_when_other_inputs_are_bound(path: Path) -> None:
    model = AotiModel(path, device="cuda")
    model.bind(X)
    target = model.target
    model.bind(X + 1)
    assert model.target is target
    np.testing.assert_array_equal(model.run()[0], X + 1)
    model.close()


def test_a_model_for_gpus_of_another_kind(tmp_path: Path, gpu: AotiGpu) -> None:
    facts = gpu.context.facts
    own, other = f"{facts.compute_major}{facts.compute_minor}", f"{facts.compute_major + 1}0"
    AotiModel(package(tmp_path, AOTI_COMPUTE_CAPABILITY=own), device="cuda").close()
    with pytest.raises(InputError, match=rf"compute capability {facts.compute_major + 1}\.0, and this one has"):
        AotiModel(package(tmp_path, AOTI_COMPUTE_CAPABILITY=other), device="cuda")


@pytest.mark.parametrize("check", [True, False])
def test_the_folder_of_its_kernels_stays_until_it_is_closed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: bool
) -> None:
    import tempfile

    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    model = AotiModel(path, device="cuda", check=check)
    model.run(X)
    assert len(list(temporary.iterdir())) == 1
    model.close()
    assert list(temporary.iterdir()) == []


def test_a_check_that_fails_names_the_inputs(path: Path, gpu: AotiGpu) -> None:
    model = AotiModel(path, device="cuda")
    gpu.aoti.fail(RUN)
    with pytest.raises(InputError, match=r"cannot run with these inputs: .*x0 is float32 \[2, 3\] with strides"):
        model.bind(X)
    np.testing.assert_array_equal(model.run(X)[0], X)
    model.close()


def test_a_model_without_inputs_needs_no_bind(path: Path, gpu: AotiGpu) -> None:
    gpu.aoti.set(inputs=0, outputs=0)
    model = AotiModel(path, device="cuda", check=False)
    assert model.inputs == ()
    assert model.run() == []
    assert len(timers.measure(model, **QUICK).ns) > 0
    model.close()


def test_nothing_is_left_behind(path: Path, gpu: AotiGpu) -> None:
    model = AotiModel(path, device="cuda", include_transfers=True)
    model.run(X)
    timers.measure(model, **QUICK)
    model.close()
    del model
    assert gpu.made() == {}
