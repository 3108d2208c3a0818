"""LlamaIndex's nodes as documents of an index, and documents as nodes: pure functions."""

from __future__ import annotations

import orjson
from llama_index.core.schema import BaseNode, MetadataMode, TextNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node

from es_semantic.errors import UsageError
from es_semantic.integrations._documents import Stored

OWN = "llama_index"
"""Where a document keeps what LlamaIndex knows of its node beside text and metadata."""

ELSEWHERE = ("embedding", "metadata", "text", "text_resource")
"""Parts of a node that are not kept there."""


def to_store(node: BaseNode) -> Stored:
    """Return a node as it is written.

    Raises:
        UsageError: its metadata use the key under which the rest of the node is kept.
    """
    if OWN in node.metadata:
        raise UsageError(f"node {node.node_id!r} has metadata under {OWN!r}", hint="Rename that key of the metadata.")
    dumped = node.model_dump(mode="json")
    rest = {key: value for key, value in dumped.items() if key not in ELSEWHERE}
    own = {"type": node.class_name(), "ref_doc_id": node.ref_doc_id, "node": rest}
    text = node.get_content(metadata_mode=MetadataMode.NONE)
    return Stored(node.node_id, text, {**dumped["metadata"], OWN: own})


def to_node(stored: Stored) -> BaseNode:
    """Return a document as a node; a TextNode where another program has written it."""
    metadata = dict(stored.metadata)
    own = metadata.pop(OWN, None)
    if own is None:
        return TextNode(id_=stored.id, text=stored.text, metadata=metadata)
    content = orjson.dumps({**own["node"], "metadata": metadata}).decode()
    return metadata_dict_to_node({"_node_content": content, "_node_type": own["type"]}, text=stored.text)
