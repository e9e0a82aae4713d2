"""The command line `reelgraph`. Services are imported inside commands only, so that `--help` is quick."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from launcher import experiment_cli, simulate_cli
from launcher.ranking_cli import register

if TYPE_CHECKING:
    from svc_kit.settings import PlatformSettings

T = TypeVar("T")
HttpPort = Annotated[
    int,
    typer.Option(
        min=0, max=65535, envvar="REELGRAPH_HTTP_PORT", help="Port of GraphQL, media bytes and health; 0: a free one."
    ),
]
GrpcPort = Annotated[
    int,
    typer.Option(min=0, max=65535, envvar="REELGRAPH_GRPC_PORT", help="Port of every gRPC service; 0: a free one."),
]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reelgraph, a self-hosted short-video backend.",
)

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder of the embedded engines and kept secrets.")]


def _settings(data_dir: Path | None) -> PlatformSettings:
    from svc_kit.settings import PlatformSettings

    settings = PlatformSettings()
    return settings if data_dir is None else settings.model_copy(update={"data_dir": data_dir})


def _run(work: Callable[[PlatformSettings], Coroutine[Any, Any, T]], data_dir: Path | None) -> T:
    """What `work` answers; a mistake of the operator's is one line on stderr and exit 1, not a traceback."""
    import uvloop
    from pydantic import ValidationError

    from svc_kit.errors import AppError

    try:
        return uvloop.run(work(_settings(data_dir)))
    except ValidationError as error:
        # Its own text quotes what was given, which may be a secret.
        for wrong in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in wrong["loc"])
            typer.echo(f"error: {error.title} {name}: {wrong['msg']}", err=True)
        raise typer.Exit(1) from None
    except (AppError, ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


@app.command()
def serve(
    roles: Annotated[list[str], typer.Argument(help="all, or any of: gateway graph media rank feed workers")],
    data_dir: DataDir = None,
    http_port: HttpPort = 8080,
    grpc_port: GrpcPort = 9090,
    host: Annotated[str, typer.Option(envvar="REELGRAPH_HOST", help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve roles in this process until SIGINT or SIGTERM. `all` also creates and migrates what it needs."""
    from launcher.serve import serve_until_signal

    _run(lambda settings: serve_until_signal(settings, set(roles), host, http_port, grpc_port), data_dir)


@app.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring every service's database to the newest schema, and make what the other engines need."""
    from launcher.engines import EVERY, migrate_engines
    from launcher.migrate import migrate_all

    async def work(settings: PlatformSettings) -> None:
        await migrate_all(settings)
        for line in await migrate_engines(settings, set(EVERY)):
            typer.echo(line)

    _run(work, data_dir)


@app.command()
def seed(
    url: Annotated[str, typer.Option(help="GraphQL endpoint of a running instance.")] = "http://127.0.0.1:8080/graphql",
) -> None:
    """Fill a running instance with the demo world, through its public API. Again: nothing more is added."""
    from httpx import InvalidURL, TransportError

    from launcher.demo.client import RequestFailed
    from launcher.demo.world import fill

    async def work(_settings: PlatformSettings) -> None:
        try:
            await fill(url)
        except (TransportError, InvalidURL, RequestFailed) as error:
            raise ValueError(f"{url}: {error}") from error

    _run(work, None)


@app.command()
def demo(
    data_dir: Annotated[Path, typer.Option(help="Where the demo's world is kept.")] = Path(".demo"),
    http_port: HttpPort = 8080,
    grpc_port: GrpcPort = 9090,
) -> None:
    """A small world on this machine, served until Ctrl-C. Again: the same world."""
    from launcher.demo.run import run_demo

    _run(lambda settings: run_demo(settings, http_port, grpc_port), data_dir)


@app.command()
def rebuild(
    name: Annotated[str, typer.Argument(help="A projection; `list` names them.")], data_dir: DataDir = None
) -> None:
    """Remake a projection from truth and archive. On embedded engines, stop the server first."""
    from launcher.rebuild import rebuild_projection

    _run(lambda settings: rebuild_projection(settings, name), data_dir)


@app.command()
def replay(
    group: Annotated[str, typer.Argument(help="A consumer group; `list` names them, `all` means each.")],
    offset: Annotated[int, typer.Option("--from", min=0, help="Offset in every partition.")] = 0,
    data_dir: DataDir = None,
) -> None:
    """Let a consumer group read the log again. On embedded engines, stop the server first."""
    from launcher.replay import replay_group

    _run(lambda settings: replay_group(settings, group, offset), data_dir)


@app.command()
def doctor(data_dir: DataDir = None) -> None:
    """Say what is wrong and where; exit 1 when anything is."""
    from launcher.doctor import examine

    if not _run(examine, data_dir):
        raise typer.Exit(1)


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="A folder; made when absent.")], data_dir: DataDir = None
) -> None:
    """Copy the embedded data, consistently, while it is being served."""
    from launcher.backup import back_up

    _run(lambda settings: back_up(settings, target), data_dir)


@app.command()
def restore(source: Annotated[Path, typer.Argument(help="A backup.")], data_dir: DataDir = None) -> None:
    """Put a backup into an empty data folder."""
    from launcher.backup import put_back

    _run(lambda settings: put_back(settings, source), data_dir)


register(app)
experiment_cli.register(app)
simulate_cli.register(app)


def main() -> None:
    """The console script."""
    # Children are always other programs: gRPC need not live on in a fork, and complains about each.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    app()


if __name__ == "__main__":
    main()
