"""`reelgraph simulate`: simulated viewers on the real platform."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bench.simulate.audience import Progress

KuaiRand = Annotated[
    Path | None, typer.Option(help="Folder of KuaiRand-Pure: real tags and tastes; without it both are drawn.")
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("simulate")(simulate)


def simulate(
    out: Annotated[Path | None, typer.Option(help="Write the report here as well, as JSON.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Folder for pictures (SVG); needs the extra `train`.")] = None,
    kuairand: KuaiRand = None,
    viewers: Annotated[int, typer.Option(min=1, help="People.")] = 20,
    videos: Annotated[int, typer.Option(min=20, help="Videos; a fifth is published while people watch.")] = 400,
    watches: Annotated[int, typer.Option(min=1, help="Videos that each watches before their taste changes.")] = 50,
    after: Annotated[int, typer.Option(min=0, help="Videos that each watches after it.")] = 20,
    page: Annotated[int, typer.Option(min=1, max=100, help="Videos asked for at once.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Same seed and sizes: same report.")] = 0,
    ab: Annotated[
        bool, typer.Option("--ab", help="Compare two ranking configurations, one planted to be worse, and A/A.")
    ] = False,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="Keep the platform's data, with its archive. New, or with a promoted model."),
    ] = None,
) -> None:
    """Let simulated viewers use the platform through its API, in fast time, and report what its feed does for them."""
    try:
        from bench.simulate.experiment import compare
        from bench.simulate.plan import Sizes
        from bench.simulate.run import Options
        from bench.simulate.run import simulate as run
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("bench"):
            raise
        typer.echo(
            "error: the simulation is part of the source tree, not of the wheel: run it from a checkout", err=True
        )
        raise typer.Exit(1) from None
    import uvloop

    options = Options(Sizes(viewers, videos, watches, after, page), seed, kuairand, data_dir)
    try:
        with _progress() as progress:
            report = uvloop.run((compare if ab else run)(options, progress))
        if plots is not None and not ab:
            from bench.simulate.plots import draw

            draw(report, plots)
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    text = json.dumps(report, indent=2)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
    typer.echo(text)


@contextmanager
def _progress() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns: tuple[Any, ...] = (
        *(TextColumn("{task.description:<12}"), BarColumn()),
        *(MofNCompleteColumn(), TimeRemainingColumn()),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done)

        yield show
