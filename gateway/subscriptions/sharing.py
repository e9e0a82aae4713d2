"""One execution for many listeners.

What nobody in particular hears is the same for everybody: all sockets and event streams of logged-out clients with the
same subscription share one upstream stream, one execution an event and one encoding. Viewers have their own: what they
may see is decided for each of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson
from graphql import FieldNode, NullValueNode, OperationDefinitionNode, OperationType, VariableNode

from gateway.answers import Answer
from gateway.context import Context
from gateway.execution import Executor, Prepared
from svc_kit.errors import unavailable

QUEUE_ANSWERS = 256

Key = tuple[str, str | None, bytes]


class _Topic:
    """One running execution and its listeners. None on a queue: it is over."""

    def __init__(self) -> None:
        self.queues: set[asyncio.Queue[Answer | None]] = set()
        self.lagging: set[asyncio.Queue[Answer | None]] = set()
        self.pump: asyncio.Task[None] | None = None

    def publish(self, answer: Answer | None) -> None:
        """Give to each; who has not taken 256 before is left behind."""
        for queue in tuple(self.queues):
            try:
                queue.put_nowait(answer)
            except asyncio.QueueFull:
                self.queues.discard(queue)
                self.lagging.add(queue)


class SharedAnswers:
    """The answers of operations, shared where they are the same for all."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._topics: dict[Key, _Topic] = {}

    async def events(self, prepared: Prepared, context: Context) -> AsyncGenerator[Answer, None]:
        """As `Executor.events`. A listener that falls too far behind gets a last answer UNAVAILABLE, to come back and
        go on after the last event it saw."""
        if not _shareable(prepared, context):
            async with aclosing(self._executor.events(prepared, context)) as answers:
                async for answer in answers:
                    yield answer
            return
        key = _key(prepared)
        topic = self._topics.get(key) or self._open(key, prepared, context)
        queue: asyncio.Queue[Answer | None] = asyncio.Queue(QUEUE_ANSWERS)
        topic.queues.add(queue)
        try:
            while queue not in topic.lagging or not queue.empty():
                shared = await queue.get()
                if shared is None:
                    return
                yield shared
            yield self._executor.errors.refusal(unavailable("Too slow: go on after the last event."))
        finally:
            topic.queues.discard(queue)
            topic.lagging.discard(queue)
            self._close_if_unheard(key, topic)

    def _open(self, key: Key, prepared: Prepared, context: Context) -> _Topic:
        topic = self._topics[key] = _Topic()
        topic.pump = asyncio.create_task(self._pump(key, topic, prepared, context), name="gateway.shared")
        return topic

    def _close_if_unheard(self, key: Key, topic: _Topic) -> None:
        if topic.queues or topic.pump is None:
            return
        topic.pump.cancel()
        if self._topics.get(key) is topic:
            del self._topics[key]

    async def _pump(self, key: Key, topic: _Topic, prepared: Prepared, context: Context) -> None:
        try:
            async with aclosing(self._executor.events(prepared, context)) as answers:
                async for answer in answers:
                    topic.publish(answer)
        finally:
            # Before the listeners are told: who comes now opens a new one.
            if self._topics.get(key) is topic:
                del self._topics[key]
            topic.publish(None)


def _key(prepared: Prepared) -> Key:
    call = prepared.call
    return call.query, prepared.operation.name, orjson.dumps(call.variables, option=orjson.OPT_SORT_KEYS)


def _shareable(prepared: Prepared, context: Context) -> bool:
    """A logged-out client's subscription that starts now and not after an event it saw."""
    if context.caller.user_id or prepared.operation.type is not OperationType.SUBSCRIPTION:
        return False
    name = prepared.operation.name
    nodes = [d for d in prepared.document.ast.definitions if isinstance(d, OperationDefinitionNode)]
    node = next(d for d in nodes if (d.name.value if d.name else None) == name)
    fields = [f for f in node.selection_set.selections if isinstance(f, FieldNode)]
    if len(fields) != 1 or len(node.selection_set.selections) != 1 or fields[0].directives:
        return False
    after = next((a.value for a in fields[0].arguments or () if a.name.value == "after"), None)
    if isinstance(after, VariableNode):
        return not prepared.call.variables.get(after.name.value)
    return after is None or isinstance(after, NullValueNode)
