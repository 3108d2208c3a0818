"""What an index with vectors takes at any size: bytes, shards, nodes, hours and money, by formulas alone.

Nothing here asks a server. The constants were measured by ``python -m benchmarks.scale --check``, or are from the
source that is named beside them; ``docs/scale.md`` shows how well they predict. A size is in bytes and a GB is 10^9 of
them, a rate is for each second. What nobody can know of another machine, its speed and its price, is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

GB = 10**9

FLOAT = 4
"""Bytes of a dimension as it was written: beside what is quantised, it always stays on the disk."""

MAX_SHARD_DOCUMENTS = 200_000_000
"""Documents of Lucene, nested ones counted, that a shard should stay below (Elastic docs, "Size your shards")."""

LOW_WATERMARK = 0.85
"""Share of a disk above which it is given no new shards (Elastic docs, "Cluster-level shard allocation and routing
settings", ``disk.watermark.low``)."""

FLOPS_A_PARAMETER = 2
"""Floating point operations of a forward pass for each token and parameter, embeddings not counted: one multiplication
and one addition (Kaplan et al. 2020, "Scaling Laws for Neural Language Models", section 2.1). Attention is left out."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How an index type keeps vectors: bytes of a quantised dimension and beside each vector, and if there is a graph.

    ``dimension`` is 0 where nothing is quantised; then searches read the vectors as they were written.
    """

    dimension: float
    correction: int
    graph: bool

    def quantised(self, dims: int) -> float:
        """Return the bytes of one quantised vector."""
        return self.dimension * dims + self.correction


LAYOUTS: Mapping[str, Layout] = {
    "hnsw": Layout(0.0, 0, graph=True),
    "int8_hnsw": Layout(1.0, 16, graph=True),
    "int4_hnsw": Layout(0.5, 16, graph=True),
    "bbq_hnsw": Layout(0.125, 14, graph=True),
    "flat": Layout(0.0, 0, graph=False),
    "int8_flat": Layout(1.0, 16, graph=False),
    "bbq_flat": Layout(0.125, 14, graph=False),
}
"""Bytes as Elasticsearch 9.4.3 reports them at 384 dims (``_stats/dense_vector``, ``off_heap``), the same at every
size: 400 for int8, 208 for int4, 62 for bbq. Elastic's docs ("Tune approximate kNN search") say 4 bytes beside a vector
for int8 and int4, and 14 for bbq."""


@dataclass(frozen=True, slots=True)
class Constants:
    """What was measured, and what a check fits anew.

    ``stored``: bytes of compressed ``_source`` for each byte of text. ``inverted``: bytes of terms, postings, positions
    and norms for each byte of text. ``document``: bytes of ``_id``, ``_seq_no`` and other metadata of a document.
    ``marks``: bytes of a document's hash, status, model and time, in ``_source`` and as fields. ``links``: how full the
    lists of neighbours in the graph are, as a share of the ``2 * m`` that fit.
    """

    stored: float
    inverted: float
    document: float
    marks: float
    links: float


MEASURED = Constants(stored=0.774, inverted=0.626, document=21.1, marks=88.1, links=0.99)
"""Fitted by ``--check`` on ``bbq_hnsw`` at 10,000 and 100,000 documents of 433 bytes with ids "0", "1", ... on 9.4.3;
``marks`` on 50,000 of ``bbq_flat``, not merged. On the safe side: words drawn at random compress worse than written
ones and differ more (Python's documentation: ``stored`` 0.64, ``inverted`` 0.30 to 0.35), and vectors drawn at random
have twice the links (6,361 of its vectors by all-MiniLM-L6-v2: 0.44)."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is to be found: ``documents`` with so many bytes of text (UTF-8), cut into ``chunks`` of so many ``tokens``.

    A document without chunks has 1: its vector is its own. Chunks are nested documents, one vector each.
    """

    documents: int
    text_bytes: float
    tokens: float
    chunks: float = 1.0

    @property
    def vectors(self) -> float:
        """How many vectors there will be."""
        return self.documents * self.chunks

    @property
    def lucene_documents(self) -> float:
        """Documents as a shard counts them: a nested chunk is one of its own."""
        return self.documents + (self.vectors if self.chunks > 1 else 0)


@dataclass(frozen=True, slots=True)
class Vectors:
    """How vectors are kept: their length, the index type, and ``m`` of its graph."""

    dims: int
    index_type: str
    m: int = 16

    @property
    def layout(self) -> Layout:
        """Bytes of the index type.

        Raises:
            ValueError: nothing is known of this type.
        """
        if self.index_type not in LAYOUTS:
            raise ValueError(f"index type {self.index_type!r} is not one of {', '.join(LAYOUTS)}")
        return LAYOUTS[self.index_type]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of one copy of an index in all, by what they are for. ``total`` is on the disk; ``off_heap`` is the part of
    it that every search reads at random, so should fit into the file system's cache."""

    raw: float
    quantised: float
    graph: float
    stored: float
    inverted: float
    document: float
    marks: float
    off_heap: float

    @property
    def total(self) -> float:
        """Bytes on the disk, merged."""
        return self.raw + self.quantised + self.graph + self.stored + self.inverted + self.document + self.marks


def sizes(corpus: Corpus, vectors: Vectors, *, segments: int = 1, constants: Constants = MEASURED) -> Sizes:
    """Return the bytes of one copy of an index whose vectors lie in so many segments of equal size.

    Chunks cost what a document's metadata cost, each; their offsets in the text are not counted.
    """
    layout, count = vectors.layout, corpus.vectors
    raw = count * FLOAT * vectors.dims
    quantised = count * layout.quantised(vectors.dims)
    graph = count * graph_bytes(count / segments, vectors.m, constants.links) if layout.graph else 0.0
    return Sizes(
        raw=raw,
        quantised=quantised,
        graph=graph,
        stored=constants.stored * corpus.text_bytes * corpus.documents,
        inverted=constants.inverted * corpus.text_bytes * corpus.documents,
        document=constants.document * corpus.lucene_documents,
        marks=constants.marks * corpus.documents,
        off_heap=(quantised or raw) + graph,
    )


def graph_bytes(vectors: float, m: int, links: float) -> float:
    """Return the bytes of the graph for each of so many vectors in one segment.

    Lucene writes a node's neighbours as sorted numbers, each as the distance from the one before it, in as few whole
    bytes as it needs (1 to 4) and two bits that say how many (group varint). Of ``d`` neighbours among ``n`` vectors
    without order the distances are exponential with the mean ``n / d``. On the lowest level there are up to ``2 * m``
    neighbours; each further one has a part ``1 / m`` of the nodes below, with up to ``m`` (Malkov and Yashunin 2016).
    """
    lowest = 1 + _list_bytes(vectors, 2 * m * links)
    upper = (1 + _list_bytes(vectors, m * links)) / (m - 1)
    return lowest + upper


def _list_bytes(nodes: float, neighbours: float) -> float:
    mean = max(1.0, nodes / neighbours)
    needed = 1 + sum(math.exp(-(256.0**width) / mean) for width in (1, 2, 3))
    return min(neighbours, max(0.0, nodes - 1)) * (0.25 + needed)


@dataclass(frozen=True, slots=True)
class DataNode:
    """One data node: its memory, the heap of its JVM, what else needs memory (``reserve``), and its disk, in bytes.

    Heap is no more than half of the memory (Elastic docs, "Advanced configuration", JVM heap size).
    """

    ram: float
    heap: float
    disk: float
    reserve: float

    @property
    def cache(self) -> float:
        """Bytes that the file system's cache can have.

        Raises:
            ValueError: heap and reserve leave nothing.
        """
        left = self.ram - self.heap - self.reserve
        if left <= 0:
            raise ValueError("heap and reserve take all memory: nothing is left for the file system's cache")
        return left


@dataclass(frozen=True, slots=True)
class Cluster:
    """Primary shards and data nodes, replicas included, and what made the number of nodes necessary."""

    shards: int
    nodes: int
    shard_bytes: float
    limit: str


def cluster(corpus: Corpus, size: Sizes, node: DataNode, *, replicas: int, shard_bytes: float) -> Cluster:
    """Return how many primary shards and data nodes are needed.

    A shard stays at or below ``shard_bytes`` and :data:`MAX_SHARD_DOCUMENTS`. Nodes hold all copies on their disks
    below the low watermark, keep the off-heap part of all copies in their caches, and are no fewer than the copies of a
    shard. Then there are as many shards more as it takes for each node to hold the same number.
    """
    copies = 1 + replicas
    needs = {
        "replicas": copies,
        "disk": math.ceil(size.total * copies / (node.disk * LOW_WATERMARK)),
        "memory": math.ceil(size.off_heap * copies / node.cache),
    }
    limit = max(needs, key=lambda name: needs[name])
    nodes = needs[limit]
    least = max(math.ceil(size.total / shard_bytes), math.ceil(corpus.lucene_documents / MAX_SHARD_DOCUMENTS), 1)
    step = nodes // math.gcd(nodes, copies)
    shards = math.ceil(least / step) * step
    return Cluster(shards=shards, nodes=nodes, shard_bytes=size.total / shards, limit=limit)


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What embeds: tokens a second of one, how many there are, and the price of one for an hour, in any currency."""

    tokens_a_second: float
    count: int = 1
    price: float = 0.0


def tokens_a_second(parameters: float, flops: float, utilisation: float) -> float:
    """Return the tokens a second of a model with so many parameters, embeddings not counted.

    ``flops`` is what the device does at most in the precision that is used, ``utilisation`` the share of it that is
    reached: computed, not measured, and no better than the utilisation that is put in.
    """
    return flops * utilisation / (FLOPS_A_PARAMETER * parameters)


@dataclass(frozen=True, slots=True)
class Work:
    """How long it takes and what it costs: hours, and money in the currency of the prices.

    ``embedding_one`` is with one accelerator, ``embedding`` with all. Embedding and writing overlap, so ``hours`` is
    the longer of them, the ``bottleneck``; accelerators and nodes are paid for as long. ``balance`` is the number of
    accelerators with which both take equally long.
    """

    embedding_one: float
    embedding: float
    writing: float
    bottleneck: str
    hours: float
    balance: float
    accelerator_cost: float
    node_cost: float


def work(
    corpus: Corpus, accelerator: Accelerator, *, nodes: int, vectors_a_second: float, node_price: float = 0
) -> Work:
    """Return hours and cost, where one data node writes so many vectors a second, merges included, without replicas."""
    one = corpus.vectors * corpus.tokens / accelerator.tokens_a_second / 3600
    embedding = one / accelerator.count
    writing = corpus.vectors / (vectors_a_second * nodes) / 3600
    hours = max(embedding, writing)
    return Work(
        embedding_one=one,
        embedding=embedding,
        writing=writing,
        bottleneck="embedding" if embedding >= writing else "writing",
        hours=hours,
        balance=one / writing,
        accelerator_cost=hours * accelerator.count * accelerator.price,
        node_cost=hours * nodes * node_price,
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """All that follows for one index type; ``sizes`` are those of one copy, each shard merged into one segment."""

    vectors: Vectors
    sizes: Sizes
    cluster: Cluster
    work: Work


@dataclass(frozen=True, slots=True)
class Wish:
    """What is planned with: see :func:`cluster` and :func:`work`."""

    node: DataNode
    accelerator: Accelerator
    vectors_a_second: float
    replicas: int = 1
    shard_bytes: float = 50.0 * GB
    node_price: float = 0.0


def plan(corpus: Corpus, vectors: Vectors, wish: Wish, constants: Constants = MEASURED) -> Plan:
    """Return the plan of one index type."""

    def clustered(size: Sizes) -> Cluster:
        return cluster(corpus, size, wish.node, replicas=wish.replicas, shard_bytes=wish.shard_bytes)

    # The bytes of a graph depend on how many shards it is split into, and the shards on the bytes: a little.
    whole = sizes(corpus, vectors, constants=constants)
    size = sizes(corpus, vectors, segments=clustered(whole).shards, constants=constants)
    found = clustered(size)
    rate, price = wish.vectors_a_second, wish.node_price
    done = work(corpus, wish.accelerator, nodes=found.nodes, vectors_a_second=rate, node_price=price)
    return Plan(vectors=vectors, sizes=size, cluster=found, work=done)


@dataclass(frozen=True, slots=True)
class Sample:
    """What an index of known size took: bytes by the names that :class:`Sizes` has for them, in so many segments."""

    corpus: Corpus
    vectors: Vectors
    segments: int
    taken: Mapping[str, float]


def fit(samples: list[Sample]) -> Constants:
    """Return the constants that predict these samples in all: the larger a sample, the more it counts."""
    text = sum(sample.corpus.text_bytes * sample.corpus.documents for sample in samples)
    documents = sum(sample.corpus.documents for sample in samples)
    lucene = sum(sample.corpus.lucene_documents for sample in samples)
    taken = {
        what: sum(sample.taken[what] for sample in samples) for what in ("stored", "inverted", "document", "marks")
    }
    return Constants(
        stored=taken["stored"] / text,
        inverted=taken["inverted"] / text,
        document=taken["document"] / lucene,
        marks=taken["marks"] / documents,
        # A small segment has none, whatever the index type.
        links=_links([sample for sample in samples if sample.taken["graph"]]),
    )


def _links(samples: list[Sample]) -> float:
    """Return how full the lists of neighbours are: bytes grow with it, so halving an interval finds it."""
    measured = sum(sample.taken["graph"] for sample in samples)
    if not measured:
        return MEASURED.links
    low, high = 0.0, 1.5
    for _ in range(40):
        middle = (low + high) / 2
        found = sum(_graph(sample, middle) for sample in samples)
        low, high = (middle, high) if found < measured else (low, middle)
    return (low + high) / 2


def _graph(sample: Sample, links: float) -> float:
    count = sample.corpus.vectors
    return count * graph_bytes(count / sample.segments, sample.vectors.m, max(1e-9, links))
