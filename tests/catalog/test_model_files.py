"""The hub's failures: each is one line with its true reason."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import errors

from farthing.catalog.model_files import hub_config, hub_folder
from farthing.errors import FarthingError, ModelError, ModelUnavailableError

MODEL = "somebody/something"


def refusal(
    monkeypatch: pytest.MonkeyPatch, error: Exception, call: Callable[[str], Path], kind: type[FarthingError]
) -> str:
    """Return what is said when the hub's client raises `error`."""

    def fail(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(FarthingError) as caught:
        call(MODEL)
    assert type(caught.value) is kind
    assert MODEL in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("call", [hub_config, hub_folder])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_cache_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[str], Path], number: int
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/the/cache")
    error = OSError(number, os.strerror(number))
    message = refusal(monkeypatch, error, call, ModelUnavailableError)
    for fragment in ("/the/cache", os.strerror(number), "HF_HOME"):
        assert fragment in message
    assert "out of reach" not in message


def test_a_repository_without_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    error = errors.EntryNotFoundError("404 Client Error.\nEntry Not Found for url: …")
    message = refusal(monkeypatch, error, hub_config, ModelError)
    assert "config.json" in message
    assert "out of reach" not in message


@pytest.mark.parametrize(
    "error",
    [
        errors.LocalEntryNotFoundError("nothing in the cache"),
        errors.OfflineModeIsEnabled("offline"),
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        TimeoutError(errno.ETIMEDOUT, "timed out"),
        OSError("of an HTTP library"),
        RuntimeError("anything else"),
    ],
    ids=repr,
)
def test_a_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    assert "out of reach" in refusal(monkeypatch, error, hub_folder, ModelUnavailableError)
