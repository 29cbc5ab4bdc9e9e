"""Configurations of transformers: each is trained as its architecture says, and counted as torch counts."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fedsim.errors import TraceError
from fedsim.tracing import configs
from fedsim.tracing.architecture import architecture_of
from fedsim.tracing.fake import build
from fedsim.tracing.recorder import Recorder
from fedsim.tracing.subject import subject_of

BERT = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}
LLAMA = {**BERT, "num_key_value_heads": 1}
GPT2 = {"vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
BART = {
    "vocab_size": 50,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
T5 = {"vocab_size": 50, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
WHISPER = {**BART, "num_mel_bins": 8, "max_source_positions": 20, "max_target_positions": 30}
del WHISPER["max_position_embeddings"]
SPEECH = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8, 8],
    "conv_kernel": [10, 4],
    "conv_stride": [5, 4],
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "num_feat_extract_layers": 2,
    "mask_time_length": 2,
}
CONFORMER = {**SPEECH, "num_codevectors_per_group": 4, "codevector_dim": 8, "proj_codevector_dim": 8}
RELATIVE = {**CONFORMER, "position_embeddings_type": "relative"}
ROTARY = {**CONFORMER, "position_embeddings_type": "rotary"}
AUGMENTED = {**SPEECH, "mask_feature_prob": 0.5, "mask_feature_length": 2}
FEATURES = {**BERT, "feature_projection_input_dim": 160, "output_hidden_size": 16, "mask_time_length": 2}
IMAGES = {"image_size": 32, "patch_size": 8, "num_labels": 5}
VIT = {**BERT, **IMAGES}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_labels": 5}
MEL = {"num_mel_bins": 32, "max_length": 40, "patch_size": 16}

TOKENS, SAMPLES, FRAMES, PIXELS = {"tokens": 12}, {"samples": 3000}, {"frames": 40}, {"pixels": 40}

# model type, architecture, what makes it small, what its objective is called, sizes, grouped convolutions
TRIED = [
    ("bert", "BertForMaskedLM", BERT, "masked language model", TOKENS, False),
    ("bert", "BertForPreTraining", BERT, "pretraining on text", TOKENS, False),
    ("bert", "BertForSequenceClassification", BERT, "sequence classification", TOKENS, False),
    ("bert", "BertForTokenClassification", BERT, "token classification", TOKENS, False),
    ("distilbert", "", {"vocab_size": 50, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
     "masked language model", TOKENS, False),
    ("roberta", "", {**BERT, "pad_token_id": 1}, "masked language model", TOKENS, False),
    ("modernbert", "", {**BERT, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1,
                        "sep_token_id": 2}, "masked language model", TOKENS, False),
    ("gpt2", "GPT2LMHeadModel", GPT2, "causal language model", TOKENS, False),
    ("gpt2", "GPT2ForSequenceClassification", GPT2, "sequence classification", TOKENS, False),
    ("llama", "LlamaForCausalLM", LLAMA, "causal language model", TOKENS, False),
    ("qwen2", "Qwen2ForCausalLM", LLAMA, "causal language model", TOKENS, False),
    ("t5", "T5ForConditionalGeneration", T5, "text to text", TOKENS, False),
    ("bart", "BartForConditionalGeneration", BART, "text to text", TOKENS, False),
    ("whisper", "WhisperForConditionalGeneration", WHISPER, "speech to text", TOKENS, False),
    ("wav2vec2-conformer", "Wav2Vec2ConformerForPreTraining", RELATIVE,
     "contrastive pretraining", SAMPLES, True),
    ("wav2vec2-conformer", "", ROTARY, "contrastive pretraining", SAMPLES, True),
    ("unispeech-sat", "UniSpeechSatForPreTraining", SPEECH, "masked prediction of clusters", SAMPLES, True),
    ("sew", "", SPEECH, "masked prediction of clusters", SAMPLES, True),
    ("sew", "SEWForCTC", AUGMENTED, "CTC", SAMPLES, True),
    ("wav2vec2-bert", "Wav2Vec2BertForCTC", FEATURES, "CTC", FRAMES, True),
    ("wav2vec2-bert", "BestRq", {**FEATURES, "feature_projection_input_dim": 2 * 4, "num_mel_bins": 8,
                                 "subsampling_channels": [3, 4], "codebook_size": 11, "codebook_dim": 5,
                                 "position_embeddings_type": "relative"},
     "masked prediction of codes by random projection", FRAMES, True),
    ("hubert", "DistilHubert", {**SPEECH, "predicted_layers": [4, 8, 12]},
     "distillation of a teacher's layers, student only", SAMPLES, True),
    ("wav2vec2", "Wav2Vec2ForSequenceClassification", SPEECH, "audio classification", SAMPLES, True),
    ("audio-spectrogram-transformer", "", {**BERT, **MEL}, "audio classification", {}, False),
    ("vit", "ViTForImageClassification", VIT, "image classification", {}, False),
    ("resnet", "ResNetForImageClassification", RESNET, "image classification", PIXELS, False),
    ("convnext", "", {**RESNET, "num_stages": 2, "drop_path_rate": 0.1},
     "image classification", PIXELS, True),
    ("mobilenet_v2", "", {"image_size": 64, "num_labels": 5}, "image classification", {"pixels": 64}, True),
    ("swin", "", {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2],
                  "window_size": 4, "num_labels": 5}, "image classification", {}, False),
]  # fmt: skip


def configuration(model_type, architecture="", **values):
    from transformers import CONFIG_MAPPING

    return CONFIG_MAPPING[model_type](**values, **({"architectures": [architecture]} if architecture else {}))


def traced_flops(thing, batch, sizes, attention="eager"):
    """What the recorder counts forward, and backward, of a model without numbers."""
    mode, model = build(lambda: thing.build(attention))
    with mode:
        inputs = thing.fake_batch(batch, sizes)
        tensors = [tensor for tensor in inputs.values() if isinstance(tensor, torch.Tensor)]
        recorder = Recorder(model, tensors)
        with recorder:
            loss = thing.traced_loss(model, inputs)
            recorder.start_backward()
            loss.backward()
        layers = recorder.finish()
    assert loss.ndim == 0
    return [sum(layer.forward_flops for layer in layers), sum(layer.backward_flops for layer in layers)]


def counted_flops(thing, batch, sizes):
    """What torch counts, of a real model on zeros."""
    model = thing.build("eager").train()
    inputs = {k: torch.zeros_like(v) if isinstance(v, torch.Tensor) else v
              for k, v in thing.fake_batch(batch, sizes).items()}  # fmt: skip
    with FlopCounterMode(display=False) as forward:
        loss = thing.traced_loss(model, inputs)
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    return [forward.get_total_flops(), backward.get_total_flops()]


@pytest.mark.parametrize(
    ("model_type", "architecture", "small", "objective", "sizes", "grouped"),
    TRIED,
    ids=[f"{model_type}-{architecture}" for model_type, architecture, *_ in TRIED],
)
def test_it_is_trained_as_it_says_and_counted_as_torch_counts(
    model_type, architecture, small, objective, sizes, grouped
):
    config = configuration(model_type, architecture, **small)
    thing = architecture_of(config)
    assert thing.objective == objective
    assert {size.name for size in thing.sizes} == set(sizes)
    assert thing.config["model_type"] == model_type
    traced, counted = traced_flops(thing, 2, sizes), counted_flops(thing, 2, sizes)
    assert traced[0] == counted[0] > 0
    if not grouped:  # of whose gradients torch counts too many
        assert traced[1] == counted[1]
    assert len(traced_flops(thing, 3, {name: size - 3 for name, size in sizes.items()}, "sdpa")) == 2


GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "traces.md"
TABLE = re.search(
    r"### What was tried\n.*?\n\nWhat is refused", GUIDE.read_text(encoding="utf-8"), re.DOTALL
)[0]
LISTED = [
    (objective, model_type)
    for objective, model_types in re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \|$", TABLE, re.MULTILINE)[2:]
    for model_type in model_types.split(", ")
]


def test_the_guide_lists_what_was_tried():
    assert len(LISTED) == 195
    assert ("masked language model", "roberta") in LISTED


def shallow(model_type):
    """The default configuration with two layers, where its class lets itself be changed so."""
    config = configuration(model_type)
    for key in ("num_hidden_layers", "num_layers", "encoder_layers", "decoder_layers", "num_decoder_layers"):
        if isinstance(getattr(config, key, None), int):
            with contextlib.suppress(AttributeError):  # a property that follows from others
                setattr(config, key, 2)
    for key in ("layer_types", "layers_block_type", "mlp_layer_types"):
        if isinstance(getattr(config, key, None), list):
            with contextlib.suppress(AttributeError):
                setattr(config, key, getattr(config, key)[:2])
    return config


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "model_type"), LISTED)
def test_what_the_guide_lists_runs_without_numbers(objective, model_type):
    whole = architecture_of(configuration(model_type))
    assert whole.objective == objective
    build(whole.build)  # says if deeper layers are mixtures of experts
    sizes = {size.name: size.usual for size in whole.sizes}
    try:
        forward, backward = traced_flops(architecture_of(shallow(model_type)), 2, sizes)
    except Exception:  # whatever a class raises that cannot have two layers
        forward, backward = traced_flops(whole, 2, sizes)
    assert forward > 0
    assert backward > 0


WIDE, INNER = 1024, 4096
FORWARD_PART = 2 * WIDE + 2 * WIDE * INNER + INNER + WIDE
CONFORMER_LAYER = (
    2 * FORWARD_PART
    + 2 * WIDE + 4 * (WIDE * WIDE + WIDE)  # attention after its norm
    + 2 * WIDE + 2 * WIDE * WIDE + 31 * WIDE + 2 * WIDE + WIDE * WIDE  # convolutions between two norms
    + 2 * WIDE
)  # fmt: skip
CONFORMER_LARGE = (
    24 * CONFORMER_LAYER
    + 7 * 3 * 512 + (10 + (4 * 3 + 2 * 2) * 512) * 512  # seven convolutions with their norms
    + 2 * 512 + 512 * WIDE + WIDE  # the projection after its norm
    + WIDE  # what stands for a masked frame
    + 128 * WIDE * WIDE // 16 + 128 + WIDE  # the positional convolution in 16 groups
    + 2 * WIDE
    + 640 * 384 + 512 * 640 + 640 + WIDE * 768 + 768 + 768 * 768 + 768  # the quantiser, and two projections
)  # fmt: skip

PARAMETERS = {
    "bert-base": 109_514_298,
    "best-rq": 94_011_040,
    "distilbert": 66_985_530,
    "distilhubert": 23_491_200 + 3 * 2 * (768 * 768 + 768),  # the student of 23.49 million, and three heads
    "gpt2": 124_439_808,
    "mobilenet-v2": 3_504_872,
    "qwen2-0.5b": 494_032_768,
    "resnet-18": 11_689_512,
    "resnet-50": 25_557_032,
    "sew-tiny-100k": 40_725_311,
    "unispeech-sat-base": 94_371_712 + 768 * 256 + 256 + 504 * 256,  # the encoder, and what predicts clusters
    "vit-base": 86_567_656,
    "w2v-bert-2.0": 580_493_120 + 1024 * 32 + 32,  # the encoder, and 32 characters
    "wav2vec2-conformer-rel-pos-large": CONFORMER_LARGE + 24 * (WIDE * WIDE + 2 * WIDE),
    "wav2vec2-conformer-rope-large": CONFORMER_LARGE,
    "whisper-base": 72_593_920,
    "whisper-tiny": 37_760_640,
}
"""Published, or by hand; where they were published stands in the presets' README."""


