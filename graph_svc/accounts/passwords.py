"""Passwords: argon2id on a bounded pool of threads."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from svc_kit.errors import unavailable

T = TypeVar("T")


class Passwords:
    """Hashes and checks passwords. At most `threads` at once, at most `queue` wait; more are refused as UNAVAILABLE."""

    def __init__(self, hasher: PasswordHasher, threads: int, queue: int) -> None:
        self._hasher = hasher
        self._threads = CapacityLimiter(threads)
        self._most = threads + queue
        self._running = 0
        self._nobodys = ""

    async def hash(self, password: str) -> str:
        """The argon2id hash of a password, with its parameters and salt."""
        return await self._run(lambda: self._hasher.hash(_normal(password)))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password is right. None, for an account that does not exist, costs the same time."""
        if stored is None:
            self._nobodys = self._nobodys or await self.hash("nobody has this password")
        right = await self._run(lambda: self._matches(stored or self._nobodys, password))
        return right and stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, _normal(password))
        except (Argon2Error, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._running >= self._most:
            raise unavailable("Too many people log in right now.")
        self._running += 1
        try:
            return await to_thread.run_sync(work, limiter=self._threads)
        finally:
            self._running -= 1


def _normal(password: str) -> str:
    # The same keys pressed on another system must give the same password.
    return unicodedata.normalize("NFKC", password)
