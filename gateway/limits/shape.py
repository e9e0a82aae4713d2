"""The shape of a document: depth, aliases, root fields, directives. Checked before validation, which is dearer.

Fragments are measured once each: a document whose fragments spread one another twice at every level would otherwise
take exponential time to measure.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

TOO_COMPLEX = "QUERY_TOO_COMPLEX"


@dataclass(frozen=True, slots=True)
class ShapeLimits:
    """The greatest allowed of each."""

    depth: int
    aliases: int
    root_fields: int
    directives: int


@dataclass(frozen=True, slots=True)
class Shape:
    """What a selection holds. `fields` are those of its own level."""

    depth: int = 0
    aliases: int = 0
    fields: int = 0
    directives: int = 0


def too_complex(message: str) -> GraphQLError:
    """An error of a limit."""
    return GraphQLError(message, extensions={"code": TOO_COMPLEX})


class ShapeMeter:
    """Measures the selections of one document. Unknown and circular fragments count as empty: validation names them."""

    def __init__(self, document: DocumentNode) -> None:
        self._fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        self._measured: dict[str, Shape] = {}
        self._open: set[str] = set()

    def measure(self, selection_set: SelectionSetNode | None) -> Shape:
        """The shape of a selection set with everything below it."""
        depth = aliases = fields = directives = 0
        for node in selection_set.selections if selection_set else ():
            directives += len(node.directives or ())
            if isinstance(node, FieldNode):
                inner = self.measure(node.selection_set)
                # Introspection is deep by nature; a rule of its own bounds it.
                depth = max(depth, 1 if node.name.value.startswith("__") else 1 + inner.depth)
                aliases += inner.aliases + (1 if node.alias else 0)
                fields += 1
            else:
                inner = self._spread(node) if isinstance(node, FragmentSpreadNode) else self._inline(node)
                depth, aliases, fields = max(depth, inner.depth), aliases + inner.aliases, fields + inner.fields
            directives += inner.directives
        return Shape(depth, aliases, fields, directives)

    def root_names(self, selection_set: SelectionSetNode | None) -> set[str]:
        """Names of the fields of a selection set's own level."""
        names: set[str] = set()
        pending, seen = [selection_set], set[str]()
        while pending:
            current = pending.pop()
            for node in current.selections if current else ():
                if isinstance(node, FieldNode):
                    names.add(node.name.value)
                elif isinstance(node, InlineFragmentNode):
                    pending.append(node.selection_set)
                elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                    seen.add(node.name.value)
                    pending.append(self._fragments[node.name.value].selection_set)
        return names

    def _inline(self, node: object) -> Shape:
        return self.measure(node.selection_set) if isinstance(node, InlineFragmentNode) else Shape()

    def _spread(self, node: FragmentSpreadNode) -> Shape:
        name = node.name.value
        if name not in self._measured:
            fragment = self._fragments.get(name)
            if fragment is None or name in self._open:
                return Shape()
            self._open.add(name)
            self._measured[name] = self.measure(fragment.selection_set)
            self._open.discard(name)
        return self._measured[name]


def check_shape(
    operations: list[OperationDefinitionNode], meter: ShapeMeter, limits: ShapeLimits
) -> list[GraphQLError]:
    """Errors of the limits that operations break, with limit and value."""
    errors = []
    for operation in operations:
        shape = meter.measure(operation.selection_set)
        found = (
            ("levels deep", shape.depth, limits.depth),
            ("aliases", shape.aliases, limits.aliases),
            ("root fields", shape.fields, limits.root_fields),
            ("directives", shape.directives + len(operation.directives or ()), limits.directives),
        )
        for what, value, limit in found:
            if value > limit:
                errors.append(too_complex(f"The operation has {value} {what}; the limit is {limit}."))
    return errors
