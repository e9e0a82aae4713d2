"""A delivery as columns."""

from __future__ import annotations

import json

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from feed_svc.analytics.store import ArchivedEvent
from reelgraph.events.v1.event_pb2 import Event
from svc_kit.bus.port import Delivery
from svc_kit.ids import created_ms


def archived(delivery: Delivery) -> ArchivedEvent:
    """What the archive keeps of a delivery. One that can't be read is kept too, by what the bus says of it."""
    record = delivery.record
    try:
        event = Event.FromString(record.payload)
    except DecodeError:
        event = Event()
    kind = event.WhichOneof("body") or ""
    body = MessageToDict(getattr(event, kind), preserving_proto_field_name=True) if kind else {}
    return ArchivedEvent(
        id=event.id or record.event_id,
        topic=record.topic,
        partition=delivery.partition,
        offset=delivery.offset,
        type=kind,
        actor_id=event.actor_id or record.key,
        entity=event.entity or record.entity,
        entity_version=event.entity_version,
        occurred_at_ms=event.occurred_at.ToMilliseconds()
        if event.HasField("occurred_at")
        else created_ms(record.event_id),
        request_id=event.request_id,
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")),
        payload=record.payload,
    )
