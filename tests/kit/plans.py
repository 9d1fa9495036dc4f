"""The statements that the service really sends, caught on their way, and what PostgreSQL does for each."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from sqlalchemy import event
from sqlalchemy.engine import Engine


@contextmanager
def caught() -> Iterator[list[str]]:
    """The statements of all engines of this process from now on, with their values in them."""
    statements: list[str] = []

    def catch(_connection: object, cursor: Any, statement: str, values: Any, *_: object) -> None:  # noqa: ANN401
        statements.append(cursor.mogrify(statement, values).decode())

    event.listen(Engine, "before_cursor_execute", catch)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", catch)


@dataclass(frozen=True)
class Plan:
    """What one statement did. `rows`: looked at, also those that a filter took out; `sorted_rows`: the most that one
    step has sorted; `blocks`: pages that were wanted, 8 kB each."""

    statement: str
    nodes: frozenset[str]
    rows: int
    changed_rows: int
    sorted_rows: int
    blocks: int


def explain(dsn: str, statement: str) -> Plan:
    """Runs it, without effect."""
    connection = psycopg2.connect(dsn)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
            plan = cursor.fetchall()[0][0]
    finally:
        connection.close()
    [whole] = plan if not isinstance(plan, str) else json.loads(plan)
    nodes = [*_nodes(whole["Plan"])]
    sorts = [node["Actual Rows"] for node in nodes if "Sort" in node["Node Type"]]
    changed = [below["Actual Rows"] for node in nodes if node["Node Type"] == "ModifyTable" for below in node["Plans"]]
    return Plan(
        statement=statement,
        nodes=frozenset(node["Node Type"] for node in nodes),
        rows=round(sum(map(_rows, nodes))),
        changed_rows=round(sum(changed)),
        sorted_rows=round(max(sorts, default=0)),
        blocks=whole["Plan"]["Shared Hit Blocks"] + whole["Plan"]["Shared Read Blocks"],
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def _rows(node: dict[str, Any]) -> float:
    """Looked at in a table or an index, over all loops."""
    if "Relation Name" not in node and "Index Name" not in node:
        return 0
    removed = sum(value for name, value in node.items() if name.startswith("Rows Removed by"))
    found: float = node["Actual Loops"] * (node["Actual Rows"] + removed)
    return found
