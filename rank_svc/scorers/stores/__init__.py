"""Adapters of model serving, by URL scheme of `REELGRAPH_MODELS_URL`."""

SCHEMES = {
    "file": "rank_svc.scorers.stores.onnxruntime",
    "onnx": "rank_svc.scorers.stores.onnxruntime",
}
"""URL scheme -> adapter module. Each has `async def open(url, threads) -> ModelRepository`."""
