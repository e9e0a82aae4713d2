"""Avatars, which media_svc keeps."""

from __future__ import annotations

import grpc

from reelgraph.media.v1.uploads_pb2 import ClaimAvatarRequest
from reelgraph.media.v1.uploads_pb2_grpc import UploadServiceStub
from svc_kit.caller import Caller
from svc_kit.errors import AppError, Violation
from svc_kit.rpc.client import Peer


class RpcAvatarDirectory:
    """`AvatarDirectory` by `UploadService.ClaimAvatar`."""

    def __init__(self, peer: Peer, channel: grpc.aio.Channel) -> None:
        self._peer = peer
        self._uploads = UploadServiceStub(channel)

    async def claim(self, caller: Caller, upload_id: int) -> str:
        try:
            response = await self._peer.call(self._uploads.ClaimAvatar, ClaimAvatarRequest(upload_id=upload_id), caller)
        except AppError as error:
            # The peer names its own field; the viewer knows it by ours.
            renamed = [Violation("avatar_upload_id", v.message, v.code) for v in error.violations]
            raise AppError(
                error.reason,
                error.message,
                violations=renamed,
                user_code=error.user_code,
                retry_after_ms=error.retry_after_ms,
            ) from error
        url: str = response.avatar_url
        return url
