"""Connections: forward pages of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

import strawberry

from gateway.types.fields import arg
from svc_kit.errors import invalid

T = TypeVar("T")

MAX_FIRST = 100

First = Annotated[int, arg("How many entries, 1 to 100.")]
After = Annotated[str | None, arg("The cursor of an edge or page before; absent for the first page.")]


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    """`end_cursor` continues the list even when the last entries were left out."""

    has_next_page: bool = strawberry.field(description="Whether more entries follow. It alone tells the end.")
    has_previous_page: bool = strawberry.field(description="Whether this page was asked for with a cursor.")
    start_cursor: str | None = strawberry.field(description="The cursor of the first entry; null on an empty page.")
    end_cursor: str | None = strawberry.field(description="The cursor to continue with; null on an empty page.")


@strawberry.type(description="One entry of a page.")
class Edge(Generic[T]):
    """`cursor` is the upstream page token of the entry."""

    node: T = strawberry.field(description="The entry.")
    cursor: str = strawberry.field(description="Opaque; continues the list after this entry.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    """Entries that can't be shown are left out, so a page may be shorter than was asked for."""

    edges: list[Edge[T]] = strawberry.field(description="The entries, in order.")
    page_info: PageInfo = strawberry.field(description="Where the page stands.")


def page_size(first: int) -> int:
    """`first`, checked; raises BAD_USER_INPUT."""
    if not 1 <= first <= MAX_FIRST:
        raise invalid("first", f"first must be 1 to {MAX_FIRST}; it is {first}.")
    return first


def page_info(tokens: Sequence[str], *, has_next: bool, after: str | None) -> PageInfo:
    """The place of a page whose upstream entries carried `tokens`."""
    return PageInfo(
        has_next_page=has_next,
        has_previous_page=bool(after),
        start_cursor=tokens[0] if tokens else None,
        end_cursor=tokens[-1] if tokens else None,
    )


def page(found: Sequence[tuple[T | None, str]], *, has_next: bool, after: str | None) -> Connection[T]:
    """A connection of upstream entries and their tokens; None entries are left out."""
    edges = [Edge(node=node, cursor=token) for node, token in found if node is not None]
    return Connection(edges=edges, page_info=page_info([t for _, t in found], has_next=has_next, after=after))
