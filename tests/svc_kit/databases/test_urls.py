"""How services share one URL, and which servers are too old."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from svc_kit.backends import EngineUnusable
from svc_kit.databases import mysql, postgres
from svc_kit.databases.url import service_url


@pytest.mark.parametrize(
    ("common", "own"),
    [
        ("postgresql://u:p@h:1/db", "postgresql://u:p@h:1/db?search_path=graph"),
        ("postgres://u:p%40@h/db?sslmode=require", "postgres://u:p%40@h/db?sslmode=require&search_path=graph"),
        ("postgresql://h/db?search_path=eu", "postgresql://h/db?search_path=eu_graph"),
        ("mysql://u:p@h:1/db?sslmode=require", "mysql://u:p@h:1/db_graph?sslmode=require"),
        ("sqlite:///data/x.db", "sqlite:///data/x.graph.db"),
        ("sqlite:////var/x.db?pool_size=2", "sqlite:////var/x.graph.db?pool_size=2"),
    ],
)
def test_services_lie_apart_in_a_common_database(common: str, own: str) -> None:
    assert service_url(common, "graph") == own


def test_a_common_mysql_url_names_a_database() -> None:
    with pytest.raises(ValueError, match="names no database"):
        service_url("mysql://u:p@h/", "graph")


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("8.0.36", "MySQL 8.0"),
        ("8.4.0-Vitess", "MySQL 8.4"),
        ("10.11.6-MariaDB-0+deb12u1", "MariaDB 10.11"),
        ("5.5.5-10.6.1-MariaDB", "MariaDB 10.6"),
        ("5.7.44", ""),
        ("10.5.23-MariaDB", ""),
        ("5.5.5-10.4.2-MariaDB", ""),
    ],
)
def test_versions_of_mysql_and_mariadb_are_told_apart(told: str, found: str) -> None:
    server = SimpleNamespace(get_server_info=lambda: told)
    if found:
        assert mysql._check_version(server) == found
    else:
        with pytest.raises(EngineUnusable, match=r"is too old: .* or newer is needed"):
            mysql._check_version(server)


def test_an_old_postgresql_is_refused() -> None:
    def server(major: int) -> SimpleNamespace:
        return SimpleNamespace(get_server_version=lambda: SimpleNamespace(major=major, minor=0, micro=4))

    assert postgres._check_version(server(13)) == "13.4"
    with pytest.raises(EngineUnusable, match="PostgreSQL 12 is too old: 13 or newer is needed"):
        postgres._check_version(server(12))
