"""The report as pictures: SVG, the same file for the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

COLORS = {"platform": "#2f6fb3", "random": "#9aa5b1", "popularity": "#c98b2b", "following": "#6b9e5b", "oracle": "#444"}
Report = Mapping[str, Any]


def draw(report: Report, out: Path) -> list[Path]:
    """Write the SVGs into `out`; returns their paths. Raises ModuleNotFoundError without matplotlib (extra `train`)."""
    import matplotlib

    matplotlib.rcParams.update({"svg.hashsalt": "reelgraph", "svg.fonttype": "none", "font.size": 10})
    out.mkdir(parents=True, exist_ok=True)
    made = [("simulation-taste.svg", _taste(report)), ("simulation-figures.svg", _figures(report))]
    for name, figure in made:
        figure.savefig(out / name, metadata={"Date": None})
    return [out / name for name, _ in made]


def _taste(report: Report) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    for name, world in report["policies"].items():
        points = world["curve"]
        axes.plot([x for x, _ in points], [y for _, y in points], color=COLORS[name], label=name, linewidth=2)
    chance, change = report["policies"]["platform"]["taste"]["chance"], report["sizes"]["watches"]
    axes.axhline(3 * chance, color="#b33", linestyle=":", linewidth=1)
    axes.annotate("three times chance", (0, 3 * chance), xytext=(2, 3), textcoords="offset points", color="#b33")
    axes.axvline(change, color="#555", linestyle="--", linewidth=1)
    axes.annotate("the taste changes", (change, 0.98), xycoords=("data", "axes fraction"), ha="right", va="top")
    axes.set_xlabel("videos watched")
    axes.set_ylabel("share of the viewer's taste")
    axes.set_ylim(bottom=0)
    figure.legend(frameon=False, ncols=5, loc="outside upper center")
    return figure


def _figures(report: Report) -> Any:
    from matplotlib.figure import Figure

    worlds = report["policies"]
    shown = {
        "minutes a session": [w["sessions"]["minutes_a_session"] for w in worlds.values()],
        "skip rate": [w["sessions"]["skip_rate"] for w in worlds.values()],
        "coverage of the catalogue": [w["coverage"] for w in worlds.values()],
        "Gini of creators": [w["creators_gini"] for w in worlds.values()],
        "new videos with their guarantee": [w["new_videos"].get("got_guarantee") or 0 for w in worlds.values()],
        "good unknown videos found": [w["new_videos"]["unknown_good"].get("found", 0) for w in worlds.values()],
    }
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    for place, (title, values) in enumerate(shown.items(), 1):
        axes = figure.add_subplot(2, 3, place)
        axes.spines[["top", "right"]].set_visible(False)
        bars = axes.bar(list(worlds), values, color=[COLORS[name] for name in worlds])
        axes.bar_label(bars, fmt="%.2f", fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.tick_params(axis="x", labelsize=7)
    return figure