@pytest.mark.parametrize("name", sorted(path.stem for path in configs.MODELS.glob("*.json")))
def test_presets_have_as_many_parameters_as_was_published(name):
    thing = architecture_of(configs.preset(name))
    _, model = build(thing.build)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]
    assert name in configs.names()
    assert len(json.dumps(thing.config)) < 2000  # and not the names of a thousand classes
    assert thing.config.get("num_labels", 1000) == 1000
    assert f"| {name} |" in (configs.MODELS / "README.md").read_text(encoding="utf-8")


def test_speech_models_that_were_traced_before_are_traced_as_before():
    assert subject_of(configs.preset("hubert-base")).objective == "masked prediction of clusters"
    assert subject_of(configs.preset("wav2vec2-base")).objective == "wav2vec2 pretraining"
    assert subject_of(configs.preset("wav2vec2-base-ctc")).objective == "CTC on three linear layers"
    spoken = configuration("wav2vec2", "Wav2Vec2ForSequenceClassification", **SPEECH)
    assert subject_of(spoken).objective == "audio classification"  # it was taken for masked prediction


@pytest.mark.parametrize(("model_type", "fused"), [("bert", True), ("gpt2", True), ("deberta", False)])
def test_attention_is_fused_where_transformers_can(model_type, fused):
    thing = architecture_of(configuration(model_type))
    for attention, used in (("eager", "eager"), ("sdpa", "sdpa" if fused else "eager")):
        assert (
            build(lambda attention=attention: thing.build(attention))[1].config._attn_implementation == used
        )


