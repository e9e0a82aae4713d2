"""Toxiproxy between the platform and its engines, by its HTTP interface."""

from __future__ import annotations

from types import TracebackType

import httpx

from tests.support.ports import free_port


class Toxiproxy:
    """Proxies of one run; they go with it."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=5)
        self._names: list[str] = []

    async def __aenter__(self) -> Toxiproxy:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self._names:
            await self._http.delete(f"/proxies/{name}")
        await self._http.aclose()

    async def add(self, name: str, upstream: str) -> str:
        """Stand before `host:port`; the address to use instead."""
        listen = f"127.0.0.1:{free_port()}"
        await self._http.delete(f"/proxies/{name}")
        made = await self._http.post("/proxies", json={"name": name, "listen": listen, "upstream": upstream})
        made.raise_for_status()
        self._names.append(name)
        return listen

    async def hang(self, name: str) -> None:
        """Connections stay open and nothing passes any more, either way."""
        for stream in ("upstream", "downstream"):
            toxic = {"name": f"hang-{stream}", "type": "timeout", "stream": stream, "attributes": {"timeout": 0}}
            (await self._http.post(f"/proxies/{name}/toxics", json=toxic)).raise_for_status()

    async def unhang(self, name: str) -> None:
        """Everything passes again; what hung is cut."""
        for stream in ("upstream", "downstream"):
            (await self._http.delete(f"/proxies/{name}/toxics/hang-{stream}")).raise_for_status()

    async def cut(self, name: str) -> None:
        """Connections end and new ones are refused, as when the server is killed."""
        (await self._http.post(f"/proxies/{name}", json={"enabled": False})).raise_for_status()

    async def mend(self, name: str) -> None:
        """It can be reached again."""
        (await self._http.post(f"/proxies/{name}", json={"enabled": True})).raise_for_status()
