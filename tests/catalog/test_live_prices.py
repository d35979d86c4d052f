"""Live prices through the real gpuhunt and genai-prices; only the network is ours: files and a local server.

gpuhunt reads catalogs from `GPUHUNT_CATALOG_URL`, which may be a folder, and genai-prices from any address.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import socket
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gpuhunt  # type: ignore[import-untyped]
import pytest
from gpuhunt.providers import vastai  # type: ignore[import-untyped]

from farthing.catalog import facts
from farthing.catalog.facts import Folders
from farthing.catalog.live import rentals as live_rentals
from farthing.catalog.live.refresh import RefreshedFile, refresh_prices
from farthing.catalog.live.rentals import device_of_offer
from farthing.catalog.load import load_api_prices, load_devices, load_rental_quotes
from farthing.catalog.lookups import device_price
from farthing.catalog.rows import RentalQuote
from farthing.errors import FarthingError, MissingExtraError

TODAY = datetime.date(2026, 11, 21)
NOWHERE = "http://127.0.0.1:9/none"
MEMORY = {device.device: device.memory.value for device in load_devices()}

Offer = dict[str, Any]
MakeCatalog = Callable[..., Any]


def offer(name: str, instance: str, gpu: str, memory: float, count: int, price: float, **more: Any) -> Offer:
    """Return one row of gpuhunt's catalog, of 8 processors and so on."""
    row = {
        "instance_name": instance,
        "location": "somewhere",
        "price": price,
        "cpu": 8,
        "memory": 64,
        "gpu_count": count,
        "gpu_name": gpu,
        "gpu_memory": memory,
        "spot": False,
        "provider": name,
    }
    return row | more


OFFERS = [
    # 8 per instance, in two regions: the cheaper one, per GPU.
    offer("aws", "p5.48xlarge", "H100", 80, 8, 55.04),
    offer("aws", "p5.48xlarge", "H100", 80, 8, 68.80, location="tokyo"),
    offer("aws", "p5.48xlarge", "H100", 80, 8, 17.60, spot=True),
    offer("aws", "p4d.24xlarge", "A100", 40, 8, 21.9576),
    offer("aws", "p4de.24xlarge", "A100", 80, 8, 27.4471),
    offer("aws", "g6.xlarge", "L4", 24, 1, 0.8048),
    offer("aws", "g6f.large", "L4", 3, 1, 0.2),  # an eighth of one
    offer("aws", "g5.xlarge", "A10G", 24, 1, 1.006),  # not in the catalog
    offer("aws", "m5.large", "", 0, 0, 0.1),
    offer("lambdalabs", "gpu_1x_h100_pcie", "H100", 80, 1, 3.29),
    offer("lambdalabs", "gpu_8x_h100_sxm5", "H100", 80, 8, 31.92),
    offer("lambdalabs", "gpu_8x_a100", "A100", 40, 8, 15.92),  # its form is not told
    offer("runpod", "NVIDIA H100 80GB HBM3", "H100", 80, 1, 2.69),
    offer("runpod", "NVIDIA H100 NVL", "H100NVL", 94, 1, 2.59),
    offer("gcp", "v5litepod-8", "v5litepod-8", 128, 1, 9.60),
    offer("gcp", "v5litepod-8", "v5litepod-8", 128, 1, 4.80, spot=True),
    offer("gcp", "v6e-4", "tpu-v6e-4", 128, 1, 10.80),
]


