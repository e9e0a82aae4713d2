"""Adapters of model serving, by URL scheme of `REELGRAPH_MODELS_URL`."""

SCHEMES = {
    "file": "rank_svc.scorers.stores.onnxruntime",
    "onnx": "rank_svc.scorers.stores.onnxruntime",
    "triton": "rank_svc.scorers.stores.triton",
    "triton+ssl": "rank_svc.scorers.stores.triton",
}
"""URL scheme -> adapter module. Each has `async def open(url, threads) -> ModelRepository` and `folder(url)`,
where the versions lie."""
