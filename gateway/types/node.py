"""Relay's Node."""

from __future__ import annotations

import strawberry


@strawberry.interface(description="Something with an id of its own. `node(id)` answers it.")
class Node:
    """`id` comes from `gateway.ids`."""

    id: strawberry.ID = strawberry.field(description="Opaque and URL-safe, unique over all types.")
