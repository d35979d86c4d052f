"""The folders that all engines load: the default model at a length limit, with its exports, and a random larger one.

They lie in the user's cache directory and are made once. Knows files; runs no model.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

from farthing.engine.folder.locate import locate_model
from peers_engines import PeerError, run_in

LARGE = "Qwen/Qwen3-Embedding-0.6B"
BACKENDS = ("onnx", "openvino")


def cache_folder() -> Path:
    """Return the folder that exports and random models are kept in."""
    return user_cache_path("farthing") / "peers"


def limited_minilm(limit: int) -> tuple[Path, dict[str, str]]:
    """Return a folder of the default model that cuts texts at `limit` tokens, and the exports that failed.

    Every engine reads another file for its limit; here they all say the same. tokenizer.json as fetched pads every
    text to 128 tokens, which fastembed would do.

    Returns:
        The folder; for each backend that could not be exported, why.
    """
    source = locate_model(None).folder
    folder = cache_folder() / f"all-MiniLM-L6-v2-{limit}"
    if not (folder / "modules.json").is_file():
        made = folder.with_suffix(".part")
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(source, made)
        tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
        tokenizer["truncation"]["max_length"] = limit
        tokenizer["padding"]["strategy"] = "BatchLongest"
        (made / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
        _change(made / "tokenizer_config.json", {"model_max_length": limit, "max_length": limit})
        _change(made / "sentence_bert_config.json", {"max_seq_length": limit})
        made.replace(folder)
    failed = {}
    for backend in BACKENDS:
        if not (folder / backend).is_dir():
            try:
                with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
                    run_in(backend, "peer_export.py", backend, str(folder), scratch)
                    (Path(scratch) / backend).replace(folder / backend)
            except PeerError as error:
                failed[backend] = str(error)
    return folder, failed


def large_random(layers: int) -> Path:
    """Return the folder of a random model of `LARGE`'s shape with so many layers, in fp32 (2.4 GB with all 28).

    Raises:
        PeerError: it could not be made.
    """
    folder = cache_folder() / f"qwen3-embedding-0.6b-random-{layers}"
    if not (folder / "1_Pooling" / "config.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        run_in(None, "peer_random_model.py", LARGE, str(layers), str(folder))
    return folder


def _change(path: Path, settings: dict[str, int]) -> None:
    stated = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(stated | settings), encoding="utf-8")
