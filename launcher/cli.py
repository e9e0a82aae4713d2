"""The command line `reelgraph`. Services are imported inside commands only, so that `--help` is quick."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reelgraph, a self-hosted short-video backend.",
)

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder of the embedded engines and kept secrets.")]


def _settings(data_dir: Path | None) -> Any:
    from svc_kit.settings import PlatformSettings

    settings = PlatformSettings()
    return settings if data_dir is None else settings.model_copy(update={"data_dir": data_dir})


def _run(work: Any) -> None:
    from pydantic import ValidationError

    from svc_kit.errors import AppError

    try:
        asyncio.run(work)
    except (AppError, ValueError, OSError, ValidationError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


@app.command()
def serve(
    roles: Annotated[list[str], typer.Argument(help="all, or any of: gateway graph media rank feed workers")],
    data_dir: DataDir = None,
    http_port: Annotated[int, typer.Option(help="Port of GraphQL and media bytes; 0: a free one.")] = 8080,
    grpc_port: Annotated[int, typer.Option(help="Port of every gRPC service; 0: a free one.")] = 9090,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve roles in this process until SIGINT or SIGTERM. `all` also creates and migrates what it needs."""
    from launcher.serve import serve_until_signal

    _run(serve_until_signal(_settings(data_dir), set(roles), host, http_port, grpc_port))


@app.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring every service's database to the newest schema."""
    from launcher.migrate import migrate_all

    _run(migrate_all(_settings(data_dir)))


@app.command()
def seed(
    url: Annotated[str, typer.Option(help="GraphQL endpoint of a running instance.")] = "http://127.0.0.1:8080/graphql",
) -> None:
    """Fill a running instance with the demo world, through its public API. Again: nothing more is added."""
    from launcher.demo.world import fill

    _run(fill(url))


@app.command()
def demo(
    data_dir: Annotated[Path, typer.Option(help="Where the demo's world is kept.")] = Path(".demo"),
    http_port: Annotated[int, typer.Option(help="Port of GraphQL and media bytes.")] = 8080,
    grpc_port: Annotated[int, typer.Option(help="Port of every gRPC service.")] = 9090,
) -> None:
    """A small world on this machine, served until Ctrl-C. Again: the same world."""
    from launcher.demo.run import run_demo

    _run(run_demo(_settings(data_dir), http_port, grpc_port))


@app.command()
def rebuild(
    name: Annotated[str, typer.Argument(help="A projection; `list` names them.")], data_dir: DataDir = None
) -> None:
    """Remake a projection from truth and archive. On embedded engines, stop the server first."""
    from launcher.rebuild import rebuild_projection

    _run(rebuild_projection(_settings(data_dir), name))


@app.command()
def replay(
    group: Annotated[str, typer.Argument(help="A consumer group, such as graph.counters.")],
    offset: Annotated[int, typer.Option("--from", min=0, help="Offset in every partition.")] = 0,
    data_dir: DataDir = None,
) -> None:
    """Let a consumer group read the log again. On embedded engines, stop the server first."""
    from launcher.replay import replay_group

    _run(replay_group(_settings(data_dir), group, offset))


@app.command()
def doctor(data_dir: DataDir = None) -> None:
    """Say what is wrong and where; exit 1 when anything is."""
    from launcher.doctor import examine

    if not asyncio.run(examine(_settings(data_dir))):
        raise typer.Exit(1)


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="A folder; made when absent.")], data_dir: DataDir = None
) -> None:
    """Copy the embedded data, consistently, while it is being served."""
    from launcher.backup import back_up

    _run(back_up(_settings(data_dir), target))


@app.command()
def restore(source: Annotated[Path, typer.Argument(help="A backup.")], data_dir: DataDir = None) -> None:
    """Put a backup into an empty data folder."""
    from launcher.backup import put_back

    _run(put_back(_settings(data_dir), source))


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
