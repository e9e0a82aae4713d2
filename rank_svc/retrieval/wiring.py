"""The domain from its parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rank_svc.context import Domain, RankContext
from rank_svc.features.wiring import Features
from rank_svc.retrieval.pools import Pools
from rank_svc.retrieval.probe import RecallProbe
from rank_svc.retrieval.queries import RetrievalQueries
from rank_svc.retrieval.refresh import OpenIndex, Refresh, close_replica, load_serving
from rank_svc.retrieval.replica import Replica
from rank_svc.retrieval.server import RetrievalServicer
from rank_svc.retrieval.store import VectorIndex
from rank_svc.retrieval.stores import SCHEMES
from rank_svc.retrieval.taste import ServingEmbeddings, Tastes
from rank_svc.scorers.wiring import Models
from reelgraph.rank.v1 import retrieval_pb2, retrieval_pb2_grpc
from svc_kit.backends import resolve
from svc_kit.periodic import every
from svc_kit.rpc.server import Servicer
from svc_kit.service import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval(Domain):
    """The wired domain, and what others need of it."""

    tastes: Tastes
    pools: Pools
    embeddings: ServingEmbeddings
    refresh: Refresh
    replica: Replica
    probe: RecallProbe


async def build_retrieval(context: RankContext, features: Features, models: Models) -> Retrieval:
    """The replica's memory, what fills it, and the servicer. Raises ModelRefused when no model can serve."""
    clock, settings = context.platform.clock, context.settings
    open_index = _opener(context)
    replica = Replica(await load_serving(models.repository, models.packaged, open_index))
    context.stack.push_async_callback(close_replica, replica)
    tastes = Tastes(replica, features.store, features.histories, clock)
    refresh = Refresh(
        *(replica, tastes, features.store, models.repository),
        *(models.commands.record_serving, open_index, clock, settings),
        # Where one process serves, nobody has to be waited for.
        settle_s=settings.model_settle_s if context.platform.leases_ids else 0,
    )
    pools = Pools(features.store, clock, settings)
    queries = RetrievalQueries(replica, tastes, pools, features.surroundings, refresh.ready, settings)
    probe = RecallProbe(replica, settings)

    async def check_model() -> None:
        await models.repository.check()
        if refresh.refused:
            raise ValueError(f"{replica.serving.version} serves instead: {refresh.refused}")

    def job(name: str, seconds: float, step: Callable[[], Awaitable[object]]) -> Job:
        return Job(name, every(clock, seconds, step, name), local=True)

    return Retrieval(
        servicers=[
            Servicer(
                retrieval_pb2.DESCRIPTOR.services_by_name["RetrievalService"],
                RetrievalServicer(queries),
                retrieval_pb2_grpc.add_RetrievalServiceServicer_to_server,
            )
        ],
        workers=[
            job("rank.videos", settings.refresh_s, refresh.videos),
            job("rank.viewers", settings.viewer_refresh_s, refresh.viewers),
            job("rank.model", settings.model_check_s, refresh.model),
            job("rank.recall", settings.recall_probe_s, probe.measure),
        ],
        checks={"rank model": check_model, "rank index": probe.check},
        tastes=tastes,
        pools=pools,
        embeddings=ServingEmbeddings(replica, tastes),
        refresh=refresh,
        replica=replica,
        probe=probe,
    )


def _opener(context: RankContext) -> OpenIndex:
    url = context.platform.settings.vectors_url

    async def open_index(dimensions: int) -> VectorIndex:
        adapter = resolve("REELGRAPH_VECTORS_URL", url, SCHEMES)
        index: VectorIndex = await adapter.open(url, dimensions, context.threads)
        return index

    return open_index
