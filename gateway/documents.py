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
from graphql.validation import (
    OverlappingFieldsCanBeMergedRule,
    ValidationContext,
    recommended_rules,
    specified_rules,
)
from graphql.validation.validate import ValidationAbortedError

from gateway.limits.cost import CostPlan
from gateway.limits.shape import ShapeLimits, ShapeMeter, check_shape, too_complex

KEPT = 512
LONGEST_KEPT_CHARS = 20_000
MAX_ERRORS = 20
MERGE_BUDGET = 50_000
"""Steps of the comparison of fields with the same name, quadratic in their number: about 0.1 s at most."""
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


class MergedFieldsRule(OverlappingFieldsCanBeMergedRule):
    """graphql-core's rule under a budget of ours: its own allows a second of work for one document."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self.rule_context.remaining_complexity_budget = MERGE_BUDGET


class Documents:
    """Bounded memory of documents of one schema."""

    def __init__(self, schema: GraphQLSchema, *, shape: ShapeLimits, max_tokens: int, introspection: bool) -> None:
        self._schema = schema
        self._shape = shape
        self._max_tokens = max_tokens
        others = (rule for rule in specified_rules if rule is not OverlappingFieldsCanBeMergedRule)
        self._rules = (*others, MergedFieldsRule, *recommended_rules)
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
            errors = errors or self._validate(ast)
        except RecursionError:
            errors = [too_complex("The document is nested too deeply.")]
        if errors:
            return Document(ast, tuple(errors))
        return Document(ast, (), tuple(self._operation(ast, node, meter) for node in operations))

    def _validate(self, ast: DocumentNode) -> list[GraphQLError]:
        errors = validate(self._schema, ast, self._rules, max_errors=MAX_ERRORS)
        if errors and isinstance(errors[-1], ValidationAbortedError) and len(errors) <= MAX_ERRORS:
            return [too_complex("The operation selects the same fields too often.")]
        return errors

    def _operation(self, ast: DocumentNode, node: OperationDefinitionNode, meter: ShapeMeter) -> Operation:
        plan = CostPlan(self._schema, ast, node)
        return Operation(
            name=node.name.value if node.name else None,
            type=node.operation,
            root_fields=tuple(sorted(meter.root_names(node.selection_set))),
            selected=plan.selected,
            plan=plan,
        )
