"""The errors that Farthing raises, as one tree.

```
FarthingError                     every error below; one line: what, where, what to do
├── InputError                    what the user gave cannot be used (exit code 2)
│   ├── RowError                  … and it is a row of an input file; knows its number
│   └── ModelError                … and it is a model folder or its configuration
│       └── UnsupportedModelError a model of a kind that is not supported, named
├── MissingExtraError             an optional package is absent; names the extra to install
├── ModelUnavailableError         a model that is not on this machine and cannot be had now
└── EngineError                   the engine failed, for example a vector is not finite
```
"""

from __future__ import annotations

__all__ = [
    "EngineError",
    "FarthingError",
    "InputError",
    "MissingExtraError",
    "ModelError",
    "ModelUnavailableError",
    "QueueFullError",
    "RowError",
    "UnsupportedModelError",
    "excerpt",
    "missing_extra",
]

_MOST_CHARACTERS = 2000
"""Of a message."""

_EXTRAS = {
    **dict.fromkeys(("huggingface_hub", "numpy", "openvino", "pyarrow", "tokenizers"), "cpu"),
    "torch": "gpu",
    **dict.fromkeys(("uvicorn", "msgspec", "orjson", "prometheus_client"), "serve"),
    "matplotlib": "report",
    **dict.fromkeys(("genai_prices", "gpuhunt"), "live-prices"),
    "langchain_core": "langchain",
    "llama_index": "llama-index",
}
"""Extra that brings each optional package, by the package's import name."""


class FarthingError(Exception):
    """Base of all errors that Farthing raises on purpose."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        """Keep the message; of one that quotes megabytes, the two ends."""
        half = _MOST_CHARACTERS // 2
        super().__init__(message if len(message) <= 2 * half else f"{message[:half]} … {message[-half:]}")


class InputError(FarthingError, ValueError):
    """What the user gave cannot be used; the message names the culprit and what to do."""

    exit_code = 2


class RowError(InputError):
    """A row of an input file cannot be used."""

    def __init__(self, source: str, row: str, problem: str) -> None:
        """Say which row of which file is bad.

        Args:
            source: the file, as the user named it.
            row: where in the file, for example `row 7 (line 9)`.
            problem: what is wrong and what to do.
        """
        super().__init__(f"{source}: {row}: {problem}")
        self.source = source
        self.row = row


class ModelError(InputError):
    """A model folder or its configuration cannot be used."""


class UnsupportedModelError(ModelError):
    """A model of a kind that Farthing does not support."""


class MissingExtraError(FarthingError, ImportError):
    """An optional package is absent."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        """Name the extra to install.

        Args:
            package: the import name of the absent package.
            extra: the extra of `farthing` that brings it.
            purpose: what needs it, as a noun phrase.
        """
        super().__init__(f"{purpose} needs {package}: pip install 'farthing[{extra}]'")


class ModelUnavailableError(FarthingError):
    """A model that is not on this machine and cannot be had now."""


class QueueFullError(FarthingError):
    """Too much waits already: try again later.

    Attributes:
        retry_after_s: seconds in which what waits now should have left; None: not known.
    """

    def __init__(self, tokens: float, tokens_per_s: float | None) -> None:
        """Say how much waits.

        Args:
            tokens: what waits.
            tokens_per_s: how much of it leaves per second; None: not known.
        """
        self.retry_after_s = tokens / tokens_per_s if tokens_per_s else None
        later = "later" if self.retry_after_s is None else f"in {self.retry_after_s:.2g} s"
        super().__init__(f"{tokens:.0f} tokens wait already: try again {later}")


class EngineError(FarthingError, RuntimeError):
    """The engine failed while running a model."""


def excerpt(value: object) -> str:
    """Return how a value is written, as it can stand in a message: the start of a long one."""
    try:
        written = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes; nested too deep
        return f"{type(value).__name__} too large to show"
    return written if len(written) <= 80 else f"{written[:79]}…"


def missing_extra(error: BaseException, purpose: str) -> MissingExtraError | None:
    """Return the error that names the extra to install, if `error` says that one of its packages is absent.

    Args:
        error: what an import raised.
        purpose: what needs the package, as a noun phrase.
    """
    package = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return MissingExtraError(package, _EXTRAS[package], purpose) if package in _EXTRAS else None
