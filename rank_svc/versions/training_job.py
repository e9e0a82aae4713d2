"""One training run, in a process of its own: the log, a version, and its promotion.

    python -m rank_svc.versions.training_job        the request as JSON on stdin; progress and outcome as JSON lines

Every step is whole or not at all, so that a run that was killed goes on with the first step that is not done.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
from pydantic import BaseModel

from rank_svc.scorers.layout import read_manifest
from rank_svc.scorers.store import ModelRefused
from rank_svc.settings import RankSettings
from rank_svc.versions.budgeted import OUT_OF_MEMORY
from rank_svc.versions.store import Decision
from rank_svc.versions.wiring import open_versions
from svc_kit.clock import SystemClock
from svc_kit.db import connect
from svc_kit.settings import PlatformSettings
from svc_kit.telemetry import configure_logging

LOG, MODEL = "log", "model"
TRAINING_SHARE = 0.6
"""Of the processor time, for the towers; the rest for the log, the ranker and the comparison."""


class Request(BaseModel):
    """What a run is made of."""

    work: str
    """Folder that the run owns."""
    archive: str
    database: str
    """URL of the service's database."""
    data_dir: str
    models_url: str
    settings: RankSettings
    seed: int


def tell(**what: Any) -> None:
    """One line for the worker."""
    print(json.dumps(what), flush=True)


def make_log(request: Request) -> Path:
    """The archive as a dataset folder."""
    from rank_svc.train.archive import convert
    from rank_svc.train.archive_copies import archive_folder

    out = Path(request.work) / LOG
    if not out.exists():
        tell(stage="log", step=0, steps=1)
        with archive_folder(request.archive) as folder:
            convert(folder, out)
    return out


def make_version(request: Request, log: Path) -> Path:
    """A version trained on all but the newest part of the log."""
    from rank_svc.train.dataset import load
    from rank_svc.train.options import TowerOptions, with_assignments
    from rank_svc.train.pipeline import train
    from rank_svc.versions.newest import older

    out = Path(request.work) / MODEL
    if _is_whole(out):
        return out
    settings = request.settings
    options = with_assignments(TowerOptions(), [part for part in settings.train_options.split(",") if part])

    def progress(step: int, steps: int, text: str) -> None:
        tell(stage="towers", step=step, steps=steps, text=text)

    minutes = settings.train_cpu_s * TRAINING_SHARE / 60
    train(
        older(load(log), settings.train_hold_out), out, options, seed=request.seed, minutes=minutes, progress=progress
    )
    return out


def _is_whole(folder: Path) -> bool:
    try:
        read_manifest(folder)
    except ModelRefused:
        return False
    return True


async def promote(request: Request, log: Path, model: Path) -> Decision:
    """The same way as `reelgraph promote`."""
    from rank_svc.train.dataset import load

    tell(stage="comparison", step=0, steps=1)
    platform = PlatformSettings(
        data_dir=Path(request.data_dir), rank_db_url=request.database, models_url=request.models_url
    )
    db = connect(request.database)
    try:
        versions = open_versions(platform, request.settings, db, SystemClock(), anyio.CapacityLimiter(1))
        return await versions.commands.promote(str(model), lambda: load(log))
    finally:
        await db.close()


def outcome(decision: Decision) -> Mapping[str, str]:
    """What the worker records."""
    return {"version": decision.version, "outcome": decision.outcome.value, "reason": decision.reason}


def main() -> int:
    """Run what stdin asks for."""
    configure_logging("WARNING")
    request = Request.model_validate_json(sys.stdin.buffer.read())
    try:
        log = make_log(request)
        model = make_version(request, log)
        tell(done=outcome(asyncio.run(promote(request, log, model))))
    except MemoryError:
        return OUT_OF_MEMORY
    except RuntimeError as error:
        if "allocate memory" in str(error):
            return OUT_OF_MEMORY
        raise
    except (ValueError, OSError) as error:
        # One line that an operator understands, and no traceback.
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
