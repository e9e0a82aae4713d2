"""Typed forms of Strawberry's decorators: a field is declared once, with its description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import strawberry

F = TypeVar("F", bound=Callable[..., Any])


def resolved(description: str) -> Callable[[F], F]:
    """A field that a method answers."""

    def declare(resolver: F) -> F:
        return cast(F, strawberry.field(resolver=resolver, description=description))

    return declare


def mutation(description: str) -> Callable[[F], F]:
    """A field of Mutation."""

    def declare(resolver: F) -> F:
        return cast(F, strawberry.mutation(resolver=resolver, description=description))

    return declare


def subscription(description: str) -> Callable[[F], F]:
    """A field of Subscription; the method is an asynchronous generator."""

    def declare(resolver: F) -> F:
        return cast(F, strawberry.subscription(resolver=resolver, description=description))

    return declare


def arg(description: str) -> Any:
    """The description of an argument, for `Annotated`."""
    return strawberry.argument(description=description)
