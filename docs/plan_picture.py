"""Draws docs/plan.svg: the plan of the README, with the packaged prices of a fixed day.

Run: .venv/bin/python docs/plan_picture.py
"""

from __future__ import annotations

import datetime
from pathlib import Path

import farthing
from farthing.report.cost_plot import draw_cost

DAY = datetime.date(2026, 11, 21)


def main() -> None:
    """Plan, and draw."""
    plan = farthing.plan("Qwen/Qwen3-Embedding-8B", rate=50, lengths=300, p99_s=0.2, today=DAY)
    draw_cost(plan, Path(__file__).with_name("plan.svg"))


if __name__ == "__main__":
    main()
