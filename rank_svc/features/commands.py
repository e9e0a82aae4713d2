"""Writing features: a batch of events in one transaction, each counted once; and all of them anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rank_svc.features.decay import DAY_MS
from rank_svc.features.interactions import interaction_of
from rank_svc.features.projection import (
    COUNTED,
    GROWN_MS,
    HANDLERS,
    Batch,
    at_ms_of,
    counting_key,
    daily_key,
    load,
    take_facts,
)
from rank_svc.features.store import FeatureStore, FeatureTx, HistoryStore, VideoDirectory, Viewer
from reelgraph.events.v1.event_pb2 import Event
from svc_kit.clock import Clock, now_ms

COUNTED_MS = 30 * DAY_MS
PRUNE_BATCH = 5000


class FeatureCommands:
    """Writes features from events, and makes them anew."""

    def __init__(self, store: FeatureStore, histories: HistoryStore, clock: Clock, *, grown_ms: int = GROWN_MS) -> None:
        self._store = store
        self._histories = histories
        self._clock = clock
        self._grown_ms = grown_ms

    async def apply(self, events: Sequence[Event], *, anew: bool = False) -> None:
        """Apply events in their order. Those applied before change nothing, in whatever batch they come again.

        What was counted is remembered for 30 days; an older event that comes now was counted long ago, unless all of
        them are counted `anew`."""
        known = [event for event in events if event.WhichOneof("body") in HANDLERS]
        if not known:
            return
        since = 0 if anew else now_ms(self._clock) - COUNTED_MS
        counted = [e for e in known if e.WhichOneof("body") in COUNTED and at_ms_of(e) > since]
        # First, for this may be done twice: were the counts first, a kill in between would leave the histories short.
        changed = await self._write_histories(known, counted)
        async with self._store.begin() as tx:
            fresh = await tx.claim(_keys(counted)) if counted else set()
            batch = await load(tx, known, self._grown_ms)
            for event in known:
                body: str = event.WhichOneof("body") or ""
                if body in COUNTED:
                    key = counting_key(event)
                    if key not in fresh:
                        continue
                    fresh.discard(key)
                    daily = daily_key(event)
                    batch.repeats = daily is not None and daily not in fresh
                    fresh.discard(daily or 0)
                HANDLERS[body](batch, event, getattr(event, body))
            await self._store_batch(tx, batch)
            await tx.touch_viewers(changed, now_ms(self._clock))

    async def _write_histories(self, known: Sequence[Event], counted: Sequence[Event]) -> list[int]:
        """Returns whose changed."""
        made = [found for event in counted if (found := interaction_of(event)) is not None]
        if made:
            await self._histories.append(made)
        for event in known:
            if event.WhichOneof("body") == "account_deleted":
                await self._histories.forget(event.account_deleted.account_id)
        return sorted({viewer_id for viewer_id, _ in made})

    async def _store_batch(self, tx: FeatureTx, batch: Batch) -> None:
        now = now_ms(self._clock)
        if batch.touched:
            await tx.put_videos([replace(batch.videos[i], changed_at_ms=now) for i in sorted(batch.touched)])
        await tx.add(batch.changes)
        if batch.told:
            await tx.put_viewers({i: batch.viewers[i] for i in batch.told}, now)
        for viewer_id in batch.forgotten:
            await tx.forget_viewer(viewer_id, now)

    async def note_viewers(self, seen: Mapping[int, tuple[str, str, int, str]]) -> None:
        """Keep (language, region, UTC offset in hours, device) of viewers, as their clients told them."""
        if not seen:
            return
        async with self._store.begin() as tx:
            known = await tx.viewers(seen.keys())
            fresh = {
                i: replace(
                    known.get(i, Viewer()), language=language, region=region, utc_offset_hours=offset, device=device
                )
                for i, (language, region, offset, device) in seen.items()
            }
            await tx.put_viewers({i: v for i, v in fresh.items() if v != known.get(i)}, now_ms(self._clock))

    async def prune(self) -> int:
        """Forget some of what was counted more than 30 days ago; how many."""
        return await self._store.prune_claims(now_ms(self._clock) - COUNTED_MS, PRUNE_BATCH)

    async def clear(self) -> None:
        """Forget all counts and histories; the videos stay, so that retrieval goes on."""
        await self._histories.clear()
        async with self._store.begin() as tx:
            await tx.clear()

    async def adopt_videos(self, directory: VideoDirectory, page: int = 500) -> int:
        """Take over the videos that media_svc has, newer versions only; returns how many there are."""
        after, count = 0, 0
        while found := await directory.published(after, page):
            async with self._store.begin() as tx:
                known = await tx.videos([facts.video_id for facts, _ in found])
                batch = Batch(videos=dict(known))
                for facts, version in found:
                    take_facts(batch, facts, version, published=True)
                await self._store_batch(tx, batch)
            after, count = found[-1][0].video_id, count + len(found)
            if len(found) < page:
                break
        return count


def _keys(counted: Sequence[Event]) -> dict[int, int]:
    """What these events claim, with the time."""
    keys = {counting_key(event): at_ms_of(event) for event in counted}
    return keys | {key: at_ms_of(event) for event in counted if (key := daily_key(event)) is not None}
