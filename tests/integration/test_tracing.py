"""A sync records spans with numbers and names, and no texts."""

from __future__ import annotations

from elasticsearch import Elasticsearch
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import es_semantic
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex


def test_spans_of_a_sync(client: Elasticsearch, make_index: MakeIndex) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    name = make_index({"title": {"type": "text"}}, documents={str(i): {"title": f"secret {i}"} for i in range(7)})
    es_semantic.attach(client, name, ["title"], model=TinyEmbedder())
    es_semantic.sync(client, name, model=TinyEmbedder())

    spans = {span.name: dict(span.attributes or {}) for span in exporter.get_finished_spans()}
    assert spans["es_semantic.embed"] == {"es_semantic.texts": 7}
    bulks = [span.attributes or {} for span in exporter.get_finished_spans() if span.name == "es_semantic.bulk"]
    assert 7 in [attributes["es_semantic.items"] for attributes in bulks]
    assert spans["es_semantic.pass"]["es_semantic.index"] == name
    assert spans["es_semantic.pass"]["es_semantic.embedded"] == 7
    assert "secret" not in str([span.to_json() for span in exporter.get_finished_spans()])
    ours = [span for span in exporter.get_finished_spans() if span.name.startswith("es_semantic.")]
    assert all((span.end_time or 0) >= (span.start_time or 0) > 0 for span in ours)
