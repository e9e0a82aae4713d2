"""GraphQL over HTTP: methods, media types, limits, errors, origins, and the pages beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.ids import Kind, encode
from gateway.settings import GatewaySettings
from svc_kit.readiness import Check
from svc_kit.settings import Mode
from tests.support.clock import FakeClock
from tests.support.gateway_fakes import Bench, gateway_over_fakes

MODERN = "application/graphql-response+json"


async def test_a_plain_get_runs_queries_and_nothing_else(bench: Bench) -> None:
    ran = await bench.http.get("/graphql", params={"query": "{ __typename }"})
    assert (ran.status_code, ran.json()["data"]) == (200, {"__typename": "Query"})
    assert ran.headers["content-type"] == "application/json; charset=utf-8"
    given = {"query": "query A($a: ID!) { node(id: $a) { id } }", "variables": '{"a": "x"}', "operationName": "A"}
    assert (await bench.http.get("/graphql", params=given)).json()["data"] == {"node": None}
    refused = await bench.http.get("/graphql", params={"query": "mutation { logOut(input: {}) { revokedSessionId } }"})
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert "LogOut" not in bench.world.counted()
    streamed = await bench.http.get(
        "/graphql",
        params={"query": "mutation { logOut(input: {}) { revokedSessionId } }"},
        headers={"accept": "text/event-stream"},
    )
    assert streamed.status_code == 405


REFUSED = [
    (b"{", "application/json", 400),
    (b"[]", "application/json", 400),
    (b"7", "application/json", 400),
    (b"{}", "application/json", 400),
    (b'{"query": 7}', "application/json", 400),
    (b'{"query": "{ __typename }", "variables": "x"}', "application/json", 400),
    (b'{"query": "{ __typename }", "variables": [1]}', "application/json", 400),
    (b'{"query": "{ __typename }", "operationName": 7}', "application/json", 400),
    (b'{"query": "{ __typename }", "extensions": []}', "application/json", 400),
    (b'{"query": "{ __typename }"}', "text/plain", 415),
    (b"query=%7B__typename%7D", "application/x-www-form-urlencoded", 415),
    (b'{"query": "{ __typename }"}', "application/json; charset=iso-8859-1", 415),
    (b'{"query": "' + b" " * (1024 * 1024) + b'"}', "application/json", 413),
    (b'{"query": "{ __typename }", "variables": null}', "application/json; charset=UTF-8", 200),
]


async def test_what_is_not_graphql_over_http_is_refused(bench: Bench) -> None:
    for content, content_type, status in REFUSED:
        answer = await bench.http.post("/graphql", content=content, headers={"content-type": content_type})

        assert answer.status_code == status, content[:80]
        if status != 200:
            assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_the_answer_has_the_accepted_type(bench: Bench) -> None:
    for accept, content_type in (
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        (MODERN, MODERN),
        (f"{MODERN}, application/json;q=0.9", MODERN),
        ("text/plain, application/json;q=0.1", "application/json"),
    ):
        answer = await bench.post("{ __typename }", accept=accept)
        assert answer.headers["content-type"] == f"{content_type}; charset=utf-8", accept
    assert (await bench.post("{ __typename }", accept="image/png")).status_code == 406


IMPOSSIBLE: list[tuple[str, dict[str, object], str]] = [
    ("{", {}, "GRAPHQL_VALIDATION_FAILED"),
    ("{ nope }", {}, "GRAPHQL_VALIDATION_FAILED"),
    ("{ ...Nope }", {}, "GRAPHQL_VALIDATION_FAILED"),
    ("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }", {}, "GRAPHQL_VALIDATION_FAILED"),
    ("query A { __typename } query B { __typename }", {}, "GRAPHQL_VALIDATION_FAILED"),
    ("fragment A on Query { __typename }", {}, "GRAPHQL_VALIDATION_FAILED"),
    ("{ _entities(representations: []) { __typename } }", {}, "GRAPHQL_VALIDATION_FAILED"),
    ("query($id: ID!) { node(id: $id) { id } }", {}, "BAD_USER_INPUT"),
    ("query($n: Int!) { feed(first: $n) { stale } }", {"n": "x"}, "BAD_USER_INPUT"),
    ("{ a" * 60 + "}" * 60, {}, "QUERY_TOO_COMPLEX"),
    ("{" * 900, {}, "GRAPHQL_VALIDATION_FAILED"),
    ("{ a" * 900 + "}" * 900, {}, "QUERY_TOO_COMPLEX"),
    ("{" + " __typename" * 3000 + "}", {}, "QUERY_TOO_COMPLEX"),
    ("{" + "".join(f" a{n}: __typename" for n in range(60)) + "}", {}, "QUERY_TOO_COMPLEX"),
    ("{" + " __typename" * 60 + "}", {}, "QUERY_TOO_COMPLEX"),
    ("{ __typename" + " @skip(if: false)" * 60 + "}", {}, "QUERY_TOO_COMPLEX"),
    ("{ trending {" + " edges { cursor }" * 300 + " } }", {}, "QUERY_TOO_COMPLEX"),
    ("{ viewer {" + " id" * 1500 + " } }", {}, "QUERY_TOO_COMPLEX"),
    (
        "{ feed(first: 100) { edges { node { comments(first: 100) { edges { node { id } } } } } } }",
        {},
        "QUERY_TOO_COMPLEX",
    ),
    (
        "query($n: Int!) { feed(first: $n) { edges { node { comments(first: $n) { edges { node { id } } } } } } }",
        {"n": 100},
        "QUERY_TOO_COMPLEX",
    ),
]


async def test_what_can_not_run_is_refused_before_it_does(bench: Bench) -> None:
    for query, variables, code in IMPOSSIBLE:
        modern = await bench.post(query, variables, accept=MODERN)
        legacy = await bench.post(query, variables)

        assert modern.status_code == 400, query[:80]
        assert "data" not in modern.json()
        assert modern.json()["errors"][0]["extensions"]["code"] == code, query[:80]
        assert legacy.status_code == 200


async def test_fragments_that_double_at_every_level_are_measured_in_no_time(bench: Bench) -> None:
    levels = "".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }} " for n in range(60))
    query = f"{{ ...F0 }} {levels} fragment F60 on Query {{ a: __typename }}"

    body = await bench.query(query)

    assert body["errors"][0]["extensions"]["code"] == "QUERY_TOO_COMPLEX"


async def test_an_answer_tells_its_cost_and_its_request_id(bench: Bench) -> None:
    answer = await bench.post("{ feed(first: 20) { edges { node { author { id } } } } }", X_Request_Id="abc-123")
    assert answer.json()["extensions"]["cost"] == {"requested": 6 + 20 * 3, "limit": 10_000}
    assert answer.headers["x-request-id"] == "abc-123"
    insane = await bench.post("{ __typename }", X_Request_Id="a b\tc")
    assert len(insane.headers["x-request-id"]) == 16


async def test_an_unexpected_failure_is_masked(bench: Bench) -> None:
    ada = bench.world.add_user("ada")
    bench.world.add_video(ada.id).state = 0  # type: ignore[assignment]

    body = await bench.query("{ trending { edges { node { id } } } }")

    assert body["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert body["errors"][0]["message"] == "Something went wrong on our side."


async def test_the_request_time_is_limited(tmp_path: Path) -> None:
    async with gateway_over_fakes(tmp_path, settings=GatewaySettings(request_timeout_s=0.0)) as bench:
        body = await bench.query('{ user(username: "ada") { id } }')
        assert body["errors"][0]["extensions"]["code"] == "DEADLINE_EXCEEDED"


async def test_an_address_that_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    settings = GatewaySettings(anonymous_requests_per_s=1, anonymous_burst=2, trusted_proxies="127.0.0.0/8")
    async with gateway_over_fakes(tmp_path, settings=settings) as bench:
        answers = [await bench.post("{ __typename }", X_Forwarded_For="203.0.113.7") for _ in range(3)]
        other = await bench.post("{ __typename }", X_Forwarded_For="198.51.100.1, 203.0.113.8")
        me = bench.log_in(bench.world.add_user("me").id)
        logged_in = await bench.post("{ __typename }", token=me.token, X_Forwarded_For="203.0.113.7")
        spoofed = await bench.post("{ __typename }", X_Forwarded_For="198.51.100.9, 203.0.113.7")
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    error = answers[2].json()["errors"][0]["extensions"]
    assert (error["code"], error["retryAfterMs"] > 0) == ("RATE_LIMITED", True)
    assert int(answers[2].headers["retry-after"]) >= 1
    assert (other.status_code, logged_in.status_code, spoofed.status_code) == (200, 200, 429)


async def test_a_trusted_proxy_tells_the_region(tmp_path: Path) -> None:
    async with gateway_over_fakes(tmp_path, settings=GatewaySettings(trusted_proxies="127.0.0.1")) as bench:
        await bench.post("{ feed { stale } }", X_Client_Region="de")
        assert bench.world.request("GetFeed").client.region == "DE"


async def test_production_hides_the_schema(tmp_path: Path) -> None:
    async with gateway_over_fakes(tmp_path, mode=Mode.PRODUCTION) as bench:
        schema = await bench.query("{ __schema { types { name } } }")
        typo = await bench.query("{ vieewer { id } }")
        argument = await bench.query('{ node(idd: "x") { id } }')
        fragment = await bench.query('{ node(id: "x") { username } }')
    assert schema["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    for body in (schema, typo, argument, fragment):
        assert not any("did you mean" in error["message"].lower() for error in body["errors"])


async def test_development_shows_the_schema_and_suggests(bench: Bench) -> None:
    from graphql import build_client_schema, get_introspection_query

    schema = build_client_schema((await bench.query(get_introspection_query()))["data"])
    assert "Video" in schema.type_map
    assert "Did you mean" in (await bench.query("{ vieewer { id } }"))["errors"][0]["message"]


async def test_pages_of_other_origins_are_refused(bench: Bench) -> None:
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    for origin, allowed in (
        ("http://localhost:5173", True),
        ("http://127.0.0.1:8080", True),
        ("https://reels.test", True),
        ("https://evil.test", False),
        ("http://localhost.evil.test", False),
        ("null", False),
    ):
        asked = await bench.http.options("/graphql", headers={**preflight, "origin": origin})
        posted = await bench.post("{ __typename }", origin=origin)
        assert (asked.status_code == 200) is allowed, origin
        assert (posted.status_code == 200) is allowed, origin
        assert (posted.headers.get("access-control-allow-origin") == origin) is allowed, origin


async def test_production_allows_only_listed_origins(tmp_path: Path) -> None:
    settings = GatewaySettings(allowed_origins="https://app.example.org/, https://b.example.org")
    async with gateway_over_fakes(tmp_path, mode=Mode.PRODUCTION, settings=settings) as bench:
        assert (await bench.post("{ __typename }", origin="https://app.example.org")).status_code == 200
        assert (await bench.post("{ __typename }", origin="http://localhost:5173")).status_code == 403


async def test_health_keys_and_metrics(bench: Bench) -> None:
    assert (await bench.http.get("/healthz")).json() == {"status": "ok"}
    assert (await bench.http.get("/readyz")).status_code == 200
    assert (await bench.http.get("/.well-known/jwks.json")).json() == {"keys": []}
    await bench.data("{ trending { pageInfo { hasNextPage } } }")
    metrics = (await bench.http.get("/metrics")).text
    assert 'reelgraph_graphql_seconds_count{code="OK",field="trending",type="query"}' in metrics


async def test_readiness_names_what_is_missing(tmp_path: Path) -> None:
    async with gateway_over_fakes(tmp_path, without=frozenset({"feed"})) as bench:
        answer = await bench.http.get("/readyz")

    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "missing": ["feed"]})


async def test_readiness_tells_what_is_missing_and_503_only_without_truth(tmp_path: Path) -> None:
    clock, broken = FakeClock(), {"search"}

    def check(name: str) -> Check:
        async def run() -> None:
            if name in broken:
                raise OSError("/secret/path is gone")

        return run

    checks = {name: check(name) for name in ("search", "graph database")}
    async with gateway_over_fakes(tmp_path, clock=clock, checks=checks) as bench:
        degraded = await bench.http.get("/readyz")
        broken.add("graph database")
        clock.advance(2)
        unavailable = await bench.http.get("/readyz")

    assert (degraded.status_code, degraded.json()) == (200, {"status": "degraded", "missing": ["search"]})
    assert unavailable.status_code == 503
    assert unavailable.json() == {"status": "unavailable", "missing": ["search", "graph database"]}


async def test_a_shared_link_leads_to_a_page_that_shows_only_what_anybody_may_see(bench: Bench) -> None:
    ada = bench.world.add_user("ada")
    video = bench.world.add_video(ada.id, 'a <b>"clip"</b>')
    hidden = bench.world.add_video(ada.id, "secret", visibility=3)

    page = await bench.http.get(f"/w/{encode(Kind.VIDEO, video.id)}")

    assert page.status_code == 200
    assert '<meta property="og:image"' in page.text
    assert "<b>" not in page.text
    assert "/explorer/player.html?src=http%3A%2F%2Fmedia.test" in page.text
    for bad in (encode(Kind.VIDEO, hidden.id), "nonsense", encode(Kind.USER, ada.id)):
        missing = await bench.http.get(f"/w/{bad}")
        assert missing.status_code == 404
        assert "secret" not in missing.text


@pytest.mark.parametrize("link", ["/graphql", "/graphql?query=%7B__typename%7D"])
async def test_a_browser_gets_the_explorer(bench: Bench, link: str) -> None:
    page = await bench.http.get(link, headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})

    assert page.headers["content-type"].startswith("text/html")
    assert "content-security-policy" in page.headers


async def test_a_client_that_hangs_up_half_way_leaves_the_server_working(bench: Bench) -> None:
    import asyncio

    host, port = bench.url.removeprefix("http://").split(":")
    _reader, writer = await asyncio.open_connection(host, int(port))
    head = b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    writer.write(head)
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    assert (await bench.data("{ __typename }"))["__typename"] == "Query"


async def test_a_body_that_does_not_arrive_is_not_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.http.calls.BODY_TIMEOUT_S", 0.05)
    host, port = bench.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    writer.write(head.encode())
    assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 408")
    writer.close()


async def test_the_host_header_leads_nowhere(bench: Bench) -> None:
    for path in ("/graphql/", "/healthz/", "/w/..%2f"):
        answer = await bench.http.get(path, headers={"host": "evil.example"})
        assert answer.status_code == 404, path
        assert "location" not in answer.headers
