"""FeatureService: protobuf to domain and back."""

from __future__ import annotations

from typing import Any

from rank_svc.features.queries import Described, FeatureQueries
from reelgraph.rank.v1 import features_pb2, features_pb2_grpc


class FeatureServicer(features_pb2_grpc.FeatureServiceServicer):
    """See `features.proto`."""

    def __init__(self, queries: FeatureQueries) -> None:
        self._queries = queries

    async def BatchGetVideoFeatures(
        self, request: features_pb2.BatchGetVideoFeaturesRequest, context: Any
    ) -> features_pb2.BatchGetVideoFeaturesResponse:
        found, version = await self._queries.videos(request.video_ids)
        features = [features_pb2.VideoFeatures(video_id=d.id, values=d.values, embedding=_embedding(d)) for d in found]
        return features_pb2.BatchGetVideoFeaturesResponse(features=features, model_version=version)

    async def BatchGetViewerFeatures(
        self, request: features_pb2.BatchGetViewerFeaturesRequest, context: Any
    ) -> features_pb2.BatchGetViewerFeaturesResponse:
        found, version = await self._queries.viewers(request.viewer_ids)
        features = [
            features_pb2.ViewerFeatures(viewer_id=d.id, values=d.values, embedding=_embedding(d)) for d in found
        ]
        return features_pb2.BatchGetViewerFeaturesResponse(features=features, model_version=version)


def _embedding(described: Described) -> list[float]:
    return [] if described.vector is None else described.vector.tolist()
