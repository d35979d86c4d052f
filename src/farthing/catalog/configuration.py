"""What the user has set once for all runs, in config.toml under the XDG configuration directory.

```toml
[local]
usd_per_hour = 0.08   # price of this machine
dtype = "fp32"        # of its processor, where none is asked for: fp32, bf16, or auto, the faster of the two
```
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from sys import float_info

from platformdirs import user_config_path

from farthing.catalog.model_files import small_text
from farthing.errors import InputError, excerpt
from farthing.theory.dtypes import Dtype


@dataclass(frozen=True, slots=True)
class Configuration:
    """The user's settings.

    Attributes:
        usd_per_hour: price of this machine; None when not set.
        path: the file they come from, whether it exists or not.
        dtype: of its processor, where none is asked for; None for `auto`.
    """

    usd_per_hour: float | None
    path: Path
    dtype: Dtype | None = None


def load_configuration(path: Path | None = None) -> Configuration:
    """Read the user's settings; a missing file means none.

    Args:
        path: the file; default the one in the XDG configuration directory.

    Raises:
        InputError: the file is not TOML, or has a key that is unknown or a value that cannot be.
    """
    path = path or user_config_path("farthing") / "config.toml"
    try:
        text = small_text(path)
        import tomllib  # only where there is something to read: it takes milliseconds

        table = tomllib.loads(text)
    except FileNotFoundError:
        return Configuration(None, path)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as TOML: {error}") from error
    for section, keys in table.items():
        if section != "local" or not isinstance(keys, dict):
            raise InputError(f"{path}: unknown entry {section!r}; there is only the table [local]")
        for key in keys:
            if key not in ("usd_per_hour", "dtype"):
                raise InputError(f"{path}: [local]: unknown key {key!r}; there are usd_per_hour and dtype")
    local = table.get("local", {})
    price, dtype = local.get("usd_per_hour"), local.get("dtype")
    if price is not None and (
        isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price <= float_info.max
    ):
        raise InputError(
            f"{path}: [local] usd_per_hour is {excerpt(price)}; give USD per hour as a number ≥ 0"
        )
    if dtype not in (None, "auto", "fp32", "bf16"):
        raise InputError(f"{path}: [local] dtype is {excerpt(dtype)}; give 'fp32', 'bf16' or 'auto'")
    return Configuration(None if price is None else float(price), path, None if dtype == "auto" else dtype)
