"""Watches one training step on fake tensors and writes down what every layer does.

A *layer* is one uninterrupted stretch of the forward pass inside one module: a module without
children is one layer, and what a larger module computes itself (attention products, residual
additions, masking, the contrastive loss) makes further ones, named after the module.

- Every operator that reaches the dispatcher is attributed to a layer: in the forward pass to the
  one running, in the backward pass to the one whose forward pass created the autograd node, by the
  node's sequence number.
- Storages are followed from allocation to release, so the bytes alive at every operator are known.
  A storage that autograd keeps is charged to the layer that keeps it first; parameters, their
  gradients and the inputs are counted elsewhere. What an operator takes inside itself (cuDNN's or
  oneDNN's own workspace) is invisible here.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fedsim.tracing import operators, roles
from fedsim.tracing.flops import count
from fedsim.tracing.lifetimes import Lifetimes, Storage
from fedsim.tracing.operators import Cost
from fedsim.tracing.records import Block, Layer

__all__ = ["Block", "Cost", "Layer", "Recorder", "Watch"]

aten = torch.ops.aten
_DEVICE = torch.ops.prim.device.default

Watch = Callable[[Any, tuple[Any, ...], dict[str, Any], Cost], None]
"""Told of every operator that does work: operator, arguments, keyword arguments, cost."""


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records one step of ``model``; use as a context around forward and backward.

    Args:
        model: the model, its parameters fake.
        inputs: tensors that exist before the step and are counted as inputs.
        run: (operator, args, kwargs) -> result, if not by calling the operator.
        blocks: the names of modules that checkpointing would run again, perhaps with the kind of each.
        watch: told of every operator that does work, as ``watch(operator, args, kwargs, Cost)``.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        inputs: list[torch.Tensor],
        run: Any = None,
        blocks: Collection[str] = (),
        watch: Watch | None = None,
    ):
        super().__init__()  # type: ignore[no-untyped-call]
        self._run = run or _plainly
        self._watch_operators = watch
        self._may_run_again = frozenset(blocks)
        self._deep = [name for name in blocks if not isinstance(blocks, Mapping) or blocks[name] != "cnn"]
        self.model = model
        self.layers: list[Layer] = []
        self._starts: list[int] = []
        self._backward = False
        self._current = -1
        self._stack: list[tuple[str, str, bool, int]] = []
        self._lifetimes = Lifetimes(self._released)
        self._ignored: set[int] = set()
        self._keep: list[Any] = []
        self._forward_moments = 0
        self._casts: list[tuple[Storage, int]] = []
        self._parameters = {p.untyped_storage()._cdata for p in model.parameters()}
        self._saver: dict[int, int] = {}
        self._savers: dict[int, tuple[Storage, list[int]]] = {}
        self._operations: list[roles.Operation] = []
        self._producer: dict[int, int] = {}
        self._moments: list[tuple[int, bool]] = []
        self.blocks: dict[str, Block] = {}
        self._entered: dict[str, tuple[int, set[int]]] = {}
        self._run_so_far = (0, 0, 0)
        self._at_last_save = (-1, (0, 0, 0), 0)
        self.input_shapes = [tuple(t.shape) for t in inputs]
        self.input_bytes = sum(t.untyped_storage().nbytes() for t in inputs)
        for tensor in [*model.parameters(), *model.buffers(), *kept(model), *inputs]:
            storage = tensor.untyped_storage()
            self._keep.append(storage)
            self._ignored.add(storage._cdata)
        self._handles = [hook for name, module in model.named_modules() for hook in self._watch(name, module)]
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here, so no operator need pay for keeping the compiler away."""
        return False

    # -- following modules ---------------------------------------------------------------------

    def _watch(self, name: str, module: torch.nn.Module) -> list[Any]:
        leaf = next(module.children(), None) is None
        entry = (name, type(module).__name__, leaf)

        def enter(module: torch.nn.Module, args: Any) -> None:
            if name in self._may_run_again:
                tensors = [t for t in args if isinstance(t, torch.Tensor) and t.is_floating_point()]
                keys = {t.untyped_storage()._cdata for t in tensors} - self._ignored
                self._entered[name] = (len(self.layers), keys)
            self._open(0, entry)
            self._stack.append((*entry, self._current))

        def leave(module: torch.nn.Module, args: Any, output: Any) -> None:
            *_, first = self._stack.pop()
            if leaf and not self._backward:
                tensors = operators.tensors_of(output)
                self.layers[first].output_bytes += sum(t.numel() * t.element_size() for t in tensors)
                self.layers[first].shapes += [tuple(t.shape) for t in tensors]
            if name in self._entered:
                block = self._finished(*self._entered.pop(name))
                if name in self.blocks:  # it runs more than once in a step: no stretch of layers
                    self._may_run_again -= {name}
                self.blocks[name] = block
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
            input_bytes=sum(self._lifetimes.alive[k].nbytes for k in keys),
            kept_bytes=sum(self._lifetimes.alive[k].nbytes for k in keys if self._saver.get(k, -1) >= first),
            tail=tuple(total - before for total, before in zip(self._run_so_far, run, strict=True)),
            first=first,
            last=index if launches else index - 1,
        )

    def _open(self, nodes_before: int, entry: tuple[str, str, bool] | None = None) -> None:
        if self._backward:
            return
        outside = ("", type(self.model).__name__, False)
        module, module_class, leaf = entry or (self._stack[-1][:3] if self._stack else outside)
        self._starts.append(torch._C._autograd._get_sequence_nr() - nodes_before)
        self.layers.append(Layer(module, module_class, self._starts[-1], leaf))
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
        if key not in self._ignored:
            record = self._lifetimes.alive.get(key) or self._lifetimes.follow(storage)
            if key not in self._saver:
                self._saver[key] = index
                self.layers[index].saved_bytes += storage.nbytes()
                record.saved = True
            self._savers.setdefault(id(record), (record, []))[1].append(index)
        return tensor

    def _released(self, key: int) -> None:
        self._saver.pop(key, None)
        self._producer.pop(key, None)

    # -- following operators -------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is _DEVICE:
            return args[0].fake_device
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default and args[0].dtype is torch.bool:
            return True
        out = operators.result(func, args)
        if out is None:
            out = self._run(func, args, kwargs)
        if func.namespace == "prim":
            return out
        self._observe(func, args, kwargs, out)
        return out

    def _observe(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        several = out if isinstance(out, (tuple, list)) else (out,)
        outputs = [t for t in several if isinstance(t, torch.Tensor)]
        alive = self._lifetimes.alive
        new = [s for s in (t.untyped_storage() for t in outputs) if not self._known(s._cdata)]
        works = operators.works(func)
        if not works and not new:
            return
        arithmetic, products = operators.arithmetic_of(func, args, out)
        index = self._layer_now(arithmetic)
        layer = self.layers[index]
        for storage in new:
            record = alive.get(storage._cdata) or self._lifetimes.follow(storage)
            self._producer[storage._cdata] = index
            if func is aten._to_copy.default and args[0].untyped_storage()._cdata in self._parameters:
                self._casts.append((record, index))
        self._lifetimes.clock += 1
        self._moments.append((index, self._backward))
        layer.shapes += [*products, *(tuple(t.shape) for t in outputs), *map(_padded, outputs)]
        if not works:
            return
        inputs = operators.tensors_of((args, kwargs))
        layer.shapes += [tuple(t.shape) for t in inputs]
        if not self._backward:
            self._connect(index, inputs, outputs)
        flops = count(products)
        cost = Cost(
            arithmetic,
            self._backward,
            flops,
            operators.moved_bytes(func, inputs, outputs),
            operators.launches_of(func, args),
        )
        if self._watch_operators is not None:
            self._watch_operators(func, args, kwargs, cost)
        operand, stream = (cost.moved_bytes, 0) if arithmetic else (0, cost.moved_bytes)
        if self._backward:
            self._note(func, inputs, outputs, products, cost, index)
            layer.backward_flops += flops
            layer.backward_launches += cost.launches
            layer.backward_operand_bytes += operand
            layer.backward_stream_bytes += stream
        else:
            before = self._run_so_far
            self._run_so_far = (before[0] + cost.launches, before[1] + operand, before[2] + stream)
            layer.forward_flops += flops
            layer.forward_launches += cost.launches
            layer.forward_operand_bytes += operand
            layer.forward_stream_bytes += stream

    def _note(
        self,
        func: Any,
        inputs: list[torch.Tensor],
        outputs: list[torch.Tensor],
        products: list[Any],
        cost: Cost,
        index: int,
    ) -> None:
        """Remember an operator of the backward pass, to say later for what it worked."""
        alive = self._lifetimes.alive
        node = torch._C._current_autograd_node()
        self._operations.append(
            roles.Operation(
                func,
                index,
                roles.module_of(self.layers[index].module),
                [record for t in inputs if (record := alive.get(t.untyped_storage()._cdata))],
                [
                    (record, t.numel() * t.element_size())
                    for t in outputs
                    if (record := alive.get(t.untyped_storage()._cdata))
                ],
                products,
                cost,
                len(self._moments) - 1,
                collects=node is not None and node._sequence_nr() >= 1 << 62,
            )
        )

    def _known(self, key: int) -> bool:
        return key in self._lifetimes.alive or key in self._ignored

    def _connect(self, index: int, inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> None:
        """Note which layers this one reads from, and that it made the outputs."""
        for tensor in inputs:
            producer = self._producer.get(tensor.untyped_storage()._cdata)
            if producer is not None and producer != index:
                self.layers[index].reads_from[producer] = None
        for tensor in outputs:
            self._producer[tensor.untyped_storage()._cdata] = index

    # -- the step ------------------------------------------------------------------------------

    def __enter__(self) -> Recorder:
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
        """The layers in the order of the forward pass, idle ones too, with live bytes filled in."""
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                key = parameter.grad.untyped_storage()._cdata
                if key in self._lifetimes.alive:
                    self._lifetimes.alive[key].grad = True
        gradients = {id(record) for record in self._lifetimes.all if record.grad}
        before = self._before_blocks()
        aside = roles.divide(self._operations, self.layers, gradients, self._savers, before)
        moved = {moment: layer for layer in aside.values() for moment in layer.moments}
        self.blocks = {name: block for name, block in self.blocks.items() if name in self._may_run_again}
        for record, index in self._casts:
            if not record.saved and (record.died < 0 or record.died >= self._forward_moments):
                self.layers[index].cached_bytes += record.nbytes
        for moment, live in enumerate(self._lifetimes.live_bytes()):
            index, backward = self._moments[moment]
            layer = moved.get(moment, self.layers[index])
            (layer.backward_live_bytes if backward else layer.forward_live_bytes).append(live)
        self._put(aside, before)
        return self.layers

    def _before_blocks(self) -> list[bool]:
        """Whether each layer is neither in a block that multiplies nor comes after one."""
        found: list[bool] = []
        for layer in self.layers:
            inside = any(f"{layer.module}.".startswith(f"{name}.") for name in self._deep)
            found.append(not inside and all(found[i] for i in layer.reads_from if i < len(found)))
        return found

    def _put(self, aside: dict[int, Layer], before: list[bool]) -> None:
        """Put what was set aside of layers before them; it reads from what is before the blocks alone."""
        if not aside:
            return
        place = {old: old + sum(at <= old for at in aside) for old in range(len(self.layers))}
        for index, layer in aside.items():
            layer.reads_from = dict.fromkeys(i for i in self.layers[index].reads_from if before[i])
        for index in sorted(aside, reverse=True):
            self.layers.insert(index, aside[index])
        for layer in self.layers:
            layer.reads_from = {place[i]: None for i in layer.reads_from}
            layer.shares = None if layer.shares is None else place[layer.shares]
        self.blocks = {
            name: replace(block, first=place[block.first], last=place[block.last])
            for name, block in self.blocks.items()
        }


def _padded(tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape of which a tensor is a slice: how far its rows lie apart, rather than how long they are."""
    strides = tensor.stride()
    if 0 in strides:
        return ()
    return (*tensor.shape[:1], *(a // b for a, b in pairwise(strides)))


def kept(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    """What modules keep from step to step beside their parameters and buffers."""
    for module in model.modules():
        yield from (value for value in vars(module).values() if isinstance(value, torch.Tensor))


def _plainly(func: Any, args: Any, kwargs: Any) -> Any:
    return func(*args, **kwargs)
