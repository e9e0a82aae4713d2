"""`reelgraph experiment`: what experiments have shown."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

experiment_app = typer.Typer(no_args_is_help=True, help="Experiments that the feed runs: see docs/experiments.md.")


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.add_typer(experiment_app, name="experiment")


@experiment_app.command("report")
def report(
    name: Annotated[str, typer.Argument(help="An experiment of REELGRAPH_FEED_EXPERIMENTS_FILE.")],
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Folder of the embedded engines and kept secrets.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All figures, as JSON.")] = False,
) -> None:
    """Exposures, means, the difference with its confidence sequence, the always-valid p and the guardrails, from the
    archive. May be looked at any time and as often as one likes."""
    import asyncio

    from feed_svc.experiments.wiring import open_reports
    from feed_svc.settings import FeedSettings
    from svc_kit.clock import SystemClock
    from svc_kit.errors import AppError
    from svc_kit.settings import PlatformSettings

    async def work() -> Any:
        settings = PlatformSettings()
        settings = settings if data_dir is None else settings.model_copy(update={"data_dir": data_dir})
        async with open_reports(settings, FeedSettings(), SystemClock()) as reports:
            return await reports.report(name)

    try:
        found = asyncio.run(work())
    except (AppError, ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(json.dumps(asdict(found), indent=2) if as_json else text_of(found))


def text_of(found: Any) -> str:
    """A report for a person."""
    lines = [f"{found.experiment}: {found.metric}, alpha {found.alpha:g}"]
    for arm in found.arms:
        head = f"  {arm.name:<16} exposed {arm.exposures:>7}   counted {arm.counted:>7}"
        if arm.main is None:
            lines.append(f"{head}   mean {found.control_mean:.4g}   (control)")
            continue
        lines.append(f"{head}   mean {arm.main.mean:.4g}   {_difference(arm.main)}   {arm.main.verdict}")
        for guardrail in arm.guardrails:
            state = "BROKEN" if guardrail.is_broken else "holds"
            told = f"{guardrail.comparison.metric} (margin {guardrail.margin:g}): {_difference(guardrail.comparison)}"
            lines.append(f"    {state:<7} {told}")
        if arm.stopped:
            lines.append(f"    STOPPED {arm.stopped}")
    return "\n".join(lines)


def _difference(c: Any) -> str:
    bounds = "too few viewers yet" if c.low is None else f"within {c.low:+.4g} to {c.high:+.4g}"
    return f"difference {c.difference:+.4g}, {bounds}, p {c.p_value:.4g}"
