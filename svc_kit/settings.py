"""Settings that every process shares, from `REELGRAPH_*`. Engines are chosen by URL alone."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from enum import StrEnum
from pathlib import Path

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from svc_kit.databases.url import service_url


class Mode(StrEnum):
    """`production` refuses default keys, demo logins, introspection and reflection unless allowed."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class PlatformSettings(BaseSettings):
    """Paths, URLs and secrets. An empty URL means the embedded engine inside `data_dir`."""

    model_config = SettingsConfigDict(env_prefix="REELGRAPH_", extra="ignore")

    mode: Mode = Mode.DEVELOPMENT
    data_dir: Path = Path(".reelgraph")
    public_url: str = ""
    """Where clients reach the HTTP side, no slash at the end; never taken from the Host header. Empty: the loopback
    address."""
    media_public_url: str = ""
    """Where clients reach the HTTP side of media_svc, when that is elsewhere. Empty: `public_url`."""
    secret: SecretStr = SecretStr("")
    """Signs cursors, part URLs and playback URLs. Empty: made once and kept in `data_dir`."""
    service_token: SecretStr = SecretStr("")
    """Proves a service to another. Empty: made once and kept in `data_dir`."""
    log_level: str = "INFO"

    db_url: str = ""
    graph_db_url: str = ""
    media_db_url: str = ""
    rank_db_url: str = ""
    feed_db_url: str = ""
    graph_url: str = ""
    cache_url: str = "memory://"
    wide_url: str = ""
    bus_url: str = ""
    blobs_url: str = ""
    search_url: str = ""
    models_url: str = ""
    vectors_url: str = "memory://"
    live_url: str = ""

    graph_address: str = ""
    media_address: str = ""
    rank_address: str = ""
    feed_address: str = ""
    """Where a service that does not run in this process answers gRPC: `host:port`, round robin over what the name
    resolves to (`dns://server:port/host:port`: asked of that name server), or several `ip:port` with commas between."""

    tls_cert_file: str = ""
    """PEM certificate (chain) of this process: its gRPC servers speak TLS, and it shows it to other services."""
    tls_key_file: str = ""
    """PEM private key of `tls_cert_file`."""
    tls_ca_file: str = ""
    """PEM certificates that other services' must be signed by; channels to them speak TLS."""
    tls_client_auth: bool = False
    """Mutual TLS: gRPC servers refuse whoever shows no certificate signed by `tls_ca_file`."""
    tls_server_name: str = ""
    """Name that other services' certificates must bear; empty: the host of their address. Needed where an address is
    several; needs `tls_ca_file`."""

    drain_notice_s: float = Field(default=0.0, ge=0, le=300)
    """After SIGTERM or SIGINT, how long `/readyz` and gRPC health say that this process is leaving while it goes on
    serving, so that balancers stop sending to it."""

    @model_validator(mode="after")
    def _complete(self) -> PlatformSettings:
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise ValueError("REELGRAPH_TLS_CERT_FILE and REELGRAPH_TLS_KEY_FILE belong together")
        if self.tls_client_auth and not (self.tls_cert_file and self.tls_ca_file):
            raise ValueError("REELGRAPH_TLS_CLIENT_AUTH needs REELGRAPH_TLS_CERT_FILE and REELGRAPH_TLS_CA_FILE")
        if self.tls_server_name and not self.tls_ca_file:
            raise ValueError(
                "REELGRAPH_TLS_SERVER_NAME needs REELGRAPH_TLS_CA_FILE: without it nobody's name is checked"
            )
        if self.mode is Mode.PRODUCTION:
            for name in ("secret", "service_token"):
                if len(getattr(self, name).get_secret_value()) < 32:
                    raise ValueError(f"REELGRAPH_{name.upper()} must have at least 32 characters in production")
        return self

    def service_db_url(self, service: str) -> str:
        """The database URL of `graph`, `media`, `rank` or `feed`: its own as it is, else its part of the common one,
        see `svc_kit.databases.url.service_url`, else SQLite in `data_dir`."""
        own: str = getattr(self, f"{service}_db_url")
        if not own and self.db_url:
            return service_url(self.db_url, service)
        return own or f"sqlite:///{self.data_dir.resolve() / f'{service}.db'}"

    def embedded_url(self, name: str, default: str) -> str:
        """The URL of engine `name` (`bus`, `blobs`, ...), else `default` with `{dir}` replaced by the data folder."""
        url: str = getattr(self, f"{name}_url")
        return url or default.format(dir=self.data_dir.resolve())

    def with_kept_secrets(self) -> PlatformSettings:
        """These settings with empty secrets replaced by ones kept in `data_dir` (mode 0600), made at the first
        start."""
        update = {}
        for name in ("secret", "service_token"):
            if not getattr(self, name).get_secret_value():
                update[name] = SecretStr(_kept(self.data_dir / f"{name}.key"))
        return self.model_copy(update=update)


def _kept(path: Path) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        # Linked when whole: of several processes that start at once, one's secret becomes everybody's.
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(32))
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
        os.unlink(name)
    return path.read_text()
