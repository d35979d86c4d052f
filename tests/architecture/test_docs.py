"""What the pages say exists: their links, the commands in them and the rooms that they draw."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from farthing.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    known = set(COMMANDS)
    said = set(re.findall(r"(?:^|`)farthing ([a-z-]+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert said <= known


def test_the_annotated_tree_names_every_room_and_nothing_else() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    tree = re.findall(r"^ {2,4}(\S+)/", page.split("```")[1], flags=re.MULTILINE)
    package = ROOT / "src" / "farthing"
    homes = (
        package,
        *(package / home for home in ("engine", "planning", "theory", "catalog", "serve", "cli")),
    )
    rooms = {path.name for home in homes for path in home.iterdir() if (path / "__init__.py").is_file()}
    assert set(tree) == rooms
