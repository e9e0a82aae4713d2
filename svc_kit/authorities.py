"""The authorities that this machine trusts, for drivers that know of none by themselves."""

from __future__ import annotations

import ssl
from pathlib import Path

_BEGIN = "-----BEGIN CERTIFICATE-----"


def system_authorities() -> str:
    """PEM certificates of the authorities that OpenSSL trusts here: its bundle, or its folder, both as `SSL_CERT_FILE`
    and `SSL_CERT_DIR` say. Raises FileNotFoundError where there are none."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile and _BEGIN in (bundle := Path(paths.cafile).read_text(errors="replace")):
        return bundle
    folder = Path(paths.capath) if paths.capath else None
    # A certificate lies there under several names.
    files = {file.resolve() for file in folder.iterdir() if file.is_file()} if folder else set()
    found = [text for file in sorted(files) if _BEGIN in (text := file.read_text(errors="replace"))]
    if not found:
        raise FileNotFoundError(2, "no certificates", paths.cafile or paths.capath or paths.openssl_cafile)
    return "\n".join(found)
