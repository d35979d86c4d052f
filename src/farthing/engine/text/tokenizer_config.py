"""What lies beside a tokenizer.json and has a say in its ids: what it adds is taken over, what contradicts is refused.

transformers builds the tokenizers of many classes anew, from the vocabulary of tokenizer.json and from what
tokenizer_config.json says or leaves to the class. Here tokenizer.json is run as it is, and compared with what would be
built; not where tokenizer_config.json says neither a class nor how it splits. Source: transformers 5.23,
tokenization_utils_base.py, tokenization_utils_tokenizers.py, and the tokenization_*.py of its models.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Never

from farthing.catalog.model_files import read_json_object
from farthing.engine.text.tokenizer_classes import CLASSES, OF_MODELS, WHATEVER_IS_SAID, TokenizerClass
from farthing.engine.text.tokenizer_parts import parts
from farthing.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized")

_CONFIG, _MAP = "tokenizer_config.json", "special_tokens_map.json"
_BY_DEFAULT = "its class, by default"

_WORDS = ("hello", "Hello", "WÖRD", "cafe\u0301")
_TEXTS = ("a b", "  two  spaces ", "a\tb\n\nc\x00\u200bd", "日本語 x", "don't 12,5 x_y", "a``b''c", "ﬁ Å ① …")
"""Texts that are split in different ways by every setting that transformers has."""

_UNKNOWN = "\U00012000 \U00014400 \U000118a0"
"""Cuneiform, a hieroglyph, Warang Citi: no vocabulary has them all."""


class _Said(NamedTuple):
    """A special token that a file names.

    Attributes:
        token: its text.
        place: file and key.
        flags: how it is matched; None as special tokens are by default.
        id: None where the file gives none.
    """

    token: str
    place: str
    flags: Mapping[str, Any] | None = None
    id: int | None = None


def reconcile(path: Path, tokenizer: Tokenizer) -> None:
    """Add to the tokenizer of a tokenizer.json the special tokens that only the files beside it name.

    Raises:
        ModelError: one of those is damaged, or says of the ids something else than tokenizer.json does.
    """
    _Folder(path, tokenizer).reconcile()


class _Folder:
    def __init__(self, path: Path, tokenizer: Tokenizer) -> None:
        self._path, self._tokenizer = path, tokenizer
        added = tokenizer.get_added_tokens_decoder().items()
        self._added = {token.content: (number, token) for number, token in added}
        self._config = self._read(_CONFIG)
        self._name = self._class_name(self._read("config.json"))
        kind = CLASSES.get(self._name)
        says = kind is not None and any(key in self._config for key in ("tokenizer_class", *kind.keys))
        self._class = kind if says else None
        self._map = {} if "added_tokens_decoder" in self._config else self._read(_MAP)
        self._roles = self._config | self._map

    def reconcile(self) -> None:
        said = list(self._named())
        self._require_no_others(said)
        self._take(said)
        self._tokenizer.encode_special_tokens = bool(self._config.get("split_special_tokens"))
        if self._class is not None:
            self._require_pipeline(self._class)
            self._require_unknown(self._class)
            self._require_ends(self._class)

    def _read(self, name: str) -> dict[str, Any]:
        """Return a file's content, empty where there is no such file."""
        path = self._path.with_name(name)
        return read_json_object(path) if path.exists() else {}

    def _class_name(self, config: Mapping[str, Any]) -> str:
        kind = str(config.get("model_type"))
        name = str(self._config.get("tokenizer_class") or config.get("tokenizer_class") or "")
        name = name.removesuffix("Fast").removesuffix("Tokenizer") or OF_MODELS.get(kind, "")
        name = WHATEVER_IS_SAID.get(kind, name)
        whole = name == "Llama" and "ByteLevel" in _types(self._tokenizer.pre_tokenizer)
        return "" if whole else name

    def _listed(self) -> Iterator[_Said]:
        """Yield the tokens that are listed with their ids."""
        decoder = self._config.get("added_tokens_decoder")
        if decoder is None:
            for token, number in self._read("added_tokens.json").items():
                yield _Said(token, "added_tokens.json", {"special": False, "normalized": True}, number)
            return
        if not isinstance(decoder, dict):
            self._refuse("added_tokens_decoder is no object", "it holds tokens by their ids")
        for number, flags in decoder.items():
            content = flags.get("content") if isinstance(flags, dict) else None
            if not isinstance(content, str) or not number.isdecimal():
                self._refuse(f"added_tokens_decoder holds {number!r}: {flags!r}", "it holds tokens by ids")
            yield _Said(content, f"{_CONFIG}, added_tokens_decoder", flags, int(number))

    def _named(self) -> Iterator[_Said]:
        """Yield the special tokens that are named, as transformers collects them."""
        yield from self._listed()
        named = self._roles
        for key in (*_ROLES, *sorted(named.keys() - {*_ROLES})):
            if key.endswith("_token") and not isinstance(named.get(key), bool | None):
                yield from self._of(named[key], self._place(key))
        for key in ("additional_special_tokens", "extra_special_tokens"):
            values = named.get(key) or []
            if not isinstance(values, list | dict):
                self._refuse(f"{self._place(key)} is {values!r}", "it is a list of tokens")
            for value in values.values() if isinstance(values, dict) else values:
                yield from self._of(value, self._place(key))
        for role, token in () if self._class is None else self._class.tokens.items():
            if role not in named:
                yield _Said(token, _BY_DEFAULT)

    def _place(self, key: str) -> str:
        return f"{_MAP if key in self._map else _CONFIG}, {key}"

    def _of(self, value: Any, place: str) -> Iterator[_Said]:
        if isinstance(value, str):
            yield _Said(value, place)
        elif isinstance(value, dict) and isinstance(value.get("content"), str):
            yield _Said(value["content"], place, value)
        else:
            self._refuse(f"{place} is {value!r}", "that is no token")

    def _require_no_others(self, said: Sequence[_Said]) -> None:
        """Refuse tokens that tokenizer.json adds and a class that builds its tokenizer anew does not."""
        listed = {one.token for one in said if one.place.endswith("added_tokens_decoder")}
        others = self._added.keys() - listed
        if self._class is not None and "added_tokens_decoder" in self._config and others:
            self._refuse(f"added_tokens_decoder lacks {min(others)!r}", "tokenizer.json adds it")

    def _take(self, said: Sequence[_Said]) -> None:
        """Add the tokens that tokenizer.json does not add, or refuse those that it says something else of."""
        from tokenizers import AddedToken

        flagged = {one.token for one in said if one.flags is not None}
        for token, place, flags, number in said:
            if any("\ud800" <= letter <= "\udfff" for letter in token):
                self._refuse(f"{place} is {token!r}", "that is no text")
            if token in self._added:
                self._compare(token, place, flags or {}, number)
            elif token and token not in flagged and self._tokenizer.token_to_id(token) is not None:
                kind = self._class
                lone = kind is not None and kind.lone_mask and token == self._token(kind, "mask_token")
                own = AddedToken(token, lstrip=lone, normalized=False, special=True)
                self._tokenizer.add_special_tokens([own])
            elif place != _BY_DEFAULT:  # else what transformers makes of it is in no embedding table
                self._refuse(f"{place}: the special token {token!r}", "tokenizer.json does not add it")

    def _compare(self, token: str, place: str, flags: Mapping[str, Any], number: int | None) -> None:
        own, theirs = self._added[token]
        if number not in (None, own):
            self._refuse(f"{place}: {token!r} has id {number}", f"it has id {own} in tokenizer.json")
        for flag in _FLAGS if place.endswith("added_tokens_decoder") else ():
            if flags.get(flag, False) != getattr(theirs, flag):
                self._refuse(f"{place}: {token!r} has another {flag}", "than in tokenizer.json")

    def _require_pipeline(self, kind: TokenizerClass) -> None:
        """Refuse a tokenizer that makes other pieces of a text than its class would."""
        own = self._tokenizer
        normalizer, splitter = kind.pipeline(self._config, _precompiled(own.normalizer))
        said = ", ".join(
            f"{key} is {json.dumps(self._config[key])}" for key in kind.keys if key in self._config
        )
        unsaid = " and ".join(key for key in kind.keys if key not in self._config)
        reasons = "; ".join(filter(None, (said, unsaid and f"{unsaid} not said")))
        for probe in _WORDS if kind.words_only else (*_WORDS, *_TEXTS):
            here = _pieces(own.normalizer, own.pre_tokenizer, probe)
            there = _pieces(normalizer, splitter, probe)
            if here != there:
                self._refuse(f"{probe!r} becomes {there} as {self._name} has it ({reasons})", f"{here} here")
        scheme, other = _marks(splitter, None), _marks(own.pre_tokenizer, own.normalizer)
        if scheme != other and not kind.ends:  # else texts are split at spaces before they are marked
            self._refuse(f"texts behind a special token are marked: {scheme} ({reasons})", f"{other} here")

    def _require_unknown(self, kind: TokenizerClass) -> None:
        """Refuse another token for what the vocabulary lacks."""
        if kind.unknown is None:
            return
        number: int | str | None = kind.unknown
        if isinstance(number, str):
            number = self._tokenizer.token_to_id(self._token(kind, number))
        found = self._tokenizer.encode(_UNKNOWN, add_special_tokens=False)
        ids = set(_unpadded(found.ids, found))
        if number not in ids:
            self._refuse(f"what is unknown has id {number}", f"{sorted(ids)} here")

    def _require_ends(self, kind: TokenizerClass) -> None:
        """Refuse other special tokens around a text than those of a class that sets them itself."""
        empty = self._tokenizer.encode("")
        found = _unpadded(empty.tokens, empty)
        wanted = found if kind.ends is None else [self._token(kind, role) for role in kind.ends]
        if wanted != found:
            self._refuse(f"{self._name} puts {wanted} around a text", f"the post_processor puts {found}")

    def _token(self, kind: TokenizerClass, role: str) -> str:
        value = self._roles.get(role, kind.tokens[role])
        return str(value["content"] if isinstance(value, dict) else value)

    def _refuse(self, says: str, but: str) -> Never:
        raise ModelError(
            f"{self._path.parent}: tokenizer_config.json and tokenizer.json disagree: {says}, and {but}; "
            "transformers would make other ids of some texts: let its AutoTokenizer load the folder and save it again "
            "(save_pretrained)"
        )


