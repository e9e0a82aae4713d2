"""The base version's ranker, for data without impressions to learn one from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from rank_svc.scorers.base_model import IR, OPSET, ranker, ranker_features
from rank_svc.scorers.layout import triton_config
from rank_svc.scorers.store import OBJECTIVES


class FixedRanker:
    """See `rank_svc.train.version.Ranker`."""

    @property
    def features(self) -> Sequence[str]:
        return ranker_features()

    @property
    def objectives(self) -> Sequence[str]:
        return OBJECTIVES

    @property
    def metrics(self) -> Mapping[str, Any]:
        return {"kind": "fixed", "why": "the dataset has no impressions.parquet with enough rows to learn from"}

    def write(self, folder: Path, dimensions: int) -> None:
        model = helper.make_model(ranker(), opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
        onnx.checker.check_model(model, full_check=True)
        place = folder / "ranker" / "1"
        place.mkdir(parents=True)
        (place / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
        declared = [("features", "float32", (len(self.features),))]
        text = triton_config("ranker", declared, len(self.objectives))
        (folder / "ranker" / "config.pbtxt").write_text(text, encoding="utf-8")
