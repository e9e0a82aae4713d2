"""Whether the weights in an ONNX file are numbers, read from its wire format: `onnx` is not there where models serve.

Field numbers: onnx.proto3 of ONNX 1.x (ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from rank_svc.scorers.store import ModelRefused

_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_INITIALIZER, _NODE_OUTPUT, _NODE_ATTRIBUTE = 7, 1, 5, 2, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_FLOAT, _ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_FLOATS = 1, 2, 5, 6, 7
_TENSOR_TYPE, _TENSOR_FLOATS, _TENSOR_NAME, _TENSOR_RAW, _TENSOR_DOUBLES = 2, 4, 8, 9, 10
_RAW: Mapping[int, str] = {1: "<f4", 10: "<f2", 11: "<f8"}
"""TensorProto.DataType of floats -> how raw_data holds them."""
Bytes = memoryview
Value = int | Bytes


def check_weights(path: Path) -> None:
    """Raise ModelRefused naming the first tensor with a NaN. Infinities are not refused: masks are made of them."""
    try:
        name = _broken_in_model(memoryview(path.read_bytes()))
    except (ValueError, IndexError) as error:
        raise ModelRefused(f"{path}: is not an ONNX file: {error}") from error
    if name is not None:
        raise ModelRefused(f"{path}: {name or 'a constant'} has NaN among its weights")


def _broken_in_model(model: Bytes) -> str | None:
    for number, value in _fields(model):
        if number == _MODEL_GRAPH and isinstance(value, memoryview):
            found = _broken_in_graph(value)
            if found is not None:
                return found
    return None


def _broken_in_graph(graph: Bytes) -> str | None:
    for number, value in _fields(graph):
        found = None
        if isinstance(value, memoryview) and number == _GRAPH_INITIALIZER:
            found = _broken_tensor(value)
        elif isinstance(value, memoryview) and number == _GRAPH_NODE:
            found = _broken_in_node(value)
        if found is not None:
            return found
    return None


def _broken_in_node(node: Bytes) -> str | None:
    fields = list(_fields(node))
    output = next((_text(v) for n, v in fields if n == _NODE_OUTPUT and isinstance(v, memoryview)), "")
    for number, value in fields:
        if number == _NODE_ATTRIBUTE and isinstance(value, memoryview):
            found = _broken_in_attribute(value)
            if found is not None:
                return f"{output}.{found}" if found else output
    return None


def _broken_in_attribute(attribute: Bytes) -> str | None:
    name = ""
    for number, value in _fields(attribute):
        if not isinstance(value, memoryview):
            continue
        if number == _ATTRIBUTE_NAME:
            name = _text(value)
        elif number == _ATTRIBUTE_TENSOR and _broken_tensor(value) is not None:
            return name
        elif number == _ATTRIBUTE_GRAPH:
            found = _broken_in_graph(value)
            if found is not None:
                return found
        elif number in (_ATTRIBUTE_FLOAT, _ATTRIBUTE_FLOATS) and _has_nan(value, "<f4"):
            return name
    return None


def _broken_tensor(tensor: Bytes) -> str | None:
    """Its name, when there is a NaN in it."""
    name, kind, broken, raw = "", 0, False, memoryview(b"")
    for number, value in _fields(tensor):
        if isinstance(value, int):
            kind = value if number == _TENSOR_TYPE else kind
        elif number == _TENSOR_NAME:
            name = _text(value)
        elif number == _TENSOR_RAW:
            raw = value
        elif number in (_TENSOR_FLOATS, _TENSOR_DOUBLES):
            broken |= _has_nan(value, "<f4" if number == _TENSOR_FLOATS else "<f8")
    if kind in _RAW:
        broken |= _has_nan(raw, _RAW[kind])
    return name if broken else None


def _has_nan(data: Bytes, kind: str) -> bool:
    return bool(np.isnan(np.frombuffer(data, kind)).any())


def _text(value: Bytes) -> str:
    return bytes(value[:200]).decode("utf-8", "replace")


def _fields(message: Bytes) -> Iterator[tuple[int, Value]]:
    """(number, value) of every field; fixed-width values as their bytes. Raises ValueError for what is cut off."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        if wire == 0:
            plain, at = _varint(message, at)
            yield key >> 3, plain
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + size > len(message):
            raise ValueError("it ends in the middle of a field")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: Bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"a number of more than 64 bits at byte {at}")
