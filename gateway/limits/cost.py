"""The cost of an operation, known before it runs.

A field that answers an object costs 1, one that pages a list (`first`) costs 5 more: it is a call of its own. What is
below a list counts once an entry: `first` times, or as often as there are `ids`. Scalars are free. A feed of 20 with
authors costs 6 + 20 * (edges 1 + node 1 + author 1); 100 comments of each of 100 videos are far beyond the limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
)

OBJECT = 1
CALL = 5
MOST = 100
"""No list is longer: a greater `first` is refused where it is used, by name."""


@dataclass(slots=True)
class _Plan:
    """The cost of a selection set: of each field its own, how often what is below counts, and what is below."""

    terms: list[tuple[int, int | str, _Plan]] = field(default_factory=list)
    included: list[_Plan] = field(default_factory=list)


class CostPlan:
    """The cost of one operation as a function of its variables. The document must be valid: fragments don't circle."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        self._planned: dict[str, _Plan] = {}
        self._selected: set[str] = set()
        self._defaults = {
            d.variable.name.value: _literal(d.default_value) for d in operation.variable_definitions or ()
        }
        self._root = self._plan(operation.selection_set, schema.get_root_type(operation.operation))

    @property
    def selected(self) -> frozenset[str]:
        """All fields that are selected at any level, as `Type.field`."""
        return frozenset(self._selected)

    def cost(self, variables: Mapping[str, Any]) -> int:
        """The cost with these variables."""
        return self._sum(self._root, variables, {})

    def _sum(self, plan: _Plan, variables: Mapping[str, Any], memo: dict[int, int]) -> int:
        if id(plan) not in memo:
            total = sum(self._sum(inner, variables, memo) for inner in plan.included)
            for own, times, below in plan.terms:
                total += own + self._times(times, variables) * self._sum(below, variables, memo)
            memo[id(plan)] = total
        return memo[id(plan)]

    def _times(self, times: int | str, variables: Mapping[str, Any]) -> int:
        if isinstance(times, str):
            value = variables.get(times, self._defaults.get(times))
            times = len(value) if isinstance(value, list) else value if isinstance(value, int) else 1
        return max(0, min(times, MOST))

    def _plan(self, selection_set: SelectionSetNode | None, parent: GraphQLNamedType | None) -> _Plan:
        plan = _Plan()
        for node in selection_set.selections if selection_set else ():
            if isinstance(node, FieldNode):
                definition = getattr(parent, "fields", {}).get(node.name.value)
                self._selected.add(f"{parent}.{node.name.value}")
                if definition is not None and node.selection_set is not None:
                    plan.terms.append(self._term(node, definition))
            elif isinstance(node, FragmentSpreadNode):
                plan.included.append(self._spread(node.name.value))
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                kind = self._schema.get_type(condition.name.value) if condition else parent
                plan.included.append(self._plan(node.selection_set, kind))
        return plan

    def _term(self, node: FieldNode, definition: GraphQLField) -> tuple[int, int | str, _Plan]:
        below = self._plan(node.selection_set, get_named_type(definition.type))
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        if "first" in definition.args:
            default = definition.args["first"].default_value
            return OBJECT + CALL, _amount(given.get("first"), default if isinstance(default, int) else 1), below
        return OBJECT, _amount(given.get("ids"), 1), below

    def _spread(self, name: str) -> _Plan:
        if name not in self._planned:
            fragment = self._fragments[name]
            kind = self._schema.get_type(fragment.type_condition.name.value)
            self._planned[name] = self._plan(fragment.selection_set, kind)
        return self._planned[name]


def _amount(value: object, default: int) -> int | str:
    if isinstance(value, VariableNode):
        return value.name.value
    literal = _literal(value)
    return default if literal is None else literal


def _literal(value: object) -> int | None:
    if isinstance(value, IntValueNode):
        return int(value.value)
    return len(value.values) if isinstance(value, ListValueNode) else None
