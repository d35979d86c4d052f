"""`farthing prices`: what it prints for people and for programs, and what a refresh leaves behind."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from farthing.catalog.facts import Folders
from farthing.catalog.live.refresh import RefreshedFile
from farthing.catalog.load import load_api_prices, load_devices
from farthing.cli.main import main
from farthing.cli.views.prices_view import render_prices, render_refreshed
from farthing.planning.prices import price_list

TODAY = datetime.date(2026, 11, 21)


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give each test a configuration and data of its own, and a gpuhunt and genai-prices that reach no one."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("GPUHUNT_CATALOG_URL", (tmp_path / "gone").as_uri())
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config" / "farthing").mkdir(parents=True)
    return tmp_path / "config" / "farthing"


def drawn(width: int, tmp_path: Path, day: datetime.date = TODAY, **asked: object) -> str:
    listed = price_list(day, folders=Folders(tmp_path, tmp_path), **asked)  # type: ignore[arg-type]
    console = Console(width=width, record=True, quiet=False, file=sys.stderr)
    render_prices(listed, console, quotes="device" in asked)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_every_price_fits_the_screen_whole(width: int, tmp_path: Path) -> None:
    text = drawn(width, tmp_path)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for device in load_devices():
        assert device.device in text
    for price in load_api_prices():
        (line,) = (row for row in text.splitlines() if row.split()[:2] == [price.provider, price.model])
        assert line.split()[2] == f"{price.usd_per_million_tokens:g}"
        assert line.split()[3] == (f"{price.batch.usd_per_million_tokens:g}" if price.batch else "–")


def test_a_line_has_price_interval_quotes_age_and_source(tmp_path: Path) -> None:
    text = drawn(80, tmp_path)
    (line,) = (row for row in text.splitlines() if row.split()[:1] == ["h100-sxm"])
    assert line.split()[:6] == ["h100-sxm", "4.08", "2.96–12.29", "Lambda", "28", "d"]
    feet = [row.split() for row in text.split("\nsources")[1].splitlines()]
    assert [line.split()[6], "compute-screener"] in feet
    assert "No on-demand price is known for gb200, mi355x, gaudi3, m3-max" in " ".join(text.split())


def test_old_prices_are_flagged(tmp_path: Path) -> None:
    assert "265 d old" in drawn(80, tmp_path, device="rtx-4090", kind="spot")
    later = drawn(80, tmp_path, TODAY + datetime.timedelta(days=400))
    priced = [row for row in later.splitlines() if row.split()[:1] == ["l4"]]
    assert priced
    assert all(" old " in row for row in priced)


def test_one_device_with_each_of_its_quotes(tmp_path: Path) -> None:
    text = drawn(80, tmp_path, device="rtx-5090")
    for said in ("RunPod", "Spheron", "178 d old", "source gives the month only"):
        assert said in " ".join(text.split())
    assert "Embedding APIs" not in text


def test_what_a_refresh_did(capfd: pytest.CaptureFixture[str]) -> None:
    path = Path("/data/rental_prices.csv")
    done = RefreshedFile(kind="rental", path=path, source="gpuhunt 1", rows=7, warning=None)
    not_done = RefreshedFile(
        kind="API", path=path, source="g 1", rows=0, warning="API prices stay [as] they were"
    )
    console = Console(width=200, file=sys.stderr)
    render_refreshed([done, not_done], console)
    assert capfd.readouterr().err.splitlines() == [
        "7 rental prices through gpuhunt 1 kept in /data/rental_prices.csv",
        "warning: API prices stay [as] they were",
    ]


def test_what_people_read_is_on_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["prices"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert "h100-sxm" in out
    assert "text-embedding-3-small" in out


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        ([], {"devices", "apis"}),
        (["--only", "devices"], {"devices"}),
        (["--only", "apis"], {"apis"}),
        (["--device", "l4"], {"devices"}),
        (["--device", "l4", "--only", "devices"], {"devices"}),
    ],
)
def test_json_is_one_document_on_stdout(
    capfd: pytest.CaptureFixture[str], arguments: list[str], keys: set[str]
) -> None:
    assert main(["prices", "--json", *arguments]) == 0
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert document.keys() == keys | {"as_of", "kind", "old_after_days", "refreshed"}
    assert document["refreshed"] is None
    assert err == ""


def test_the_kind_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "--json", "--kind", "spot", "--device", "tpu-v6e"]) == 0
    (row,) = json.loads(capfd.readouterr().out)["devices"]
    assert row["usd_per_hour"]["value"] == 1.89


def test_the_users_own_price(capfd: pytest.CaptureFixture[str], own_folders: Path) -> None:
    today = datetime.date.today()
    (own_folders / "prices.toml").write_text(f"[rental.gb200]\nusd_per_hour = 9.5\ndate = {today}\n")
    assert main(["prices", "--json", "--device", "gb200"]) == 0
    (row,) = json.loads(capfd.readouterr().out)["devices"]
    price = row["usd_per_hour"]
    assert (price["value"], price["age_days"], price["old"], price["sources"]) == (9.5, 0, False, ["yours"])


def test_a_refresh_that_reaches_no_one_warns_and_lists_what_is_there(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["prices", "--refresh", "--json", "--device", "l4"]) == 0
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert [row["kind"] for row in document["refreshed"]] == ["rental", "API"]
    assert all(row["rows"] == 0 and row["warning"] for row in document["refreshed"])
    assert document["devices"][0]["usd_per_hour"]["quotes"] == 2
    assert err.count("warning: ") == 2
    assert "Traceback" not in err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "h1000"], "unknown device 'h1000'"),
        (["--device", "h1000", "--refresh"], "unknown device 'h1000'"),
        (["--device", "local"], "farthing doctor"),
        (["--device", "l4", "--only", "apis"], "leave --only apis out"),
        (["--kind", "reserved"], "'reserved' is not one of"),
        (["--only", "x"], "'x' is not one of"),
        (["l4"], "farthing prices --help"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    capfd: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["prices", *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert said in err


def test_a_wrong_row_in_the_users_file_is_one_line_that_names_it(
    capfd: pytest.CaptureFixture[str], own_folders: Path
) -> None:
    path = own_folders / "prices.toml"
    path.write_text("[rental.h100-sxm]\nusd_per_hour = -2\ndate = 2026-11-20\n")
    assert main(["prices"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"farthing: {path}: rental.h100-sxm: usd_per_hour is -2: ")


def test_a_missing_extra_is_one_line_that_names_it(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gpuhunt", None)
    assert main(["prices", "--refresh"]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line == (
        "farthing: `farthing prices --refresh` needs gpuhunt: pip install 'farthing[live-prices]'"
    )


def test_an_interrupted_refresh_exits_with_130(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(**_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("farthing.catalog.live.refresh.refresh_prices", interrupt)
    assert main(["prices", "--refresh"]) == 130
    *_, line = capfd.readouterr().err.splitlines()  # click ends the line that was interrupted
    assert line.startswith("farthing: interrupted")
