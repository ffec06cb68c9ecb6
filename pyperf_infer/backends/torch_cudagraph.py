# SPDX-License-Identifier: Apache-2.0
"""PyTorch through a CUDA graph: captured once, then launched by the native loop without PyTorch or Python."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ClassVar

import torch

from pyperf_infer import _core
from pyperf_infer.backends.torch_capture import capture, why_it_failed
from pyperf_infer.backends.torch_common import array_of, explained, tensor_of
from pyperf_infer.backends.torch_cuda import EAGER_LOOP, Lane, PreparedTorchCuda, pinned_like, prepare_on_gpu
from pyperf_infer.backends.torch_device import native_stream, release_memory, wait_for
from pyperf_infer.backends.torch_eager import TorchEager
from pyperf_infer.convert.outputs import named_outputs
from pyperf_infer.convert.parity import compare_outputs
from pyperf_infer.errors import InputError, MeasurementError
from pyperf_infer.models.inputs import make_inputs
from pyperf_infer.system.memory import is_out_of_memory

if TYPE_CHECKING:
    from pyperf_infer.backends.base import Array, Facts, PreparedBackend
    from pyperf_infer.backends.torch_device import TorchGpu
    from pyperf_infer.models.spec import LoadedModel

_OTHER_SEED = 0x5EED  # of the inputs that a replay has to follow
# Of how far outputs move from one input to the other. A stale output is off by all of it; the same kernels twice by no
# more than the order in which they happen to add.
_SAME = 0.05
_POISON = 0xFF  # in every byte: NaN in floating point, -1 in integers
_FOLLOWS = "outputs follow the input"
_WHY_NOT = "and a graph repeats the same ones in every launch"


class NoGraphError(MeasurementError):
    """The model cannot be run as a CUDA graph; the text is the reason."""


class TorchCudaGraph(TorchEager):
    """Backend `torch-cudagraph`. Raises as TorchEager."""

    name: ClassVar[str] = "torch-cudagraph"

    def prepare(self, model: LoadedModel, inputs: Mapping[str, Array]) -> PreparedBackend:
        module = self._module_of(model)
        eager = prepare_on_gpu(self.name, model, module, inputs, self._gpu, self._options)
        try:
            return PreparedTorchGraph(eager, inputs)
        except Exception as error:
            release_memory(error, gpu=self._gpu)
            if isinstance(error, NoGraphError) and self._options.allow_eager_fallback:
                return _fallen_back(eager, inputs, error)
            eager.close()
            if isinstance(error, NoGraphError):
                hint = "--allow-eager-fallback times it eagerly all the same"
                raise MeasurementError(f"{model.name} cannot run as a CUDA graph: {error}; {hint}") from error
            raise


def _fallen_back(eager: PreparedTorchCuda, inputs: Mapping[str, Array], error: NoGraphError) -> PreparedTorchCuda:
    eager.bind(inputs)
    eager.outputs()  # so that a GPU which did not survive the capture is found out here
    eager.facts = dataclasses.replace(
        eager.facts,
        loop=f"{EAGER_LOOP} (eager)",
        settings={**eager.facts.settings, "cudagraph": f"failed: {error}"},
    )
    return eager


class PreparedTorchGraph:
    """A captured module, one graph a stream; PyTorch only keeps its memory."""

    def __init__(self, eager: PreparedTorchCuda, inputs: Mapping[str, Array]) -> None:
        self._eager, self._name = eager, eager.model.name
        with explained(self._name), eager.running():
            _refuse_random(eager)
            self._graphs = [_Graph(lane, eager) for lane in eager.lanes]
        checked = self._check_that_it_follows(inputs)
        plan = eager.options.stream_plan()
        lanes = [graph.native for graph in self._graphs]
        self._target: _core.Target | None = _core.GraphTarget(lanes, plan, self._graphs)
        self.facts: Facts = dataclasses.replace(
            eager.facts,
            loop="native",
            settings={**eager.facts.settings, "cudagraph": "captured", "replay_check": checked},
        )

    @property
    def target(self) -> _core.Target:
        if self._target is None:
            raise InputError("this graph is closed")
        return self._target

    def bind(self, inputs: Mapping[str, Array]) -> None:
        self._eager.bind(inputs)

    def outputs(self) -> dict[str, Array]:
        with explained(self._name):
            _core.run_batched(self.target, 1)
            return self._graphs[0].read()

    def measuring(self) -> AbstractContextManager[object]:
        return nullcontext()

    def close(self) -> None:
        self._target = None
        for graph in self._graphs:
            graph.reset()
        self._graphs = []
        self._eager.close()

    def _check_that_it_follows(self, inputs: Mapping[str, Array]) -> str:
        """Whether replays give what the module gives, for inputs that were written after the capture as well.

        Each launch finds its outputs overwritten. Both ways of launching are tried: the native one, and torch's.
        """
        specs = self._eager.model.inputs
        other = make_inputs(specs, {name: array.shape for name, array in inputs.items()}, _OTHER_SEED)
        eager: list[dict[str, Array]] = []
        replayed: dict[tuple[int, str], list[dict[str, Array]]] = {}
        with explained(self._name), self._eager.running():
            for values in (inputs, other):
                self._eager.bind(values)
                eager.append(self._eager.outputs())
                for number, graph in enumerate(self._graphs):
                    for way, launch in (("the native loop", graph.launch), ("torch", graph.replay)):
                        graph.lane.write([tensor_of(values[spec.name]) for spec in specs])  # a call may change them
                        graph.poison()
                        launch()
                        replayed.setdefault((number, way), []).append(graph.read())
            self._eager.bind(inputs)
        found = [_compare(eager, outputs, way) for (_, way), outputs in replayed.items()]
        return next((one for one in found if one != _FOLLOWS), _FOLLOWS)


class _Graph:
    """The graph of one lane, its outputs, and how the native loop launches it."""

    def __init__(self, lane: Lane, eager: PreparedTorchCuda) -> None:
        self.lane, self._gpu = lane, eager.gpu
        transfers = eager.options.include_transfers
        # Outputs that exist before and after any call, such as inputs and weights that are handed back, stay unharmed.
        first, second = lane.run(), lane.run()  # both alive, so that one's memory is not the other's by chance
        self._lasting = _storages(first) & _storages(second)
        del first, second
        self._graph, self._outputs = _capture_outputs(lane, eager.gpu, contiguous=transfers)
        self._hosts = [pinned_like(tensor) for tensor in self._on_gpu()] if transfers else []
        self._plan = eager.options.stream_plan()
        self.native = _core.GraphLane(
            self._graph.raw_cuda_graph_exec(),
            native_stream(eager.gpu, lane.stream),
            list(_copies(lane.inputs, lane.host_inputs)) if transfers else [],
            list(_copies(self._on_gpu(), self._hosts)) if transfers else [],
        )

    def launch(self) -> None:
        """Once, as the native loop does; returns when it is done."""
        _core.run_batched(_core.GraphTarget([self.native], self._plan, self), 1)

    def replay(self) -> None:
        """Once, as torch does; returns when it is done."""
        with torch.cuda.device(self._gpu.index), torch.cuda.stream(self.lane.stream):
            self._graph.replay()
        wait_for(self._gpu, self.lane.stream)

    def read(self) -> dict[str, Array]:
        with torch.inference_mode():
            return {name: array_of(tensor) for name, tensor in self._outputs}

    def poison(self) -> None:
        """Overwrites the outputs, so that one which a launch does not write shows."""
        with torch.inference_mode(), torch.cuda.device(self._gpu.index), torch.cuda.stream(self.lane.stream):
            for tensor in self._on_gpu():
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in self._lasting:
                    torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage).fill_(_POISON)
        wait_for(self._gpu, self.lane.stream)

    def reset(self) -> None:
        with contextlib.suppress(RuntimeError):  # a GPU that has failed for good; that was said when it did
            self._graph.reset()
        self._outputs, self._hosts = [], []

    def _on_gpu(self) -> list[torch.Tensor]:
        return [tensor for _, tensor in self._outputs if tensor.device == self._gpu.device]


def _capture_outputs(
    lane: Lane, gpu: TorchGpu, *, contiguous: bool
) -> tuple[torch.cuda.CUDAGraph, list[tuple[str, torch.Tensor]]]:
    """The lane's graph and its outputs. `contiguous`: each in one piece, as one copy to the host needs it."""

    def call() -> object:
        result = lane.call()
        if not contiguous:
            return result
        return {
            name: tensor if _is_one_piece(tensor) else tensor.contiguous() for name, tensor in named_outputs(result)
        }

    try:
        graph, result = capture(call, lane.stream, gpu.index)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise NoGraphError(why_it_failed(error, lane.call)) from error
    return graph, named_outputs(result)


