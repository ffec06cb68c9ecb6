# SPDX-License-Identifier: Apache-2.0
"""Published weights of transformers' models have other names than the module's: told apart here, by names alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# What files of old hold beside the weights of the class that is built: masks and positions that are computed, and
# parts of BERT's training that no language model has.
_LEFT_OVER = (
    r"(^|\.)(position_ids|masked_bias|inv_freq)$",
    r"^cls\.seq_relationship\.",
    r"^bert\.pooler\.",
    r"^(roberta\.)?pooler\.",
)


def fitted(module: Any, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """`tensors` by the names of `module.state_dict()`, as far as the difference is one of these:

    the trunk's prefix is missing ("wte.weight" for "transformer.wte.weight"); layer norms have TensorFlow's names
    (gamma, beta); one name of a weight in two places is left out; buffers that no model needs any more are there. All
    else is left to the strict check of `load_weights`.
    """
    wanted = set(module.state_dict())
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        found[_name(name, module, wanted)] = tensor
    for one, other in _tied(module).items():
        if one in wanted and other in wanted:
            for missing, there in ((one, other), (other, one)):
                if missing not in found and there in found:
                    found[missing] = found[there]
    ignored = (*_LEFT_OVER, *(getattr(module, "_keys_to_ignore_on_load_unexpected", None) or ()))
    return {
        name: tensor
        for name, tensor in found.items()
        if name in wanted or not any(re.search(pattern, name) for pattern in ignored)
    }


def _name(name: str, module: Any, wanted: set[str]) -> str:
    renamed = re.sub(r"\.beta$", ".bias", re.sub(r"\.gamma$", ".weight", name))
    prefix = f"{getattr(module, 'base_model_prefix', '')}."
    candidates = (name, renamed, prefix + name, prefix + renamed, renamed.removeprefix(prefix))
    return next((one for one in candidates if one in wanted), name)


def _tied(module: Any) -> Mapping[str, str]:
    """Names of parameters that are one, in pairs."""
    parameters = module.named_parameters(remove_duplicate=False)
    first: dict[int, str] = {}
    pairs: dict[str, str] = {}
    for name, parameter in parameters:
        if id(parameter) in first:
            pairs[name] = first[id(parameter)]
        first.setdefault(id(parameter), name)
    return pairs
