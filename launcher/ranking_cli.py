"""Commands of the recommender: `dataset`, `train`, `eval`, which need the extra `train`, and those of versions."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from launcher import models_cli
from launcher.models_cli import told

dataset_app = typer.Typer(no_args_is_help=True, help="Logs of watches as a dataset folder to train on.")

DatasetDir = Annotated[Path, typer.Option("--dataset", help="A dataset folder: see docs/ranking.md.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.add_typer(dataset_app, name="dataset")
    app.command("train")(train)
    app.command("eval")(evaluate)
    models_cli.register(app)


@dataset_app.command("kuairand")
def kuairand(
    source: Annotated[Path, typer.Argument(help="Folder with user_sequences.parquet, val.parquet and the two CSVs.")],
    out: Annotated[Path, typer.Argument(help="The dataset folder to write; a former one is replaced.")],
) -> None:
    """KuaiRand-Pure as a dataset folder."""
    with told():
        from rank_svc.train.kuairand import convert

        convert(source, out)


@dataset_app.command("log")
def log(
    out: Annotated[Path, typer.Argument(help="The dataset folder to write; a former one is replaced.")],
    archive: Annotated[
        str, typer.Option(help="Folder or URL of the archive; without: where the platform's settings have it.")
    ] = "",
) -> None:
    """The platform's own archive as a dataset folder."""
    with told():
        from feed_svc.analytics.stores import archive_url
        from feed_svc.settings import FeedSettings
        from rank_svc.train.archive import convert
        from rank_svc.train.archive_copies import archive_folder
        from rank_svc.train.dataset import INTERACTIONS
        from rank_svc.train.folders import check_out
        from svc_kit.settings import PlatformSettings

        # Before an archive is copied from far away.
        check_out(out, INTERACTIONS)
        with archive_folder(archive or archive_url(FeedSettings().archive_url, PlatformSettings())) as folder:
            convert(folder, out)


def train(
    dataset: DatasetDir,
    out: Annotated[Path, typer.Option(help="Folder of the version to write; a former one is replaced.")],
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Most minutes for the towers; shortens the plan.")
    ] = None,
    steps: Annotated[int, typer.Option(min=0, help="Steps; 0: as many as the epochs of the options take.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, steps and machine: same model.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 1,
    without: Annotated[list[str] | None, typer.Option(help="Ablation: logq, history, or ranker.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the towers' options; may repeat.")] = None,
    hold_out: Annotated[
        float, typer.Option(min=0, max=0.9, help="Newest share of the rows to leave out, for `promote` to compare on.")
    ] = 0,
) -> None:
    """Train one version on a dataset folder. Broken off, the same command goes on where it was."""
    with told():
        from rank_svc.scorers.layout import MANIFEST
        from rank_svc.train.dataset import load
        from rank_svc.train.folders import check_out
        from rank_svc.train.pipeline import train as run

        check_out(out, MANIFEST, dataset)
        options = _options(steps, option or [], without or [])
        data = load(dataset)
        if hold_out:
            from rank_svc.versions.newest import older

            data = older(data, hold_out)
        for note in data.notes:
            typer.echo(f"note: {note}", err=True)
        with _progress() as progress:
            manifest = run(
                data,
                out,
                options,
                seed=seed,
                minutes=minutes,
                threads=threads,
                ranking="ranker" not in (without or []),
                progress=progress,
            )
    typer.echo(f"{manifest.version} in {out}")


def _options(steps: int, assignments: list[str], without: list[str]) -> Any:
    from rank_svc.train.checked_options import read_options
    from rank_svc.train.options import TowerOptions

    if unknown := set(without) - {"logq", "history", "ranker"}:
        raise ValueError(f"--without: {', '.join(sorted(unknown))} is none of logq, history, ranker")
    found = TowerOptions(steps=steps, logq="logq" not in without, history="history" not in without)
    return read_options(found, assignments)


@contextmanager
def _progress() -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("towers", total=None)

        def show(step: int, steps: int, text: str) -> None:
            bar.update(task, completed=step, total=steps, description=text)

        yield show


def evaluate(
    dataset: DatasetDir,
    truth: Annotated[Path, typer.Option(help="Parquet with user_id, item_id: what was right.")],
    model: Annotated[Path | None, typer.Option(help="A version's folder; without: --baselines alone.")] = None,
    k: Annotated[str, typer.Option(help="Lengths of lists, comma-separated.")] = "10,20,50,200",
    baselines: Annotated[bool, typer.Option("--baselines", help="Measure rivals too.")] = False,
    ablate: Annotated[
        bool,
        typer.Option(
            "--ablate",
            help="Measure without ids and as new items; train without logQ and without history, as many steps.",
        ),
    ] = False,
) -> None:
    """Measure a version on what users did later; prints JSON."""
    # Libraries may print; what is printed here is JSON for programs: nothing else on stdout.
    with told(), redirect_stdout(sys.stderr):
        from rank_svc.train.dataset import load, read_truth
        from rank_svc.train.evaluate import evaluate as measure

        lengths = _lengths(k)
        if model is None and not baselines:
            raise ValueError("--model or --baselines is needed")
        data, right = load(dataset), read_truth(truth)
        if ablate and model is not None:
            from rank_svc.train.ablation import ablated

            with ablated(model, data) as versions:
                found = measure(model, data, right, lengths, with_baselines=baselines, ablate=versions)
        else:
            found = measure(model, data, right, lengths, with_baselines=baselines)
    typer.echo(json.dumps(found, indent=2))


def _lengths(text: str) -> list[int]:
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 1:
        raise ValueError(f"--k {text}: must be whole numbers from 1, comma-separated")
    return found
