"""A condition on thousands of values is one parameter, and means what IN means."""

from __future__ import annotations

import sqlalchemy as sa

from features.database import transaction
from features.one_of import one_of

NAMES = ["a", "b,c", "{d}", 'e"f', "g'h", "i\\j", "NULL", "", " k ", "蛋糕", "%s", ":x"]

items = sa.Table(
    "one_of_items",
    sa.MetaData(),
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
)


def test_every_text_and_number_is_found_as_it_is(engine) -> None:
    rows = [{"number": 2**40 + place, "name": name} for place, name in enumerate(NAMES)]
    with transaction(engine) as connection:
        items.create(connection)
        connection.execute(items.insert(), rows)

        def find(condition):
            query = sa.select(items.c.name).where(condition).order_by(items.c.number)
            return list(connection.execute(query).scalars())

        assert find(one_of(items.c.name, NAMES)) == NAMES
        for row in rows:
            assert find(one_of(items.c.name, [row["name"]])) == [row["name"]]
            assert find(one_of(items.c.number, [row["number"]])) == [row["name"]]
        assert find(one_of(items.c.name, [])) == []
        assert find(~one_of(items.c.name, {"a", "x"})) == NAMES[1:]
        many = [*(f"other {number}" for number in range(50_000)), "蛋糕"]
        assert find(one_of(items.c.name, many)) == ["蛋糕"]
        items.drop(connection)


def test_sqlite_looks_the_values_up_in_an_index() -> None:
    opened = sa.create_engine("sqlite://")
    with opened.begin() as connection:
        items.create(connection)
        condition = one_of(items.c.number, [1, 2])
        for where in (condition, sa.and_(condition, items.c.name != "a")):
            statement = sa.select(items.c.name).where(where).compile(opened)
            plan = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement}", ("[1, 2]", "a")[: len(statement.params)]
            )
            assert "SEARCH one_of_items USING" in str(plan.all())
