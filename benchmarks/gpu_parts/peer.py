"""sentence-transformers with a model's shape and random weights, fed with token ids as its tokenizer would.

Its own Transformer, Pooling and Normalize run; only the loading of weights is replaced, so that no checkpoint of many
gigabytes is written to be read again. Weights need not be ours: equal shapes take equal time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from farthing.engine.contract import Ids
from gpu_parts.models import DTYPE, Subject

_POOLINGS = {"cls": "cls", "mean": "mean", "last_token": "lasttoken"}


def attentions() -> list[str]:
    """Return the ways of attention that sentence-transformers has here; none where it is not installed."""
    if find_spec("sentence_transformers") is None:
        return []
    return ["sdpa", *(["flash_attention_2"] if find_spec("flash_attn") else [])]


class Peer:
    """A SentenceTransformer on the device."""

    def __init__(self, subject: Subject, device: torch.device, attention: str, scratch: Path) -> None:
        """Build it.

        Args:
            subject: whose shape and pooling it has.
            device: where.
            attention: one of `attentions()`.
            scratch: an empty folder for its configuration and a tokenizer that is not used.
        """
        sentence_transformers: Any = import_module("sentence_transformers")
        theirs: Any = import_module("sentence_transformers.sentence_transformer.modules")
        transformers: Any = import_module("transformers")

        class RandomTransformer(theirs.Transformer):  # type: ignore[misc]
            """Theirs, with random weights."""

            def _load_model(self, _path: str, _task: str, config: Any, *_rest: Any, **_options: Any) -> Any:
                with torch.device(device):
                    return transformers.AutoModel.from_config(
                        config, dtype=DTYPE, attn_implementation=attention
                    )

        _write_folder(subject, scratch)
        self._body = RandomTransformer(str(scratch))
        pooling = theirs.Pooling(subject.shape.hidden, _POOLINGS[subject.pooling])
        self._model = sentence_transformers.SentenceTransformer(
            modules=[self._body, pooling, theirs.Normalize()], device=str(device)
        )
        self._model.eval()
        self._device = device

    def run(self, texts: Sequence[Ids]) -> npt.NDArray[np.float32]:
        """Return the vectors of one batch on the host, as `encode` makes them of a batch that it has tokenized."""
        with torch.inference_mode():
            features = {
                name: value.to(self._device) if isinstance(value, torch.Tensor) else value
                for name, value in self._features(texts).items()
            }
            vectors = self._model(features)["sentence_embedding"]
            found: npt.NDArray[np.float32] = vectors.float().cpu().numpy()
        return found

    def run_sorted(self, texts: Sequence[Ids], batch: int) -> None:
        """Run many texts as `encode` does: the longest first, so many at a time."""
        order = sorted(texts, key=len, reverse=True)
        for start in range(0, len(order), batch):
            self.run(order[start : start + batch])

    def _features(self, texts: Sequence[Ids]) -> dict[str, Any]:
        """Return the batch padded to its longest text, or without padding where flash attention allows that."""
        if self._body.can_flatten_inputs:
            flat = dict(self._body.data_collator([{"input_ids": text.tolist()} for text in texts]))
            flat.pop("labels", None)
            flat["position_ids"] = flat["position_ids"] + self._body._flatten_position_offset
            return flat
        longest = max(map(len, texts))
        ids, mask = (np.zeros((len(texts), longest), np.int64) for _ in range(2))
        for row, text in enumerate(texts):
            ids[row, : len(text)], mask[row, : len(text)] = text, 1
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}


def _write_folder(subject: Subject, folder: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    transformers: Any = import_module("transformers")
    folder.mkdir(parents=True, exist_ok=True)
    config = {"pad_token_id": 0, **subject.config}  # a family's own may lie outside a tiny vocabulary
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    words = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]"
    )
    tokenizer.save_pretrained(str(folder))
