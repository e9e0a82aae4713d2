"""What the demo refuses."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from launcher.demo.run import run_demo
from svc_kit.settings import Mode, PlatformSettings


async def test_production_has_no_demo(tmp_path: Path) -> None:
    secret = SecretStr("x" * 32)
    data = tmp_path / "data"
    settings = PlatformSettings(mode=Mode.PRODUCTION, secret=secret, service_token=secret, data_dir=data)
    with pytest.raises(ValueError, match="production refuses"):
        await run_demo(settings, 0, 0)
    assert not data.exists()
