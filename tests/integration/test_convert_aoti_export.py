# SPDX-License-Identifier: Apache-2.0
"""What is exported for AOTInductor, and what is refused by name. Nothing is compiled here."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models as tiny
import torch

from pyperf_infer.convert.aoti_export import Exported, export_for_aoti
from pyperf_infer.convert.outputs import named_outputs
from pyperf_infer.errors import InputError, OutOfMemoryError

X = torch.arange(8.0).reshape(2, 4) / 7


def export(module: torch.nn.Module, *inputs: torch.Tensor) -> Exported:
    names = ("x", "mask")
    return export_for_aoti("culprit", module.eval(), dict(zip(names, inputs or (X,), strict=False)))


class Counting(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1  # type: ignore[operator]  # the culprit
        return x + self.calls


class Overwriting(torch.nn.Module):
    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        mask[:, 1:].relu_()  # the culprit
        return x * mask


class Learning(torch.nn.Module):
    """In eval mode, but for a part that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.norm.train()
        result: torch.Tensor = self.norm(x)
        return result


class Noisy(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand_like(x)  # the culprit


class Dropping(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(x, 0.5, training=True)  # the culprit


class NoisyBranch(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return (x @ x.T) * torch.rand(2, 2)  # the culprit


def line_of_the_culprit(model: type) -> str:
    file = Path(tiny.__file__ if model.__module__ == tiny.__name__ else __file__)
    lines = file.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"class {model.__name__}("))
    return f"{file.name}:{next(n for n, line in enumerate(lines, 1) if n > start and 'the culprit' in line)}"


@pytest.mark.parametrize(
    ("module", "inputs", "says"),
    [
        (tiny.Branching(), (X,), "cannot be exported for AOTInductor: "),
        (Counting(), (X,), "changes its buffer calls as it runs"),
        (Overwriting(), (X, X.clone()), "changes its input mask as it runs"),
        (Noisy(), (X,), "draws random numbers (aten.rand_like)"),
        (Dropping(), (X,), "draws random numbers (aten.dropout)"),
        (NoisyBranch(), (X,), "draws random numbers (aten.rand)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else "",
)
def test_what_no_compiled_model_could_equal_is_refused_with_the_line(
    module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError) as caught:
        export(module, *inputs)
    message = str(caught.value)
    assert message.startswith("culprit ")
    assert says in message
    assert line_of_the_culprit(type(module)) in message
    assert "--backend torch" in message
    assert "Traceback" not in message
    assert "printed" not in message
    assert capfd.readouterr() == ("", "")


def test_statistics_that_a_layer_in_training_mode_keeps_are_named() -> None:
    with pytest.raises(InputError, match=r"buffer norm\.running_mean, its buffer norm\.running_var"):
        export(Learning())


def test_a_model_in_training_mode_is_refused() -> None:
    with pytest.raises(InputError, match=r"culprit is in training mode.*\.eval\(\)"):
        export_for_aoti("culprit", tiny.Perceptron().train(), {"x": X})


def test_a_model_without_a_tensor_among_its_outputs_and_one_that_fails_on_its_input() -> None:
    class Nothing(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> int:
            return 3

    with pytest.raises(InputError, match="without a tensor"):
        export(Nothing())
    with pytest.raises(InputError, match=r"tiny_models\.py:\d+ in forward: result"):
        export(tiny.Perceptron(), X[:, :3])


def test_a_trace_that_does_not_fit_in_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(torch.export, "export", exhausted)
    with pytest.raises(OutOfMemoryError, match="culprit does not fit"):
        export(tiny.Perceptron())


class Quiet(torch.nn.Module):
    """Random operators that are switched off, and in-place ones whose results nobody else sees."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.rrelu = torch.nn.Dropout(), torch.nn.RReLU(inplace=True)
        self.lstm = torch.nn.LSTM(4, 4, 2, dropout=0.3)
        self.norm = torch.nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        hidden = self.rrelu(self.norm(self.dropout(x)) * 2)
        hidden.view(-1).add_(1)
        copied = x.clone()
        copied[0] = 0
        mixed = self.lstm(hidden)[0]
        return mixed, copied, torch.nn.functional.scaled_dot_product_attention(mixed, mixed, mixed)


@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        (Quiet(), (X,)),
        (tiny.Perceptron(), (X,)),
        (tiny.Structured(), (X, X.clone())),
        (tiny.Mapped(), (X,)),
        (tiny.Passing(), (X, X.clone())),
        (tiny.Variadic(), (X, X.clone())),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else "",
)
def test_the_program_computes_what_the_model_does_under_the_same_names(
    module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]
) -> None:
    exported = export(module, *inputs)
    with torch.no_grad():
        expected = named_outputs(module(*inputs))
        actual = exported.program.module()(*inputs)
    assert exported.outputs == tuple(name for name, _ in expected)
    assert exported.seconds > 0
    for ours, (_, theirs) in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_model_is_traced_and_not_run() -> None:
    """A run would move what it counts, beside the compiled model's back."""
    calls: list[type] = []

    class Watched(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(type(x))
            return x * 2

    export(Watched())
    assert calls
    assert torch.Tensor not in calls


class SparseSecond(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"dense": x, "holes": x.relu().to_sparse()}  # the culprit


def test_a_sparse_output_is_refused_by_name_with_the_line() -> None:
    with pytest.raises(InputError, match=r"its holes is sparse \(sparse_coo\)") as caught:
        export_for_aoti("tiny", SparseSecond().eval(), {"x": torch.randn(1, 4)})
    assert "# the culprit" in str(caught.value)
    assert "--backend torch" not in str(caught.value)
