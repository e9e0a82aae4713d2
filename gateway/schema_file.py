"""`python -m gateway.schema_file`: write the golden file of the schema."""

from __future__ import annotations

from pathlib import Path

from gateway.schema import build_schema

PATH = Path(__file__).with_name("schema.graphql")


def schema_text() -> str:
    """The schema in SDL."""
    return build_schema().as_str() + "\n"


if __name__ == "__main__":
    PATH.write_text(schema_text(), encoding="utf-8")
