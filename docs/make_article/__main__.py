"""Makes docs/concepts/article.md and its picture: every number of the seed article beside ours.

The prose is article.md.template; each number in it is a field of the figures computed here, so none can rot. What the
prose claims of them (which is larger, which is the cheapest) is checked too: a claim that no longer holds stops the
making, and the prose has to be written anew.

Run: .venv/bin/python docs/make_article [--to FOLDER]
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from article_figures import bench_figures, decode_figures, time_figures, token_figures, work_figures
from article_fit_figures import fit_figures
from article_material import AS_OF, ROOT, load_material
from article_money import price_figures, since_figures
from article_picture import draw

TEMPLATE = Path(__file__).with_name("article.md.template")
PAGE, PICTURE = "article.md", "article-fit.svg"


def claims(f: SimpleNamespace) -> Iterator[tuple[str, bool]]:
    """Yield what the prose says of the figures beyond stating them, and whether it is so."""
    yield "no cell of the article is below a cent", f.price.cheapest_true_cents > 1
    yield "the headline's cell is its cheapest", f.price.cheapest_true_cents == f.price.headline_true_cents
    yield "the H100 did not do 750 TFLOP/s", f.fit.h100_tflops < 750
    yield "nearly half of a lone request is not the device", 0.4 < f.bench.lone_share < 0.5
    yield "three constants explain N = 1 and N = 128 within 10 %", f.fit.worst <= 0.1
    yield "all cells are within 10 % from N = 64 on", f.fit.worst_from_64 <= 0.1
    yield (
        "four constants miss the 4090's saturated column at 260 alone",
        (f.fit.shared_260 > 0.1 >= f.fit.shared_rest),
    )
    yield "cells missed are predicted too fast, at 260 to 1040 tokens and N of 4 to 32", f.fit.misses_as_said
    yield "an H100's rent went up", f.since.h100_usd > 2
    yield "the market is below any H100's cost", f.since.own_low_cents < f.since.h100_floor_cents
    yield (
        "and about what the cheapest 4090 costs",
        0.7 < f.since.rtx_floor_cents / f.since.own_low_cents < 1.3,
    )
    yield (
        "that 4090 is cheap enough to sell at the market's price",
        f.since.rtx_floor_cents < f.since.own_low_cents,
    )
    yield "the 4090 is the cheaper at the medians", f.since.ratio_usd > f.since.ratio
    yield "writing is never bound by compute", f.decode.limit_1024 < f.decode.ridge
    yield "no H100 cell reaches 45.2 at 1040", f.time.best_1040 < 45.2


def typeset(page: str) -> str:
    """Return the page with its numbers as the prose has them: 57 %, −5 %, and no signed zero."""
    page = re.sub(r"(?<=\d)%", " %", page)
    page = re.sub(r"(?<=[\s*(])[-+]0 %", "0 %", page)
    return re.sub(r"(?<=[\s*(])-(?=\d)", "−", page)


def main() -> None:
    """Write the page and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "concepts")
    folder: Path = parser.parse_args().to
    material = load_material(AS_OF)
    figures = SimpleNamespace(
        day=AS_OF.isoformat(),
        shape=material.shape,
        work=work_figures(material),
        time=time_figures(material),
        tokens=token_figures(material),
        bench=bench_figures(material),
        fit=fit_figures(material),
        price=price_figures(material),
        since=since_figures(material),
        decode=decode_figures(material),
    )
    wrong = [claim for claim, holds in claims(figures) if not holds]
    if wrong:
        raise SystemExit(f"{TEMPLATE.name} no longer holds, write it anew: {'; '.join(wrong)}")
    folder.mkdir(exist_ok=True)
    page = TEMPLATE.read_text(encoding="utf-8").format_map(vars(figures))
    (folder / PAGE).write_text(typeset(page), encoding="utf-8")
    draw(material.fit["devices"], folder / PICTURE)


if __name__ == "__main__":
    main()
