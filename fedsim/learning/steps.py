"""How one batch changes a client's weights: an ordinary step, one that lets gradients go, one without any.

A step is a function that is given the loss of a batch, as a function, and gives what that came to:

- :func:`ordinary`: a forward pass, a backward pass, the optimizer's step;
- :func:`released`: each parameter's step is taken within the backward pass, as soon as its gradient is
  whole, which is then let go (https://docs.pytorch.org/tutorials/intermediate/optimizer_step_in_backward_tutorial.html).
  The weights are those of the ordinary step to the last bit;
- :class:`ForwardOnly`: MeZO (Malladi et al., "Fine-tuning language models with just forward passes",
  NeurIPS 2023, https://arxiv.org/abs/2305.17333, algorithm 1): two forward passes, no backward pass.

The norm of all gradients is known to the ordinary step alone, so only there are they clipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch

from fedsim.determinism import seeded
from fedsim.errors import ScenarioError
from fedsim.learning import state
from fedsim.learning.options import Learning
from fedsim.tasks.base import Outcome

Loss = Callable[[], Outcome]
Step = Callable[[Loss], Outcome]
Correct = Callable[[int, torch.Tensor], None]
"""What the aggregation rule does to the gradient of the n-th parameter, in place."""


class Way(Protocol):
    """Which kind of step; see ``ways.Way``."""

    @property
    def release_gradients(self) -> bool: ...

    @property
    def forward_only(self) -> bool: ...


@dataclass(frozen=True)
class Client:
    """What a client steps with in one round.

    Attributes:
        parameters: those that train.
        optimizer: of all of them, fresh or with the state that was sent.
        learning: how it trains.
        rate: its learning rate.
        correct: None where the aggregation rule leaves gradients alone.
        scaler: of losses in float16; one that is not enabled changes nothing.
        draw: gives a forward-only step its direction.
    """

    parameters: Sequence[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    learning: Learning
    rate: float
    correct: Correct | None
    scaler: torch.amp.GradScaler
    draw: np.random.Generator


@contextmanager
def of(way: Way, client: Client) -> Iterator[Step]:
    """The step of a way of training, for as long as the block lasts.

    Raises:
        ScenarioError: gradients are to be released, and they must be scaled.
    """
    if way.forward_only:
        yield ForwardOnly(client)
    elif way.release_gradients:
        with released(client) as step:
            yield step
    else:
        yield partial(ordinary, client)


def ordinary(client: Client, loss: Loss) -> Outcome:
    """A step of the optimizer along the gradients of all parameters, corrected and clipped."""
    client.optimizer.zero_grad()
    outcome = loss()
    client.scaler.scale(outcome.loss).backward()
    client.scaler.unscale_(client.optimizer)
    if client.correct is not None:
        for number, parameter in enumerate(client.parameters):
            if parameter.grad is not None:
                client.correct(number, parameter.grad)
    if client.learning.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(client.parameters, client.learning.clip_norm)
    client.scaler.step(client.optimizer)
    client.scaler.update()
    return outcome


@contextmanager
def released(client: Client) -> Iterator[Step]:
    """Steps within the backward pass, by an optimizer a parameter; all share the state of the client's.

    Raises:
        ScenarioError: losses must be scaled, and whether that went well is known of all gradients only.
    """
    if client.scaler.is_enabled():
        said = "releases gradients, which float16 cannot do: take learning.precision fp32, or another GPU"
        raise ScenarioError(said, key="training.release_gradients")

    def take(number: int, own: torch.optim.Optimizer, parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        if client.correct is not None:
            client.correct(number, parameter.grad)
        own.step()
        parameter.grad = None

    def step(loss: Loss) -> Outcome:
        outcome = loss()
        outcome.loss.backward()
        return outcome

    hooks: list[Any] = []
    for number, parameter in enumerate(client.parameters):
        own = state.optimizer_of([parameter], client.learning, client.rate)
        own.state = client.optimizer.state
        register: Any = parameter.register_post_accumulate_grad_hook
        hooks.append(register(partial(take, number, own)))
    try:
        yield step
    finally:
        for hook in hooks:
            hook.remove()


class ForwardOnly:
    """Plain SGD along one random direction z a step, of which nothing is kept but the seed.

    With the loss L and the weights w, the estimate of the gradient is g z, where
    g = (L(w + eps z) - L(w - eps z)) / (2 eps) and z is standard normal. The weights are moved in place,
    and z is drawn again from its seed each time; what is random in the model is the same in both passes.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._device = client.parameters[0].device

    def __call__(self, loss: Loss) -> Outcome:
        """Take a step; what comes back is of the weights at w + eps z."""
        seed, noise = self._client.draw.integers(2**63, size=2).tolist()
        eps = self._client.learning.perturbation
        with torch.no_grad():
            ahead = self._at(eps, seed, noise, loss)
            behind = self._at(-2 * eps, seed, noise, loss)
            slope = (float(ahead.loss) - float(behind.loss)) / (2 * eps)
            for number, (parameter, direction) in enumerate(self._directions(seed)):
                parameter.add_(direction, alpha=eps)
                gradient = direction.mul_(slope)
                if self._client.correct is not None:
                    self._client.correct(number, gradient)
                parameter.sub_(gradient, alpha=self._client.rate)
        return ahead

    def _at(self, further: float, seed: int, noise: int, loss: Loss) -> Outcome:
        """Go so much further along the direction, and see what the batch comes to."""
        for parameter, direction in self._directions(seed):
            parameter.add_(direction, alpha=further)
        with seeded(noise, self._device.type):
            return loss()

    def _directions(self, seed: int) -> Iterator[tuple[torch.nn.Parameter, torch.Tensor]]:
        """Each parameter and its part of the direction."""
        generator = torch.Generator(self._device).manual_seed(seed)
        for parameter in self._client.parameters:
            drawn = torch.empty_like(parameter, memory_format=torch.contiguous_format)
            yield parameter, drawn.normal_(generator=generator)
