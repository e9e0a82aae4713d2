"""Every operation that the explorer offers or runs must be valid against the gateway's schema."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphql import build_schema, parse, validate

ROOT = Path(__file__).parents[3]
OPERATIONS = sorted((ROOT / "web/src/explorer/operations").glob("*.graphql"))
SCHEMA = ROOT / "gateway/schema.graphql"


def test_there_are_operations() -> None:
    assert {"feed.graphql", "upload.graphql", "comment-added.graphql"} <= {path.name for path in OPERATIONS}


@pytest.mark.skipif(not SCHEMA.is_file(), reason="gateway/schema.graphql, the golden schema, is not written yet")
@pytest.mark.parametrize("path", OPERATIONS, ids=lambda path: path.stem)
def test_an_operation_of_the_explorer_is_valid(path: Path) -> None:
    problems = validate(build_schema(SCHEMA.read_text()), parse(path.read_text()))

    assert [problem.message for problem in problems] == []
