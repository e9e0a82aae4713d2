"""Ranking calls on Triton, against the same model run in this process.

`python -m bench.model_serving --url triton://:KEY@host:port [--rows 100]`: the packaged base version.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode, urlsplit, urlunsplit

import anyio
import numpy as np

from rank_svc.scorers.encoding import ViewerRow, encode_items, encode_users
from rank_svc.scorers.store import RANK_FEATURES, ModelRepository, RankRows, Scorer
from rank_svc.scorers.stores import SCHEMES
from rank_svc.scorers.trial import trial_videos
from rank_svc.scorers.wiring import PACKAGED
from svc_kit.backends import resolve

CALLS = 500
MANY = 32


def rows(n: int) -> RankRows:
    """Candidates of one viewer."""
    items = encode_items([trial_videos()[i % 3] for i in range(n)])
    user = encode_users(
        [ViewerRow(1)], 0, lambda ids: (np.zeros((len(ids), 64), np.float32), np.ones(len(ids), bool)), lambda _: (), 64
    )
    features = np.random.default_rng(0).uniform(0, 1, (n, len(RANK_FEATURES))).astype(np.float32)
    vectors = np.zeros((n, 64), np.float32)
    return RankRows(features, items, user, vectors, vectors)


async def measure(scorer: Scorer, batch: RankRows) -> str:
    """One caller after another, then many at once."""
    for _ in range(50):
        await scorer.rank(batch)
    taken = []
    for _ in range(CALLS):
        began = time.perf_counter()
        await scorer.rank(batch)
        taken.append((time.perf_counter() - began) * 1000)
    began = time.perf_counter()

    async def caller() -> None:
        for _ in range(CALLS // 10):
            await scorer.rank(batch)

    await asyncio.gather(*(caller() for _ in range(MANY)))
    rate = MANY * (CALLS // 10) / (time.perf_counter() - began)
    p99 = statistics.quantiles(taken, n=100)[98]
    return f"p50 {statistics.median(taken):.2f} ms, p99 {p99:.2f} ms; {MANY} callers {rate:,.0f} calls/s"


async def main(arguments: Sequence[str] | None = None) -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--rows", type=int, default=100)
    chosen = parser.parse_args(arguments)
    at = urlsplit(chosen.url)
    triton = urlunsplit(at._replace(query=urlencode({"repository": Path(PACKAGED)})))
    for name, url in (("in process", PACKAGED.as_uri()), ("Triton", triton)):
        models: ModelRepository = await resolve("--url", url, SCHEMES).open(url, anyio.CapacityLimiter(2))
        scorer = await models.load(await models.wanted())
        print(f"{name:<11} {chosen.rows} rows: {await measure(scorer, rows(chosen.rows))}")
        await scorer.unload()
        await models.close()


if __name__ == "__main__":
    asyncio.run(main())
