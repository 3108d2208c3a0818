"""Sizes, nodes, hours and cost follow from the formulas; a fit finds the constants that a sample was made with."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scale import options_of, planned
from benchmarks.scale_model import (
    FLOPS_A_PARAMETER,
    GB,
    LAYOUTS,
    LOW_WATERMARK,
    MAX_SHARD_DOCUMENTS,
    MEASURED,
    Accelerator,
    Constants,
    Corpus,
    DataNode,
    Sample,
    Sizes,
    Vectors,
    Wish,
    cluster,
    fit,
    graph_bytes,
    plan,
    sizes,
    tokens_a_second,
    work,
)

CONSTANTS = Constants(stored=0.5, inverted=0.75, document=20.0, marks=80.0, links=0.9)
CORPUS = Corpus(1_000_000, text_bytes=400, tokens=100)
NODE = DataNode(ram=64 * GB, heap=30 * GB, disk=2_000 * GB, reserve=4 * GB)


@pytest.mark.parametrize(("index_type", "expected"), [("int8_hnsw", 400), ("int4_hnsw", 208), ("bbq_hnsw", 62)])
def test_quantised_vectors_of_384_dims_take_what_the_server_reports(index_type: str, expected: float) -> None:
    assert Vectors(384, index_type).layout.quantised(384) == expected


def test_every_part_of_an_index_by_hand() -> None:
    size = sizes(CORPUS, Vectors(384, "int8_flat"), constants=CONSTANTS)
    assert size.raw == 1_536e6
    assert size.quantised == 400e6
    assert size.graph == 0
    assert size.stored == 200e6
    assert size.inverted == 300e6
    assert size.document == 20e6
    assert size.marks == 80e6
    assert size.off_heap == 400e6
    assert size.total == 2_536e6


def test_searches_read_the_raw_vectors_where_nothing_is_quantised() -> None:
    size = sizes(CORPUS, Vectors(384, "hnsw"), constants=CONSTANTS)
    assert size.off_heap == size.raw + size.graph
    assert size.quantised == 0 < size.graph


def test_chunks_are_vectors_and_documents_of_their_own() -> None:
    chunked = Corpus(1_000, text_bytes=400, tokens=100, chunks=3)
    assert chunked.vectors == 3_000
    assert chunked.lucene_documents == 4_000
    assert dataclasses.replace(chunked, chunks=1).lucene_documents == 1_000
    assert sizes(chunked, Vectors(8, "flat"), constants=CONSTANTS).marks == 80_000


def test_an_unknown_index_type_is_refused() -> None:
    with pytest.raises(ValueError, match="'bbq_disk' is not one of hnsw, int8_hnsw"):
        sizes(CORPUS, Vectors(384, "bbq_disk"))


@pytest.mark.parametrize("vectors", [2_000, 50_000, 1_000_000, 40_000_000])
def test_the_graph_is_as_large_as_lists_of_random_neighbours(vectors: int) -> None:
    draw = np.random.default_rng(1)
    m, lists = 16, 400

    def mean_bytes(neighbours: int) -> float:
        found = np.sort(draw.integers(0, vectors, (lists, neighbours)), axis=1)
        distances = np.diff(found, axis=1, prepend=0)
        needed = 1 + (distances >= 2**8) + (distances >= 2**16) + (distances >= 2**24)
        return 1 + neighbours / 4 + float(needed.sum()) / lists

    expected = mean_bytes(2 * m) + mean_bytes(m) / (m - 1)
    assert graph_bytes(vectors, m, 1.0) == pytest.approx(expected, rel=0.03)


@given(st.floats(100, 1e9), st.floats(1.1, 100), st.sampled_from([8, 16, 32]), st.floats(0.1, 0.9))
def test_a_graph_grows_with_vectors_and_links(vectors: float, factor: float, m: int, links: float) -> None:
    assert graph_bytes(vectors * factor, m, links) >= graph_bytes(vectors, m, links)
    assert graph_bytes(vectors, m, links * 1.1) > graph_bytes(vectors, m, links)


@given(st.lists(st.sampled_from([1_000, 10_000, 300_000]), min_size=1, max_size=4), st.floats(0.2, 1.0))
def test_a_fit_finds_the_constants_that_samples_were_made_with(counts: list[int], links: float) -> None:
    constants = dataclasses.replace(CONSTANTS, links=links)
    vectors = Vectors(384, "bbq_hnsw")
    samples = [_sample(Corpus(count, 430, 0), vectors, constants) for count in counts]
    found = dataclasses.asdict(fit(samples))
    assert found == pytest.approx(dataclasses.asdict(constants), rel=1e-6)


def test_without_a_graph_nothing_is_learned_of_links() -> None:
    flat, graph = (_sample(CORPUS, Vectors(384, index_type), CONSTANTS) for index_type in ("flat", "hnsw"))
    assert fit([flat]) == pytest.approx(dataclasses.replace(CONSTANTS, links=MEASURED.links))
    assert fit([flat, graph]).links == pytest.approx(CONSTANTS.links)


@given(
    st.integers(1, 10**9),
    st.sampled_from(sorted(LAYOUTS)),
    st.sampled_from([64, 384, 1024]),
    st.integers(0, 3),
    st.sampled_from([1.0, 3.0]),
)
def test_nodes_hold_what_they_are_given(
    documents: int, index_type: str, dims: int, replicas: int, chunks: float
) -> None:
    corpus = Corpus(documents, 500, 100, chunks)
    size = sizes(corpus, Vectors(dims, index_type), constants=CONSTANTS)
    found = cluster(corpus, size, NODE, replicas=replicas, shard_bytes=50 * GB)
    copies = 1 + replicas
    assert found.shard_bytes <= 50 * GB
    assert corpus.lucene_documents / found.shards <= MAX_SHARD_DOCUMENTS
    assert found.shards * copies % found.nodes == 0
    assert found.nodes >= copies
    assert size.total * copies <= found.nodes * NODE.disk * LOW_WATERMARK
    assert size.off_heap * copies <= found.nodes * NODE.cache


@pytest.mark.parametrize(
    ("total", "off_heap", "limit", "nodes"),
    [(8_500, 1, "disk", 10), (1, 301, "memory", 21), (1, 1, "replicas", 2)],
)
def test_what_makes_nodes_necessary(total: float, off_heap: float, limit: str, nodes: int) -> None:
    size = Sizes(total * GB, 0, 0, 0, 0, 0, 0, off_heap=off_heap * GB)
    found = cluster(CORPUS, size, NODE, replicas=1, shard_bytes=50 * GB)
    assert (found.limit, found.nodes) == (limit, nodes)


def test_a_node_whose_heap_takes_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is left"):
        _ = DataNode(ram=32 * GB, heap=30 * GB, disk=GB, reserve=2 * GB).cache


def test_a_forward_pass_takes_two_operations_for_each_parameter_and_token() -> None:
    assert tokens_a_second(10e6, flops=100e12, utilisation=0.4) == 40e12 / (FLOPS_A_PARAMETER * 10e6) == 2e6


def test_the_slower_of_embedding_and_writing_sets_hours_and_cost() -> None:
    # 10^8 tokens at 10^4 a second are 10^4 s; 10^6 vectors at 2 * 250 a second are 2,000 s.
    one = work(CORPUS, Accelerator(1e4, 1, price=2), nodes=2, vectors_a_second=250, node_price=1)
    assert (one.bottleneck, one.hours) == ("embedding", one.embedding)
    assert one.embedding_one * 3600 == pytest.approx(1e4)
    assert one.writing * 3600 == pytest.approx(2_000)
    assert one.balance == pytest.approx(5)
    assert one.accelerator_cost == pytest.approx(2 * 1e4 / 3600)
    assert one.node_cost == pytest.approx(2 * 1e4 / 3600)
    ten = work(CORPUS, Accelerator(1e4, 10, price=2), nodes=2, vectors_a_second=250)
    assert (ten.bottleneck, ten.hours) == ("writing", one.writing)
    assert ten.embedding_one == one.embedding_one == pytest.approx(10 * ten.embedding)
    assert ten.accelerator_cost == pytest.approx(10 * 2 * 2_000 / 3600)


def test_a_plan_counts_the_graph_of_each_shard() -> None:
    corpus = Corpus(100_000_000, 500, 125)
    wish = Wish(NODE, Accelerator(1e6), vectors_a_second=1_000)
    found = plan(corpus, Vectors(384, "int8_hnsw"), wish)
    assert found.cluster.shards > 1
    assert found.sizes == sizes(corpus, Vectors(384, "int8_hnsw"), segments=found.cluster.shards)
    assert found.sizes.graph < sizes(corpus, Vectors(384, "int8_hnsw")).graph


@given(st.integers(1_000, 10**9))
def test_constants_are_of_this_world(documents: int) -> None:
    size = sizes(Corpus(documents, 500, 125), Vectors(384, "bbq_hnsw"), constants=MEASURED)
    assert all(value > 0 and math.isfinite(value) for value in dataclasses.asdict(size).values())


def test_the_command_line_makes_a_plan_of_each_type() -> None:
    needed = ["--documents", "1e8", "--text-bytes", "400", "--vectors-per-second", "1000"]
    options = options_of([*needed, "--flops", "1e14", "--utilisation", "0.5", "--parameters", "1e7"])
    int8, bbq = planned(options)
    assert (int8.vectors.index_type, bbq.vectors.index_type) == ("int8_hnsw", "bbq_hnsw")
    # 400 bytes are 100 tokens: 10^10 of them, at 2.5 * 10^6 a second.
    assert int8.work.embedding_one == pytest.approx(4_000 / 3600)
    measured = planned(options_of([*needed, "--tokens-per-second", "2e6"]))
    assert measured[0].work.embedding_one == pytest.approx(5_000 / 3600)


@pytest.mark.parametrize("arguments", [["--documents", "1e8"], ["--tokens-per-second", "1e6"], []])
def test_a_plan_asks_for_what_nobody_can_know(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options_of(arguments)
    assert "a plan needs" in capsys.readouterr().err
    assert options_of(["--check"]).check


def _sample(corpus: Corpus, vectors: Vectors, constants: Constants) -> Sample:
    taken = dataclasses.asdict(sizes(corpus, vectors, constants=constants))
    return Sample(corpus, vectors, 1, taken)