def _pieces(normalizer: Any, splitter: Any, text: str) -> list[str]:
    """Return what a text is split into before a model sees it."""
    normal = text if normalizer is None else normalizer.normalize_str(text)
    return [normal] if splitter is None else [piece for piece, _ in splitter.pre_tokenize_str(normal)]


def _unpadded(values: list[Any], encoding: Any) -> list[Any]:
    """Return what is not of the padding that a tokenizer.json may have baked in."""
    return [value for value, own in zip(values, encoding.attention_mask, strict=True) if own]


def _precompiled(normalizer: Any) -> Any:
    """Return the first normalizer that comes from a SentencePiece model; None without one."""
    from tokenizers import normalizers

    found = (one["precompiled_charsmap"] for one in parts(normalizer) if one["type"] == "Precompiled")
    charsmap = next(found, None)
    return None if charsmap is None else normalizers.Precompiled(b64decode(charsmap))


def _marks(splitter: Any, normalizer: Any) -> str | None:
    """Return which pieces of a text between special tokens are marked as the start of a word; None for none."""
    schemes = [one["prepend_scheme"] for one in parts(splitter) if one["type"] == "Metaspace"]
    if any(one["type"] == "Prepend" for one in parts(normalizer)):
        schemes.append("always")
    return next((scheme for scheme in schemes if scheme != "never"), None)


def _types(part: Any) -> set[str]:
    return {one["type"] for one in parts(part)}
