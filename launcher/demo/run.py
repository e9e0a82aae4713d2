"""`reelgraph demo`: serve a small world until Ctrl-C; made at the first run, kept for the next."""

from __future__ import annotations

import asyncio
import signal

from rich.console import Console

from gateway.explorer.page import DemoLogin
from launcher.demo.logins import FILE, write_logins
from launcher.demo.world import PASSWORD, fill
from launcher.serve import serving
from svc_kit.settings import Mode, PlatformSettings
from svc_kit.telemetry import configure_logging

LOGINS = (DemoLogin("ada_viewer", PASSWORD), DemoLogin("chef_remy", PASSWORD))


async def run_demo(settings: PlatformSettings, http_port: int, grpc_port: int) -> None:
    """Serve the demo from `settings.data_dir`. A port that is taken is replaced by a free one."""
    if settings.mode is Mode.PRODUCTION:
        raise ValueError("the demo has logins that everybody knows; REELGRAPH_MODE=production refuses it")
    configure_logging("ERROR", as_json=False)
    console = Console()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with serving(settings, {"all"}, "127.0.0.1", _free(http_port), _free(grpc_port)) as address:
        if not (settings.data_dir / FILE).exists() and not await _fill(f"{address.http}/graphql", stopped):
            return
        write_logins(settings.data_dir, LOGINS)
        console.print(f"\n[bold]{address.http}/graphql[/]   GraphQL and GraphiQL")
        console.print(f"{address.http}/healthz   health;   gRPC on 127.0.0.1:{address.grpc_port} (reflection on)")
        for login, what in zip(LOGINS, ("a viewer with a taste", "a creator"), strict=True):
            console.print(f"log in as [bold]{login.username}[/] / [bold]{login.password}[/]   {what}")
        console.print(
            "Ctrl-C stops; [dim]make demo[/] brings the same world back; [dim]make clean-demo[/] forgets it.\n"
        )
        await stopped.wait()
    console.print("stopped")


async def _fill(url: str, stopped: asyncio.Event) -> bool:
    """Fill the world; false when it was interrupted (the next run goes on where this one stopped)."""
    filling, interrupted = asyncio.create_task(fill(url)), asyncio.create_task(stopped.wait())
    await asyncio.wait({filling, interrupted}, return_when=asyncio.FIRST_COMPLETED)
    interrupted.cancel()
    if not filling.done():
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
        return False
    await filling
    return True


def _free(port: int) -> int:
    import socket

    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port
