"""Arrays as torch tensors, for callers who ask for them."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from farthing.errors import missing_extra


def as_tensor(values: npt.NDArray[Any]) -> Any:
    """Return a torch tensor over the memory of an array.

    Raises:
        MissingExtraError: torch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise missing_extra(error, "convert_to_tensor") or error from None
    return torch.from_numpy(values)
