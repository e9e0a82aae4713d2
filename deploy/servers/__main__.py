"""`python -m deploy.servers start|stop|status [ENGINE...]`."""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType
from typing import NoReturn

from deploy.servers.catalogue import ENGINES
from deploy.servers.folder import Folder, default_root
from deploy.servers.runner import start, status, stop


def main() -> int:
    parser = argparse.ArgumentParser(prog="deploy.servers", description="The production engines, on loopback.")
    parser.add_argument("action", choices=("start", "stop", "status"))
    parser.add_argument("only", nargs="*", help="engines, separated by spaces or commas; all when none is named")
    given = parser.parse_args()
    names = [name for word in given.only for name in word.split(",") if name]
    if unknown := [name for name in names if name not in ENGINES]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(ENGINES)}")
    chosen = [engine for name, engine in ENGINES.items() if name in names or not names]
    signal.signal(signal.SIGTERM, _interrupt)
    action = {"start": start, "stop": stop, "status": status}[given.action]
    return action(Folder(default_root()), chosen)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
