# SPDX-License-Identifier: Apache-2.0
"""Random weights: the output depends on the input, in a healthy range, and the seed decides every byte."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from pyperf_infer.models.catalog import resolve
from pyperf_infer.models.random_weights import randomize
from pyperf_infer.models.weights import hash_weights


def seeded(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_healthy(module: nn.Module, *shape: int) -> None:
    """The output is of a sensible size, and moves between two inputs by a good part of it."""
    with torch.no_grad():
        a, b = (module(seeded(*shape, seed=seed)) for seed in (1, 2))
    size = float(a.abs().max())
    assert 0.01 < size < 1000
    assert float((a - b).abs().max()) / size > 0.01


def rounding_noise(module: nn.Module, *shape: int) -> float:
    """Largest difference between float32 and float64 outputs, relative to the movement between two inputs."""
    a, b = seeded(*shape, seed=1), seeded(*shape, seed=2)
    with torch.no_grad():
        exact = copy.deepcopy(module).double()(a.double())
        out = module(a)
        return float((out - exact).abs().max() / (out - module(b)).abs().max())


@pytest.mark.parametrize("name", ["resnet18", "resnet152", "vgg11_bn"])
def test_built_in_models_move_with_their_input(name: str) -> None:
    module = resolve(name).load(seed=42, shapes={"": (1, 3, 64, 64)}).module
    assert module is not None
    assert_healthy(module, 1, 3, 64, 64)


def test_rounding_noise_stays_well_below_what_the_parity_check_allows() -> None:
    module = resolve("resnet50").load(seed=42, shapes={"": (1, 3, 64, 64)}).module
    assert module is not None
    # 1e-3 of the movement is allowed. The deeper the network, the more its layers amplify rounding errors.
    assert rounding_noise(module, 1, 3, 64, 64) < 1e-4


# Each has a way of its own to be constant as it is made: zero-init heads (mixer), layer scale of 1e-6 (convnext, cait),
# zero-init last norms (resnet10t), standardised weights and zero gains (nfnet).
@pytest.mark.parametrize(
    "name",
    ["mixer_s32_224", "convnext_atto", "cait_xxs24_224", "resnet10t", "eca_nfnet_l0", "swin_tiny_patch4_window7_224",
     "mobilenetv3_small_050", "efficientnet_b0"],
)  # fmt: skip
def test_models_of_timm_move_with_their_input(name: str) -> None:
    pytest.importorskip("timm", exc_type=ModuleNotFoundError)
    loaded = resolve(f"timm:{name}").load(seed=42)
    assert loaded.module is not None
    assert_healthy(loaded.module, 1, *(size for size in loaded.inputs[0].shape[1:] if isinstance(size, int)))


class Constant(nn.Module):
    """Everything at once that makes a network constant, or makes it blow up."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.gain = nn.Parameter(torch.zeros(1, 8, 1, 1))
        self.gate = nn.Parameter(torch.tensor(0.0))
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.temperature = nn.Parameter(torch.tensor([3.0]))
        self.own_bias = nn.Parameter(torch.zeros(8))
        self.mix = nn.Parameter(torch.zeros(8, 8))
        self.head = nn.Linear(8, 4)
        self.unreached = nn.BatchNorm1d(4)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.norm.weight)
        nn.init.constant_(self.stem.weight, 1e6)
        nn.init.constant_(self.norm.running_mean, float("nan"))
        nn.init.constant_(self.unreached.running_var, float("nan"))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)) * self.gain
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.gate * torch.tanh(tokens) @ self.mix + self.own_bias + self.token
        return self.head(tokens.amax(1) / self.temperature)  # type: ignore[no-any-return]


