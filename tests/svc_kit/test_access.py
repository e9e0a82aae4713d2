"""Who is let in to which method: every method of every contract, each kind of caller, over real calls."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

import reelgraph
from reelgraph.common.v1 import options_pb2
from reelgraph.common.v1.options_pb2 import Access
from svc_kit.caller import Role
from svc_kit.errors import not_found
from svc_kit.rpc.server import Servicer
from svc_kit.service import Service
from tests.support.clock import FakeClock
from tests.support.platform import SERVICE_TOKEN, Tokens, serve

Metadata = tuple[tuple[str, str], ...]
_ACCESS: Any = options_pb2.access
IN, STRANGER, NOT_ALLOWED = "let in", grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
EXPECTED = {
    Access.ACCESS_PUBLIC: {"nobody": IN, "viewer": IN, "moderator": IN, "service": IN},
    Access.ACCESS_VIEWER: {"nobody": STRANGER, "viewer": IN, "moderator": IN, "service": STRANGER},
    Access.ACCESS_MODERATOR: {"nobody": STRANGER, "viewer": NOT_ALLOWED, "moderator": IN, "service": STRANGER},
    Access.ACCESS_SERVICE: {"nobody": STRANGER, "viewer": NOT_ALLOWED, "moderator": NOT_ALLOWED, "service": IN},
}


class Inside:
    """Answers every method with NOT_FOUND: a caller who hears that, or of a wrong field, has been let in."""

    def __init__(self, service: ServiceDescriptor) -> None:
        for method in service.methods:
            setattr(self, method.name, self._stream if method.server_streaming else self._unary)

    async def _unary(self, request: object, context: object) -> None:
        raise not_found("", "thing")

    async def _stream(self, request: object, context: object) -> AsyncIterator[object]:
        raise not_found("", "thing")
        yield  # makes it a stream


def _contracts() -> Iterator[Servicer]:
    for root in map(Path, reelgraph.__path__):
        for path in sorted(root.rglob("*_pb2.py")):
            module = ".".join(("reelgraph", *path.relative_to(root).with_suffix("").parts))
            messages = importlib.import_module(module)
            for name, service in messages.DESCRIPTOR.services_by_name.items():
                register = getattr(importlib.import_module(f"{module}_grpc"), f"add_{name}Servicer_to_server")
                yield Servicer(service, Inside(service), register)


CONTRACTS = list(_contracts())


async def _outcome(channel: grpc.aio.Channel, method: MethodDescriptor, metadata: Metadata) -> object:
    path = f"/{method.containing_service.full_name}/{method.name}"
    request, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    call = channel.unary_stream if method.server_streaming else channel.unary_unary
    try:
        made: Any = call(path, request.SerializeToString, answer.FromString)(request(), metadata=metadata, timeout=10)
        await (made.read() if method.server_streaming else made)
    except grpc.aio.AioRpcError as error:
        inside = error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
        return IN if inside else error.code()
    return "answered"


def _as(token: str, *more: tuple[str, str]) -> Metadata:
    return (("authorization", f"Bearer {token}"), *more)


def _forgeries(tokens: Tokens) -> dict[str, Metadata]:
    head, body, signature = tokens.issue(1, role=Role.MODERATOR).split(".")
    unsigned = "eyJhbGciOiJub25lIn0"
    return {
        "alg none": _as(f"{unsigned}.{body}."),
        "changed": _as(f"{head}.{body}.{signature[::-1]}"),
        "expired": _as(tokens.issue(1, lifetime_s=-1)),
        "another issuer's": _as(Tokens(FakeClock()).issue(1, role=Role.MODERATOR)),
        "no service's": _as("x" * len(SERVICE_TOKEN)),
        "a viewer named by nobody": (("x-reelgraph-viewer", "1"),),
        "a viewer named by a viewer": _as(tokens.issue(2), ("x-reelgraph-viewer", "1")),
    }


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.descriptor.name)
async def test_no_method_answers_a_caller_it_should_not(contract: Servicer) -> None:
    tokens = Tokens(FakeClock())
    honest = {
        "nobody": (),
        "viewer": _as(tokens.issue(1)),
        "moderator": _as(tokens.issue(1, role=Role.MODERATOR)),
        "service": _as(SERVICE_TOKEN),
    }
    async with serve(Service("any", [contract]), tokens.authenticator) as channel:
        for method in contract.descriptor.methods:
            expected = EXPECTED[method.GetOptions().Extensions[_ACCESS]]
            found = {who: await _outcome(channel, method, metadata) for who, metadata in honest.items()}
            assert found == expected, method.full_name
            for how, metadata in _forgeries(tokens).items():
                assert await _outcome(channel, method, metadata) is STRANGER, (method.full_name, how)


def test_all_contracts_are_walked() -> None:
    packages = {contract.descriptor.file.package for contract in CONTRACTS}
    assert packages == {f"reelgraph.{service}.v1" for service in ("graph", "media", "rank", "feed")}
