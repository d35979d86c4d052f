"""A model from a hub: what is fetched of it, with whose token, at which revision. The hub is a stand-in here."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import torch
from safetensors.torch import load_file, save_file

MODEL, TOKEN, COMMIT, NEWEST = "maker/tiny", "hf_of_the_user", "a" * 40, "b" * 40
OTHERS = (
    "README.md",
    "pytorch_model.bin",
    "2_Dense/pytorch_model.bin",
    "consolidated.safetensors",
    "onnx/model.onnx",
    "onnx/config.json",
    "checkpoint-500/model.safetensors",
    "original/model.safetensors",
    "elsewhere/deep/model.safetensors",
)


class Hub(ThreadingHTTPServer):
    """A stand-in for the hub on this machine: one model, the same at two commits, for those with the token."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), HubRequest)
        self.folder = folder
        self.asked: list[str] = []
        self.downloads: list[str] = []


class HubRequest(BaseHTTPRequestHandler):
    """As much of the hub as snapshot_download asks: the commit of a branch, the files of a commit, a file."""

    server: Hub

    def do_HEAD(self) -> None:
        self.answer(False)

    def do_GET(self) -> None:
        self.answer(True)

    def answer(self, whole: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(path)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if path == f"/api/models/{MODEL}/revision/main":
            return self.send(200, json.dumps({"id": MODEL, "sha": NEWEST, "siblings": []}).encode())
        commit = next((commit for commit in (COMMIT, NEWEST) if commit in path), "")
        if path == f"/api/models/{MODEL}/tree/{commit}":
            files = [file for file in self.server.folder.rglob("*") if file.is_file()]
            rows = [
                {
                    "type": "file",
                    "path": str(file.relative_to(self.server.folder)),
                    "size": file.stat().st_size,
                    "oid": "0",
                }
                for file in files
            ]
            return self.send(200, json.dumps(rows).encode())
        file = self.server.folder / path.removeprefix(f"/{MODEL}/resolve/{commit}/")
        if not commit or not file.is_file():
            return self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        if whole:
            self.server.downloads.append(str(file.relative_to(self.server.folder)))
        content = file.read_bytes()
        etag = hashlib.sha256(content).hexdigest()
        return self.send(200, content, {"X-Repo-Commit": commit, "ETag": f'"{etag}"'}, whole)

    def send(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, whole: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if whole:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tiny_bert: Path, tmp_path: Path) -> Iterator[Hub]:
    """Serve the small BERT in two shards with a Dense module, beside all that a repository has besides."""
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "repository"))
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    shards: dict[str, dict[str, torch.Tensor]] = {"model-00001-of-00002.safetensors": {}}
    shards["model-00002-of-00002.safetensors"] = {}
    for index, (name, tensor) in enumerate(tensors.items()):
        list(shards.values())[index % 2][name] = tensor
    for file, part in shards.items():
        save_file(part, folder / file)
    weight_map = {name: file for file, part in shards.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    modules = json.loads((folder / "modules.json").read_text())
    modules.insert(2, {"type": "sentence_transformers.models.Dense", "path": "2_Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "config.json").write_text(json.dumps({"in_features": 36, "out_features": 12}))
    dense = {"linear.weight": torch.ones(12, 36), "linear.bias": torch.ones(12)}
    save_file(dense, folder / "2_Dense" / "model.safetensors")
    for other in OTHERS:
        (folder / other).parent.mkdir(parents=True, exist_ok=True)
        (folder / other).write_bytes(b"much")
    server = Hub(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def settings_of(hub: Hub, cache: Path) -> dict[str, str]:
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("HF_")},
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def read_from(hub: Hub, cache: Path, *, revision: str | None = None, **settings: str) -> str:
    """Return what a process of its own says of the hub's model, as the client reads its settings on import."""
    code = (
        "import sys\n"
        "from farthing.engine.folder.checkpoint import read_checkpoint\n"
        "from farthing.engine.folder.locate import locate_model\n"
        "from farthing.errors import FarthingError\n"
        "try: found = read_checkpoint(locate_model(sys.argv[1], sys.argv[2] or None))\n"
        "except FarthingError as error: print(type(error).__name__, error)\n"
        "else: print(found.revision, len(found.weights), found.dimension, found.pooling)\n"
    )
    environment = settings_of(hub, cache) | settings
    command = [sys.executable, "-c", code, MODEL, revision or ""]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60)
    assert done.stdout.count("\n") == 1
    return done.stdout.strip()


def test_a_model_from_the_hub_with_shards_and_modules_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    assert read_from(hub, tmp_path / "hub", HF_TOKEN=TOKEN) == f"{NEWEST} 2 12 mean"
    repository = {str(file.relative_to(hub.folder)) for file in hub.folder.rglob("*") if file.is_file()}
    assert sorted(hub.downloads) == sorted(repository - set(OTHERS))


def test_a_token_a_pinned_revision_and_no_network(hub: Hub, tmp_path: Path) -> None:
    refused = read_from(hub, tmp_path / "hub", revision=COMMIT)
    assert refused.startswith("ModelUnavailableError")
    assert "HF_TOKEN" in refused
    assert read_from(hub, tmp_path / "hub", revision=COMMIT, HF_TOKEN=TOKEN) == f"{COMMIT} 2 12 mean"
    hub.downloads.clear()
    offline = {"HF_HUB_OFFLINE": "1"}
    assert read_from(hub, tmp_path / "hub", revision=COMMIT, **offline) == f"{COMMIT} 2 12 mean"
    assert read_from(hub, tmp_path / "hub", **offline).startswith("ModelUnavailableError")  # another revision
    assert not hub.downloads
    assert "c0ffee" in read_from(hub, tmp_path / "hub", revision="c0ffee", HF_TOKEN=TOKEN)


def test_a_model_in_the_cache_is_used_without_asking(hub: Hub, tmp_path: Path) -> None:
    for revision, commit in ((None, NEWEST), (COMMIT, COMMIT)):
        assert read_from(hub, tmp_path / "hub", revision=revision, HF_TOKEN=TOKEN) == f"{commit} 2 12 mean"
        hub.asked.clear()
        for settings in ({"HF_TOKEN": TOKEN}, {}):
            assert read_from(hub, tmp_path / "hub", revision=revision, **settings) == f"{commit} 2 12 mean"
        assert hub.asked == []


def test_offline_never_asks(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a\n")
    command = [str(Path(sys.executable).with_name("farthing")), "embed", "in.txt", "-o", "out.parquet"]
    environment = settings_of(hub, tmp_path / "hub") | {"HF_TOKEN": TOKEN}

    def embed(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, "-m", MODEL, "--json", *options],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=environment,
            timeout=120,
        )

    done = embed("--offline")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"farthing: {MODEL}: not on this machine" in done.stderr
    assert "--offline" in done.stderr
    assert hub.asked == []
    read_from(hub, tmp_path / "hub", HF_TOKEN=TOKEN)
    hub.asked.clear()
    done = embed("--offline")
    assert (done.returncode, hub.asked) == (0, []), done.stderr
    assert json.loads(done.stdout)["embedded"] == 1
