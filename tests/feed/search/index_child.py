"""A process that writes to the index of a folder, and tells what was acknowledged.

`python -m tests.feed.search.index_child FOLDER write FIRST COUNT`: videos from FIRST on, one a write; then it ends.
`... FOLDER hold`: takes the lock, says `held`, and keeps it until it is killed.
`... FOLDER open`: opens it and says the name of its generation.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from feed_svc.search.store import Document, Kind, Put
from feed_svc.search.stores import tantivy
from feed_svc.search.stores.tantivy_generation import Generation


def _say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def _write(folder: Path, first: int, count: int) -> None:
    index = await tantivy.open(f"tantivy://{folder}")
    for number in range(first, first + count):
        await index.write([Put(Document((Kind.VIDEO, str(number)), 1, text="cats"))])
        _say(number)
    await index.close()


def main(folder: Path, what: str, *numbers: str) -> None:
    """See above."""
    if what == "hold":
        kept = Generation(folder / (folder / "current").read_text())
        kept.hold()
        _say("held")
        time.sleep(600)
    elif what == "open":
        asyncio.run(tantivy.open(f"tantivy://{folder}"))
        _say((folder / "current").read_text())
    else:
        first, count = map(int, numbers)
        asyncio.run(_write(folder, first, count))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
