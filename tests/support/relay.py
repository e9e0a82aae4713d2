"""A relay in front of a server, which a test cuts, silences and mends: what a client sees of a dead server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Relay:
    """Listens on `port` of 127.0.0.1 and passes everything on to the server, while it is up."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._silent = False
        self.port = 0
        self.accepted = 0
        """How many connections came."""

    async def mend(self) -> None:
        """Pass everything on, on the same port as before."""
        self._silent = False
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """End all connections and refuse new ones, as a killed server does."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._drop()
        await asyncio.sleep(0)

    async def silence(self) -> None:
        """Accept connections and never answer, as a hanging server does."""
        await self.mend()
        self._silent = True
        self._drop()

    def _drop(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._open.add(writer)
        if self._silent:
            return
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            self._open.add(far_writer)
            try:
                await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))
            finally:
                for end in (writer, far_writer):
                    self._open.discard(end)
                    end.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def relay(host: str, port: int) -> AsyncIterator[Relay]:
    """A relay that passes on."""
    made = Relay(host, port)
    await made.mend()
    try:
        yield made
    finally:
        await made.cut()
