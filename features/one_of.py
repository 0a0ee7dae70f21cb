"""The condition that a column is one of many values.

An IN with a parameter for each value costs more to write and to parse than to answer, and databases
limit how many parameters a statement has. Here all values are one parameter: an array on
PostgreSQL, a JSON text on SQLite.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType


def one_of(column: sa.ColumnElement[Any], values: Collection[str] | Collection[int]) -> OneOf:
    """Return the condition that a column of texts or whole numbers is one of `values`."""
    return OneOf(column, sa.bindparam(None, list(values), type_=_Array(column.type)))


class OneOf(FunctionElement[bool]):
    """A condition on a column, and the array of its values."""

    name = "one_of"
    type = sa.Boolean()
    inherit_cache = True

    def self_group(self, against: OperatorType | None = None) -> OneOf:  # noqa: ARG002
        """Return the condition itself: as a part of WHERE, a boolean of SQLAlchemy is compared with
        1 on SQLite, which then uses no index of the column."""
        return self


class _Array(sa.types.TypeDecorator[list[Any]]):
    """Values of one type as one parameter."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, item_type: sa.types.TypeEngine[Any]) -> None:
        super().__init__()
        self.item_type = item_type

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Return the type of the parameter in this database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.ARRAY(self.item_type))
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        """Return the values as the driver takes them."""
        return value if dialect.name == "postgresql" else json.dumps(value)


@compiles(OneOf, "postgresql")
def _write_array(element: OneOf, compiler: SQLCompiler, **options: object) -> str:
    column, values = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} = ANY ({values})"


@compiles(OneOf, "sqlite")
def _write_json(element: OneOf, compiler: SQLCompiler, **options: object) -> str:
    column, values = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"
