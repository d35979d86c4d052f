"""The tokenizers that transformers builds anew from a vocabulary: what each of its classes makes of a text.

Source: transformers 5.23, tokenization_*.py of its models and models/auto/tokenization_auto.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tokenizers import normalizers, pre_tokenizers

Config = Mapping[str, Any]
"""tokenizer_config.json."""

Pipeline = Callable[[Config, Any], tuple[Any, Any]]
"""From the configuration and the Precompiled normalizer of tokenizer.json, or None, the normalizer and pre-tokenizer;
None for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerClass:
    """A class that builds its tokenizer anew.

    Attributes:
        tokens: its special tokens by role, where nothing else is said.
        pipeline: what it does to a text before its model.
        keys: of the configuration that the pipeline reads.
        ends: roles of the tokens that it puts before a text and behind it, whatever tokenizer.json does; None where
            that decides.
        unknown: role or id of what stands for characters that it does not know; None where it knows all.
        lone_mask: whether its mask takes the space before it.
        words_only: whether its pipeline is right of single words alone: how it splits texts is not looked at, since
            tokenizer.json says it with a regular expression.
    """

    tokens: Mapping[str, str]
    pipeline: Pipeline
    keys: tuple[str, ...] = ()
    ends: tuple[str, ...] | None = None
    unknown: str | int | None = None
    lone_mask: bool = False
    words_only: bool = False


def _tokens(**roles: str) -> dict[str, str]:
    return {f"{role}_token": token for role, token in roles.items()}


def _bert(config: Config, _: Any) -> tuple[Any, Any]:
    normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(config.get("tokenize_chinese_chars", True)),
        strip_accents=None if config.get("strip_accents") is None else bool(config["strip_accents"]),
        lowercase=bool(config.get("do_lower_case", True)),
    )
    return normalizer, pre_tokenizers.BertPreTokenizer()


def _byte_level(config: Config, _: Any) -> tuple[Any, Any]:
    return None, pre_tokenizers.ByteLevel(add_prefix_space=bool(config.get("add_prefix_space")))


def _pieces(prefix: bool) -> Any:
    marked = pre_tokenizers.Metaspace(prepend_scheme="always" if prefix else "never")
    return pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), marked])


def _sentence_piece(config: Config, precompiled: Any) -> tuple[Any, Any]:
    return precompiled, _pieces(bool(config.get("add_prefix_space", True)))


def _albert(config: Config, precompiled: Any) -> tuple[Any, Any]:
    parts: list[Any] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not config.get("keep_accents"):
        parts += [normalizers.NFKD(), normalizers.StripAccents()]
    if config.get("do_lower_case", True):
        parts.append(normalizers.Lowercase())
    parts += [] if precompiled is None else [precompiled]
    return normalizers.Sequence(parts), _pieces(bool(config.get("add_prefix_space", True)))


def _llama(config: Config, _: Any) -> tuple[Any, Any]:
    scheme: Any = "always" if config.get("legacy") else "first"
    if config.get("add_prefix_space") is False:
        scheme = "never"
    return None, pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)


def _gemma(_config: Config, _: Any) -> tuple[Any, Any]:
    return normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous")


_CASE = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
_PREFIX = ("add_prefix_space",)
_BRACKETS = _tokens(unk="[UNK]", sep="[SEP]", pad="[PAD]", cls="[CLS]", mask="[MASK]")
_ANGLES = _tokens(bos="<s>", eos="</s>", sep="</s>", cls="<s>", unk="<unk>", pad="<pad>", mask="<mask>")
_BERT = TokenizerClass(
    tokens=_BRACKETS, pipeline=_bert, keys=_CASE, ends=("cls_token", "sep_token"), unknown="unk_token"
)
_ROBERTA = TokenizerClass(tokens=_ANGLES, pipeline=_byte_level, keys=_PREFIX, ends=("cls_token", "sep_token"))
_XLM_ROBERTA = TokenizerClass(
    tokens=_ANGLES, pipeline=_sentence_piece, keys=_PREFIX, ends=("bos_token", "eos_token"), unknown=3
)

CLASSES: Mapping[str, TokenizerClass] = {
    **dict.fromkeys(("Bert", "DistilBert", "Electra", "MobileBert", "LayoutLM", "SqueezeBert"), _BERT),
    "MPNet": replace(_BERT, tokens=_ANGLES | _tokens(unk="[UNK]"), lone_mask=True),
    **dict.fromkeys(("Roberta", "Longformer", "Bart"), _ROBERTA),
    "XLMRoberta": _XLM_ROBERTA,
    "Camembert": replace(_XLM_ROBERTA, unknown="unk_token", lone_mask=True),
    "Albert": TokenizerClass(
        tokens=_BRACKETS | _tokens(bos="[CLS]", eos="[SEP]", unk="<unk>", pad="<pad>"),
        pipeline=_albert,
        keys=("do_lower_case", "keep_accents", *_PREFIX),
        ends=("cls_token", "sep_token"),
        unknown=1,
    ),
    "T5": TokenizerClass(
        tokens=_tokens(eos="</s>", unk="<unk>", pad="<pad>"),
        pipeline=lambda _, precompiled: (precompiled, _pieces(prefix=True)),
        ends=("eos_token",),
        unknown=2,
    ),
    "Llama": TokenizerClass(
        tokens=_tokens(unk="<unk>", bos="<s>", eos="</s>"), pipeline=_llama, keys=("legacy", *_PREFIX)
    ),
    "Gemma": TokenizerClass(
        tokens=_tokens(unk="<unk>", bos="<bos>", eos="<eos>", pad="<pad>", mask="<mask>"), pipeline=_gemma
    ),
    "Qwen2": TokenizerClass(
        tokens=_tokens(unk="<|endoftext|>", eos="<|endoftext|>", pad="<|endoftext|>"),
        pipeline=lambda config, _: (normalizers.NFC(), _byte_level(config, None)[1]),
        keys=_PREFIX,
        words_only=True,
    ),
}
"""By name, less Tokenizer. All others of the models that run here take tokenizer.json as it is."""

OF_MODELS: Mapping[str, str] = {
    **dict.fromkeys(("bert", "distilbert", "electra", "nomic_bert"), "Bert"),
    **{"mpnet": "MPNet", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert"},
    **{"albert": "Albert", "t5": "T5", "mt5": "T5"},
    **dict.fromkeys(("gemma", "gemma2", "gemma3_text"), "Gemma"),
    **dict.fromkeys(("qwen2", "qwen3"), "Qwen2"),
}
"""Class of a model type whose folder names none. Source: TOKENIZER_MAPPING_NAMES."""

WHATEVER_IS_SAID: Mapping[str, str] = {"modernbert": "", "qwen2": "Qwen2"}
"""Class of a model type whose folders name wrong ones. Source: MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS."""
