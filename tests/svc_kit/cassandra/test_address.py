"""What a Cassandra URL may say."""

from __future__ import annotations

import pytest

from svc_kit.backends import EngineUnusable
from svc_kit.cassandra.address import parse


def test_a_bare_url_has_the_settings_of_production() -> None:
    address = parse("cassandra://me:a%40b@one,two/reelgraph")
    assert (address.hosts, address.port, address.keyspace) == (("one", "two"), 9042, "reelgraph")
    assert (address.username, address.password, address.tls) == ("me", "a@b", False)
    assert (address.consistency, address.timeout_s) == ("local_quorum", 2.0)
    assert address.replication == "{'class': 'SimpleStrategy', 'replication_factor': 3}"


def test_options_come_from_the_query() -> None:
    query = "consistency=one&datacenter=dc1&replication=dc1:3,dc-2:2&timeout_ms=500&in_flight=7&speculative_ms=0"
    address = parse(f"cassandra+ssl://[::1]:19042/ks_1?{query}&ca_file=/ca.pem&verify=chain")
    assert (address.hosts, address.port, address.tls, address.verify) == (("::1",), 19042, True, "chain")
    assert (address.consistency, address.datacenter, address.ca_file) == ("one", "dc1", "/ca.pem")
    assert (address.timeout_s, address.in_flight, address.speculative_ms) == (0.5, 7, 0)
    assert address.replication == "{'class': 'NetworkTopologyStrategy', 'dc1': 3, 'dc-2': 2}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("cassandra://host", "keyspace"),
        ("cassandra://host/Big-Name", "keyspace"),
        ("cassandra://host/ks; DROP", "keyspace"),
        ("cassandra:///ks", "no host"),
        ("cassandra://a:1,b:2/ks", "one port"),
        ("cassandra://host/ks?colour=red", "unknown option colour"),
        ("cassandra://host/ks?consistency=most", "consistency must be one of"),
        ("cassandra://host/ks?timeout_ms=soon", "timeout_ms"),
        ("cassandra://host/ks?in_flight=0", "in_flight"),
        ("cassandra://host/ks?replication=0", "replication"),
        ("cassandra://host/ks?replication=dc1:3'}", "replication"),
        ("cassandra://host/ks?ca_file=/x", "cassandra+ssl"),
    ],
)
def test_a_wrong_url_is_told_what_is_wrong_with_it(url: str, said: str) -> None:
    with pytest.raises(EngineUnusable) as refused:
        parse(url)
    assert said in str(refused.value)
