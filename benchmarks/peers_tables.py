"""Prints a question's figures as tables in Markdown. Knows no engine and judges nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def print_throughput(question: str, figures: Mapping[str, Any], ours_of: Mapping[str, str]) -> None:
    """Print a row for each engine: batch, tokens/s, MFU, Farthing's ratio, agreement."""
    engines = figures["engines"]
    print(
        f"\n{question}: {figures['texts']} texts, {figures['tokens']} tokens, {figures['requests']} requests\n"
    )
    print("| engine | batch | tokens/s | MFU (wall, fp32 peak) | Farthing is | least cosine |")
    print("|---|---|---|---|---|---|")
    for name, row in engines.items():
        ours = ours_of.get(name)
        ratio = f"{row['median_s'] / engines[ours]['median_s']:.2f}× ({ours})" if ours in engines else ""
        mfu = "" if row.get("mfu_wall") is None else f"{row['mfu_wall']:.3f}"
        print(
            f"| {name} | {row['best_batch'] or 'own'} | {row['tokens_per_s']:,.0f} | {mfu} | {ratio} "
            f"| {row['least_cosine']:.6f} |"
        )


def print_mfu(figures: Mapping[str, Any]) -> None:
    """Print Farthing's wall MFU on each corpus."""
    print(
        "\n| corpus | texts | tokens/s | MFU (wall) | over own shapes | of rounds | peaks around them, GFLOP/s |"
    )
    print("|---|---|---|---|---|---|---|")
    for corpus, one in figures.items():
        row = one["engines"]["farthing"]
        rounds = ", ".join(f"{share:.3f}" for share in row["mfu_wall_of_rounds"])
        peaks = ", ".join(f"{peak / 1e9:.0f}" for peak in one["peak_flops_per_s"])
        print(
            f"| {corpus} | {one['texts']} | {row['tokens_per_s']:,.0f} | {row['mfu_wall']:.3f} "
            f"| {row['mfu_wall_of_own_shapes']:.3f} | {rounds} | {peaks} |"
        )


def print_latency(figures: Mapping[str, Any], ours_of: Mapping[str, str]) -> None:
    """Print a row for each engine: median milliseconds at each length, and Farthing's ratios."""
    lengths = list(figures)
    print("\nlatency of one text, median ms (Farthing's ratio)\n")
    print(f"| engine | {' | '.join(f'{tokens} tokens' for tokens in lengths)} | least cosine |")
    print("|---" * (len(lengths) + 2) + "|")
    for name in figures[lengths[0]]["engines"]:
        cells = []
        for tokens in lengths:
            engines = figures[tokens]["engines"]
            ours = engines.get(ours_of.get(name))
            ratio = f" ({engines[name]['median_s'] / ours['median_s']:.2f}×)" if ours else ""
            cells.append(f"{1000 * engines[name]['median_s']:.2f}{ratio}")
        least = min(figures[tokens]["engines"][name]["least_cosine"] for tokens in lengths)
        print(f"| {name} | {' | '.join(cells)} | {least:.6f} |")


def print_prefix(figures: Mapping[str, Any]) -> None:
    """Print a row for each way: seconds, the ratio to Farthing with prefix reuse, agreement."""
    engines = figures["engines"]
    print(f"\nprefix: {figures['model']}, {figures['queries']} queries\n")
    print("| engine | s | Farthing with prefix reuse is | deviation |\n|---|---|---|---|")
    for name, row in engines.items():
        ratio = row["median_s"] / engines["farthing"]["median_s"]
        print(f"| {name} | {row['median_s']:.2f} | {ratio:.2f}× | {row['deviation']:.1e} |")
