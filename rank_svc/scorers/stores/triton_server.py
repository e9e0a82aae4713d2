"""One Triton over gRPC: calls with deadlines, few at a time, and what their errors mean."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, aio
from tritonclient.utils import InferenceServerException

from svc_kit.backends import EngineUnusable

R = TypeVar("R")

SHORT_S = 2.0
"""For questions that cost the server nothing."""
WAITING_PER_CALL = 4
"""So many calls wait for each that is under way; more are refused at once."""
_CHANNEL = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # As it comes, a channel tries again only after up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Only under calls: a server that is pinged without any closes the connection.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 0),
)
_KINDS = {np.dtype(np.int64): "INT64", np.dtype(np.float32): "FP32"}


@dataclass(frozen=True, slots=True)
class TritonUrl:
    """The address, and the options of its query."""

    address: str
    secure: bool
    key: str
    repository: Path
    timeout_ms: int = 2000
    load_timeout_ms: int = 60_000
    in_flight: int = 64
    key_name: str = "triton-key"
    ca: str = ""


def parse(url: str) -> TritonUrl:
    """Read a `triton://` URL. Raises EngineUnusable naming what is wrong with it."""
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise EngineUnusable("the URL must be triton://:KEY@host:port?repository=/folder")
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name in ("timeout_ms", "load_timeout_ms", "in_flight"):
            if not value.isdigit() or int(value) < 1:
                raise EngineUnusable(f"{name}={value[:20]}: must be a whole number from 1")
            values[name] = int(value)
        elif name in ("key_name", "ca", "repository"):
            values[name] = value
        else:
            raise EngineUnusable(f"unknown option {name[:40]}")
    if values.get("ca") and not parts.scheme.endswith("+ssl"):
        raise EngineUnusable("ca needs triton+ssl://")
    if not values.get("repository"):
        raise EngineUnusable("`?repository=/folder`, where versions of models lie, is missing")
    values["repository"] = Path(values["repository"])
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return TritonUrl(address, parts.scheme.endswith("+ssl"), unquote(parts.password or ""), **values)


class Fault(Enum):
    """What an error says of the server."""

    DOWN = "not reached, too busy or too slow: asking again later may do"
    GONE = "it does not have the model: it was restarted, or somebody unloaded it"
    BROKEN = "it has the model but what runs it died or fails"
    REFUSED = "it does not take what was sent"


class TritonError(Exception):
    """A call failed."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class TritonServer:
    """The connection. Every call raises TritonError."""

    def __init__(self, options: TritonUrl) -> None:
        self.options = options
        ca = options.ca or None
        self._client = aio.InferenceServerClient(
            options.address, ssl=options.secure, root_certificates=ca, channel_args=_CHANNEL
        )
        self._headers = {f"triton-grpc-protocol-{options.key_name}": options.key} if options.key else {}
        self._slots = asyncio.Semaphore(options.in_flight)
        self._waiting = 0

    async def version(self) -> str:
        answer = await self._ask(self._client.get_server_metadata, SHORT_S)
        return str(answer.version)

    async def is_live(self) -> bool:
        """Whether it serves. It calls itself `ready` only while no model at all is being loaded or unloaded."""
        return bool(await self._ask(self._client.is_server_live, SHORT_S))

    async def is_ready(self, name: str) -> bool:
        """Whether it has the model. True also for one whose process died: only an inference tells."""
        return bool(await self._ask(self._client.is_model_ready, SHORT_S, name))

    async def load(self, name: str, config: str, contents: Mapping[str, bytes]) -> None:
        """Load a model from `contents`, unless it is there; replaces nothing."""
        seconds = self.options.load_timeout_ms / 1000
        await self._ask(self._client.load_model, seconds, name, config=config, files=dict(contents))

    async def unload(self, name: str) -> None:
        """Unload a model; what it is working on is finished. One that is not there: nothing happens."""
        await self._ask(self._client.unload_model, self.options.load_timeout_ms / 1000, name)

    async def last_asked(self) -> Mapping[str, int]:
        """By loaded model, when it was asked last, in milliseconds of the server's clock; 0 for never."""
        answer = await self._ask(self._client.get_inference_statistics, SHORT_S)
        return {model.name: int(model.last_inference) for model in answer.model_stats}

    async def infer(self, name: str, arrays: Mapping[str, NDArray[Any]], output: str, seconds: float) -> NDArray[Any]:
        """What the model answers within `seconds`, waiting for a free place included."""
        if self._waiting >= WAITING_PER_CALL * self.options.in_flight:
            raise TritonError(Fault.DOWN, "too many calls wait for the model server")
        inputs = [_input(key, array) for key, array in arrays.items()]
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds):
                async with self._slots:
                    answer = await self._ask(
                        self._client.infer, seconds, name, inputs, timeout=int(seconds * 1_000_000)
                    )
        except TimeoutError:
            raise TritonError(Fault.DOWN, f"no answer within {seconds:g} s") from None
        finally:
            self._waiting -= 1
        found = answer.as_numpy(output)
        if found is None:
            raise TritonError(Fault.BROKEN, f"the answer has no {output}")
        return np.asarray(found)

    async def _ask(self, method: Callable[..., Awaitable[Any]], seconds: float, *args: Any, **more: Any) -> Any:
        try:
            return await method(*args, headers=self._headers, client_timeout=seconds, **more)
        except InferenceServerException as error:
            raise _meaning(error) from None

    async def close(self) -> None:
        await self._client.close()


def _input(name: str, array: NDArray[Any]) -> Any:
    value = InferInput(name, list(array.shape), _KINDS[array.dtype])
    value.set_data_from_numpy(np.ascontiguousarray(array))
    return value


def _meaning(error: Any) -> TritonError:
    code = str(error.status() or "").removeprefix("StatusCode.")
    message = str(error.message())[:300]
    if code == "NOT_FOUND" or "unknown model" in message:
        return TritonError(Fault.GONE, message)
    if code == "INTERNAL":
        return TritonError(Fault.BROKEN, message)
    if code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED", "UNKNOWN", ""):
        return TritonError(Fault.DOWN, message)
    return TritonError(Fault.REFUSED, message)


def rows_of(
    arrays: Mapping[str, NDArray[Any]], start: int, end: int, columns: Collection[str]
) -> dict[str, NDArray[Any]]:
    """Some rows of a batch as they travel: Triton has no rows without a dimension, so columns go as [n, 1]."""
    return {name: array[start:end, None] if name in columns else array[start:end] for name, array in arrays.items()}
