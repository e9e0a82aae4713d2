"""The demo's logins, which the explorer offers at a click. Production has none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from gateway.explorer.page import DemoLogin
from svc_kit.service import Platform
from svc_kit.settings import Mode

FILE = "demo-logins.json"


def write_logins(data_dir: Path, logins: Sequence[DemoLogin]) -> None:
    """Keep the logins that the explorer may offer."""
    (data_dir / FILE).write_text(json.dumps([asdict(login) for login in logins]) + "\n")


def demo_logins(platform: Platform) -> Sequence[DemoLogin]:
    """The kept logins; none in production or where no demo was made."""
    path = platform.settings.data_dir / FILE
    if platform.settings.mode is Mode.PRODUCTION or not path.exists():
        return ()
    return [DemoLogin(**login) for login in json.loads(path.read_text())]
