"""Conditions of a search, as objects."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from penstock.client.shapes import ApiObject


class Operator(Enum):
    """How a property is compared."""

    EQUALS = "Equals"
    NOT_EQUALS = "NotEquals"
    GREATER_THAN = "GreaterThan"
    GREATER_THAN_OR_EQUAL = "GreaterThanOrEqualTo"
    LESS_THAN = "LessThan"
    LESS_THAN_OR_EQUAL = "LessThanOrEqualTo"
    CONTAINS = "Contains"
    EXISTS = "Exists"
    NOT_EXISTS = "NotExists"


class BooleanOperator(Enum):
    """How conditions are put together."""

    AND = "And"
    OR = "Or"


class _Condition(ApiObject):
    def to_boto(self) -> dict[str, Any]:  # type: ignore[override]  # as SageMaker's: of the object itself
        """The structure for a request."""
        return ApiObject.to_boto(vars(self))


class Filter(_Condition):
    """A property and what it is to be.

    Args:
        name: The property, as `Parents.ExperimentName` or `Metrics.mse.Last`.
        operator: The comparison; `EQUALS` when None.
        value: What it is compared with, as text; times as `YYYY-mm-ddTHH:MM:SS`.
    """

    def __init__(self, name: str, operator: Operator | None = None, value: str | None = None) -> None:
        super().__init__(name=name, operator=operator and operator.value, value=value)


class NestedFilter(_Condition):
    """Conditions that one element of a list must fulfil together.

    Args:
        property_name: The list.
        filters: The conditions.
    """

    def __init__(self, property_name: str, filters: Sequence[Filter]) -> None:
        super().__init__(nested_property_name=property_name, filters=[one.to_boto() for one in filters])


class SearchExpression(_Condition):
    """Conditions put together.

    Args:
        filters: Conditions.
        nested_filters: Conditions on elements of lists.
        sub_expressions: Others of this kind.
        boolean_operator: Whether all must hold, or any.

    Raises:
        ValueError: There is no condition at all.
    """

    def __init__(
        self,
        filters: Sequence[Filter] | None = None,
        nested_filters: Sequence[NestedFilter] | None = None,
        sub_expressions: Sequence[SearchExpression] | None = None,
        boolean_operator: BooleanOperator = BooleanOperator.AND,
    ) -> None:
        if filters is None and nested_filters is None and sub_expressions is None:
            raise ValueError("You must specify at least one subexpression, filter, or nested filter")
        parts = {"filters": filters, "nested_filters": nested_filters, "sub_expressions": sub_expressions}
        super().__init__(
            **{name: [one.to_boto() for one in part] for name, part in parts.items() if part is not None},
            operator=boolean_operator.value,
        )
