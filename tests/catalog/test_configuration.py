"""The user's configuration: one price, and one line for whatever else is in the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from farthing.catalog.configuration import Configuration, load_configuration
from farthing.errors import InputError


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_missing_file_sets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert load_configuration(path) == Configuration(None, path)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[local]\n"])
def test_a_file_may_set_nothing(tmp_path: Path, text: str) -> None:
    assert load_configuration(written(tmp_path, text)).usd_per_hour is None


@pytest.mark.parametrize(("value", "price"), [("0.08", 0.08), ("2", 2.0), ("0", 0.0), ("1e-3", 0.001)])
def test_a_price(tmp_path: Path, value: str, price: float) -> None:
    path = written(tmp_path, f"[local]\nusd_per_hour = {value}\n")
    configuration = load_configuration(path)
    assert configuration == Configuration(price, path)
    assert isinstance(configuration.usd_per_hour, float)


def test_the_default_is_in_the_configuration_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "farthing" / "config.toml"
    assert load_configuration() == Configuration(None, path)
    path.parent.mkdir()
    path.write_text("[local]\nusd_per_hour = 0.5\n")
    assert load_configuration() == Configuration(0.5, path)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[local\n", "TOML"),
        ("usd_per_hour\n", "TOML"),
        ("[local]\nusd_per_hour = 1\nusd_per_hour = 2\n", "TOML"),
        (b"[local]\n# \xff\n", "TOML"),
        ("[lokal]\nusd_per_hour = 1\n", "'lokal'"),
        ("usd_per_hour = 1\n", "'usd_per_hour'"),
        ("local = 3\n", "'local'"),
        ("[[local]]\nusd_per_hour = 3\n", "'local'"),
        ('["a\\nb"]\n', r"'a\nb'"),
        ("[local]\nusd = 1\n", "'usd'"),
        ("[local]\nusd_per_hour = 1\nUSD_PER_HOUR = 2\n", "'USD_PER_HOUR'"),
        ("[local.more]\n", "'more'"),
        *(
            (f"[local]\nusd_per_hour = {value}\n", "usd_per_hour is")
            for value in ('"0.08"', "-0.01", "nan", "inf", "-inf", "true", "[1]", "{a = 1}", "1979-05-27")
        ),
        (f"[local]\nusd_per_hour = 1{'0' * 400}\n", "usd_per_hour is"),
    ],
)
def test_anything_else_is_one_line_that_names_the_file_and_the_key(
    tmp_path: Path, text: str | bytes, named: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_configuration(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert named in message
    assert "\n" not in message


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_configuration(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ")


@pytest.mark.parametrize(("text", "dtype"), [("'bf16'", "bf16"), ("'fp32'", "fp32"), ("'auto'", None)])
def test_a_dtype(tmp_path: Path, text: str, dtype: str | None) -> None:
    assert load_configuration(written(tmp_path, f"[local]\ndtype = {text}\n")).dtype == dtype


def test_a_dtype_that_no_processor_runs_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\[local\] dtype is 'fp8'; give 'fp32', 'bf16' or 'auto'"):
        load_configuration(written(tmp_path, "[local]\ndtype = 'fp8'\n"))
