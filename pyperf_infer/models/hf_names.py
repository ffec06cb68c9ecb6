# SPDX-License-Identifier: Apache-2.0
"""Published models of which the configuration is known here: transformers' model type, and what differs from its
defaults; and the types whose defaults build nothing.

Sizes and constants (of norms and of rotation) are those of each model's own config.json, as far as they are used in
inference; tests/integration/test_models_hf.py holds their numbers of parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PUBLISHED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "albert-base-v2": (
        "albert",
        {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, "hidden_act": "gelu_new"},
    ),
    "bert-base-cased": ("bert", {"vocab_size": 28996}),
    "bert-base-uncased": ("bert", {}),
    "bert-large-uncased": (
        "bert",
        {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    ),
    "distilbert-base-uncased": ("distilbert", {}),
    "distilgpt2": ("gpt2", {"n_layer": 6}),
    "gpt2": ("gpt2", {}),
    "gpt2-medium": ("gpt2", {"n_embd": 1024, "n_layer": 24, "n_head": 16}),
    "gpt2-large": ("gpt2", {"n_embd": 1280, "n_layer": 36, "n_head": 20}),
    "gpt2-xl": ("gpt2", {"n_embd": 1600, "n_layer": 48, "n_head": 25}),
    "llama-2-7b": ("llama", {"max_position_embeddings": 4096, "rms_norm_eps": 1e-5}),
    "opt-125m": ("opt", {}),
    "qwen2.5-0.5b": (
        "qwen2",
        {
            "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
            "num_key_value_heads": 2, "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        },
    ),
    "roberta-base": ("roberta", {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}),
    "roberta-large": (
        "roberta",
        {
            "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
            "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
        },
    ),
    "smollm2-135m": (
        "llama",
        {
            "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
            "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1e5},
        },
    ),
    "tinyllama-1.1b": (
        "llama",
        {
            "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32,
            "num_key_value_heads": 4, "rms_norm_eps": 1e-5,
        },
    ),
    "vit-base-patch16-224": ("vit", {"num_labels": 1000}),
}  # fmt: skip

# Not listed, as no model comes of their names alone (transformers 5.24): whoever names one is told why.
NOT_BUILT = frozenset(
    {
        # an encoder and a decoder
        *(
            "bart",
            "bigbird_pegasus",
            "blenderbot",
            "blenderbot-small",
            "marian",
            "mbart",
            "musicgen",
            "musicgen_melody",
        ),
        *("mvp", "pegasus", "plbart", "prophetnet", "whisper"),
        # default configurations that do not fit their classes, or that leave sizes open
        *("cohere_compass_text", "dbrx", "dots1", "dots3_note", "emu3", "esm", "gemma4_assistant", "hunyuan_v1_dense"),
        *("hunyuan_v1_moe", "lfm2_moe", "llama4", "ministral", "nemotron", "qwen3_5", "qwen3_5_moe", "qwen4_exp"),
        "qwen4_exp_text",
        # a package beside transformers, and inputs of another kind
        *("dinat", "perceiver"),
    }
)
