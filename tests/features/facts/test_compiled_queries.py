import gc
import weakref
from datetime import UTC, datetime, timedelta

import ibis
import pyarrow as pa
import pytest
from ibis.backends.duckdb import Backend

from features.facts import compiled_queries
from features.facts.query_sessions import open_session

AT = datetime(2018, 1, 1, tzinfo=UTC)


@pytest.fixture
def compiled(monkeypatch):
    """The expressions that Ibis compiled, with no shape known before."""
    expressions = []
    compile_with_ibis = Backend.compile

    def compile_and_count(self, expr, **options):
        expressions.append(expr)
        return compile_with_ibis(self, expr, **options)

    monkeypatch.setattr(compiled_queries, "_templates", compiled_queries._Templates())
    monkeypatch.setattr(Backend, "compile", compile_and_count)
    return expressions


@pytest.fixture
def open_sales(tmp_path):
    def open_sales(*sales):
        """Return a table of sales in a session of its own: hours after AT and item."""
        session = open_session(tmp_path)
        rows = {
            "at": pa.array([AT + timedelta(hours=hours) for hours, _ in sales]),
            "item": pa.array([item for _, item in sales], pa.string()),
        }
        session.con.register("sales", pa.table(rows).cast(_SALES))
        schema = ibis.Schema.from_pyarrow(_SALES)
        return session.sql(f"SELECT * FROM sales WHERE {len(sales)} > 0", schema=schema)

    return open_sales


_SALES = pa.schema([("at", pa.timestamp("us", "UTC")), ("item", pa.string())])


def count(table, hours, item):
    at = ibis.literal(AT + timedelta(hours=hours))
    sold = table.filter(table.at < at, table.item == item)
    # As an instant once more, in another place, and as a large number.
    age = sold.aggregate(
        n=sold.count(), seconds=(at - sold.at.max()).cast("int64") + int(at.op().value.timestamp())
    )
    return age.select("n").to_pyarrow()["n"].to_pylist()[0]


def test_an_expression_of_other_values_tables_and_sessions_is_compiled_no_more(
    compiled, open_sales
):
    sales = [(hours, item) for hours in range(10) for item in ("milk", "tea's")]
    assert [count(open_sales(*sales), hours, "milk") for hours in (3, 4)] == [3, 4]
    n_compiled = len(compiled)
    assert count(open_sales(*sales), 7, "tea's") == 7
    assert count(open_sales(*sales[:5]), 7, "tea's") == 2
    assert count(open_sales(), 7, "tea's") == 0
    assert len(compiled) == n_compiled == 3  # the first, and the second one twice


@pytest.mark.parametrize(
    "build",
    [
        lambda sales, n: sales.select(text=sales.at.strftime(("%Y", "%m", "%d", "%H")[n])),
        lambda sales, n: sales.select(text=sales.item.length() + (1, 2, 3, 1.0)[n]),
        lambda sales, n: sales.select(text=(sales.item.length() / 7.0).round(n)),
        lambda sales, n: sales.select(value=(1.0, 1, float("nan"), float("inf"))[n]),
        lambda sales, n: sales.filter(sales.item.isin(["milk", "tea", "oil", "rum"][: n + 1])),
        lambda sales, n: sales.filter(sales.at < AT + timedelta(days=n, microseconds=n)),
        lambda sales, n: sales.select(n=ibis.literal(-(10**7) * n), m=10 ** (6 + n)),
        lambda sales, n: sales.filter(sales.item == ("a'b", "stand_in_0_here", "", '"')[n]),
        lambda sales, n: sales.mutate(day=sales.at.truncate("DWMY"[n])),
        lambda sales, n: sales.join(sales.view(), "item").select("at").limit(n + 1),
        lambda sales, n: sales.order_by(("at", "item")[n % 2]),
        lambda sales, n: sales.filter(sales.at.date() == f"2018-01-0{n + 1}"),
        lambda sales, n: sales.filter(sales.item.isin([f"item {k}" for k in range(80 + n)])),
    ],
)
def test_sql_is_what_ibis_makes_of_the_expression(compiled, open_sales, build):
    for n in (0, 1, 2, 3, 0, 1, 2, 3):
        expression = build(open_sales((1, "milk"), (2, "tea")), n)
        # Ibis numbers references of a table to itself, and its SQL does not.
        expected = Backend.compile(expression._find_backend(), expression)
        assert expression._find_backend().compile(expression) == expected


def test_tables_in_memory_are_read_by_their_own_rows(compiled, open_sales):
    sales = open_sales((1, "milk"), (2, "tea"), (3, "rum"))
    for items, n in ((["milk"], 1), (["tea", "rum"], 2), ([], 0), (["milk", "tea", "rum"], 3)):
        chosen = ibis.memtable(pa.table({"item": pa.array(items, pa.string())}))
        assert sales.semi_join(chosen, "item").to_pyarrow().num_rows == n
    assert len(compiled) == 3


def test_what_is_remembered_holds_no_session(compiled, open_sales):
    sales = open_sales((1, "milk"))
    session = weakref.ref(sales._find_backend())
    for hours in range(4):
        count(sales, hours, "milk")
    del sales
    compiled.clear()
    gc.collect()
    assert session() is None


def test_the_shapes_that_came_last_are_remembered(compiled, open_sales, monkeypatch):
    monkeypatch.setattr(compiled_queries, "_MAX_SHAPES", 2)
    sales = open_sales((1, "milk"))
    for n in (1, 2, 3, 1, 1):
        sales.limit(n).to_pyarrow()
    assert len(compiled) == 4 + 2
