"""Static models, a table of token vectors that are averaged: model2vec's, and sentence-transformers' StaticEmbedding.

Source: the packages model2vec 0.10 (`StaticModel`) and sentence-transformers 6.2 (`StaticEmbedding`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from farthing.catalog.model_files import read_json_object
from farthing.engine.folder.files import weight_files
from farthing.engine.folder.head import module_rows
from farthing.engine.folder.tensors import TensorFile, as_float32, is_finite
from farthing.errors import ModelError, UnsupportedModelError
from farthing.theory.families.configs import is_static

_TABLE, _MODEL2VEC_TABLE = "embedding.weight", "embeddings"
_MAPPING, _FACTORS = "mapping", "weights"
"""Of model2vec, where it has merged rows: the row of each token, and the factor on it."""


@dataclass(frozen=True, slots=True)
class StaticTable:
    """Where a static model keeps its table, and how it reads texts.

    Attributes:
        folder: with the tensors and tokenizer.json.
        weights: the file of the tensors.
        model2vec: whether texts are read as model2vec does: cut by characters before they are by tokens, and
            unknown tokens left out.
    """

    folder: Path
    weights: Path
    model2vec: bool

    def size(self) -> tuple[int, int]:
        """Return the tokens that have a vector, and its width.

        Raises:
            ModelError: there is no such table.
        """
        file = TensorFile(self.weights)
        name = _TABLE if _TABLE in file else _MODEL2VEC_TABLE
        if name not in file or len(file.shape(name)) != 2:
            raise ModelError(
                f"{self.weights}: a static model, but there is no two-dimensional tensor {_TABLE} or {_MODEL2VEC_TABLE}"
            )
        rows, width = file.shape(name)
        return (file.shape(_MAPPING)[0] if _has_mapping(file) else rows), width

    def rows(self) -> npt.NDArray[np.float32]:
        """Return the vector of each token, (tokens, width).

        Raises:
            ModelError: the tensors do not fit each other, or are not finite.
        """
        file = TensorFile(self.weights)
        rows = as_float32(file.array(_TABLE if _TABLE in file else _MODEL2VEC_TABLE, integers=True))
        if _has_mapping(file):
            mapping = file.array(_MAPPING, integers=True)
            if mapping.min(initial=0) < 0 or mapping.max(initial=0) >= len(rows):
                raise ModelError(f"{self.weights}: {_MAPPING} names rows that {_MODEL2VEC_TABLE} has not")
            rows = rows[mapping]
        if _TABLE not in file and _FACTORS in file:
            factors = as_float32(file.array(_FACTORS))
            if factors.shape != (len(rows),):
                raise ModelError(f"{self.weights}: {_FACTORS} are {factors.shape}, for {len(rows)} tokens")
            rows = rows * factors[:, None]
        if not is_finite(rows):
            raise ModelError(f"{self.weights}: holds values that are not finite in float32")
        return rows


def _has_mapping(file: TensorFile) -> bool:
    return _TABLE not in file and _MAPPING in file and len(file.shape(_MAPPING)) == 1


def read_static(folder: Path, name: str) -> StaticTable | None:
    """Return a folder's table where it is a static model's; None elsewhere.

    Raises:
        UnsupportedModelError: its weights are no safetensors, or more than one file of them.
        ModelError: a file is missing or damaged.
    """
    config = folder / "config.json"
    modules = module_rows(folder)
    if config.is_file() and is_static(read_json_object(config)):
        place, model2vec = folder, True
    elif modules and modules[0][0].endswith(".StaticEmbedding"):
        place, model2vec = folder / modules[0][1], False
    else:
        return None
    files = weight_files(place, name)
    if len(files) != 1:
        raise UnsupportedModelError(f"{place}: a static model in {len(files)} shards is not supported")
    return StaticTable(place, files[0], model2vec)
