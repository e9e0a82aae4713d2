"""An option of TLS beside a URL without it is a mistake that must not pass for security."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from rank_svc.scorers.stores import triton_server
from svc_kit.backends import EngineUnusable
from svc_kit.bus.kafka_config import settings_of
from svc_kit.caches.address import parse
from svc_kit.databases import mysql
from svc_kit.databases.url import query_of
from svc_kit.db import connect, verify
from tests.support.certificates import Authority


@pytest.mark.parametrize("option", ["ca", "cert", "key"])
def test_kafka_refuses_files_without_tls(option: str) -> None:
    with pytest.raises(ValueError, match=rf"{option} needs kafka\+ssl://"):
        settings_of(f"kafka://u:p@h:1?{option}=/file.pem")


@pytest.mark.parametrize(("given", "absent"), [("cert", "key"), ("key", "cert")])
def test_kafka_refuses_half_of_a_certificate(given: str, absent: str) -> None:
    with pytest.raises(ValueError, match=f"{given} needs {absent}"):
        settings_of(f"kafka+ssl://u:p@h:1?{given}=/file.pem")
    assert settings_of("kafka+ssl://u:p@h:1?cert=/cert.pem&key=/key.pem").key == "/key.pem"


@pytest.mark.parametrize("option", ["ca_file", "cert_file", "key_file"])
def test_redis_refuses_files_without_tls(option: str) -> None:
    with pytest.raises(EngineUnusable, match=f"{option} needs rediss://"):
        parse(f"redis://h:1?{option}=/file.pem", many=False)


def test_triton_refuses_an_authority_without_tls() -> None:
    with pytest.raises(EngineUnusable, match=r"ca needs triton\+ssl://"):
        triton_server.parse("triton://:KEY@h:1?repository=/models&ca=/ca.pem")


@pytest.mark.parametrize("option", ["sslrootcert", "sslcert", "sslkey"])
def test_mysql_refuses_files_without_tls(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} needs sslmode="):
        mysql._tls(query_of(f"mysql://h/db?{option}=/file.pem"))


@pytest.mark.parametrize("option", ["sslrootcert", "sslcert", "sslkey", "sslcrl"])
@pytest.mark.parametrize("mode", ["", "&sslmode=disable", "&sslmode=allow", "&sslmode=prefer"])
def test_postgres_refuses_files_where_a_connection_may_be_in_the_clear(option: str, mode: str) -> None:
    with pytest.raises(ValueError, match=f"{option} needs sslmode=require, verify-ca or verify-full"):
        connect(f"postgresql://u:p@h/db?{option}=/file.pem{mode}")


async def test_postgres_says_so_at_start_too() -> None:
    with pytest.raises(EngineUnusable, match="sslrootcert needs sslmode="):
        await verify("postgresql://u:p@127.0.0.1:1/db?sslrootcert=/file.pem")


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_postgres_takes_files_where_it_must_use_them(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await connect(f"postgresql://u:p@h/db?sslmode={mode}&sslrootcert=/file.pem").close()
    monkeypatch.setenv("PGSSLMODE", mode)
    await connect("postgresql://u:p@h/db?sslrootcert=/file.pem").close()


def test_mysql_asks_an_authority_that_is_named(tmp_path: Path) -> None:
    file = Authority(tmp_path, "ours").ca_file
    context = mysql._tls(query_of(f"mysql://h/db?sslmode=require&sslrootcert={file}"))
    assert context is not None and context.verify_mode is ssl.CERT_REQUIRED
