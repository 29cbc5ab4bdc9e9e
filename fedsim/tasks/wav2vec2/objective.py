"""The pretraining objective: contrastive plus diversity loss on the masked frames.

Baevski et al., "wav2vec 2.0" (NeurIPS 2020), equations 2 to 4, as in transformers'
``Wav2Vec2ForPreTraining.forward`` but computed on the masked frames only: the quantizer sees no
others, similarities are one matrix product, and codevectors are looked up by a batched product
instead of an outer one. Values agree with transformers to rounding (tests hold them together).
The masked frames of a batch form a list of N, in row-major order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fedsim.determinism import tensor
from fedsim.tasks.base import Outcome
from fedsim.tasks.wav2vec2.batch import Batch


@dataclass
class Contrast:
    """What the objective gives for a batch.

    Attributes:
        contrastive: sum over the N masked frames of the contrastive loss, nats; a scalar tensor.
        diversity: (G V - perplexity) / (G V), a scalar tensor in [0, 1).
        correct: masked frames whose true codevector is nearer than every distractor.
        count: N.
        codes: float64[G, V], how often each codevector was the most probable one.
    """

    contrastive: Tensor
    diversity: Tensor
    correct: int
    count: int
    codes: Tensor

    def loss(self, diversity_weight: float) -> Tensor:
        """The scalar that is minimised: mean contrastive loss + weight x diversity loss."""
        return self.contrastive / max(1, self.count) + diversity_weight * self.diversity

    def outcome(self, diversity_weight: float) -> Outcome:
        """The same as a task gives it."""
        sums = {
            "loss": float(self.contrastive.detach()),
            "count": self.count,
            "correct": self.correct,
            "codes": np.asarray(self.codes.cpu().numpy(), np.float64),
        }
        return Outcome(self.loss(diversity_weight), sums)


def contrastive(
    predicted: Tensor, targets: Tensor, negatives: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """The contrastive loss of each masked frame, and whether it was told right.

    Args:
        predicted: float[N, D], the context network's projections.
        targets: float[N, D], the projected codevectors.
        negatives: int64[N, K], indices into the N frames.
        temperature: divides the cosine similarity.

    Returns:
        float[N], loss in nats with distractors equal to the target left out; and bool[N], whether
        the target is strictly the most similar, with at least one true distractor.
    """
    with torch.autocast(predicted.device.type, enabled=False):
        similarity = functional.normalize(predicted.float(), dim=-1, eps=1e-8) @ functional.normalize(
            targets.float(), dim=-1, eps=1e-8
        ).transpose(0, 1)
    positive = similarity.diagonal().unsqueeze(1)
    distractors = similarity.gather(1, negatives)
    with torch.no_grad():
        same = (targets[negatives] == targets.unsqueeze(1)).all(-1)
    distractors = distractors.masked_fill(same, float("-inf"))
    logits = torch.cat([positive, distractors], dim=1) / temperature
    best = distractors.max(dim=1).values
    right = (positive.squeeze(1) > best) & (best > float("-inf"))
    return torch.logsumexp(logits, dim=1) - logits[:, 0], right


def quantize(
    quantizer: Any, features: Tensor, temperature: float, sample: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Replace features by codevectors.

    Args:
        quantizer: transformers' ``Wav2Vec2GumbelVectorQuantizer``.
        features: float[N, C].
        temperature: of the Gumbel softmax.
        sample: draw codes by the straight-through Gumbel softmax (training) or take the most
            probable ones.

    Returns:
        float[N, codevector_dim]; the perplexity summed over groups, of the soft distribution when
        sampling and of the hard one when not; int64[N, G] most probable codes.
    """
    groups, entries = quantizer.num_groups, quantizer.num_vars
    logits = quantizer.weight_proj(features).view(len(features), groups, entries).float()
    best = logits.argmax(dim=-1)
    if sample:
        chosen = functional.gumbel_softmax(logits, tau=temperature, hard=True)
        marginal = torch.softmax(logits, dim=-1).mean(dim=0)
    else:
        chosen = functional.one_hot(best, entries).to(logits.dtype)
        marginal = chosen.mean(dim=0)
    table = quantizer.codevectors.view(groups, entries, -1)
    vectors = torch.einsum("ngv,gvd->ngd", chosen.to(table.dtype), table)
    return vectors.reshape(len(features), -1), perplexity(marginal), best


def perplexity(probabilities: Tensor) -> Tensor:
    """Sum over groups of exp(entropy) of [G, V] probabilities: G when collapsed, at most G V."""
    return torch.exp(-torch.xlogy(probabilities, probabilities).sum(dim=-1)).sum()


def of_batch(model: Any, batch: Batch, temperature: float) -> Contrast:
    """The objective of a batch, on the device that the model is on."""
    device = next(model.parameters()).device
    valid = None if batch.valid_samples is None else tensor(batch.valid_samples, device)
    return evaluate_objective(
        model,
        tensor(batch.waves, device),
        valid,
        tensor(batch.masked, device),
        tensor(batch.negatives, device),
        temperature,
    )


def evaluate_objective(
    model: Any,
    waves: Tensor,
    valid_samples: Tensor | None,
    masked: Tensor,
    negatives: Tensor,
    temperature: float,
) -> Contrast:
    """Run the model on a batch and compute the objective; dropout and sampling follow ``model.training``.

    Args:
        model: transformers' ``Wav2Vec2ForPreTraining``.
        waves: float[batch, samples], normalised, padded with zeros.
        valid_samples: int64[batch], or None if nothing is padded.
        masked: bool[batch, frames].
        negatives: int64[N, K], from :func:`fedsim.tasks.speech.masks.negatives`.
        temperature: of the Gumbel softmax.
    """
    attention = None
    if valid_samples is not None:
        attention = torch.arange(waves.shape[1], device=waves.device)[None, :] < valid_samples[:, None]
    out = model.wav2vec2(waves, attention_mask=attention, mask_time_indices=masked)
    predicted = model.project_hid(out.last_hidden_state[masked])
    features = model.dropout_features(out.extract_features)[masked]
    vectors, spread, best = quantize(model.quantizer, features, temperature, model.training)
    targets = model.project_q(vectors.to(model.project_q.weight.dtype))
    losses, right = contrastive(predicted, targets, negatives, model.config.contrastive_logits_temperature)
    entries = model.quantizer.num_groups * model.quantizer.num_vars
    codes = functional.one_hot(best, model.quantizer.num_vars).sum(dim=0).double()
    return Contrast(losses.sum(), (entries - spread) / entries, int(right.sum()), len(losses), codes.detach())
