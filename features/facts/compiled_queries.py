"""A DuckDB backend of Ibis that compiles expressions of one shape once for all their values.

To write the SQL of a small query takes Ibis longer than to answer it takes DuckDB. Most expressions
differ from earlier ones in the instants, ids and names of tables alone, so the SQL is kept with
gaps for these. A shape is compiled as usual when it comes for the first time. At the second time
the gaps are found: the SQL of stand-in values, with the real ones put in their place, must equal
the SQL of the real ones. Where it does not, the shape is always compiled.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

import ibis.expr.operations as ops
import sqlglot
from ibis.backends.duckdb import Backend
from ibis.common.annotations import ValidationError
from ibis.common.exceptions import IbisError
from ibis.common.graph import Node

if TYPE_CHECKING:
    import ibis.expr.types as ir

_MAX_SHAPES = 512
_MAX_GAPS = 64  # a longer list of ids is of another shape each time, and takes long to look through
_DIALECT = "duckdb"
# Other numbers may be part of what is computed, as that of digits.
_LEAST_NUMBER = 1_000_000
# Elsewhere a text may be a format or a unit, which is compiled into something else.
_TEXT_PLACES = (ops.Equals, ops.NotEquals, ops.InValues, ops.Project)
_TABLES = (ops.SQLQueryResult, ops.DatabaseTable, ops.InMemoryTable)


@dataclass
class _Shape:
    """An expression without its values.

    key      equal for expressions of which only the values differ
    gaps     the nodes whose values differ, in the order of discovery
    tables   the in-memory tables among them
    """

    key: tuple[Hashable, ...] = ()
    gaps: list[ops.Node] = field(default_factory=list)
    tables: list[ops.InMemoryTable] = field(default_factory=list)
    has_functions: bool = False


@dataclass(frozen=True)
class _Template:
    """SQL between the gaps, and the number of the value in each gap."""

    texts: Sequence[str]
    numbers: Sequence[int]

    def fill(self, values: Sequence[str]) -> str:
        """Return the SQL with these values."""
        parts = [self.texts[0]]
        for number, text in zip(self.numbers, self.texts[1:], strict=True):
            parts += (values[number], text)
        return "".join(parts)


class CompiledQueries(Backend):  # type: ignore[misc]  # Ibis has no types
    """A session that shares the SQL of its expressions with all others of the process."""

    def compile(
        self,
        expr: ir.Expr,
        /,
        *,
        limit: int | None = None,
        params: Mapping[ir.Expr, object] | None = None,
        pretty: bool = False,
    ) -> str:
        """Return the SQL of an expression."""
        if limit is not None or params or pretty:
            return str(super().compile(expr, limit=limit, params=params, pretty=pretty))
        shape = _describe(expr.as_table().op())
        if len(shape.gaps) > _MAX_GAPS:
            return str(super().compile(expr))
        template = _templates.find(shape.key)
        if isinstance(template, _Template):
            return template.fill([_render(gap) for gap in shape.gaps])
        sql = str(super().compile(expr))
        if template is _SEEN:
            _templates.store(shape.key, self._make_template(expr, shape, sql))
        return sql

    def _run_pre_execute_hooks(self, expr: ir.Expr) -> None:
        """Register the tables and functions that an expression brings along."""
        shape = _describe(expr.op())
        if shape.has_functions or shape.tables:
            super()._run_pre_execute_hooks(expr)

    def _make_template(self, expr: ir.Expr, shape: _Shape, sql: str) -> _Template | None:
        """Return the SQL of an expression with gaps; None where it does not fit the values."""
        stand_ins = {gap: _make_stand_in(gap, n) for n, gap in enumerate(shape.gaps)}
        numbers = {_render(stand_in): n for n, stand_in in enumerate(stand_ins.values())}
        try:
            with_stand_ins = expr.as_table().op().replace(stand_ins).to_expr()
            parts = [str(super().compile(with_stand_ins))]
        except (IbisError, ValidationError, TypeError, ValueError):
            # Where a text is compared with a date, it has to be one.
            return None
        if numbers:
            parts = re.split(f"({'|'.join(map(re.escape, numbers))})", parts[0])
        template = _Template(parts[::2], [numbers[text] for text in parts[1::2]])
        is_complete = set(template.numbers) == set(range(len(shape.gaps)))
        values = [_render(gap) for gap in shape.gaps]
        return template if is_complete and template.fill(values) == sql else None


def _render(gap: ops.Node) -> str:
    """Return a value as it stands in SQL."""
    if isinstance(gap, ops.Literal):
        return _render_literal(gap)
    if isinstance(gap, ops.SQLQueryResult):
        return _render_query(gap.query)
    return str(sqlglot.to_identifier(gap.name, quoted=True).sql(_DIALECT))


@lru_cache(maxsize=1_000)
def _render_literal(literal: ops.Literal) -> str:
    node = Backend.compiler.visit_node(literal, value=literal.value, dtype=literal.dtype)
    return str(node.sql(_DIALECT))


@lru_cache(maxsize=1_000)
def _render_query(query: str) -> str:
    return str(sqlglot.parse_one(query, dialect=_DIALECT).sql(_DIALECT))


def _make_stand_in(gap: ops.Node, number: int) -> ops.Node:
    """Return a node of the same type with a value that stands nowhere else."""
    name = f"stand_in_{number}_here"
    if isinstance(gap, ops.SQLQueryResult):
        return ops.SQLQueryResult(f"SELECT * FROM {name}", gap.schema, gap.source)
    if isinstance(gap, ops.InMemoryTable):
        return ops.InMemoryTable(name, gap.schema, gap.data)
    if isinstance(gap, ops.DatabaseTable):
        return ops.DatabaseTable(name, gap.schema, gap.source, gap.namespace)
    if gap.dtype.is_timestamp():
        at = datetime(8765, 4, 3, tzinfo=gap.dtype.timezone and UTC) + timedelta(seconds=number)
        return ops.Literal(at, gap.dtype)
    if gap.dtype.is_integer():
        return ops.Literal(1_987_650_000 + number, gap.dtype)
    return ops.Literal(name, gap.dtype)


def _describe(root: ops.Node) -> _Shape:
    """Return the shape of an expression."""
    return _Walk(root).describe()


class _Walk:
    """A walk through the nodes of an expression, each numbered as it is discovered."""

    def __init__(self, root: ops.Node) -> None:
        self._nodes = [root]
        self._numbers = {root: 0}
        self._texts: dict[int, ops.Literal] = {}
        self._fixed_texts: set[int] = set()  # those that stand in another place too
        self._shape = _Shape()

    def describe(self) -> _Shape:
        """Return the shape."""
        key = [self._describe_node(n, node) for n, node in enumerate(self._nodes)]  # they grow
        for number, literal in self._texts.items():
            if number in self._fixed_texts:
                key.append((number, literal.value))
            else:
                self._shape.gaps.append(literal)
        self._shape.key = tuple(key)
        return self._shape

    def _describe_node(self, number: int, node: ops.Node) -> Hashable:
        kind = type(node)
        if isinstance(node, _TABLES):
            self._shape.gaps.append(node)
            if isinstance(node, ops.InMemoryTable):
                self._shape.tables.append(node)
            return kind, node.schema, getattr(node, "namespace", None)
        if isinstance(node, ops.Reference):
            # Its own number counts the references of the process.
            return kind, self._describe_value(node.parent, False)
        if isinstance(node, ops.Literal) and _is_value(node):
            if node.dtype.is_string():
                self._texts[number] = node
            else:
                self._shape.gaps.append(node)
            return kind, node.dtype
        if isinstance(node, ops.ScalarUDF):
            self._shape.has_functions = True
        holds_text = isinstance(node, _TEXT_PLACES)
        return kind, *(self._describe_value(value, holds_text) for value in node.__args__)

    def _describe_value(self, value: object, holds_text: bool) -> Hashable:
        if isinstance(value, Node):
            number = self._numbers.setdefault(value, len(self._nodes))
            if number == len(self._nodes):
                self._nodes.append(value)
            if not holds_text:
                self._fixed_texts.add(number)
            return (number,)
        if isinstance(value, (tuple, list)):
            return "(", *(self._describe_value(part, holds_text) for part in value)
        if isinstance(value, Mapping):
            parts = ((name, self._describe_value(part, holds_text)) for name, part in value.items())
            return "{", *parts
        # 1, 1.0 and True are equal, and their SQL is not; NaN equals nothing.
        return type(value), repr(value) if isinstance(value, float) else value


def _is_value(literal: ops.Literal) -> bool:
    """Return whether a literal is a value that may differ: an instant, a text, a large number."""
    kind, value = literal.dtype, literal.value
    if kind.is_integer():
        return kind.nbytes >= 4 and isinstance(value, int) and value >= _LEAST_NUMBER
    return value is not None and (kind.is_string() or kind.is_timestamp())


_SEEN = object()  # in the place of a template: the shape came once


class _Templates:
    """The templates of the shapes that came last. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_shape: OrderedDict[Hashable, object] = OrderedDict()

    def find(self, shape: Hashable) -> object:
        """Return the template of a shape, _SEEN at its second time, None otherwise."""
        with self._lock:
            if shape in self._by_shape:
                self._by_shape.move_to_end(shape)
                return self._by_shape[shape]
            self._by_shape[shape] = _SEEN
            if len(self._by_shape) > _MAX_SHAPES:
                self._by_shape.popitem(last=False)
            return None

    def store(self, shape: Hashable, template: _Template | None) -> None:
        """Store the template of a shape; None where there is none."""
        with self._lock:
            self._by_shape[shape] = template


_templates = _Templates()
