"""The domain from its parts."""

from __future__ import annotations

from rank_svc.context import Domain, RankContext
from rank_svc.features.wiring import Features
from rank_svc.ranking.queries import RankingQueries
from rank_svc.ranking.server import RankingServicer
from rank_svc.retrieval.wiring import Retrieval
from reelgraph.rank.v1 import ranking_pb2, ranking_pb2_grpc
from svc_kit.rpc.server import Servicer


def build_ranking(context: RankContext, features: Features, retrieval: Retrieval) -> Domain:
    """The servicer."""
    queries = RankingQueries(
        retrieval.tastes, features.store, retrieval.pools, retrieval.refresh.ready, context.settings
    )
    return Domain(
        servicers=[
            Servicer(
                ranking_pb2.DESCRIPTOR.services_by_name["RankingService"],
                RankingServicer(queries),
                ranking_pb2_grpc.add_RankingServiceServicer_to_server,
            )
        ]
    )
