"""Documents, parsed and validated once each and kept: validation costs ten times what parsing does, and clients send
the same few texts."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    parse,
    validate,
)
from graphql.validation import recommended_rules, specified_rules

from gateway.limits.cost import CostPlan
from gateway.limits.shape import ShapeLimits, ShapeMeter, check_shape, too_complex

KEPT = 512
LONGEST_KEPT_CHARS = 20_000
MAX_ERRORS = 20
CREDENTIAL_FIELDS = frozenset({"signUp", "logIn", "refreshSession", "__typename"})


@dataclass(frozen=True, slots=True)
class Operation:
    """What must be known of an operation before it runs."""

    name: str | None
    type: OperationType
    root_fields: tuple[str, ...]
    selected: frozenset[str]
    """All fields at any level, as `Type.field`."""
    plan: CostPlan

    @property
    def ignores_token(self) -> bool:
        """It only signs up, logs in or refreshes: a token that is sent along by habit does not matter."""
        return self.type is OperationType.MUTATION and CREDENTIAL_FIELDS.issuperset(self.root_fields)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed text; `operations` is empty when there are `errors`."""

    ast: DocumentNode
    errors: tuple[GraphQLError, ...]
    operations: tuple[Operation, ...] = ()


class Documents:
    """Bounded memory of documents of one schema."""

    def __init__(self, schema: GraphQLSchema, *, shape: ShapeLimits, max_tokens: int, introspection: bool) -> None:
        self._schema = schema
        self._shape = shape
        self._max_tokens = max_tokens
        self._rules = (*specified_rules, *recommended_rules)
        if not introspection:
            self._rules = (*self._rules, NoSchemaIntrospectionCustomRule)
        self._kept: OrderedDict[str, Document] = OrderedDict()

    def get(self, text: str) -> Document:
        """The document of a text; raises GraphQLError when it can't be parsed."""
        document = self._kept.get(text)
        if document is not None:
            self._kept.move_to_end(text)
            return document
        document = self._read(text)
        if len(text) <= LONGEST_KEPT_CHARS:
            self._kept[text] = document
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return document

    def _read(self, text: str) -> Document:
        try:
            ast = parse(text, max_tokens=self._max_tokens)
        except GraphQLSyntaxError as error:
            if "Parsing aborted" in error.message:
                raise too_complex(error.message.removeprefix("Syntax Error: ")) from None
            raise
        operations = [d for d in ast.definitions if isinstance(d, OperationDefinitionNode)]
        meter = ShapeMeter(ast)
        # Both walk as deep as the document is nested, which the parser bounds, but not by Python's stack.
        try:
            errors = check_shape(operations, meter, self._shape)
            errors = errors or validate(self._schema, ast, self._rules, max_errors=MAX_ERRORS)
        except RecursionError:
            errors = [too_complex("The document is nested too deeply.")]
        if errors:
            return Document(ast, tuple(errors))
        return Document(ast, (), tuple(self._operation(ast, node, meter) for node in operations))

    def _operation(self, ast: DocumentNode, node: OperationDefinitionNode, meter: ShapeMeter) -> Operation:
        plan = CostPlan(self._schema, ast, node)
        return Operation(
            name=node.name.value if node.name else None,
            type=node.operation,
            root_fields=tuple(sorted(meter.root_names(node.selection_set))),
            selected=plan.selected,
            plan=plan,
        )
