"""The routes of the explorer: what they serve, under which headers, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.explorer import DemoLogin, explorer_page, explorer_routes, locate_dist
from gateway.explorer.page import content_policy

SCRIPT_URL = "/explorer/assets/index-Ab12Cd34.js"


def policy_of(response: httpx.Response | Response) -> dict[str, set[str]]:
    directives = response.headers["content-security-policy"].split("; ")
    return {words[0]: set(words[1:]) for words in (directive.split() for directive in directives)}


async def fetch(app: Starlette, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://explorer.test") as client:
        return await client.get(path)


async def test_config_names_the_demo_logins_and_the_version(client: httpx.AsyncClient) -> None:
    response = await client.get("/explorer/config.json")

    logins = [{"username": "ada", "password": "correct horse"}]
    assert response.json() == {"demoLogins": logins, "version": "1.2.3"}
    assert response.headers["cache-control"] == "no-store"


async def test_config_asks_for_the_demo_logins_each_time(
    client: httpx.AsyncClient, demo_logins: list[DemoLogin]
) -> None:
    demo_logins.clear()

    assert (await client.get("/explorer/config.json")).json()["demoLogins"] == []


async def test_hashed_files_are_cached_for_ever_and_pages_are_asked_for_again(
    client: httpx.AsyncClient,
) -> None:
    script = await client.get(SCRIPT_URL)
    player = await client.get("/explorer/player.html")

    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "javascript" in script.headers["content-type"]
    assert player.headers["cache-control"] == "no-cache"
    assert player.headers["content-type"] == "text/html; charset=utf-8"


async def test_an_unchanged_page_is_answered_by_304(client: httpx.AsyncClient) -> None:
    first = await client.get("/explorer/player.html")
    again = await client.get("/explorer/player.html", headers={"if-none-match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")


async def test_a_packed_file_is_sent_only_to_those_who_accept_it(client: httpx.AsyncClient) -> None:
    packed = await client.get(SCRIPT_URL, headers={"accept-encoding": "gzip"})
    plain = await client.get(SCRIPT_URL, headers={"accept-encoding": "identity"})
    never_packed = await client.get("/explorer/assets/index-Ef56Gh78.css", headers={"accept-encoding": "gzip"})

    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in never_packed.headers
    assert packed.text == plain.text
    assert packed.headers["content-type"] == plain.headers["content-type"]
    assert packed.headers["etag"] != plain.headers["etag"]
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "path",
    [
        "/explorer/../secret.txt",
        "/explorer/%2e%2e/secret.txt",
        "/explorer/assets/..%2f..%2fsecret.txt",
        "/explorer/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/explorer//etc/passwd",
        "/explorer/..%5csecret.txt",
        "/explorer/assets/%00",
        "/explorer/.stamp",
        "/explorer/assets/index-Ab12Cd34.js.gz",
        "/explorer/assets/",
        "/explorer/assets/absent.js",
        f"/explorer/{'a' * 5000}",
    ],
)
async def test_what_is_not_a_built_file_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(httpx.URL("http://explorer.test").copy_with(raw_path=path.encode()))

    assert response.status_code == 404
    assert "outside of dist" not in response.text


async def test_a_link_out_of_the_folder_is_not_followed(client: httpx.AsyncClient, dist: Path) -> None:
    (dist / "assets" / "link.txt").symlink_to(dist.parent / "secret.txt")

    assert (await client.get("/explorer/assets/link.txt")).status_code == 404


async def test_only_reading_is_allowed(client: httpx.AsyncClient) -> None:
    assert (await client.post(SCRIPT_URL)).status_code == 405
    assert (await client.post("/explorer/config.json")).status_code == 405


@pytest.mark.parametrize("path", ["/explorer", "/explorer/", "/explorer/index.html"])
async def test_the_page_has_one_address(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)

    assert (response.status_code, response.headers["location"]) == (307, "/graphql")


@pytest.mark.parametrize("path", [SCRIPT_URL, "/explorer/player.html", "/explorer/config.json", "/explorer/no"])
async def test_every_answer_carries_the_strict_headers(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)

    policy = policy_of(response)
    assert policy["script-src"] == policy["worker-src"] == policy["default-src"] == {"'self'"}
    assert policy["style-src"] == {"'self'", "'unsafe-inline'"}
    assert policy["font-src"] == {"'self'", "data:"}
    assert policy["img-src"] == {"'self'", "data:", "blob:"}
    assert policy["connect-src"] == {"'self'", "ws:", "wss:"}
    assert policy["media-src"] == {"'self'", "blob:"}
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == {"'none'"}
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


async def test_the_page_of_graphql_is_served_under_the_same_policy(dist: Path) -> None:
    async def graphql(_request: Request) -> Response:
        return explorer_page(dist)

    response = await fetch(Starlette(routes=[Route("/graphql", graphql)]), "/graphql")

    assert (response.status_code, response.headers["cache-control"]) == (200, "no-cache")
    assert response.headers["vary"] == "Accept"
    assert 'id="root"' in response.text
    assert policy_of(response)["script-src"] == {"'self'"}


async def test_without_a_build_every_page_says_how_to_make_one() -> None:
    async def graphql(_request: Request) -> Response:
        return explorer_page(None)

    app = Starlette(routes=[Route("/graphql", graphql), *explorer_routes(None, tuple)])

    for path in ("/graphql", "/explorer/player.html"):
        response = await fetch(app, path)
        assert response.status_code == 503
        assert "make web" in response.text
        assert "content-security-policy" in response.headers
    assert (await fetch(app, "/explorer/config.json")).status_code == 200


async def test_a_build_that_is_replaced_meanwhile_is_a_404_and_no_failure(
    client: httpx.AsyncClient, dist: Path
) -> None:
    await to_thread.run_sync(dist.rename, dist.with_name("dist.old"))

    assert (await client.get(SCRIPT_URL)).status_code == 404
    assert explorer_page(dist).status_code == 503


def test_a_media_origin_is_added_where_media_comes_from_and_nowhere_else() -> None:
    plain, wider = content_policy(), content_policy(["https://media.example.org:8443"])

    changed = {line.split()[0] for line in set(wider.split("; ")) - set(plain.split("; "))}
    assert changed == {"img-src", "connect-src", "media-src"}


@pytest.mark.parametrize("origin", ["*", "https://a.example; script-src *", "https://a.example/x", "data:", ""])
def test_what_is_not_an_origin_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match="media_origins"):
        content_policy([origin])


def test_a_set_folder_is_used_and_a_wrong_one_refused(dist: Path) -> None:
    assert locate_dist(dist) == dist
    with pytest.raises(ValueError, match=r"no index\.html"):
        locate_dist(dist.parent)
