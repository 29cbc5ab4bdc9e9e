"""Watches one training step on fake tensors and writes down what every layer does.

A *layer* is one uninterrupted stretch of the forward pass inside one module: a module without
children is one layer, and what a larger module computes itself (attention products, residual
additions, masking, the contrastive loss) makes further ones, named after the module.

- Every operator that reaches the dispatcher is attributed to a layer: in the forward pass to the
  one running, in the backward pass to the one whose forward pass created the autograd node, by the
  node's sequence number.
- Bytes moved by an operator are the elements it reads (an expanded axis once) and writes; a
  gather reads as much as it writes. Views, metadata and bare allocations move nothing and launch
  nothing.
- Storages are followed from allocation to release, so the bytes alive at every operator are known.
  A storage that autograd keeps is charged to the layer that keeps it first; parameters, their
  gradients and the inputs are counted elsewhere. What an operator takes inside itself (cuDNN's or
  oneDNN's own workspace) is invisible here.

Random choices of the batch that decide shapes are fixed at their largest: a boolean index selects
every element.
"""

from __future__ import annotations

import bisect
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.modeling_layers import GradientCheckpointingLayer

from fedsim.tracing import flops

aten = torch.ops.aten

_DEVICE = torch.ops.prim.device.default
_NEITHER_READ_NOR_WRITTEN = {
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.empty_strided.default,
    aten.new_empty.default,
    aten.new_empty_strided.default,
    aten.detach.default,
    aten.detach_.default,
    aten.alias.default,
    aten.lift_fresh.default,
    aten._unsafe_view.default,
    aten._reshape_alias.default,
    aten.set_.source_Storage,
    aten._local_scalar_dense.default,
}
_GATHERS = {
    aten.index.Tensor,
    aten.index_select.default,
    aten.gather.default,
    aten.embedding.default,
    aten.masked_select.default,
    aten.select_backward.default,
    aten.slice_backward.default,
}
_MAY_SELECT = {aten.index.Tensor, aten.masked_select.default}
_IN_PLACE_SCATTERS = {aten.index_put_.default, aten._index_put_impl_.default}
_EXTRA_LAUNCHES = {
    aten.native_layer_norm_backward.default: 2,
    aten.native_group_norm_backward.default: 2,
}
"""Operators that start a kernel for the input's gradient and one for the parameters'."""

KINDS = (flops.CONV, flops.GROUPED_CONV, flops.MATMUL, flops.ATTENTION)


