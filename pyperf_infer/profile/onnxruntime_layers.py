# SPDX-License-Identifier: Apache-2.0
"""From the nodes of an exported graph to the modules that they came from."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyperf_infer.profile.onnxruntime_graph import Node

_SCOPES = "pkg.torch.onnx.name_scopes"
_NAMESPACE = "namespace"  # of every version of the exporter: "path: class/path: class/.../operator: aten"
_NO_MODULE = "_empty_nn_module_stack"
_WRAPPER = "module."  # what an export puts before every path where it had to flatten the outputs


def layers_of(nodes: Iterable[Node], modules: frozenset[str], shared: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Paths of the modules that nodes came from, each once; none where the graph does not tell.

    `modules`: all paths of the module that was exported, empty where there is none. A convolution that a batch norm was
    folded into says the batch norm's path, and has weights called after its own: both are layers then. `shared`: see
    `values_of_several`.
    """
    found: dict[str, None] = {}
    for node in nodes:
        own = module_path(node.metadata)
        for name in node.inputs:
            path = _known(name.rpartition(".")[0], modules)
            if path and path in modules and (own is None or name not in shared):
                found[path] = None
        if own is not None:
            found[_known(own, modules)] = None
    return tuple(found)


def values_of_several(nodes: Iterable[Node]) -> frozenset[str]:
    """What nodes of different modules take: a weight that is tied, or that the exporter found to be equal to another.

    It is called after one of them, which tells nothing of the others.
    """
    takers: dict[str, set[str]] = {}
    for node in nodes:
        own = module_path(node.metadata)
        if own is not None:
            for name in node.inputs:
                takers.setdefault(name, set()).add(own)
    return frozenset(name for name, modules in takers.items() if len(modules) > 1)


def module_path(metadata: Mapping[str, str]) -> str | None:
    """The path of the innermost module in what torch.onnx's exporter writes at a node, "" for the model itself."""
    scopes = metadata.get(_SCOPES)
    if scopes is not None:
        try:
            path = ast.literal_eval(scopes)
        except (ValueError, SyntaxError):
            path = None
        if isinstance(path, list) and all(isinstance(one, str) for one in path):
            return _innermost(path)
    namespace = metadata.get(_NAMESPACE)
    if namespace is None:
        return None
    return _innermost([part.partition(":")[0] for part in namespace.split("/")])


def _innermost(path: list[str]) -> str | None:
    """Without the last, which is the operator."""
    if len(path) < 2 or path[-2].startswith(_NO_MODULE):
        return None
    return path[-2]


def _known(path: str, modules: frozenset[str]) -> str:
    short = path.removeprefix(_WRAPPER) if path != _WRAPPER.rstrip(".") else ""
    return short if path not in modules and short in modules else path