def test_a_model_is_built_in_float32_without_cache_and_without_layer_drop():
    llama = architecture_of(configuration("llama", dtype="bfloat16", **LLAMA))
    assert {parameter.dtype for parameter in llama.build().parameters()} == {torch.float32}
    assert llama.fake_batch(1, {"tokens": 4})["use_cache"] is False
    whisper = architecture_of(
        configuration("whisper", encoder_layerdrop=0.3, decoder_layerdrop=0.4, **WHISPER)
    )
    assert (whisper.build().config.encoder_layerdrop, whisper.build().config.decoder_layerdrop) == (0.0, 0.0)
    assert whisper.config["encoder_layerdrop"] == 0.3  # the configuration stays as it is


@pytest.mark.parametrize("model_type", ["mixtral", "qwen3_moe", "switch_transformers"])
def test_mixtures_of_experts_are_refused(model_type):
    thing = architecture_of(configuration(model_type))
    with pytest.raises(TraceError, match="which expert of a mixture a token goes to"):
        build(thing.build)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model_type": "detr"}, "architectures: detr has none whose loss is known; what can be traced is"),
        ({"model_type": "llava"}, "architectures: llava has none whose loss is known"),
        (
            {"model_type": "bert", "architectures": ["BertForMultipleChoice"]},
            "the loss of 'BertForMultipleChoice' is not known; what of bert can be traced is Bert",
        ),
        (
            {"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForXVector"]},
            "the loss of 'Wav2Vec2ForXVector' is not known",
        ),
        (
            {"model_type": "bert", "architectures": ["BestRq"]},
            "the loss of 'BestRq' is not known; what of bert",
        ),
        ({"model_type": "bert", "architectures": 5}, "is 5; a list with the name of a class is needed"),
        ({"model_type": "bert", "hidden_size": "wide"}, "is not a configuration of bert"),
    ],
)
def test_what_cannot_be_traced_is_one_sentence(content, said, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(content))
    with pytest.raises(TraceError, match=said) as fault:
        configs.read(Path(file))
    assert str(fault.value).startswith(str(file))
    assert "\n" not in str(fault.value)
