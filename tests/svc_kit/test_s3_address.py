"""URLs of buckets: what they say, and what is wrong with them."""

from __future__ import annotations

import pytest

from svc_kit.backends import EngineUnusable
from svc_kit.s3.address import parse_address


def test_a_server_of_ones_own_is_named_by_host_and_path() -> None:
    address = parse_address("s3://key:se%2Fcret%40@127.0.0.1:7070/media?secure=false&prefix=/a/b&region=here")
    assert (address.endpoint, address.bucket) == ("http://127.0.0.1:7070", "media")
    assert (address.access_key, address.secret_key, address.region) == ("key", "se/cret@", "here")
    assert (address.prefix, address.path_style) == ("a/b/", True)
    assert address.root("https://cdn.example") == "https://cdn.example/media"
    assert "cret" not in address.shown


def test_a_bucket_alone_is_at_aws_under_its_own_host_name() -> None:
    address = parse_address("s3://media?region=eu-central-1")
    assert (address.endpoint, address.bucket, address.access_key) == ("", "media", "")
    assert address.root("https://s3.eu-central-1.amazonaws.com") == "https://media.s3.eu-central-1.amazonaws.com"
    # Its certificate covers one name, not one with further dots.
    assert parse_address("s3://media.example.com").path_style


def test_options_have_their_defaults_and_are_taken_apart() -> None:
    address = parse_address("s3://host/media")
    assert (address.endpoint, address.region, address.connections) == ("https://host", "us-east-1", 64)
    assert (address.warm_days, address.cold_days, address.cors_origins) == (30, 0, ("*",))
    address = parse_address(
        "s3://host/media?storage_classes=events:STANDARD_IA,sets:X&cors_origins=https://a,https://b"
    )
    assert address.storage_classes == {"events": "STANDARD_IA", "sets": "X"}
    assert address.cors_origins == ("https://a", "https://b")
    assert parse_address("s3://host/media?public_endpoint=https://cdn/").public_endpoint == "https://cdn"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://", "no name of a bucket"),
        ("s3://host/two/levels", "two/levels"),
        ("s3://host/media?secure=perhaps", "secure=perhaps: true or false"),
        ("s3://host/media?connections=many", "connections=many: a whole number"),
        ("s3://host/media?connections=0", "connections=0: at least 1"),
        ("s3://host/media?public_endpoint=cdn.example", "public_endpoint=cdn.example: http://host or https://host"),
        ("s3://host/media?public_endpoint=ftp://cdn.example", "public_endpoint=.*: http://host or https://host"),
        ("s3://host/media?public_endpoint=https://", "public_endpoint=.*: http://host or https://host"),
        ("s3://host/media?colour=red", "unknown option colour; valid: .*prefix"),
        ("s3://host/media?storage_classes=sets", "PREFIX:CLASS"),
        ("s3://key@host/media", "both the access key and the secret key"),
    ],
)
def test_what_is_wrong_is_named(url: str, said: str) -> None:
    with pytest.raises(EngineUnusable, match=said):
        parse_address(url)