@dataclass
class Layer:
    """One layer of one traced step; what it is, and what it cost at this batch and length."""

    name: str
    module: str
    module_class: str
    start_sequence: int
    leaf: bool
    arithmetic: str | None = None
    forward_flops: int = 0
    backward_flops: int = 0
    forward_operand_bytes: int = 0
    backward_operand_bytes: int = 0
    forward_stream_bytes: int = 0
    backward_stream_bytes: int = 0
    forward_launches: int = 0
    backward_launches: int = 0
    saved_bytes: int = 0
    cached_bytes: int = 0
    forward_live_bytes: list[int] = field(default_factory=list)
    backward_live_bytes: list[int] = field(default_factory=list)
    reads_from: dict[int, None] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether nothing happened here: no kernel, and nothing kept."""
        return not (
            self.forward_launches
            or self.backward_launches
            or self.saved_bytes
            or self.forward_live_bytes
            or self.backward_live_bytes
        )


@dataclass(frozen=True)
class Block:
    """A module that transformers can checkpoint, as one traced step has it.

    Checkpointing runs a block again until its last tensor is saved. ``tail`` counts launches,
    operand bytes and stream bytes of the forward pass after that, which are not run again; ``last``
    is the last layer (by index) that runs again.
    """

    input_bytes: int
    kept_bytes: int
    tail: tuple[int, ...]
    first: int
    last: int

    def numbers(self) -> list[int]:
        """Everything that depends on batch and length."""
        return [self.input_bytes, self.kept_bytes, *self.tail]


@dataclass(frozen=True)
class Cost:
    """What one operator costs: its arithmetic (None if it only moves memory) and its counts."""

    arithmetic: str | None
    backward: bool
    flops: int
    moved_bytes: int
    launches: int


Watch = Callable[[Any, tuple[Any, ...], dict[str, Any], Cost], None]


@dataclass(slots=True)
class _Storage:
    nbytes: int
    born: int
    died: int = -1
    grad: bool = False
    saved: bool = False


def _read_bytes(tensor: torch.Tensor) -> int:
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        if stride != 0:
            count *= size
        elif size == 0:
            return 0
    return count * tensor.element_size()


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records one step of ``model``; use as a context around forward and backward.

    Args:
        model: the model, its parameters fake.
        inputs: tensors that exist before the step and are counted as inputs.
        run: (operator, args, kwargs) -> result, if not by calling the operator.
        watch: told of every operator that does work, as ``watch(operator, args, kwargs, Cost)``.
    """

    def __init__(
        self, model: torch.nn.Module, inputs: list[torch.Tensor], run: Any = None, watch: Watch | None = None
    ):
        super().__init__()  # type: ignore[no-untyped-call]
        self._run = run or _plainly
        self._watch_operators = watch
        self.model = model
        self.layers: list[Layer] = []
        self._starts: list[int] = []
        self._backward = False
        self._current = -1
        self._stack: list[tuple[str, str, bool]] = []
        self._storages: dict[int, _Storage] = {}
        self._ignored: set[int] = set()
        self._keep: list[Any] = []
        self._forward_moments = 0
        self._casts: list[tuple[_Storage, int]] = []
        self._parameters = {p.untyped_storage()._cdata for p in model.parameters()}
        self._saver: dict[int, int] = {}
        self._producer: dict[int, int] = {}
        self._moments: list[tuple[int, bool]] = []
        self.blocks: dict[str, Block] = {}
        self._entered: dict[str, tuple[int, set[int]]] = {}
        self._run_so_far = (0, 0, 0)
        self._at_last_save = (-1, (0, 0, 0), 0)
        self.input_bytes = sum(t.untyped_storage().nbytes() for t in inputs)
        for tensor in [*model.parameters(), *model.buffers(), *inputs]:
            storage = tensor.untyped_storage()
            self._keep.append(storage)
            self._ignored.add(storage._cdata)
        self._handles = [hook for name, module in model.named_modules() for hook in self._watch(name, module)]
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    # -- following modules ---------------------------------------------------------------------

    def _watch(self, name: str, module: torch.nn.Module) -> list[Any]:
        leaf = next(module.children(), None) is None
        entry = (name, type(module).__name__, leaf)

        def enter(module: torch.nn.Module, args: Any) -> None:
            if isinstance(module, GradientCheckpointingLayer):
                tensors = [t for t in args if isinstance(t, torch.Tensor) and t.is_floating_point()]
                keys = {t.untyped_storage()._cdata for t in tensors} - self._ignored
                self._entered[name] = (len(self.layers), keys)
            self._stack.append(entry)
            self._open(0)

        def leave(module: torch.nn.Module, args: Any, output: Any) -> None:
            self._stack.pop()
            if name in self._entered:
                self.blocks[name] = self._finished(*self._entered.pop(name))
            self._open(0)

        return [
            module.register_forward_pre_hook(enter),
            module.register_forward_hook(leave, always_call=True),
        ]

    def _finished(self, first: int, keys: set[int]) -> Block:
        """What checkpointing would do with the block that began with layer ``first``."""
        index, run, launches = self._at_last_save
        if index < first:
            index, run, launches = first, self._run_so_far, 0
        return Block(
            input_bytes=sum(self._storages[k].nbytes for k in keys),
            kept_bytes=sum(self._storages[k].nbytes for k in keys if self._saver.get(k, -1) >= first),
            tail=tuple(total - before for total, before in zip(self._run_so_far, run, strict=True)),
            first=first,
            last=index if launches else index - 1,
        )

    def _open(self, nodes_before: int) -> None:
        if self._backward:
            return
        outside = ("", type(self.model).__name__, False)
        module, module_class, leaf = self._stack[-1] if self._stack else outside
        self._starts.append(torch._C._autograd._get_sequence_nr() - nodes_before)
        self.layers.append(Layer("", module, module_class, self._starts[-1], leaf))
        self._current = len(self.layers) - 1

    def _layer_now(self, arithmetic: str | None) -> int:
        if self._backward:
            node = torch._C._current_autograd_node()
            if node is not None:
                sequence = node._sequence_nr()
                if sequence < 1 << 62:
                    self._current = max(0, bisect.bisect_right(self._starts, sequence) - 1)
            return self._current
        layer = self.layers[self._current]
        if arithmetic is not None:
            if layer.arithmetic not in (None, arithmetic):
                self._open(1)
                layer = self.layers[self._current]
            layer.arithmetic = arithmetic
        return self._current

    def start_backward(self) -> None:
        """Call between the forward and the backward pass."""
        self._backward = True
        self._forward_moments = len(self._moments)
        self._current = len(self.layers) - 1

    # -- following storages --------------------------------------------------------------------

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        key = storage._cdata
        index = self._current if self._backward else self._layer_now(None)
        if not self._backward:
            self._at_last_save = (index, self._run_so_far, self.layers[index].forward_launches)
        if key not in self._ignored and key not in self._saver:
            self._saver[key] = index
            self.layers[index].saved_bytes += storage.nbytes()
            (self._storages.get(key) or self._born(storage)).saved = True
        return tensor

    def _born(self, storage: torch.UntypedStorage) -> _Storage:
        key = storage._cdata
        record = _Storage(storage.nbytes(), len(self._moments))
        self._storages[key] = record
        self._lives.append(record)
        weakref.finalize(storage, self._died, key, record).atexit = False
        return record

    def _died(self, key: int, record: _Storage) -> None:
        record.died = len(self._moments)
        if self._storages.get(key) is record:
            del self._storages[key]
            self._saver.pop(key, None)
            self._producer.pop(key, None)

    # -- following operators -------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is _DEVICE:
            return args[0].fake_device
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default and args[0].dtype is torch.bool:
            return True
        out = _select_everything(func, args) if func in _MAY_SELECT else None
        if out is None:
            out = self._run(func, args, kwargs)
        if func.namespace == "prim":
            return out
        self._observe(func, args, kwargs, out)
        return out

    def _observe(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        several = out if isinstance(out, (tuple, list)) else (out,)
        outputs = [t for t in several if isinstance(t, torch.Tensor)]
        works = not (func in _NEITHER_READ_NOR_WRITTEN or func.is_view)
        formula = flops.FORMULAS.get(func)
        arithmetic, count = formula(args, out) if formula else (None, 0)
        new = []
        for tensor in outputs:
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self._storages and key not in self._ignored:
                new.append(storage)
        if not works and not new:
            return
        index = self._layer_now(arithmetic)
        layer = self.layers[index]
        for storage in new:
            record = self._born(storage)
            self._producer[storage._cdata] = index
            if func is aten._to_copy.default and args[0].untyped_storage()._cdata in self._parameters:
                self._casts.append((record, index))
        self._moments.append((index, self._backward))
        if not works:
            return
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        if not self._backward:
            for tensor in inputs:
                producer = self._producer.get(tensor.untyped_storage()._cdata)
                if producer is not None and producer != index:
                    layer.reads_from[producer] = None
            for tensor in outputs:
                self._producer[tensor.untyped_storage()._cdata] = index
        if func in _GATHERS:
            moved = 2 * sum(map(_read_bytes, outputs))
            moved += sum(_read_bytes(t) for t in inputs[1:])
        elif func in _IN_PLACE_SCATTERS:
            moved = sum(2 * _read_bytes(t) for t in inputs[1:])
        else:
            each = {id(t): t for t in inputs}.values()
            moved = sum(map(_read_bytes, each)) + sum(map(_read_bytes, outputs))
        launches = _EXTRA_LAUNCHES.get(func, 1)
        if func is aten.convolution_backward.default:
            launches = sum(map(bool, args[10]))
        if self._watch_operators is not None:
            self._watch_operators(func, args, kwargs, Cost(arithmetic, self._backward, count, moved, launches))
        if self._backward:
            layer.backward_flops += count
            layer.backward_launches += launches
            if arithmetic:
                layer.backward_operand_bytes += moved
            else:
                layer.backward_stream_bytes += moved
        else:
            so_far = self._run_so_far
            operand, stream = (moved, 0) if arithmetic else (0, moved)
            self._run_so_far = (so_far[0] + launches, so_far[1] + operand, so_far[2] + stream)
            layer.forward_flops += count
            layer.forward_launches += launches
            if arithmetic:
                layer.forward_operand_bytes += moved
            else:
                layer.forward_stream_bytes += moved

    # -- the step ------------------------------------------------------------------------------

    def __enter__(self) -> Recorder:
        self._lives: list[_Storage] = []
        self._hooks.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        self._open(0)
        return self

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)  # type: ignore[no-untyped-call]
        self._hooks.__exit__(*exc)
        for handle in self._handles:
            handle.remove()

    def finish(self) -> list[Layer]:
        """The layers in the order of the forward pass, idle ones left out, with live bytes filled in."""
        moments = len(self._moments)
        grads = {p.grad.untyped_storage()._cdata for p in self.model.parameters() if p.grad is not None}
        for key in grads:
            if key in self._storages:
                self._storages[key].grad = True
        change = [0] * (moments + 2)
        for record in self._lives:
            if not record.grad:
                change[record.born] += record.nbytes
                change[record.died if record.died >= 0 else moments] -= record.nbytes
        for record, index in self._casts:
            if not record.saved and (record.died < 0 or record.died >= self._forward_moments):
                self.layers[index].cached_bytes += record.nbytes
        live = 0
        for moment, (index, backward) in enumerate(self._moments):
            live += change[moment]
            layer = self.layers[index]
            (layer.backward_live_bytes if backward else layer.forward_live_bytes).append(live)
        return self.layers


def _plainly(func: Any, args: Any, kwargs: Any) -> Any:
    return func(*args, **kwargs)


def _select_everything(func: Any, args: Any) -> Any:
    """The result of a boolean selection that selects every element, or None if there is no mask."""
    if func is aten.masked_select.default:
        return args[0].new_empty((args[1].numel(),))
    mask = args[1][0] if args[1] else None
    if mask is None or mask.dtype is not torch.bool:
        return None
    return args[0].new_empty((mask.numel(), *args[0].shape[mask.dim() :]))
