"""``es-semantic down``"""

from __future__ import annotations

from es_semantic.cli.options import Json
from es_semantic.cli.output import out, print_json
from es_semantic.cluster import node


def down(as_json: Json = False) -> None:
    """Stop the Elasticsearch that ``up`` started; its data stay for the next ``up``."""
    stopped = node.down()
    if as_json:
        print_json({"stopped": stopped.url if stopped else None})
    else:
        out.print(f"Stopped {stopped.url}" if stopped else "Nothing to stop: `up` has started no Elasticsearch.")
