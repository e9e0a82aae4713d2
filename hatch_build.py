"""Build hook of the main distribution: carries what `make gen` and `make web` have built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ReelgraphBuildHook(BuildHookInterface[Any]):
    """Refuses a wheel that could not serve a feed, and adds the built explorer page to the gateway."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        root = Path(self.root)
        writes_model = (root / "rank_svc/scorers/base_model.py").exists()
        if writes_model and not (root / "rank_svc/models/base").is_dir():
            raise FileNotFoundError("rank_svc/models/base is missing: run `make gen` before building")
        explorer, page = root / "gateway/explorer/dist", root / "web/dist"
        if self.target_name == "wheel" and page.is_dir() and not explorer.is_dir():
            build_data["force_include"][str(page)] = "gateway/explorer/dist"
