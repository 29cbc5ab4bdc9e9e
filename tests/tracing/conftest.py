"""A small wav2vec 2.0 that has everything the full one has, traced once for all tests."""

from __future__ import annotations

import pytest

from fedsim.pricing.trace import parse_trace
from fedsim.tracing.step import Variant
from fedsim.tracing.trace import trace

SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "conv_dim": [8] * 4,
    "conv_kernel": [10, 3, 3, 2],
    "conv_stride": [5, 2, 2, 2],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "num_codevectors_per_group": 6,
    "codevector_dim": 12,
    "proj_codevector_dim": 10,
    "num_negatives": 5,
}

VARIANTS = (
    Variant("cpu", "eager", "fp32"),
    Variant("cuda", "sdpa", "fp32"),
    Variant("cuda", "eager", "mixed"),
)


@pytest.fixture(scope="session")
def small_config():
    from transformers import Wav2Vec2Config

    return Wav2Vec2Config(**SMALL)


@pytest.fixture(scope="session")
def small_content(small_config):
    return trace(small_config, "small", VARIANTS)


@pytest.fixture(scope="session")
def small_trace(small_content):
    return parse_trace(small_content)
