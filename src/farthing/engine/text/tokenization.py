"""Texts to token ids, with the model's own limit and no padding.

tokenizer.json files carry truncation and padding of their own (MiniLM's cuts at 128 and pads every text to
128); both are replaced here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from typing import TYPE_CHECKING

import numpy as np

from farthing.engine.contract import Ids
from farthing.engine.folder.checkpoint import Checkpoint, TruncationSide
from farthing.engine.folder.files import TOKENIZER_FILE
from farthing.engine.text.contents import Content, ContentReader, together
from farthing.engine.text.tokenizer_file import failure, load_tokenizer, unknown_id
from farthing.errors import EngineError, InputError, ModelError, UnsupportedModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_READ_TEXTS = 1024
"""Texts that are read together where they are only counted."""


@dataclass(frozen=True, slots=True)
class TokenizedTexts:
    """Token ids of some texts.

    Attributes:
        ids: one array of shape (tokens,) for each text.
        lengths: tokens of each text.
        truncated: for each text, whether it was cut at the limit.
        seconds: wall seconds that tokenizing took.
        failed: the error of each text without ids, by its place: the tokenizer cannot read it, or makes no tokens of
            it, as of an empty one where there are no special tokens.
    """

    ids: list[Ids]
    lengths: list[int]
    truncated: list[bool]
    seconds: float
    failed: Mapping[int, EngineError] = field(default_factory=dict)


class TextTokenizer:
    """The tokenizer of a checkpoint.

    tokenizer.json says which special tokens a text gets: an end-of-text token is there for last-token pooling if its
    post-processor appends one, whatever tokenizer_config.json says of `add_eos_token`. transformers 5 reads them so as
    well, but for classes that set them themselves, whose folders are refused where they are others.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        max_length: int | None = None,
        truncation_side: TruncationSide | None = None,
    ) -> None:
        """Load tokenizer.json.

        Args:
            checkpoint: the model folder.
            max_length: most tokens of a text; None for the model's own limit.
            truncation_side: where texts over the limit lose tokens; None for the model's own side, which is the
                right one where it says nothing. Special tokens are kept.

        Raises:
            InputError: `max_length` is not positive or above the model's positions, or no such side.
            ModelError: tokenizer.json cannot be loaded or does not fit the vocabulary.
        """
        limit = checkpoint.max_length if max_length is None else max_length
        if not 0 < limit <= checkpoint.shape.max_positions:
            raise InputError(
                f"length {limit} is out of range: {checkpoint.name} takes 1 to {checkpoint.shape.max_positions} tokens"
            )
        if truncation_side not in (None, "left", "right"):
            raise InputError(f"truncation_side {truncation_side!r}: expected left or right")
        static = checkpoint.static
        self._path = (checkpoint.folder if static is None else static.folder) / TOKENIZER_FILE
        self._tokenizer: Tokenizer = load_tokenizer(self._path, alone=static is not None)
        baked = self._tokenizer.truncation or {}
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._rows, self._types = checkpoint.shape.vocabulary, checkpoint.shape.token_types
        self._pools_prompt = checkpoint.pools_prompt
        self._check_vocabulary(adds_special=static is None)
        self._before, self._behind = self._special_tokens() if static is None else ([], [])
        special = len(self._before) + len(self._behind)
        if limit <= special:
            raise InputError(
                f"length {limit} leaves no room for text: the tokenizer adds {special} special tokens"
            )
        if static is not None and not static.model2vec and max_length is None:
            limit = min(limit, baked.get("max_length", limit))
        self._left_out: int | None = None
        self._characters = sys.maxsize
        if static is not None and static.model2vec:
            self._left_out = unknown_id(self._tokenizer)
            if limit < checkpoint.shape.max_positions:
                self._characters = limit * int(
                    np.median([len(token) for token in self._tokenizer.get_vocab()])
                )
        self.truncation_side: str = (
            truncation_side or checkpoint.truncation_side or baked.get("direction") or "right"
        )
        if checkpoint.lowercase:
            self._lower_first()
        self.max_length = limit
        self._reader = ContentReader(self._tokenizer, limit - special, self.truncation_side)

    def encode(self, texts: Sequence[str]) -> TokenizedTexts:
        """Tokenize texts; the GIL is released and all cores help.

        Args:
            texts: any strings; an empty one becomes its special tokens.

        Raises:
            ModelError: a token is not in the model's embedding table.
        """
        start = time.perf_counter()
        contents = self._contents(texts)
        before, behind = self._before, self._behind
        lists = [[*before, *content.ids, *behind] for content in contents]
        room = self.max_length - len(before) - len(behind)
        truncated = [content.tokens is None or content.tokens > room for content in contents]
        failed = {row: content.error for row, content in enumerate(contents) if content.error is not None}
        for row in failed:
            lists[row], truncated[row] = [], False
        if self._left_out is not None:
            lists = [[one for one in ids if one != self._left_out] for ids in lists]
            pairs = zip(truncated, texts, strict=True)
            truncated = [cut or len(text) > self._characters for cut, text in pairs]
        lengths = list(map(len, lists))
        if 0 in lengths:
            nothing = EngineError("it has no tokens; leave it out")
            failed |= {row: nothing for row, some in enumerate(lengths) if not some and row not in failed}
        whole = np.fromiter(chain.from_iterable(lists), np.int32, sum(lengths))
        if len(whole):
            self._check_ids(int(whole.max()))
        ids = [whole[stop - length : stop] for length, stop in zip(lengths, accumulate(lengths), strict=True)]
        return TokenizedTexts(ids, lengths, truncated, time.perf_counter() - start, failed)

    def prompt(self, text: str) -> Ids:
        """Return the ids of a prompt; where the model does not pool them, as they stand before a text.

        That is without a special token at their end.

        Raises:
            InputError: the tokenizer cannot read it.
        """
        (content,) = self._contents([text])
        if content.error is not None:
            raise InputError(f"prompt: {content.error}")
        behind = self._behind if self._pools_prompt else []
        return np.array([*self._before, *content.ids, *behind], np.int32)

    def refuse_longer(self, texts: Iterable[tuple[str, str]]) -> None:
        """Read every text, for those who do not want them cut.

        Args:
            texts: what a reader knows each by, as it stands at the start of a sentence, and the text itself.

        Raises:
            InputError: a text is over the limit; it is named with its tokens.
        """
        special = len(self._before) + len(self._behind)
        for some in together(iter(texts), lambda named: len(named[1]), _READ_TEXTS):
            contents = self._contents([text for _, text in some])
            for (name, text), content in zip(some, contents, strict=True):
                if len(text) > self._characters:
                    raise InputError(
                        f"{name} has {len(text):,} characters, and the model reads {self._characters:,} of them; "
                        "shorten it, or let it be truncated"
                    )
                count = None if content.tokens is None else content.tokens + special
                if content.error is None and (count is None or count > self.max_length):
                    raise InputError(
                        f"{name} has {f'more than {self.max_length}' if count is None else count} tokens, over the "
                        f"limit of {self.max_length}; shorten it, or let it be truncated"
                    )

    def _contents(self, texts: Sequence[str]) -> list[Content]:
        """Return the contents of texts, of which model2vec reads so many characters, and cuts those on the right."""
        cut = [text[: self._characters] for text in texts] if self._characters < sys.maxsize else list(texts)
        return self._reader.read(cut)

    def _special_tokens(self) -> tuple[list[int], list[int]]:
        """Return the ids that the post-processor puts before a text and behind it.

        Raises:
            UnsupportedModelError: it does anything else.
        """
        for probe in ("a", "1", "the", "."):
            text = self._tokenizer.encode(probe, add_special_tokens=False).ids
            whole = self._tokenizer.encode(probe, add_special_tokens=True)
            start = whole.special_tokens_mask.index(0) if 0 in whole.special_tokens_mask else None
            if text and start is not None and whole.ids[start : start + len(text)] == text:
                return whole.ids[:start], whole.ids[start + len(text) :]
        raise UnsupportedModelError(
            f"{self._path}: its post_processor does more than to put special tokens before a text and behind it, which "
            "the engine does not run"
        )

    def _check_vocabulary(self, *, adds_special: bool) -> None:
        """Refuse a tokenizer whose size or special tokens say that it is another model's.

        All its ids are not looked at: that takes 0.4 s for 250,000. Those of texts are, when they are encoded.
        """
        tokens = self._tokenizer.get_vocab_size()
        if tokens > self._rows:
            raise ModelError(
                f"{self._path}: has {tokens} tokens, but the model's embedding table has {self._rows} rows; it is "
                "another model's tokenizer"
            )
        try:
            whole = self._tokenizer.encode("a", add_special_tokens=adds_special)
        except BaseException as error:
            raise ModelError(f"{self._path}: cannot read a text: {failure(error)}") from error
        self._check_ids(max(whole.ids, default=0))
        if self._types and any(whole.type_ids):
            raise UnsupportedModelError(
                f"{self._path}: its post_processor gives tokens a type other than 0, which the engine does not run; "
                "set its type_ids to 0 if the model was trained so"
            )

    def _check_ids(self, largest: int) -> None:
        """Refuse an id beyond the embedding table, which would read whatever lies there."""
        if largest >= self._rows:
            raise ModelError(
                f"{self._path}: token {self._tokenizer.id_to_token(largest)!r} has id {largest}, but the model's "
                f"embedding table has {self._rows} rows; it is another model's tokenizer"
            )

    def _lower_first(self) -> None:
        """Put texts in lower case before all else, but for special tokens in them, as sentence-transformers does."""
        from tokenizers import normalizers

        own = self._tokenizer.normalizer
        lower = normalizers.Lowercase()
        self._tokenizer.normalizer = lower if own is None else normalizers.Sequence([lower, own])

    def words(self) -> list[str]:
        """Return whole words of the vocabulary, to make synthetic text from."""
        return sorted(word for word in self._tokenizer.get_vocab() if word.isalpha() and word.isascii())
