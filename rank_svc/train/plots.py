"""Plots of a measurement and of a training run: `python -m rank_svc.train.plots EVAL.json MODEL OUT`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.figure

BLUE, GREY = "#2f6fb3", "#9aa5b1"


def draw(measured: Mapping[str, Any], metrics: Mapping[str, Any], out: Path) -> list[Path]:
    """Write the SVGs into `out`; returns their paths."""
    # Ids by content and not by chance: the same numbers give the same file.
    matplotlib.rcParams.update({"svg.hashsalt": "reelgraph", "svg.fonttype": "none", "font.size": 10})
    out.mkdir(parents=True, exist_ok=True)
    made = [
        ("ranking-recall.svg", _bars(measured, "recall@50", "Recall@50, all items ranked, seen ones masked")),
        ("ranking-lengths.svg", _lengths(measured)),
        ("ranking-training.svg", _training(metrics["retrieval"])),
    ]
    if "neural" in metrics["ranker"]:
        made.append(("ranking-ranker.svg", _rankers(metrics["ranker"])))
    for name, figure in made:
        figure.savefig(out / name, metadata={"Date": None})
    return [out / name for name, _ in made]


def _models(measured: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    found = dict(measured.get("baselines", {})) | dict(measured.get("ablations", {}))
    return found | ({"two towers": measured} if "recall@50" in measured else {})


def _figure(height: float = 3.2) -> tuple[Any, Any]:
    figure = matplotlib.figure.Figure(figsize=(7, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _bars(measured: Mapping[str, Any], key: str, title: str) -> Any:
    models = sorted(_models(measured).items(), key=lambda pair: pair[1][key])
    figure, axes = _figure(0.6 + 0.35 * len(models))
    names, values = [name for name, _ in models], [found[key] for _, found in models]
    bars = axes.barh(names, values, color=[BLUE if name == "two towers" else GREY for name in names])
    axes.bar_label(bars, fmt="%.3f", padding=3)
    axes.set_title(title)
    return figure


def _lengths(measured: Mapping[str, Any]) -> Any:
    figure, axes = _figure()
    for name, found in _models(measured).items():
        ks = sorted(int(key.partition("@")[2]) for key in found if key.startswith("recall@"))
        color = {"color": BLUE, "linewidth": 2.5} if name == "two towers" else {}
        axes.plot(ks, [found[f"recall@{k}"] for k in ks], marker="o", label=name, **color)
    axes.set_xscale("log")
    axes.set_xlabel("length of the list")
    axes.set_ylabel("recall")
    axes.legend(fontsize=8)
    return figure


def _training(retrieval: Mapping[str, Any]) -> Any:
    figure, axes = _figure()
    for key, color, label in (("held_out_recall@50", BLUE, "held-out recall@50"), ("loss", GREY, "loss")):
        side = axes if color == BLUE else axes.twinx()
        for part in _rising(retrieval[key]):
            side.plot([p["step"] for p in part], [p["value"] for p in part], color=color, marker=".")
        side.set_ylabel(label, color=color)
    axes.set_xlabel("step (one line a network)")
    return figure


def _rising(points: Sequence[Mapping[str, float]]) -> list[list[Mapping[str, float]]]:
    """Steps begin anew with each network."""
    parts: list[list[Mapping[str, float]]] = []
    for point in points:
        if not parts or point["step"] <= parts[-1][-1]["step"]:
            parts.append([])
        parts[-1].append(point)
    return parts


def _rankers(ranker: Mapping[str, Any]) -> Any:
    figure, axes = _figure()
    keys = [k for k, v in ranker["neural"].items() if v is not None and not k.startswith("calibration")]
    for shift, (name, color) in enumerate((("gbdt", GREY), ("neural", BLUE))):
        at = [i + 0.4 * shift - 0.2 for i in range(len(keys))]
        axes.bar(at, [ranker[name][k] or 0 for k in keys], 0.4, color=color, label=name)
    axes.set_xticks(range(len(keys)), keys, rotation=30, ha="right")
    axes.set_ylim(0.5, 1)
    axes.legend()
    return figure


def main(arguments: Sequence[str]) -> int:
    """EVAL.json as `reelgraph eval` prints it, the version's folder, the folder for the plots."""
    if len(arguments) != 3:
        print("usage: python -m rank_svc.train.plots EVAL.json MODEL OUT", file=sys.stderr)
        return 2
    measured = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    metrics = json.loads((Path(arguments[1]) / "metrics.json").read_text(encoding="utf-8"))
    for path in draw(measured, metrics, Path(arguments[2])):
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
