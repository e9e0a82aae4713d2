"""The one mapping between `AppError` and gRPC status with `google.rpc` details."""

from __future__ import annotations

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from svc_kit.errors import AppError, Reason, UserCode, Violation

DOMAIN = "reelgraph"
DETAILS_KEY = "grpc-status-details-bin"

_CODES = {
    Reason.BAD_USER_INPUT: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Reason.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
}
_REASONS = frozenset(reason.value for reason in Reason)
_USER_CODES = {
    UserCode.TAKEN: grpc.StatusCode.ALREADY_EXISTS,
    UserCode.CONFLICT: grpc.StatusCode.FAILED_PRECONDITION,
    UserCode.INCOMPLETE: grpc.StatusCode.FAILED_PRECONDITION,
    UserCode.KEY_REUSED: grpc.StatusCode.FAILED_PRECONDITION,
}
# What a peer's bare status (no details: a proxy's, gRPC's own) means to us. A peer's UNKNOWN or INTERNAL is a defect,
# not the caller's fault.
_BARE = {
    grpc.StatusCode.UNAVAILABLE: Reason.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Reason.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.UNAVAILABLE,
    grpc.StatusCode.CANCELLED: Reason.UNAVAILABLE,
    grpc.StatusCode.UNIMPLEMENTED: Reason.UNAVAILABLE,
}


def code_of(error: AppError) -> grpc.StatusCode:
    """The gRPC code of an error."""
    if error.user_code in _USER_CODES:
        return _USER_CODES[error.user_code]
    return _CODES[error.reason]


def encode_details(error: AppError, request_id: str) -> bytes:
    """The `google.rpc.Status` of an error, serialised."""
    info = ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata={"request_id": request_id})
    if error.user_code is not None:
        info.metadata["user_code"] = error.user_code.value
    if error.retry_after_ms is not None:
        info.metadata["retry_after_ms"] = str(error.retry_after_ms)
    status = Status(code=code_of(error).value[0], message=error.message)
    status.details.append(_pack(info))
    if error.violations:
        bad = BadRequest()
        for v in error.violations:
            bad.field_violations.add(field=v.field, description=v.message, reason=v.code.value)
        status.details.append(_pack(bad))
    if error.retry_after_ms is not None:
        delay = Duration()
        delay.FromMilliseconds(error.retry_after_ms)
        status.details.append(_pack(RetryInfo(retry_delay=delay)))
    encoded: bytes = status.SerializeToString()
    return encoded


def _pack(message: ErrorInfo | BadRequest | RetryInfo) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed


def decode(error: grpc.aio.AioRpcError) -> AppError:
    """The `AppError` that a peer raised, or what its bare status means."""
    details = dict(error.trailing_metadata() or ()).get(DETAILS_KEY)
    if not isinstance(details, bytes):
        reason = _BARE.get(error.code(), Reason.INTERNAL)
        message = {
            Reason.UNAVAILABLE: "A part of the service can't be reached.",
            Reason.DEADLINE_EXCEEDED: "It took too long.",
        }.get(reason, "Something went wrong on our side.")
        return AppError(reason, message, retry_after_ms=1000 if reason is Reason.UNAVAILABLE else None)
    status = Status.FromString(details)
    info, violations = ErrorInfo(), []
    for packed in status.details:
        if packed.Is(ErrorInfo.DESCRIPTOR):
            packed.Unpack(info)
        elif packed.Is(BadRequest.DESCRIPTOR):
            bad = BadRequest()
            packed.Unpack(bad)
            violations = [Violation(v.field, v.description, UserCode(v.reason)) for v in bad.field_violations]
    retry = info.metadata.get("retry_after_ms")
    code = info.metadata.get("user_code")
    return AppError(
        Reason(info.reason) if info.reason in _REASONS else Reason.INTERNAL,
        status.message,
        violations=violations,
        user_code=UserCode(code) if code else None,
        retry_after_ms=int(retry) if retry else None,
    )
