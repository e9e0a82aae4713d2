"""Uploads a file to a media_svc of its own, and is killed while it transcodes. Run by `test_crashes`.

python -m tests.media.crash_child FOLDER CLIP
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from svc_kit.telemetry import configure_logging
from tests.support.media import media_bench


async def main(folder: Path, data: bytes) -> None:
    async with media_bench(folder) as bench:
        upload = await bench.begin(1, data)
        video = await bench.publish(1, upload.id)
        await bench.send(upload, data)
        await bench.complete(1, upload)
        print(upload.id, video.id, flush=True)
        await bench.states(1, upload.id)


if __name__ == "__main__":
    # Its output is what the test reads; logs go elsewhere.
    configure_logging()
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
