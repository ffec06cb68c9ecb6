# SPDX-License-Identifier: Apache-2.0
"""A real compile, once, and what becomes of those that fail."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import tiny_models as tiny
import torch
from torch._inductor.exc import CppCompileError

from pyperf_infer.convert import aoti, cache_folder
from pyperf_infer.convert.aoti_cache import CachedPackage, cached_package, compile_package
from pyperf_infer.convert.aoti_export import export_for_aoti
from pyperf_infer.convert.outputs import named_outputs
from pyperf_infer.errors import BackendError, InputError, OutOfMemoryError
from pyperf_infer.models.spec import InputSpec

MASK = InputSpec("mask", ("batch", 4), "float32")
SHAPES = {"x": (2, 4), "mask": (2, 4)}


class Everything(torch.nn.Module):
    """A dataclass in a dict, a lone tuple, a result twice, an input and a weight handed back, a view, a None."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = tiny.Structured()

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> dict[str, Any]:
        answer = self.inner(x, mask)
        return {
            "answer": answer,
            "twice": (answer.logits, answer.logits),
            "input": mask,
            "weight": self.inner.layer.bias,
            "view": answer.hidden[0].T[::2],
            "none": None,
        }


class Made(NamedTuple):
    package: CachedPackage
    again: CachedPackage
    printed: str
    threads: set[str]
    children: list[psutil.Process]
    root: Path


MODEL = tiny.loaded(Everything(), tiny.X, MASK, name="everything")


def ask(**changes: Any) -> CachedPackage:
    options: dict[str, Any] = {
        "shapes": SHAPES,
        "threads": 2,
        "precision": "float32",
        "device": "cpu",
        "channels_last": False,
        "autocast": False,
        "prepared": lambda: (MODEL.module, (torch.randn(2, 4), torch.randn(2, 4))),
    }
    return cached_package(MODEL, **{**options, **changes})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    # A blank in the path, which Inductor's own commands would not survive.
    folder = tmp_path_factory.mktemp("a cache")

    def never() -> Any:
        raise AssertionError("prepared again")

    before = {thread.name for thread in threading.enumerate()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache_folder.ENVIRONMENT_VARIABLE, str(folder))
        with tempfile.TemporaryFile("w+") as printed:
            # The files themselves, since compilers and libraries know nothing of sys.stderr.
            saved = [os.dup(number) for number in (1, 2)]
            for number in (1, 2):
                os.dup2(printed.fileno(), number)
            try:
                package = ask()
            finally:
                for number, copy in zip((1, 2), saved, strict=True):
                    os.dup2(copy, number)
                    os.close(copy)
            printed.seek(0)
            text = printed.read()
        threads = {thread.name for thread in threading.enumerate()} - before
        children = psutil.Process().children(recursive=True)
        again = ask(prepared=never)
    return Made(package, again, text, threads, children, folder / "compiled")


def test_the_package_computes_what_the_model_does(made: Made) -> None:
    assert MODEL.module is not None
    inputs = (torch.linspace(-1, 1, 8).reshape(2, 4), torch.linspace(0, 3, 8).reshape(2, 4))
    with torch.no_grad():
        expected = named_outputs(MODEL.module(*inputs))
    assert made.package.outputs == tuple(name for name, _ in expected)
    assert made.package.outputs[:3] == ("answer.logits", "answer.hidden.0", "answer.hidden.1")
    actual = torch._inductor.aoti_load_package(str(made.package.path))(*inputs)
    for ours, (name, theirs) in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs.detach(), msg=lambda text, name=name: f"{name}: {text}")


def test_what_is_kept_is_found_and_says_the_same(made: Made) -> None:
    package, again = made.package, made.again
    assert (package.hit, again.hit) == (False, True)
    assert (again.path, again.outputs, again.settings) == (package.path, package.outputs, package.settings)
    assert package.export_s
    assert package.compile_s
    assert (again.export_s, again.compile_s, again.rebuilt) == (None, None, None)


def test_the_settings_tell_what_was_compiled_in(made: Made) -> None:
    settings = made.package.settings
    assert (settings["compiled_threads"], settings["freezing"]) == (2, False)
    assert settings["compiled_isa"]
    assert settings["compiler"]