def _is_one_piece(tensor: torch.Tensor) -> bool:
    return tensor.is_contiguous() or (tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last))


def _copies(
    there: Sequence[torch.Tensor], here: Sequence[torch.Tensor]
) -> Iterator[tuple[int, int, int]]:  # fmt: skip
    """(address on the GPU, address on the host, bytes)."""
    for tensor, host in zip(there, here, strict=True):
        if tensor.nbytes:
            yield tensor.data_ptr(), host.data_ptr(), tensor.nbytes


def _storages(result: object) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for _, tensor in named_outputs(result)}


def _compare(eager: Sequence[dict[str, Array]], replayed: Sequence[dict[str, Array]], way: str) -> str:
    """What there is to say of outputs on two inputs, first of eager calls and then of replays.

    Raises:
        NoGraphError: the replays give something else.
    """
    a, b, replayed_a, replayed_b = ([*outputs.values()] for outputs in (*eager, *replayed))
    names = list(eager[0])
    parity = compare_outputs(
        a, b, replayed_a, replayed_b, _SAME, names=names, reference="an eager call", other="a replay"
    )
    # An integer that never changes has no movement to go by, and is the same to the last bit or overwritten.
    constant = [one.name for one in parity.outputs if one.status == "not checked" and one.movement == 0]
    broken = [
        name
        for name, *arrays in zip(names, a, b, replayed_a, replayed_b, strict=True)
        if name in constant and arrays[0].dtype.kind in "biu" and any((arrays[0] != one).any() for one in arrays[1:])
    ]
    if parity.status == "equal" and not broken:
        return _FOLLOWS
    if parity.status == "invalid" and compare_outputs(a, b, a, b).status == "invalid":
        return "not told: the outputs of eager calls are not finite"
    if parity.status == "not checked" and not broken:
        return f"not told: {parity.reason}"
    reason = f"{', '.join(broken)} differs" if broken else parity.reason
    raise NoGraphError(f"the outputs of a graph that {way} launches do not follow its inputs: {reason}")


def _refuse_random(eager: PreparedTorchCuda) -> None:
    """A graph would draw the same numbers in every launch.

    Raises:
        NoGraphError: the model draws random numbers; where they come from.
    """
    active = [name or "the model" for name, module in eager.module.named_modules() if _drops(module)]
    if active:
        raise NoGraphError(f"dropout in training mode ({', '.join(active[:3])}) draws random numbers, {_WHY_NOT}")
    before = _generators(eager.gpu)
    eager.lanes[0].run()
    for where, old, new in zip(("CPU", f"cuda:{eager.gpu.index}"), before, _generators(eager.gpu), strict=True):
        if not torch.equal(old, new):
            raise NoGraphError(f"a call draws random numbers (the generator of {where} moved on), {_WHY_NOT}")


def _drops(module: torch.nn.Module) -> bool:
    rate = getattr(module, "p" if isinstance(module, torch.nn.modules.dropout._DropoutNd) else "dropout", 0)
    is_one = isinstance(module, torch.nn.modules.dropout._DropoutNd | torch.nn.RNNBase)
    return is_one and module.training and rate > 0


def _generators(gpu: TorchGpu) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.get_rng_state(), torch.cuda.get_rng_state(gpu.index)
