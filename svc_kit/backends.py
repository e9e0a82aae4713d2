"""Adapters chosen by URL scheme alone; only the chosen module is imported."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType


class UnknownScheme(ValueError):
    """A setting names a scheme that no adapter answers."""


def resolve(setting: str, url: str, schemes: Mapping[str, str]) -> ModuleType:
    """The adapter module for `url`. `schemes` maps scheme to module path; `setting` names the setting in errors."""
    scheme = url.partition(":")[0]
    module = schemes.get(scheme)
    if module is None:
        raise UnknownScheme(f"{setting}={scheme}:...: unknown scheme; valid: {', '.join(sorted(schemes))}")
    return import_module(module)
