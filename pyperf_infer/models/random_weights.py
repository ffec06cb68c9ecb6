# SPDX-License-Identifier: Apache-2.0
"""Seeded random weights under which a network's output depends on its input.

A network's own initialisation often does not do that. Scales that start at 0 or at 1e-6 (layer scale, the last norm of
a residual branch, a classifier) leave the output constant; batch norm that has seen no data lets activations grow
without bound; and plain He initialisation makes the outputs of a deep ReLU network nearly the same for all inputs. A
comparison of two backends on a constant output shows nothing. Three things are done about it:

1. Weights of convolutions and linear layers are uniform with variance 1/fan_in (LeCun et al., "Efficient BackProp",
   1998), and half of each filter's mean is taken out of it. A ReLU's output has a positive mean, which a filter passes
   on to its whole output: left in, all inputs end up looking the same ("ordered"); taken out in full, every layer
   pulls neighbouring inputs apart by a factor of up to 1.2, and rounding errors with them ("chaotic"; Poole et al.,
   "Exponential expressivity in deep neural networks", 2016). Half lies between, and rounding noise over the output's
   movement is smallest there (ResNet-152: 4e-5; 8e-5 with the mean left in, 7e-4 with it taken out).
2. Norms, and parameters that are constant and next to zero, get values that let the signal through.
3. One forward pass in eval mode over the example inputs sets each layer's scale so that it puts out unit variance
   (Mishkin and Matas, "All you need is a good init", 2016), and batch norm's running statistics to what comes in.

Measured scales are rounded to powers of two, one a layer, so that the threads, the CPU or the library that summed them
do not show in the weights: the same seed gives the same bytes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

if TYPE_CHECKING:
    from collections.abc import Sequence

_CENTRED_SHARE = 0.5
_NEXT_TO_ZERO = 0.25


def randomize(module: nn.Module, seed: int, inputs: Sequence[Tensor]) -> None:
    """Draw `module`'s parameters anew, in place, and set batch norm's running statistics.

    `inputs` are the positional arguments of one forward pass (a batch of one will do: only one scale a layer is
    measured); the module is in eval mode, on the CPU, in float32. Parameters of convolutions, linear layers, embeddings
    and norms are drawn whatever they hold (`to_empty` will do); others keep what their module gave them unless that is
    constant and next to zero.
    What the forward pass raises is passed on.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        _draw(module, generator)
        _calibrate(module, generator, inputs)


def _draw(module: nn.Module, generator: torch.Generator) -> None:
    drawn: set[int] = set()
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if id(parameter) in drawn or parameter.numel() == 0 or not parameter.is_floating_point():
                continue
            drawn.add(id(parameter))
            if name == "weight" and isinstance(owner, nn.Linear | _ConvNd):
                _draw_filters(parameter, generator)
            elif name == "weight" and isinstance(owner, nn.Embedding | nn.EmbeddingBag):
                _uniform(parameter, math.sqrt(3.0), generator)
            elif name == "weight" and parameter.ndim == 1 and (hasattr(owner, "eps") or "Norm" in type(owner).__name__):
                parameter.uniform_(0.5, 1.5, generator=generator)
            elif name == "bias" and parameter.ndim == 1:
                _uniform(parameter, 0.1, generator)
            elif _constant_next_to_zero(parameter):
                _draw_unknown(name, parameter, generator)


def _draw_filters(weight: Tensor, generator: torch.Generator) -> None:
    filters = weight.view(weight.shape[0], -1)
    fan_in = filters.shape[1]
    _uniform(weight, math.sqrt(3.0 / fan_in), generator)
    if fan_in > 1:
        filters.sub_(filters.mean(dim=1, keepdim=True), alpha=_CENTRED_SHARE)


def _draw_unknown(name: str, parameter: Tensor, generator: torch.Generator) -> None:
    """A parameter of a module's own that its initialisation left without effect: what it is can only be guessed."""
    if "bias" in name:
        _uniform(parameter, 0.1, generator)
    elif sum(size != 1 for size in parameter.shape) > 1:
        _uniform(parameter, math.sqrt(3.0 / parameter[0].numel()), generator)
    else:
        # A gain (layer scale, a gate), which must not be near zero, or a token, whose mean should be: random signs.
        parameter.uniform_(0.5, 1.0, generator=generator)
        parameter.mul_(torch.randint(0, 2, parameter.shape, generator=generator).mul_(2).sub_(1))


def _uniform(tensor: Tensor, bound: float, generator: torch.Generator) -> None:
    tensor.uniform_(-bound, bound, generator=generator)


def _constant_next_to_zero(parameter: Tensor) -> bool:
    low, high = (bound.item() for bound in torch.aminmax(parameter))
    return not math.isfinite(low + high) or (low == high and abs(low) < _NEXT_TO_ZERO)


def _calibrate(module: nn.Module, generator: torch.Generator, inputs: Sequence[Tensor]) -> None:
    calibrated: set[int] = set()  # ids: a layer that runs twice, or a weight that is shared, is scaled once

    def scale_layer(layer: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        weight = layer._parameters.get("weight")  # None where a parametrisation computes it
        if weight is None or id(weight) in calibrated or not isinstance(output, Tensor):
            return None
        calibrated.add(id(weight))
        factor = 1.0 / _power_of_two(output.square().mean().sqrt().item())
        weight.mul_(factor)
        if isinstance(bias := layer._parameters.get("bias"), Tensor):
            bias.mul_(factor)
        if type(layer) in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d):
            return output * factor
        # Someone's own kind of layer, which may standardise its weight: what it makes of the new one, only it knows.
        return layer.forward(*args, **kwargs)

    def set_statistics(norm: nn.Module, args: Any) -> None:
        mean, variance = norm.running_mean, norm.running_var
        if id(norm) in calibrated or not isinstance(mean, Tensor) or not isinstance(variance, Tensor):
            return
        calibrated.add(id(norm))
        size = _power_of_two(args[0].square().mean().sqrt().item())
        mean.uniform_(-0.1 * size, 0.1 * size, generator=generator)
        variance.uniform_(0.5 * size * size, 1.5 * size * size, generator=generator)
        if isinstance(count := norm.num_batches_tracked, Tensor):
            count.fill_(1)

    handles = []
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            _reset_statistics(layer)
            handles.append(layer.register_forward_pre_hook(set_statistics))
        elif isinstance(layer, nn.Linear | _ConvNd):
            handles.append(layer.register_forward_hook(scale_layer, with_kwargs=True))
    try:
        module(*inputs)
    finally:
        for handle in handles:
            handle.remove()


def _reset_statistics(norm: _BatchNorm) -> None:
    """So that a norm which the forward pass does not reach holds no garbage either."""
    if norm.track_running_stats:
        norm.reset_running_stats()


def _power_of_two(size: float) -> float:
    """The power of two next to `size`; 1 where there is nothing to go by."""
    return 2.0 ** round(math.log2(size)) if math.isfinite(size) and size > 0.0 else 1.0
