"""`reelgraph rebuild NAME`: a projection made again from truth and archive."""

from __future__ import annotations

import typer

from launcher.compose import ALL, Node, open_node
from launcher.migrate import migrate_all
from svc_kit.ids import DirectoryLock
from svc_kit.settings import PlatformSettings


async def rebuild_projection(settings: PlatformSettings, name: str) -> None:
    """Remake projection `name`, or with `list` name them all, with `all` remake each. Raises ValueError for an
    unknown one."""
    with DirectoryLock(settings.data_dir):
        settings = settings.with_kept_secrets()
        await migrate_all(settings)
        async with open_node(settings, set(ALL)) as node:
            await _rebuild(node, name)


async def _rebuild(node: Node, name: str) -> None:
    known = {key: make for service in node.services.values() for key, make in service.rebuilds.items()}
    if name == "list":
        typer.echo("\n".join(sorted(known)))
        return
    if name != "all" and name not in known:
        raise ValueError(f"unknown projection {name}; valid: all, {', '.join(sorted(known))}")
    for key in sorted(known) if name == "all" else [name]:
        typer.echo(f"{key}: {await known[key]()} entries")
