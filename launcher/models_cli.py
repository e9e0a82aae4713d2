"""Commands of model versions: `promote`, `rollback`, `models`. They print JSON."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from rank_svc.train.dataset import Dataset
    from rank_svc.versions.store import Decision
    from rank_svc.versions.wiring import Versions
    from svc_kit.settings import PlatformSettings

T = TypeVar("T")
WORSE, TOO_LITTLE = 3, 4
"""Exit codes: the version that served goes on serving."""

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder of the embedded engines and kept secrets.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("promote")(promote)
    app.command("rollback")(rollback)
    app.command("models")(models)


@contextmanager
def told() -> Iterator[None]:
    """Errors that a person can do something about as one line and exit 1."""
    from rank_svc.scorers.store import ModelRefused
    from svc_kit.errors import AppError

    try:
        yield
    except ModuleNotFoundError as error:
        typer.echo(f"error: {error.name} is not installed; pip install 'reelgraph[train]'", err=True)
        raise typer.Exit(1) from None
    except (ValueError, OSError, ModelRefused, AppError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except (MemoryError, RuntimeError) as error:
        # torch says it by a RuntimeError; numpy says how much it asked for, Python nothing.
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        typer.echo(f"error: there is too little memory{f': {error}' if str(error) else ''}", err=True)
        raise typer.Exit(1) from None


def promote(
    model: Annotated[str, typer.Argument(help="A folder that `reelgraph train` wrote, or the name of a version.")],
    dataset: Annotated[
        Path | None, typer.Option(help="A dataset folder to compare on; without: the platform's own archive.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote whatever the comparison says; it is recorded.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Let a version serve, if it is whole and not worse than the one that serves on the newest part of the log.

    Prints what was measured and decided as JSON. Exit 3: it is worse; 4: the log has too little to tell; 1: it is
    broken. Then the version that served goes on serving."""
    with told():
        settings = _settings(data_dir)
        newest = _folder(dataset) if dataset is not None else lambda: archived(settings)
        decision = asyncio.run(_with_versions(settings, lambda v: v.commands.promote(model, newest, force=force)))
    _show(decision)


def rollback(
    version: Annotated[str, typer.Argument(help="A version's name; without: the one that served before.")] = "",
    data_dir: DataDir = None,
) -> None:
    """Let the version serve that did before. Running replicas switch within seconds."""
    with told():
        decision = asyncio.run(_with_versions(_settings(data_dir), lambda v: v.commands.rollback(version)))
    _show(decision)


def models(data_dir: DataDir = None) -> None:
    """Versions, which one serves, which did before, and why one does not; replicas and training runs. JSON."""
    with told():
        found = asyncio.run(_with_versions(_settings(data_dir), lambda v: v.queries.overview()))
    typer.echo(json.dumps(found, indent=2))


def _settings(data_dir: Path | None) -> PlatformSettings:
    from svc_kit.settings import PlatformSettings

    settings = PlatformSettings()
    return settings if data_dir is None else settings.model_copy(update={"data_dir": data_dir})


async def _with_versions(settings: PlatformSettings, work: Callable[[Versions], Awaitable[T]]) -> T:
    import anyio

    from launcher.engines import examine_database
    from launcher.migrate import migrations_of
    from rank_svc.settings import RankSettings
    from rank_svc.versions.wiring import open_versions
    from svc_kit.clock import SystemClock
    from svc_kit.db import connect
    from svc_kit.telemetry import configure_logging

    # What is printed is JSON for programs: nothing else on stdout.
    configure_logging("WARNING", as_json=False)
    url = settings.service_db_url("rank")
    if url.startswith("sqlite:") and not await anyio.Path(url.removeprefix("sqlite:///")).exists():
        # The platform has not run here yet: what is promoted now serves from its first start on.
        await anyio.Path(settings.data_dir).mkdir(parents=True, exist_ok=True)
        await migrations_of("rank").migrate(url)
    await examine_database(settings, "rank")
    db = connect(url)
    try:
        return await work(open_versions(settings, RankSettings(), db, SystemClock(), anyio.CapacityLimiter(1)))
    finally:
        await db.close()


def _folder(dataset: Path) -> Callable[[], Dataset]:
    from rank_svc.train.dataset import load

    # What is wrong with a folder that was named is a mistake, not a lack of data.
    data = load(dataset)
    return lambda: data


def archived(settings: PlatformSettings) -> Dataset:
    """The platform's own archive as a dataset, as `dataset log` makes it."""
    from feed_svc.analytics.stores import archive_url
    from feed_svc.settings import FeedSettings
    from rank_svc.train.archive import convert
    from rank_svc.train.archive_copies import archive_folder
    from rank_svc.train.dataset import load

    where = archive_url(FeedSettings().archive_url, settings)
    with archive_folder(where) as folder, tempfile.TemporaryDirectory(prefix="reelgraph-log-") as out:
        convert(folder, Path(out) / "log")
        return load(Path(out) / "log")


def _show(decision: Decision) -> None:
    from rank_svc.versions.store import Outcome

    found: dict[str, Any] = {
        "version": decision.version,
        "serving_before": decision.previous,
        "decision": decision.outcome.value,
        "reason": decision.reason,
        **decision.report,
    }
    typer.echo(json.dumps(found, indent=2))
    codes = {Outcome.WORSE: WORSE, Outcome.TOO_LITTLE: TOO_LITTLE}
    if decision.outcome in codes:
        raise typer.Exit(codes[decision.outcome])
