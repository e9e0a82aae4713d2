"""A stand-in for Triton's native `onnxruntime` backend, where only the Python backend can be had.

Put beside the native one's place (`BACKENDS/onnxruntime/model.py`) it serves the same repository, unmodified: a
configuration with `backend: "onnxruntime"` and `1/model.onnx`. It refuses what the native backend refuses at load: a
file that is no model, and a configuration that the model's inputs and outputs don't fit.
"""

import json
import os

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

_TYPES = {"TYPE_INT64": "tensor(int64)", "TYPE_FP32": "tensor(float)"}


class TritonPythonModel:
    """One instance of one model."""

    def initialize(self, args):
        """Open the model and compare it with its configuration; raising refuses the load."""
        config = json.loads(args["model_config"])
        name = config.get("default_model_filename") or "model.onnx"
        path = os.path.join(args["model_repository"], args["model_version"], name)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = ort.InferenceSession(path, options, providers=_providers(args))
        _check("input", config["input"], self._session.get_inputs())
        _check("output", config["output"], self._session.get_outputs())
        self._inputs = [value["name"] for value in config["input"]]
        self._outputs = [value["name"] for value in config["output"]]

    def execute(self, requests):
        """Answer all requests of a batch in one run: rows are the first dimension."""
        feeds = [[pb_utils.get_input_tensor_by_name(r, name).as_numpy() for name in self._inputs] for r in requests]
        rows = [len(feed[0]) for feed in feeds]
        joined = {name: np.concatenate([feed[i] for feed in feeds]) for i, name in enumerate(self._inputs)}
        try:
            answers = self._session.run(self._outputs, joined)
        except Exception as error:
            failure = pb_utils.TritonError(f"onnx runtime error: {error}")
            return [pb_utils.InferenceResponse(error=failure) for _ in requests]
        ends = np.cumsum(rows)
        return [
            pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor(name, np.ascontiguousarray(answer[end - count : end]))
                    for name, answer in zip(self._outputs, answers, strict=True)
                ]
            )
            for end, count in zip(ends, rows, strict=True)
        ]


def _providers(args):
    wanted = ["CUDAExecutionProvider"] if args["model_instance_kind"] == "GPU" else []
    return [name for name in wanted if name in ort.get_available_providers()] + ["CPUExecutionProvider"]


def _check(what, configured, found):
    by_name = {value.name: value for value in found}
    if {value["name"] for value in configured} != set(by_name):
        wanted = ", ".join(sorted(by_name))
        given = ", ".join(sorted(value["name"] for value in configured))
        raise pb_utils.TritonModelException(f"the model's {what}s are {wanted}; the configuration has {given}")
    for value in configured:
        model = by_name[value["name"]]
        # An empty shape, for columns, is left out of the JSON.
        dims = value["reshape"].get("shape", []) if "reshape" in value else value["dims"]
        same = len(model.shape) == len(dims) + 1 and all(
            not isinstance(size, int) or int(dim) in (-1, size) for size, dim in zip(model.shape[1:], dims, strict=True)
        )
        if not same or _TYPES.get(value["data_type"]) != model.type:
            raise pb_utils.TritonModelException(
                f"{what} {value['name']} is {model.type} {model.shape} in the model, "
                f"{value['data_type']} {dims} in the configuration"
            )
