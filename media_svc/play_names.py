"""Which video a playback name stands for, as far as anybody saw: for while the database can't say."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from svc_kit.cache import Cache, CacheError, Call
from svc_kit.clock import Clock
from svc_kit.last_known import ENTRIES, KEPT_S, WRITTEN_AGAIN_S
from svc_kit.telemetry import log

_log = log(__name__)


class PlayNames:
    """Names that this process met, and in the cache, for a day, those that any replica met. A name never passes to
    another video; whether its video may still be played under it is for others to decide."""

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock
        self._met: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Video, and when it was shared last."""

    async def meet(self, names: Mapping[str, int]) -> None:
        """Keep video ids by name. Never raises for the cache's sake."""
        now = self._clock.monotonic()
        fresh = {name: video for name, video in names.items() if now - self._shared_at(name) >= WRITTEN_AGAIN_S}
        if not fresh:
            return
        for name, video in fresh.items():
            self._keep(name, video, float("-inf"))
        try:
            await self._cache.batch([_write(name, video) for name, video in fresh.items()])
        except CacheError as error:
            _log.info("playback names are not shared", error=str(error))
            return
        for name, video in fresh.items():
            self._keep(name, video, now)

    async def video(self, name: str) -> int:
        """The video's id; 0 when nobody met the name."""
        if name in self._met:
            return self._met[name][0]
        try:
            return int(await self._cache.get(_key(name)) or 0)
        except CacheError:
            return 0

    def _shared_at(self, name: str) -> float:
        return self._met[name][1] if name in self._met else float("-inf")

    def _keep(self, name: str, video: int, shared_at: float) -> None:
        self._met[name] = (video, shared_at)
        self._met.move_to_end(name)
        if len(self._met) > ENTRIES:
            self._met.popitem(last=False)


def _write(name: str, video: int) -> Call:
    return Call(_key(name), ("SET", _key(name), video, "EX", KEPT_S))


def _key(name: str) -> str:
    return f"known:play:{name}"