@pytest.fixture
def make_catalog(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MakeCatalog:
    """Return a maker of gpuhunt's own catalog, loaded from zipped files as those that it fetches."""

    def make(rows: list[Offer], version: str = "20261120") -> Any:
        root = tmp_path / "catalogs"
        for provider in {row["provider"] for row in rows}:
            text = io.StringIO()
            own = [row for row in rows if row["provider"] == provider]
            columns = [key for key in own[0] if key != "provider"]
            writer = csv.DictWriter(text, [*columns, "disk_size"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(own)
            folder = root / provider / version
            folder.mkdir(parents=True, exist_ok=True)
            (root / provider / "version").write_text(version + "\n")
            with zipfile.ZipFile(folder / "catalog.zip", "w") as archive:
                archive.writestr(f"{provider}.csv", text.getvalue())
        monkeypatch.setenv("GPUHUNT_CATALOG_URL", root.as_uri())
        catalog = gpuhunt.Catalog(balance_resources=False, auto_reload=False)
        catalog.load()
        return catalog

    return make


class _Server(ThreadingHTTPServer):
    """Answers each path with what was put there, else with an error."""

    answers: dict[str, Any]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        assert isinstance(self.server, _Server)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.server.answers.get(self.path)
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(500 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815 - the names that the server looks for

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[_Server]:
    """Return a server on this machine."""
    made = _Server(("127.0.0.1", 0), _Handler)
    made.answers = {}
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Return folders that do not exist yet."""
    return Folders(tmp_path / "configuration", tmp_path / "data" / "live-prices")


def rentals(folders: Folders, catalog: Any, today: datetime.date = TODAY) -> RefreshedFile:
    """Refresh, with API prices out of reach, and return what became of the rental prices."""
    found, apis = refresh_prices(folders, today, catalog=catalog, api_url=NOWHERE)
    assert apis.warning is not None
    return found


def live(folders: Folders) -> dict[tuple[str, str, str], RentalQuote]:
    rows = [row for row in facts.rental_quotes(folders) if row.source.startswith("gpuhunt 0")]
    keyed: dict[tuple[str, str, str], RentalQuote] = {
        (row.device, row.provider, row.kind): row for row in rows
    }
    assert len(keyed) == len(rows)  # one quote each
    return keyed


# --- Rental prices.


def test_offers_become_quotes_per_device(folders: Folders, make_catalog: MakeCatalog) -> None:
    result = rentals(folders, make_catalog(OFFERS))
    quotes = live(folders)
    assert {key: row.usd_per_hour for key, row in quotes.items()} == {
        ("h100-sxm", "AWS", "on-demand"): 6.88,
        ("h100-sxm", "AWS", "spot"): 2.2,
        ("a100-40g", "AWS", "on-demand"): 2.7447,
        ("a100-80g", "AWS", "on-demand"): 3.4309,
        ("l4", "AWS", "on-demand"): 0.8048,
        ("h100-pcie", "Lambda", "on-demand"): 3.29,
        ("h100-sxm", "Lambda", "on-demand"): 3.99,
        ("h100-sxm", "RunPod", "on-demand"): 2.69,
        ("tpu-v5e", "Google", "on-demand"): 1.2,
        ("tpu-v5e", "Google", "spot"): 0.6,
        ("tpu-v6e", "Google", "on-demand"): 2.7,
        ("a10g", "AWS", "on-demand"): 1.006,
        ("h100-nvl", "RunPod", "on-demand"): 2.59,
    }
    assert quotes["h100-sxm", "AWS", "on-demand"].sold_by == 8
    assert quotes["l4", "AWS", "on-demand"].sold_by == 1
    assert (result.rows, result.warning) == (len(quotes), None)
    assert result.path == folders.live / "rental_prices.csv"


def test_a_quote_has_the_catalogs_date_and_says_what_it_stands_for(
    folders: Folders, make_catalog: MakeCatalog
) -> None:
    source = rentals(folders, make_catalog(OFFERS)).source
    row = live(folders)["h100-sxm", "AWS", "on-demand"]
    assert (row.source, row.date) == (f"{source}: aws", datetime.date(2026, 11, 20))
    assert row.note == "lowest of 2 offers, 6.88–8.6"


@pytest.mark.parametrize("version", ["latest", "20991231"])
def test_a_catalog_without_a_day_or_of_tomorrow_is_of_today(
    folders: Folders, make_catalog: MakeCatalog, version: str
) -> None:
    rentals(folders, make_catalog(OFFERS, version))
    assert {row.date for row in live(folders).values()} == {TODAY}


def test_live_quotes_are_what_a_device_then_costs(folders: Folders, make_catalog: MakeCatalog) -> None:
    before = device_price(facts.rental_quotes(folders), "h100-sxm", TODAY)
    rentals(folders, make_catalog(OFFERS))
    after = device_price(facts.rental_quotes(folders), "h100-sxm", TODAY)
    assert before is not None
    assert after is not None
    assert after.value in (2.69, 3.99, 6.88)
    assert before.offers > after.offers


@pytest.mark.parametrize(
    ("gpu", "memory", "provider", "instance", "device"),
    [
        ("H100", 80, "nebius", "gpu-h100-sxm 1gpu-16vcpu-200gb", "h100-sxm"),
        ("H100", 80, "verda", "1H100.80S.30V", "h100-sxm"),
        ("H100", 80, "azure", "Standard_ND96isr_H100_v5", "h100-sxm"),
        ("H100", 80, "gcp", "a3-highgpu-8g", "h100-sxm"),
        ("H100", 80, "oci", "BM.GPU.H100.8", "h100-sxm"),
        ("H100", 80, "runpod", "NVIDIA H100 PCIe", "h100-pcie"),
        ("H100", 80, "vastai", "12345", None),
        ("H100NVL", 94, "azure", "Standard_NC40ads_H100_v5", "h100-nvl"),
        ("H200", 141, "aws", "p5en.48xlarge", "h200"),
        ("H200NVL", 141, "vastai", "1", None),
        ("A100", 80, "azure", "Standard_ND96amsr_A100_v4", "a100-80g"),
        ("A100", 80, "azure", "Standard_NC24ads_A100_v4", None),
        ("A100", 40, "gcp", "a2-highgpu-1g", "a100-40g"),
        ("A100", 40, "lambdalabs", "gpu_1x_a100_sxm4", "a100-40g"),
        ("V100", 16, "aws", "p3.2xlarge", "v100"),
        ("V100", 32, "aws", "p3dn.24xlarge", None),
        ("B300", 268, "verda", "1B300.30V", "b300"),
        ("MI325X", 288, "vultr", "vbm", "mi325x"),
        ("RTXPRO6000", 96, "cloudrift", "x", "rtx-pro-6000"),
        ("A10", 4, "azure", "Standard_NV6ads_A10_v5", None),
        ("A10", 24, "oci", "VM.GPU.A10.1", "a10"),
        ("v6e-0", 32, "gcp", "v6e-0", None),
        ("v5p-8", 95, "gcp", "v5p-8", None),
        (None, None, "aws", "m5.large", None),
        ("L4", None, "aws", "g6.xlarge", None),
    ],
)
def test_an_offer_is_of_one_of_our_devices_or_of_none(
    gpu: str | None, memory: float | None, provider: str, instance: str, device: str | None
) -> None:
    item = gpuhunt.CatalogItem(
        provider=provider,
        instance_name=instance,
        location="",
        price=1.0,
        cpu=1,
        memory=1,
        gpu_count=2,
        gpu_name=gpu,
        gpu_memory=memory,
        spot=False,
        disk_size=None,
        gpu_vendor=gpuhunt.AcceleratorVendor.NVIDIA,
    )
    assert device_of_offer(item, MEMORY)[0] == device


NOT_THERE = {"m3-max", "m4-max", "a30", "l20", "h20", "inferentia2"}
NOT_THERE |= {name for name in MEMORY if "-mig-" in name or name.startswith("aws-")}
"""What gpuhunt has no name for: machines that are not to be had by the hour there, slices, processors."""


def test_every_name_is_one_of_gpuhunts_and_every_device_one_of_ours() -> None:
    names = {accelerator.name.lower() for accelerator in gpuhunt.KNOWN_ACCELERATORS}
    assert {name for name, _ in live_rentals._DEVICES} | set(live_rentals._TPUS) <= names
    devices = {device for several in live_rentals._DEVICES.values() for device in several}
    assert devices | set(live_rentals._TPUS.values()) <= MEMORY.keys()
    # All that anyone could rent: an Apple machine is not to be had by the hour there.
    assert MEMORY.keys() - devices - set(live_rentals._TPUS.values()) == NOT_THERE


def vast(number: int, usd: float, gpu: str = "RTX 4090", **more: Any) -> dict[str, Any]:
    """Return one of Vast's offers, as its server sends them."""
    row = {
        "id": number,
        "gpu_name": gpu,
        "gpu_ram": 24564,
        "num_gpus": 2,
        "dph_base": usd,
        "storage_cost": 0.0,
        "disk_space": 100,
        "cpu_cores": 8,
        "cpu_cores_effective": 8,
        "cpu_ram": 64000,
        "geolocation": "Sweden, SE",
    }
    return row | more


def test_a_marketplace_counts_by_its_median(
    folders: Folders, make_catalog: MakeCatalog, server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = [0.02, 0.7, 0.8, 0.9, 40.0]
    server.answers["/vast"] = {
        "offers": [vast(number, usd) for number, usd in enumerate(prices)]
        + [vast(9, 0.6, min_bid=0.3), vast(10, 1.0, gpu="RTX 2060")]
    }
    monkeypatch.setattr(vastai, "bundles_url", f"{server.url}/vast")
    catalog = make_catalog(OFFERS)
    catalog.add_provider(vastai.VastAIProvider())
    result = rentals(folders, catalog)
    row = live(folders)["rtx-4090", "Vast", "on-demand"]
    assert (row.usd_per_hour, row.date) == (0.35, TODAY)  # 0.6 to 0.8 for two: the lower of the middle ones
    assert row.note == "median of 6 offers, 0.01–20"
    assert row.source == f"{result.source}: vastai"
    assert live(folders)["rtx-4090", "Vast", "spot"].usd_per_hour == 0.15


def test_a_provider_that_is_down_costs_no_other_and_keeps_what_it_said(
    folders: Folders,
    make_catalog: MakeCatalog,
    server: _Server,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(vastai, "bundles_url", f"{server.url}/vast")
    catalog = make_catalog(OFFERS)
    catalog.add_provider(vastai.VastAIProvider())
    server.answers["/vast"] = {"offers": [vast(1, 0.8)]}
    assert rentals(folders, catalog, TODAY).warning is None
    server.answers.clear()
    result = rentals(folders, catalog, TODAY + datetime.timedelta(days=90))
    assert result.warning == "rental prices: no answer from Vast"
    assert result.rows == 13
    row = live(folders)["rtx-4090", "Vast", "on-demand"]
    assert (row.usd_per_hour, row.date) == (0.4, TODAY)
    # For as long as any quote counts.
    rentals(folders, catalog, TODAY + datetime.timedelta(days=91))
    assert ("rtx-4090", "Vast", "on-demand") not in live(folders)
    assert capfd.readouterr() == ("", "")  # what failed is told by us, not by a log on the screen


def test_a_live_file_that_cannot_be_used_is_replaced(folders: Folders, make_catalog: MakeCatalog) -> None:
    folders.live.mkdir(parents=True)
    (folders.live / "rental_prices.csv").write_text("broken\n")
    assert rentals(folders, make_catalog(OFFERS)).warning is None
    assert live(folders)


# --- API prices.


def model(name: str, price: Any = 1.0, **more: Any) -> dict[str, Any]:
    return {"id": name, "match": {"equals": name}, "prices": {"input_mtok": price}, **more}


def provider(name: str, shown: str, *models: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "name": shown, "api_pattern": "https://none", "models": list(models)}


def variant(usd: float, processing: str = "batch", start: str = "2026-01-01") -> dict[str, Any]:
    """Return prices for one way of processing, as genai-prices publishes them."""
    return {
        "when": {"processing": processing},
        "constraint": {"start_date": start},
        "prices": {"input_mtok": usd},
    }


PUBLISHED = [
    provider(
        "openai",
        "OpenAI",
        model("gpt-5"),
        model("text-embedding-3-small", 0.015),
        model("text-embedding-9", 0.3),
    ),
    provider("aws", "AWS Bedrock", model("amazon.titan-embed-text-v2:0", 0.03)),
    provider(
        "cloudflare",
        "Cloudflare Workers AI",
        model("@cf/baai/bge-m3", 0.02),
        model("@cf/baai/bge-reranker-base"),
    ),
    provider("databricks", "Databricks", model("databricks-qwen3-embedding-0-6b", 0.04)),
    provider(
        "voyageai",
        "Voyage AI",
        model("voyage-4", {"base": 0.05, "tiers": [{"start": 1000000, "price": 0.04}]}),
        model("voyage-01", 0.1, deprecated=True),
        model("voyage-free", 0.0),
    ),
    provider(
        "mistral",
        "Mistral",
        model("mistral-embed", 0.1, price_variants=[variant(0.05)]),
        model("codestral-embed", 0.15, price_variants=[variant(0.2)]),
        model("later-embed", 0.15, price_variants=[variant(0.1, start="2026-11-23")]),
        model("flex-embed", 0.15, price_variants=[variant(0.1, processing="flex")]),
    ),
]


def apis(folders: Folders, url: str) -> RefreshedFile:
    """Refresh, with rental prices that hold nothing of ours, and return what became of the API prices."""
    catalog = gpuhunt.Catalog(auto_reload=False)
    found, prices = refresh_prices(folders, TODAY, catalog=catalog, api_url=url)
    assert found.warning is not None
    return prices


def test_embedding_models_become_api_prices(folders: Folders, server: _Server) -> None:
    server.answers["/data.json"] = PUBLISHED
    result = apis(folders, f"{server.url}/data.json")
    assert (result.rows, result.warning) == (10, None)
    rows = {
        (row.provider, row.model): row for row in facts.api_prices(folders) if row.source == result.source
    }
    found = {
        key: (row.usd_per_million_tokens, row.tokens_per_character.tokenizer) for key, row in rows.items()
    }
    assert found == {
        ("OpenAI", "text-embedding-3-small"): (0.015, "cl100k"),
        ("OpenAI", "text-embedding-9"): (0.3, "unknown"),
        ("Amazon", "titan-embed-text-v2"): (0.03, "unknown"),
        ("Cloudflare", "bge-m3"): (0.02, "xlm-r"),
        ("Databricks", "Qwen3-Embedding-0.6B"): (0.04, "qwen"),
        ("Voyage", "voyage-4"): (0.05, "unknown"),
        ("Mistral", "codestral-embed"): (0.15, "unknown"),
        ("Mistral", "later-embed"): (0.15, "unknown"),
        ("Mistral", "flex-embed"): (0.15, "unknown"),
    }
    # What is published for batches, in force and below the list price; else what came along, with its own origin.
    batches = {
        row.model: (row.batch.usd_per_million_tokens, row.batch.source == result.source)
        for row in rows.values()
        if row.batch is not None
    }
    assert batches == {
        "text-embedding-3-small": (0.01, False),
        "voyage-4": (0.0402, False),
    }
    assert {row.date for row in rows.values()} == {TODAY}
    # One price each: live ones took the place of packaged ones.
    assert len(facts.api_prices(folders)) == len(load_api_prices()) + 4


def test_what_genai_prices_brings_along_maps_onto_the_catalog() -> None:
    from genai_prices.data_snapshot import get_snapshot

    from farthing.catalog.live.apis import embedding_rows

    known = {(row.provider, row.model): row for row in load_api_prices()}
    rows = {
        (row.provider, row.model): row for row in embedding_rows(get_snapshot(), load_api_prices(), TODAY)
    }
    packaged = {key for key, row in known.items() if "genai-prices" in row.source}
    assert packaged <= rows.keys()
    assert all(
        row.tokenizer == known[key].tokens_per_character.tokenizer
        for key, row in rows.items()
        if key in known
    )
    assert rows["Google", "gemini-embedding-2"].usd_per_million_tokens_batch == 0.1
    assert rows["OpenAI", "text-embedding-3-small"].usd_per_million_tokens_batch is None
    assert not [model for _, model in rows if "rerank" in model or "gpt" in model]


# --- When something is in the way.


def written(folders: Folders) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folders.live.iterdir()}


@pytest.fixture
def filled(folders: Folders, make_catalog: MakeCatalog, server: _Server) -> Folders:
    """Return folders with both files in them."""
    server.answers["/data.json"] = PUBLISHED
    refresh_prices(folders, TODAY, catalog=make_catalog(OFFERS), api_url=f"{server.url}/data.json")
    assert written(folders).keys() == {"rental_prices.csv", "api_prices.csv"}
    return folders


def test_without_a_network_each_half_warns_and_all_stays(
    filled: Folders,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = written(filled)
    monkeypatch.setenv("GPUHUNT_CATALOG_URL", (tmp_path / "gone").as_uri())
    rental, api = refresh_prices(filled, TODAY, api_url=NOWHERE)  # gpuhunt's own default catalog
    for row, package in ((rental, "gpuhunt"), (api, "genai-prices")):
        assert row.rows == 0
        assert row.warning is not None
        assert row.warning.startswith(f"{row.kind} prices stay as they were: {package} ")
        assert "\n" not in row.warning
    assert written(filled) == before
    assert capfd.readouterr() == ("", "")


def test_without_a_network_and_files_the_packaged_prices_count(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GPUHUNT_CATALOG_URL", (tmp_path / "gone").as_uri())
    assert all(row.warning for row in refresh_prices(folders, TODAY, api_url=NOWHERE))
    assert not folders.live.exists()
    assert facts.rental_quotes(folders) == load_rental_quotes()


@pytest.mark.parametrize("answer", [[], {}, [{"id": "x"}], b"<html>", [provider("p", "P", model("gpt"))]])
def test_an_answer_that_holds_no_prices_changes_nothing(
    filled: Folders, server: _Server, answer: Any
) -> None:
    before = written(filled)
    server.answers["/data.json"] = answer
    result = apis(filled, f"{server.url}/data.json")
    assert result.rows == 0
    assert result.warning is not None
    assert written(filled) == before


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_file_is_written_whole_or_not_at_all(
    filled: Folders,
    make_catalog: MakeCatalog,
    monkeypatch: pytest.MonkeyPatch,
    stop: type[BaseException] | BaseException,
) -> None:
    before = written(filled)

    def fail(_descriptor: int) -> None:
        raise stop

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((KeyboardInterrupt, FarthingError)) as caught:
        refresh_prices(filled, TODAY, catalog=make_catalog(OFFERS[:1]), api_url=NOWHERE)
    assert written(filled) == before
    if isinstance(stop, OSError):
        path = filled.live / "rental_prices.csv"
        assert str(caught.value) == f"{path}: cannot be written: No space left on device"


def test_who_reads_a_file_while_it_is_replaced_reads_the_old_one(
    filled: Folders, make_catalog: MakeCatalog
) -> None:
    path = filled.live / "rental_prices.csv"
    before = path.read_text()
    with path.open() as reader:
        refresh_prices(filled, TODAY, catalog=make_catalog(OFFERS[:1]), api_url=NOWHERE)
        assert path.read_text() != before
        assert reader.read() == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, make_catalog: MakeCatalog) -> None:
    (tmp_path / "file").write_text("")
    folders = Folders(tmp_path, tmp_path / "file" / "live-prices")
    with pytest.raises(FarthingError, match=r"rental_prices\.csv: cannot be written: "):
        refresh_prices(folders, TODAY, catalog=make_catalog(OFFERS), api_url=NOWHERE)


@pytest.mark.parametrize("package", ["gpuhunt", "genai_prices"])
def test_a_missing_extra_is_one_error_that_names_it(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError) as caught:
        refresh_prices(folders, TODAY)
    needs = f"needs {package}: pip install 'farthing[live-prices]'"
    assert str(caught.value) == f"`farthing prices --refresh` {needs}"
    assert not folders.live.exists()


def test_connections_are_bound_while_gpuhunt_reads_and_as_before_afterwards(
    folders: Folders, make_catalog: MakeCatalog
) -> None:
    catalog = make_catalog(OFFERS)
    bounds: set[float | None] = set()

    def told(_line: str) -> None:
        bounds.add(socket.getdefaulttimeout())

    refresh_prices(folders, TODAY, notify=told, catalog=catalog, api_url=NOWHERE)
    assert bounds == {live_rentals._TIMEOUT_S, None}  # None: genai-prices bounds its own
    assert socket.getdefaulttimeout() is None


def test_an_interruption_lets_threads_that_wait_give_up(folders: Folders, make_catalog: MakeCatalog) -> None:
    def interrupt(_line: str) -> None:
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            refresh_prices(folders, TODAY, notify=interrupt, catalog=make_catalog(OFFERS), api_url=NOWHERE)
        assert socket.getdefaulttimeout() == live_rentals._GIVE_UP_S
    finally:
        socket.setdefaulttimeout(None)
    assert not folders.live.exists()


def test_what_is_being_read_is_told(folders: Folders, make_catalog: MakeCatalog) -> None:
    told: list[str] = []
    refresh_prices(folders, TODAY, notify=told.append, catalog=make_catalog(OFFERS), api_url=NOWHERE)
    assert told[0] == "catalogs of gpuhunt"
    assert "AWS through gpuhunt" in told
    assert told[-1] == "API prices through genai-prices"
