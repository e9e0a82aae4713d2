"""Several places for models: the first that says which version should serve decides."""

from __future__ import annotations

from collections.abc import Sequence

from rank_svc.scorers.store import ModelRefused, ModelRepository, Scorer


class LayeredModels:
    """`ModelRepository` over others, in order of precedence. A place without models is passed over; one that names a
    version that does not load is not: a broken version must be seen, not hidden by an older one."""

    def __init__(self, places: Sequence[ModelRepository]) -> None:
        self._places = places

    async def wanted(self) -> str:
        return (await self._first())[1]

    async def _first(self) -> tuple[ModelRepository, str]:
        reasons = []
        for place in self._places:
            try:
                return place, await place.wanted()
            except ModelRefused as error:
                reasons.append(str(error))
        raise ModelRefused("; ".join(reasons) or "no place for models is set")

    async def load(self, version: str) -> Scorer:
        place, wanted = await self._first()
        if wanted != version:
            raise ModelRefused(f"version {version}: by now {wanted} should serve")
        return await place.load(version)

    async def check(self) -> None:
        for place in self._places:
            await place.check()

    async def close(self) -> None:
        for place in self._places:
            await place.close()
