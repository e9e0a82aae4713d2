"""Secrets and modes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from svc_kit.ids import DirectoryLock
from svc_kit.settings import Mode, PlatformSettings

LONG = SecretStr("x" * 32)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_made_once_and_are_their_owners_alone(tmp_path: Path) -> None:
    settings = PlatformSettings(data_dir=tmp_path / "data")
    made = settings.with_kept_secrets()
    assert len(made.secret.get_secret_value()) >= 32
    assert made.secret != made.service_token
    assert settings.with_kept_secrets() == made
    assert _mode(tmp_path / "data") == 0o700
    assert {_mode(path) for path in (tmp_path / "data").iterdir()} == {0o600}


def test_a_new_data_folder_is_its_owners_alone(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path / "data"):
        assert _mode(tmp_path / "data") == 0o700


@pytest.mark.parametrize(("secret", "token"), [("", ""), ("x" * 32, ""), ("", "x" * 32), ("x" * 32, "x" * 31)])
def test_production_refuses_default_and_short_keys(secret: str, token: str) -> None:
    with pytest.raises(ValidationError, match="at least 32 characters in production"):
        PlatformSettings(mode=Mode.PRODUCTION, secret=SecretStr(secret), service_token=SecretStr(token))
    assert PlatformSettings(mode=Mode.PRODUCTION, secret=LONG, service_token=LONG).mode is Mode.PRODUCTION


def test_a_name_that_nobody_would_check_is_refused() -> None:
    with pytest.raises(ValidationError, match="REELGRAPH_TLS_SERVER_NAME needs REELGRAPH_TLS_CA_FILE"):
        PlatformSettings(tls_server_name="reelgraph.internal")
    assert PlatformSettings(tls_server_name="reelgraph.internal", tls_ca_file="/ca.pem").tls_server_name
