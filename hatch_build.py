"""Build hook of the main distribution: carries what `make gen` and `make web` have built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ReelgraphBuildHook(BuildHookInterface):
    """Refuses a wheel that could not serve a feed, and adds the built explorer page to the gateway."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        root = Path(self.root)
        if (root / "rank_svc/scorers/base_model.py").exists() and not any(
            (root / "rank_svc/models/base").glob("*")
        ):
            raise FileNotFoundError(
                "rank_svc/models/base is missing: run `make gen` before building the wheel"
            )
        explorer, page = root / "gateway/explorer/dist", root / "web/dist"
        if self.target_name == "wheel" and page.is_dir() and not explorer.is_dir():
            build_data["force_include"][str(page)] = "gateway/explorer/dist"
