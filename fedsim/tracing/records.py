"""What is written down of one traced step: layers, and blocks that could be checkpointed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Layer:
    """One layer of one traced step; what it is, and what it cost at this batch and length."""

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
    weight_flops: int = 0
    weight_operand_bytes: int = 0
    weight_stream_bytes: int = 0
    weight_launches: int = 0
    saved_bytes: int = 0
    weight_saved_bytes: int = 0
    cached_bytes: int = 0
    output_bytes: int = 0
    forward_live_bytes: list[int] = field(default_factory=list)
    backward_live_bytes: list[int] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    shares: int | None = None
    moments: list[int] = field(default_factory=list)
    reads_from: dict[int, None] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether nothing happened here: no kernel, nothing kept, nothing returned."""
        return not (
            self.forward_launches
            or self.backward_launches
            or self.saved_bytes
            or self.output_bytes
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
