"""TLS between services: credentials of gRPC servers and channels, from files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from svc_kit.settings import PlatformSettings


@dataclass(frozen=True, slots=True)
class Tls:
    """How this process proves itself and whom it trusts. All empty: plain text."""

    cert_file: str = ""
    key_file: str = ""
    ca_file: str = ""
    client_auth: bool = False
    """Servers demand a certificate signed by `ca_file`."""
    server_name: str = ""
    """What a server's certificate must be for; empty: the host called."""

    def server_credentials(self) -> grpc.ServerCredentials | None:
        """For servers on TCP; None: plain text. Raises OSError naming a file that can't be read."""
        if not self.cert_file:
            return None
        roots = _read(self.ca_file) if self.client_auth else None
        pair = (_read(self.key_file), _read(self.cert_file))
        return grpc.ssl_server_credentials([pair], roots, self.client_auth)

    def channel_credentials(self) -> grpc.ChannelCredentials | None:
        """For channels to other processes; None: plain text. Raises OSError naming a file that can't be read."""
        if not self.ca_file:
            return None
        own = (_read(self.key_file), _read(self.cert_file)) if self.cert_file else (None, None)
        return grpc.ssl_channel_credentials(_read(self.ca_file), *own)


def tls_of(settings: PlatformSettings) -> Tls:
    """The TLS that settings ask for."""
    return Tls(
        settings.tls_cert_file,
        settings.tls_key_file,
        settings.tls_ca_file,
        settings.tls_client_auth,
        settings.tls_server_name,
    )


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise OSError(f"{path} can't be read: {error.strerror}") from None
