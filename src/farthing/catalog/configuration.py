"""What the user has set once for all runs, in config.toml under the XDG configuration directory.

```toml
[local]
usd_per_hour = 0.08   # price of this machine
```
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from sys import float_info

from platformdirs import user_config_path

from farthing.errors import InputError


@dataclass(frozen=True, slots=True)
class Configuration:
    """The user's settings.

    Attributes:
        usd_per_hour: price of this machine; None when not set.
        path: the file they come from, whether it exists or not.
    """

    usd_per_hour: float | None
    path: Path


def load_configuration(path: Path | None = None) -> Configuration:
    """Read the user's settings; a missing file means none.

    Args:
        path: the file; default the one in the XDG configuration directory.

    Raises:
        InputError: the file is not TOML, or has a key that is unknown or no positive number.
    """
    path = path or user_config_path("farthing") / "config.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Configuration(None, path)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: cannot be read as TOML: {error}") from error
    for section, keys in table.items():
        if section != "local" or not isinstance(keys, dict):
            raise InputError(f"{path}: unknown entry {section!r}; there is only the table [local]")
        for key in keys:
            if key != "usd_per_hour":
                raise InputError(f"{path}: [local]: unknown key {key!r}; there is only usd_per_hour")
    price = table.get("local", {}).get("usd_per_hour")
    if price is None:
        return Configuration(None, path)
    if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price <= float_info.max:
        raise InputError(f"{path}: [local] usd_per_hour is {price!r}; give USD per hour as a number ≥ 0")
    return Configuration(float(price), path)
