"""How a SentenceTransformers model embeds documents in bulk: engines, and the choice between them by measurement.

The rule: an engine may be faster than torch in float32, never different. ``docs/decisions/engines.md`` has the numbers.
"""

from es_semantic.embedding.engines.bulk import BULK, BulkEngine, require_libraries
from es_semantic.embedding.engines.protocol import Engine, LoadedModel

__all__ = ["BULK", "BulkEngine", "Engine", "LoadedModel", "require_libraries"]