def test_a_module_in_which_nothing_gets_through_becomes_healthy() -> None:
    module = Constant().eval()
    with torch.no_grad():
        assert not torch.isfinite(module(seeded(1, 3, 9, 9))).all()
    randomize(module, 1, (seeded(1, 3, 9, 9),))
    assert_healthy(module, 1, 3, 9, 9)
    assert all(torch.isfinite(tensor).all() for tensor in module.state_dict().values())
    assert module.temperature.item() == 3.0  # it was not without effect, so it stays
    assert module.gain.abs().min() >= 0.5
    assert module.own_bias.abs().max() <= 0.1


def test_layers_put_out_about_unit_variance_however_wide_they_are() -> None:
    layers = [nn.Linear(4, 512), nn.ReLU(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 100)]
    module = nn.Sequential(*layers).eval()
    x = seeded(32, 4)
    randomize(module, 1, (x,))
    with torch.no_grad():
        for layer in layers:
            x = layer(x)
            if isinstance(layer, nn.Linear):
                # Scales are rounded to a power of two, so within sqrt(2) of 1.
                assert 0.7 < float(x.square().mean().sqrt()) < 1.42


def test_batch_norms_statistics_are_of_the_size_of_what_comes_in() -> None:
    module = nn.Sequential(nn.BatchNorm2d(64)).eval()
    randomize(module, 1, (1000 * seeded(4, 64, 8, 8),))
    norm = module[0]
    assert isinstance(norm.running_var, Tensor)
    assert 500 < float(norm.running_var.mean().sqrt()) < 2000
    # Channels differ, so that a backend that mixed them up would be found out.
    assert len(norm.running_var.unique()) == 64


def test_a_shared_or_repeated_layer_is_scaled_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(8, 8)
            self.tied = nn.Linear(8, 8)
            self.tied.weight = self.first.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.tied(self.first(self.first(x)))  # type: ignore[no-any-return]

    module = Twice().eval()
    x = seeded(16, 8)
    randomize(module, 1, (x,))
    with torch.no_grad():
        assert 0.7 < float(module.first(x).square().mean().sqrt()) < 1.42


def test_no_hook_stays_behind_even_when_the_forward_pass_fails() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).eval()
    with pytest.raises(RuntimeError):
        randomize(module, 1, (seeded(1, 4),))
    randomize(module, 1, (seeded(1, 3),))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_the_seed_decides_every_byte_whatever_the_threads() -> None:
    hashes = []
    threads = torch.get_num_threads()
    try:
        for seed, count in ((1, 1), (1, 2), (2, 1)):
            torch.set_num_threads(count)
            torch.manual_seed(count)  # the global stream has no say
            hashes.append(resolve("resnet18").load(seed=seed, shapes={"": (1, 3, 64, 64)}).weights.sha256)
    finally:
        torch.set_num_threads(threads)
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


def test_the_asked_shape_does_not_change_the_weights() -> None:
    hashes = {resolve("resnet18").load(seed=1, shapes={"": (1, 3, n, n)}).weights.sha256 for n in (33, 64, 224)}
    assert len(hashes) == 1


def test_another_process_draws_the_same_weights() -> None:
    code = (
        "from pyperf_infer.models.catalog import resolve;"
        "print(resolve('resnet18').load(seed=5, shapes={'': (1, 3, 32, 32)}).weights.sha256)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == resolve("resnet18").load(seed=5, shapes={"": (1, 3, 32, 32)}).weights.sha256


def test_the_hash_sees_names_types_shapes_and_values() -> None:
    def linear(bias: float, dtype: torch.dtype = torch.float32) -> nn.Module:
        module = nn.Linear(2, 2, dtype=dtype)
        nn.init.constant_(module.weight, 1.0)
        nn.init.constant_(module.bias, bias)
        return module

    base = hash_weights(linear(0.0))
    assert base == hash_weights(linear(0.0))
    flat = nn.Module()
    flat.weight, flat.bias = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(2))
    others = [linear(1.0), linear(0.0, torch.bfloat16), nn.Sequential(linear(0.0)), flat]
    assert len({base, *map(hash_weights, others)}) == 5
