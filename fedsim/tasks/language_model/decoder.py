"""A transformer decoder over bytes: causal attention that knows distances, in plain operators.

Layer norms come first in each half of a block (Xiong et al., "On layer normalization in the transformer
architecture", ICML 2020). Positions are told by a bias of the attention scores that falls with distance
(ALiBi; Press, Smith and Lewis, "Train short, test long", ICLR 2022), so that no weight depends on the
context and one layer trace holds for any number of tokens.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from fedsim.tasks.language_model.data import VOCABULARY

WIDENING = 4
"""The feed-forward half is so many times as wide."""


class Attention(nn.Module):
    """Causal self-attention; heads look back with slopes 2**(-8 k / heads), k = 1 ... heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float[batch, tokens, width] to the same shape."""
        batch, tokens, width = x.shape
        split = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(-2, -1) / math.sqrt(width // self.heads)
        mixed = F.softmax(scores + self._bias(tokens, x.device), dim=-1) @ value
        out: torch.Tensor = self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return out

    def _bias(self, tokens: int, device: torch.device) -> torch.Tensor:
        """float[heads, tokens, tokens]: minus slope times distance, minus infinity for what is to come."""
        place = torch.arange(tokens, device=device)
        distance = place[:, None] - place
        slope = 2.0 ** (-8.0 / self.heads * torch.arange(1, self.heads + 1, device=device))
        return (-slope[:, None, None] * distance).masked_fill(distance < 0, -math.inf)


class Block(nn.Module):
    """Attention, then a feed-forward network, each added to what comes in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.inner, self.outer = nn.Linear(width, WIDENING * width), nn.Linear(WIDENING * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float[batch, tokens, width] to the same shape."""
        x = x + self.attention(self.norm1(x))
        y: torch.Tensor = x + self.outer(F.gelu(self.inner(self.norm2(x))))
        return y


class Decoder(nn.Module):
    """Scores of the next byte after each byte.

    Args:
        width: of the hidden states; a multiple of ``heads``.
        layers: blocks.
        heads: of attention.
    """

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, read: torch.Tensor) -> torch.Tensor:
        """int64[batch, tokens] to float[batch, tokens, 256]."""
        x = self.embedding(read)
        for block in self.blocks:
            x = block(x)
        scores: torch.Tensor = self.head(self.norm(x))
        return scores
