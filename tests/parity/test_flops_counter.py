"""Our closed forms against torch's own counter over transformers' own modules: every family that it has.

Eager attention computes the whole matrix of scores and masks it afterwards, so FLOPs are compared with the
full-matrix variant of the shape; the pairs that are left after masking are counted in the probabilities that
the module returns, layer by layer. Parameters are compared as well. All of it is equal to the last FLOP, pair
and bias; the bar is 0.5 %.

Not here, because transformers has no module of them: nvembed and llama_bidirec (code on the hub; Mistral and
Llama are here, and tests/theory/families compares), NomicBERT with experts (likewise; its parameters are compared
with the published count in tests/catalog), families in the keys of the hub's own code (`n_embd`, `rotary_emb_base`:
tests/theory/families compares), and static models, which have no matrix product at all.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from farthing.errors import UnsupportedModelError
from farthing.theory.families.configs import shape_from_config
from farthing.theory.flops import attention_pairs, forward_flops, operations
from farthing.theory.shapes import ModelShape
from farthing.theory.time.roofline import total_flops

ENCODER = {
    "vocab_size": 50,
    "hidden_size": 72,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "intermediate_size": 200,
    "max_position_embeddings": 80,
}
DECODER = ENCODER | {"num_key_value_heads": 2, "pad_token_id": 0}
MODERNBERT = ENCODER | {"num_hidden_layers": 5, "local_attention": 10, "pad_token_id": 0}
GEMMA = DECODER | {"num_hidden_layers": 7, "head_dim": 22, "sliding_window": 9, "sliding_window_pattern": 3}
MOE = DECODER | {
    "num_hidden_layers": 5,
    "head_dim": 22,
    "num_experts": 7,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 44,
    "decoder_sparse_step": 2,
    "mlp_only_layers": [3],
}
T5 = {"vocab_size": 50, "d_model": 72, "d_kv": 22, "d_ff": 200, "num_layers": 3, "num_heads": 6}
MROPE = {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 2, 2], "rope_theta": 10000.0}}
DISENTANGLED = {
    "relative_attention": True,
    "position_buckets": 8,
    "pos_att_type": "p2c|c2p",
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "type_vocab_size": 0,
}
SLIDING = {"use_sliding_window": True, "sliding_window": 5}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", ENCODER),
    "roberta": ("Roberta", ENCODER),
    "xlm-roberta": ("XLMRoberta", ENCODER | {"type_vocab_size": 1}),
    "camembert": ("Camembert", ENCODER | {"type_vocab_size": 1}),
    "albert": ("Albert", ENCODER | {"embedding_size": 20}),
    "albert in groups": (
        "Albert",
        ENCODER | {"embedding_size": 72, "num_hidden_layers": 5, "num_hidden_groups": 2},
    ),
    "t5": ("T5", T5),
    "t5 with a gate": ("T5", T5 | {"feed_forward_proj": "gated-gelu", "relative_attention_num_buckets": 8}),
    "jina_embeddings_v3": ("JinaEmbeddingsV3", ENCODER),
    "gte": ("Gte", ENCODER | {"type_vocab_size": 1, "pad_token_id": 0}),
    "eurobert": ("EuroBert", DECODER | {"mask_token_id": 1}),
    "eurobert with biases": (
        "EuroBert",
        DECODER | {"mask_token_id": 1, "attention_bias": True, "mlp_bias": True, "head_dim": 22},
    ),
    "distilbert": (
        "DistilBert",
        {
            "vocab_size": 50,
            "dim": 72,
            "n_layers": 3,
            "n_heads": 6,
            "hidden_dim": 200,
            "max_position_embeddings": 80,
        },
    ),
    "mpnet": ("MPNet", ENCODER),
    "nomic_bert": ("NomicBert", ENCODER),
    "nomic_bert with its own head size": ("NomicBert", ENCODER | {"head_dim": 22}),
    "modernbert": ("ModernBert", MODERNBERT),
    "modernbert with biases": (
        "ModernBert",
        MODERNBERT | {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "local_attention": 7},
    ),
    "qwen2": ("Qwen2", DECODER),
    "qwen2 with windows": ("Qwen2", DECODER | SLIDING | {"max_window_layers": 1}),
    "qwen2 both ways": ("Qwen2", DECODER | {"is_causal": False}),
    "qwen2 both ways with windows": (
        "Qwen2",
        DECODER | SLIDING | {"max_window_layers": 2, "is_causal": False},
    ),
    "qwen3": ("Qwen3", DECODER | {"head_dim": 22}),
    "qwen3 with layer types": (
        "Qwen3",
        DECODER
        | SLIDING
        | {
            "head_dim": 22,
            "attention_bias": True,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    ),
    "qwen3_moe": ("Qwen3Moe", MOE),
    "qwen3_moe with windows": ("Qwen3Moe", MOE | SLIDING | {"decoder_sparse_step": 1}),
    "llama": ("Llama", DECODER),
    "llama with biases, both ways": (
        "Llama",
        DECODER | {"attention_bias": True, "mlp_bias": True, "is_causal": False},
    ),
    "mistral": ("Mistral", DECODER | {"sliding_window": 11, "head_dim": 14}),
    "mistral without a window": ("Mistral", DECODER | {"sliding_window": None}),
    "dpr": ("DPR", ENCODER),
    "clip_text_model": ("CLIPText", ENCODER),
    "deberta-v2": ("DebertaV2", ENCODER),
    "deberta-v2 disentangled": ("DebertaV2", ENCODER | DISENTANGLED),
    "deberta-v2 with a convolution, without buckets": (
        "DebertaV2",
        ENCODER
        | DISENTANGLED
        | {
            "position_buckets": -1,
            "conv_kernel_size": 3,
            "position_biased_input": True,
            "type_vocab_size": 2,
        },
    ),
    "qwen2_vl_text": ("Qwen2VLText", DECODER | MROPE),
    "qwen2_5_vl_text": ("Qwen2_5_VLText", DECODER | MROPE),
    "qwen3_vl_text": ("Qwen3VLText", DECODER | MROPE | {"head_dim": 12}),
    "qwen3_vl_moe_text": ("Qwen3VLMoeText", MOE | MROPE | {"head_dim": 12}),
    "gemma2": ("Gemma2", GEMMA),
    "gemma2 with layer types": ("Gemma2", GEMMA | {"layer_types": ["full_attention"] * 7}),
    "gemma3_text": ("Gemma3Text", GEMMA),
    "gemma3_text both ways": ("Gemma3Text", GEMMA | {"use_bidirectional_attention": True}),
    "gemma3_text both ways, even window": (
        "Gemma3Text",
        GEMMA | {"use_bidirectional_attention": True, "sliding_window": 12},
    ),
}
CLASSES = {"T5": "T5EncoderModel", "DPR": "DPRQuestionEncoder"}
"""Where the class is not called after its configuration."""

BATCHES = [(1, 1), (1, 7), (3, 33), (2, 61)]

families = pytest.mark.parametrize("name", CASES)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread: these modules are too small to share, and threads that wait for each other cost most."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@contextmanager
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@functools.cache
def _module_and_shape(name: str) -> tuple[Any, ModelShape]:
    transformers: Any = importlib.import_module("transformers")
    prefix, settings = CASES[name]
    config = getattr(transformers, f"{prefix}Config")(**settings)
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"  # the counter sees no grouped product
    shape = shape_from_config(config.to_dict(), name)
    assert shape.family == name.split(maxsplit=1)[0]
    kind = getattr(transformers, CLASSES.get(prefix, f"{prefix}Model"))
    with _seeded():
        pools = "add_pooling_layer" in inspect.signature(kind).parameters
        module = kind(config, add_pooling_layer=False) if pools else kind(config)
    return module.train(False), shape


def _ids(batch: int, length: int) -> torch.Tensor:
    with _seeded():
        return torch.randint(3, 50, (batch, length))


@families
@pytest.mark.parametrize(("batch", "length"), BATCHES)
def test_flops_are_what_the_counter_counts(name: str, batch: int, length: int) -> None:
    module, shape = _module_and_shape(name)
    full = replace(shape, causal=False, attention_reach=(None,) * shape.layers)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(_ids(batch, length))
    expected = int(counter.get_total_flops())
    assert expected > 0
    assert forward_flops(full, [length] * batch).total == expected


@families
@pytest.mark.parametrize("length", [1, 4, 5, 6, 11, 12, 13, 40])
def test_pairs_are_those_that_the_masks_leave(name: str, length: int) -> None:
    module, shape = _module_and_shape(name)
    with torch.no_grad():
        attentions = module(_ids(1, length), output_attentions=True).attentions
    assert len(attentions) == shape.layers
    for reach, layer in zip(shape.attention_reach, attentions, strict=True):
        pairs = int((layer[0] > 0).sum()) // shape.heads
        assert attention_pairs(length, causal=shape.causal, reach=reach) == pairs


@families
def test_every_parameter_is_counted(name: str) -> None:
    module, shape = _module_and_shape(name)
    counted = sum(parameter.numel() for parameter in module.parameters())
    assert shape.total_parameters == counted
    assert shape.memory_bytes(2) == 2 * counted


@families
def test_operations_add_up_to_the_pass(name: str) -> None:
    shape = _module_and_shape(name)[1]
    assert total_flops(operations(shape, 3, 17, 2)) == forward_flops(shape, [17] * 3).total


@families
def test_what_a_configuration_leaves_out_is_as_in_transformers(name: str) -> None:
    """transformers writes every default and `layer_types` out; files on the hub mostly do not."""
    transformers: Any = importlib.import_module("transformers")
    prefix, settings = CASES[name]
    config = getattr(transformers, f"{prefix}Config")(**settings)
    sparse = {"model_type": config.model_type, **settings}
    assert shape_from_config(sparse, name) == shape_from_config(config.to_dict(), name)


def test_no_family_is_forgotten() -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        shape_from_config({}, "here")
    supported = set(str(caught.value).partition("these types: ")[2].split(", "))
    not_in_transformers = {"llama_bidirec", "model2vec", "new", "nvembed"}
    around_a_text_tower = {
        "clip",
        "qwen2_vl",
        "qwen2_5_vl",
        "qwen3_vl",
        "qwen3_vl_moe",
    }  # tests/theory/families
    named = {name.split(maxsplit=1)[0] for name in CASES}
    assert supported == named | not_in_transformers | around_a_text_tower