def test_a_compile_leaves_the_package_and_nothing_else(made: Made) -> None:
    assert made.printed == ""
    assert made.threads == set()
    assert made.children == []
    files = sorted(path.name for path in made.package.path.parent.iterdir())
    assert files == ["manifest.json", "model.pt2"]
    assert sorted(path.name for path in made.root.iterdir()) == sorted([made.package.path.parent.name, "locks"])


torch.library.define("pyperf_infer_test::odd", "(Tensor x) -> Tensor")


@torch.library.register_fake("pyperf_infer_test::odd")
def _odd(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Odd(torch.nn.Module):
    """Exports, and has an operator that Inductor is told to fail on."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.ops.pyperf_infer_test.odd(x)  # the culprit
        return result


def compile_tiny(module: torch.nn.Module, folder: Path) -> CachedPackage:
    model = tiny.loaded(module, tiny.X)
    return compile_package(model, folder, threads=1, device="cpu", prepared=lambda: (module, (torch.randn(1, 4),)))


def test_an_operator_that_inductor_cannot_compile_is_named_with_the_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from torch._inductor.lowering import lowerings, register_lowering

    operator = torch.ops.pyperf_infer_test.odd.default

    @register_lowering(operator)
    def _fail(_: object) -> None:
        raise NotImplementedError("there is no such kernel")

    try:
        with pytest.raises(InputError) as caught:
            compile_tiny(Odd(), tmp_path)
    finally:
        lowerings.pop(operator)
    message = str(caught.value)
    assert message.startswith("AOTInductor cannot compile tiny: ")
    assert "there is no such kernel (operator pyperf_infer_test.odd" in message
    assert "result: torch.Tensor = torch.ops.pyperf_infer_test.odd(x)  # the culprit" in message
    assert "Traceback" not in message
    assert "temporary cache" not in message
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_compiler_that_fails_on_the_model_shows_its_errors_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    compiler = tmp_path / "c++of-the-test"
    compiler.write_text(
        '#!/bin/sh\ncase "$*" in *wrapper*) echo note: at all; echo x.cpp:1: error: too old; exit 1;; esac\n'
        'exec c++ "$@"\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    folder = tmp_path / "out"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(BackendError) as caught:
        compile_tiny(tiny.Perceptron(), folder)
    message = str(caught.value)
    assert f"{str(compiler)!r} failed on what AOTInductor made of tiny.\n  x.cpp:1: error: too old\n" in message
    assert "apt install g++" in message
    (kept,) = tmp_path.glob("pyperf-infer-compiler-*.txt")
    assert str(kept) in message
    assert "note: at all" in kept.read_text()
    assert list(folder.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("failure", "kind", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), InputError, "cannot be written to .*: No space left"),
        (
            CppCompileError(["g++"], "ld: final link failed: No space left on device\ncollect2: error: ld returned 1"),
            InputError,
            "cannot be written to .*: No space left on device. Free space .* or set PYPERF_INFER_CACHE_DIR",
        ),
        (MemoryError(), OutOfMemoryError, "tiny does not fit in memory"),
        (RuntimeError("nobody knows"), InputError, "AOTInductor cannot compile tiny: nobody knows"),
    ],
)
def test_other_failures_are_told_apart(
    failure: Exception,
    kind: type[Exception],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        try:
            raise failure
        except Exception as error:
            raise RuntimeError("a wrapper of torch's") if isinstance(failure, OSError) else error  # noqa: B904

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", fail)
    program = export_for_aoti("tiny", tiny.Perceptron().eval(), {"x": torch.randn(1, 4)}).program
    with pytest.raises(kind, match=says):
        aoti.compile_to_package("tiny", program, tmp_path / "model.pt2", threads=1, device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_the_number_of_threads_is_compiled_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def note(_: object, *, package_path: str, inductor_configs: dict[str, Any]) -> None:
        asked.append(inductor_configs)

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", note)
    program = export_for_aoti("tiny", tiny.Perceptron().eval(), {"x": torch.randn(1, 4)}).program
    said = [
        aoti.compile_to_package("tiny", program, tmp_path / "m.pt2", threads=threads, device="cpu").settings
        for threads in (1, 2)
    ]
    assert [settings["compiled_threads"] for settings in said] == [1, 2]
    assert [(one["cpp.threads"], one["cpp.dynamic_threads"]) for one in asked] == [(1, False), (2, False)]
