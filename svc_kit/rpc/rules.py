"""What protos declare: who may call a method (`access`), what a field may hold (`rules`). Read once, at start."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from reelgraph.common.v1 import options_pb2
from reelgraph.common.v1.options_pb2 import Access, FieldRules
from svc_kit.errors import UserCode, Violation, invalid_all
from svc_kit.text import printable

# The generated types call extensions plain descriptors, which the typed `Extensions` does not take.
_ACCESS: Any = options_pb2.access
_RULES: Any = options_pb2.rules
_NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
}


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    rules: FieldRules
    repeated: bool
    presence: bool
    number: bool
    unit: str
    message: bool


@dataclass(frozen=True, slots=True)
class MethodRules:
    """What one method declares."""

    access: Access
    fields: tuple[_Field, ...]
    has_key: bool

    def check(self, request: Message) -> None:
        """Raise BAD_USER_INPUT naming every field that breaks its rule, with limit and value."""
        violations = [v for field in self.fields for v in _check(field, request)]
        if self.has_key:
            key = request.idempotency_key  # type: ignore[attr-defined]
            if key and not 16 <= len(key) <= 64:
                code = UserCode.TOO_SHORT if len(key) < 16 else UserCode.TOO_LONG
                violations.append(
                    Violation(
                        "idempotency_key", f"idempotency_key must have 16 to 64 characters; it has {len(key)}.", code
                    )
                )
            elif not printable(key):
                # Databases differ in what they take: PostgreSQL has no NUL in text.
                message = "idempotency_key must not hold control characters."
                violations.append(Violation("idempotency_key", message, UserCode.INVALID))
        if violations:
            raise invalid_all(violations)


class UndeclaredAccess(RuntimeError):
    """A method does not say who may call it."""


def load(services: Iterable[ServiceDescriptor]) -> dict[str, MethodRules]:
    """Rules by full method name; raises `UndeclaredAccess` when a method declares no access."""
    rules = {}
    for service in services:
        for method in service.methods:
            access: Access = method.GetOptions().Extensions[_ACCESS]
            if access == Access.ACCESS_UNSPECIFIED:
                raise UndeclaredAccess(f"{method.full_name} does not declare its access")
            rules[f"/{service.full_name}/{method.name}"] = MethodRules(
                access, _fields(method.input_type), "idempotency_key" in method.input_type.fields_by_name
            )
    return rules


def input_digest(request: Message) -> bytes:
    """SHA-256 of a request without its idempotency key."""
    bare = type(request)()
    bare.CopyFrom(request)
    bare.ClearField("idempotency_key")
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).digest()


def _fields(descriptor: Descriptor) -> tuple[_Field, ...]:
    found = []
    for f in descriptor.fields:
        rules: FieldRules = f.GetOptions().Extensions[_RULES]
        if rules != FieldRules():
            unit = "bytes" if f.type == FieldDescriptor.TYPE_BYTES else "characters"
            found.append(
                _Field(
                    f.name,
                    rules,
                    f.is_repeated,
                    f.has_presence,
                    f.cpp_type in _NUMBERS,
                    unit,
                    f.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE,
                )
            )
    return tuple(found)


def _check(field: _Field, request: Message) -> list[Violation]:
    value, name, rules = getattr(request, field.name), field.name, field.rules
    if field.repeated:
        if rules.HasField("max_items") and len(value) > rules.max_items:
            return [_violation(name, f"at most {rules.max_items} items", f"{len(value)}", UserCode.TOO_LONG)]
        if rules.id:
            return [
                _violation(f"{name}.{i}", "an id above 0", str(item), UserCode.INVALID)
                for i, item in enumerate(value)
                if item <= 0
            ]
        return []
    if field.message:
        missing = rules.required and not request.HasField(name)
        return [Violation(name, f"{name} is required.", UserCode.REQUIRED)] if missing else []
    if field.presence and not request.HasField(name):
        return []
    if field.number:
        return _check_number(name, rules, value)
    if rules.required and not value:
        return [Violation(name, f"{name} is required.", UserCode.REQUIRED)]
    if isinstance(value, (str, bytes)):
        return _check_length(name, rules, len(value), field.unit)
    return []


def _check_number(name: str, rules: FieldRules, value: int) -> list[Violation]:
    if rules.id and value <= 0:
        return [_violation(name, "an id above 0", str(value), UserCode.INVALID)]
    if rules.required and not value:
        return [Violation(name, f"{name} is required.", UserCode.REQUIRED)]
    if rules.HasField("min") and value < rules.min:
        return [_violation(name, f"at least {rules.min}", str(value), UserCode.INVALID)]
    if rules.HasField("max") and value > rules.max:
        return [_violation(name, f"at most {rules.max}", str(value), UserCode.TOO_LARGE)]
    return []


def _check_length(name: str, rules: FieldRules, length: int, unit: str) -> list[Violation]:
    if rules.HasField("min_len") and length < rules.min_len:
        return [
            Violation(name, f"{name} must have at least {rules.min_len} {unit}; it has {length}.", UserCode.TOO_SHORT)
        ]
    if rules.HasField("max_len") and length > rules.max_len:
        return [
            Violation(name, f"{name} must have at most {rules.max_len} {unit}; it has {length}.", UserCode.TOO_LONG)
        ]
    return []


def _violation(name: str, limit: str, value: str, code: UserCode) -> Violation:
    return Violation(name, f"{name} must be {limit}; it is {value}.", code)
