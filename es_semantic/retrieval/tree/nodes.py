"""The retrievers as values: one class for each, with Elastic's names and defaults (Elastic docs, "Retrievers", 9.x).

What Elasticsearch itself reads (queries, sorts, rescorers, ...) is kept as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr

from es_semantic.schema.ranking import Normalizer

Json = dict[str, Any]

DEFAULT_RANK_WINDOW_SIZE = 10
DEFAULT_RESCORE_WINDOW = 10


def _one_or_several(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


def _not_a_bool(value: Any) -> Any:
    # To Python, and so to pydantic, true is the number 1; to Elasticsearch it is a mistake.
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


Whole = Annotated[int, BeforeValidator(_not_a_bool)]
Number = Annotated[float, BeforeValidator(_not_a_bool), Field(allow_inf_nan=False)]
Clause = Annotated[Json, Field(min_length=1, max_length=1)]
Clauses = Annotated[tuple[Clause, ...], BeforeValidator(_one_or_several)]
Component = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Vector = tuple[Component, ...]
"""Floats; Elastic's hex and base64 strings are passed on as they are."""


class Part(BaseModel):
    """What all parts of a tree have in common: unknown keys are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)


class Retriever(Part):
    """What every retriever may carry. ``filter`` goes down to every leaf; ``min_score`` is inclusive."""

    filter: Clauses = ()
    min_score: Number | None = None
    name: StrictStr | None = Field(default=None, alias="_name")

    @property
    def children(self) -> tuple[Child, ...]:
        """The retrievers below, in their order."""
        return ()

    @property
    def window(self) -> int:
        """The most documents that a compound retriever ranks."""
        return DEFAULT_RANK_WINDOW_SIZE


class Standard(Retriever):
    """Top documents of an ordinary query; without one, of all documents."""

    query: Clause | None = None
    search_after: Any = None
    terminate_after: Whole | None = None
    sort: Any = None
    collapse: Json | None = None


class TextEmbedding(Part):
    """The text to embed; ``model_id`` is a configured model's name, and may be left out for a semantic field."""

    model_text: StrictStr = Field(min_length=1)
    model_id: StrictStr | None = None


class QueryVectorBuilder(Part):
    """How to make the query vector."""

    text_embedding: TextEmbedding


class RescoreVector(Part):
    """Re-scoring of quantised vectors."""

    oversample: Number


class Knn(Retriever):
    """The nearest vectors of ``field``; a query vector, or the text to make one of."""

    field: StrictStr
    query_vector: Vector | StrictStr | None = None
    query_vector_builder: QueryVectorBuilder | None = None
    k: Whole
    num_candidates: Whole
    visit_percentage: Number | None = None
    similarity: Number | None = None
    rescore_vector: RescoreVector | None = None


class Compound(Retriever):
    """A retriever that ranks what its children have found."""

    rank_window_size: Whole = DEFAULT_RANK_WINDOW_SIZE

    @property
    def window(self) -> int:
        """``rank_window_size``"""
        return self.rank_window_size


class Rrf(Compound):
    """Reciprocal rank fusion of ``retrievers``, or of what ``query`` finds in ``fields`` (multi-field query format)."""

    retrievers: tuple[RrfEntry, ...] = ()
    query: StrictStr | None = None
    fields: tuple[StrictStr, ...] = ()
    rank_constant: Whole = 60

    @property
    def children(self) -> tuple[Child, ...]:
        """The retrievers to fuse."""
        return tuple(
            Child(f"retrievers[{number}]" + (".retriever" if entry.retriever is not None else ""), entry.one)
            for number, entry in enumerate(self.retrievers)
        )


class Linear(Compound):
    """Weighted sum of normalised scores of ``retrievers``, or of what ``query`` finds in ``fields``."""

    retrievers: tuple[LinearEntry, ...] = ()
    query: StrictStr | None = None
    fields: tuple[StrictStr, ...] = ()
    normalizer: Normalizer | None = None

    @property
    def children(self) -> tuple[Child, ...]:
        """The retrievers to fuse."""
        return tuple(
            Child(f"retrievers[{number}].retriever", entry.retriever.one)
            for number, entry in enumerate(self.retrievers)
        )


class Auto(Compound):
    """Our own: fusion of ``retrievers`` by weights found in the scores of each query (docs/fusion.md)."""

    retrievers: tuple[Container, ...] = Field(min_length=1)

    @property
    def children(self) -> tuple[Child, ...]:
        """The retrievers to fuse."""
        return tuple(Child(f"retrievers[{number}]", entry.one) for number, entry in enumerate(self.retrievers))


class Over(Retriever):
    """A retriever over one other."""

    retriever: Container

    @property
    def children(self) -> tuple[Child, ...]:
        """The one retriever below."""
        return (Child("retriever", self.retriever.one),)


class TextSimilarityReranker(Over, Compound):
    """The child's best documents ordered anew by a reranker that reads ``inference_text`` and each one's ``field``.

    ``inference_id`` names a configured reranker, else an inference endpoint of the cluster. ``field`` may be a list of
    fields here, whose texts are joined by newlines. With ``allow_rerank_failures`` the child's order stays where the
    reranker fails. With ``chunk_rescorer`` it reads the best parts of each text, and the best of these counts.
    """

    field: StrictStr | tuple[StrictStr, ...]
    inference_text: StrictStr
    inference_id: StrictStr = ".rerank-v1-elasticsearch"
    allow_rerank_failures: bool = False
    chunk_rescorer: Json | None = None


class Rescorer(Over):
    """The child's best documents with scores changed by Elasticsearch's rescorers, one after the other."""

    rescore: Annotated[tuple[Json, ...], BeforeValidator(_one_or_several)] = Field(min_length=1)

    @property
    def window(self) -> int:
        """The smallest ``window_size``: what a rescorer passes on."""
        return min(self.windows)

    @property
    def windows(self) -> tuple[int, ...]:
        """The ``window_size`` of each rescorer."""
        return tuple(rescorer.get("window_size", DEFAULT_RESCORE_WINDOW) for rescorer in self.rescore)


class PinnedDocument(Part):
    """A document to pin; in every index where no ``_index`` is given."""

    id: StrictStr = Field(alias="_id")
    index: StrictStr | None = Field(default=None, alias="_index")


class Pinned(Over, Compound):
    """These documents first, in this order, then what the child finds."""

    ids: tuple[StrictStr, ...] | None = None
    docs: tuple[PinnedDocument, ...] | None = None

    @property
    def pins(self) -> tuple[PinnedDocument, ...]:
        """The documents to pin, however they were given."""
        return self.docs or tuple(PinnedDocument(id=each) for each in self.ids or ())


class Diversify(Over, Compound):
    """The child's documents without those too similar to others: maximal marginal relevance."""

    type: Literal["mmr"]
    field: StrictStr
    query_vector: Vector | StrictStr | None = None
    query_vector_builder: QueryVectorBuilder | None = None
    lambda_: Number | None = Field(default=None, alias="lambda")
    size: Whole | None = None

    @property
    def wanted(self) -> int:
        """Documents to keep: ``size``, 10 by default, and never more than the window by default."""
        return min(DEFAULT_RANK_WINDOW_SIZE, self.rank_window_size) if self.size is None else self.size


class Container(Part):
    """``{"<name>": {...}}``: exactly one retriever."""

    standard: Standard | None = None
    knn: Knn | None = None
    rrf: Rrf | None = None
    linear: Linear | None = None
    auto: Auto | None = None
    text_similarity_reranker: TextSimilarityReranker | None = None
    rescorer: Rescorer | None = None
    pinned: Pinned | None = None
    diversify: Diversify | None = None

    @property
    def one(self) -> Retriever:
        """The retriever that is there."""
        return next(self.given)[1]

    @property
    def given(self) -> Iterator[tuple[str, Retriever]]:
        """The retrievers that are there, by name."""
        for name in NAMES:
            node = getattr(self, name)
            if node is not None:
                yield name, node


class RrfEntry(Container):
    """A retriever of ``rrf``: as it is, or as ``{"retriever": {...}, "weight": 2}``."""

    retriever: Container | None = None
    weight: Number = 1.0

    @property
    def one(self) -> Retriever:
        """The retriever that is there."""
        return self.retriever.one if self.retriever is not None else super().one


class LinearEntry(Part):
    """A retriever of ``linear`` with its weight and normalizer."""

    retriever: Container
    weight: Number = 1.0
    normalizer: Normalizer | None = None


class Child(NamedTuple):
    """A retriever below another, and the way to it."""

    way: str
    node: Retriever


NAMES: dict[str, type[Retriever]] = {
    "standard": Standard,
    "knn": Knn,
    "rrf": Rrf,
    "linear": Linear,
    "auto": Auto,
    "text_similarity_reranker": TextSimilarityReranker,
    "rescorer": Rescorer,
    "pinned": Pinned,
    "diversify": Diversify,
}
_KINDS = {kind: name for name, kind in NAMES.items()}


def kind(node: Retriever) -> str:
    """Return the retriever's name in JSON."""
    return _KINDS[type(node)]


def walk(node: Retriever, path: str = "") -> Iterator[tuple[str, Retriever]]:
    """Yield every retriever with its path (``rrf.retrievers[1].knn``), parents before children."""
    here = f"{path}.{kind(node)}" if path else kind(node)
    yield here, node
    for way, child in node.children:
        yield from walk(child, f"{here}.{way}")


def contained(node: Retriever) -> Container:
    """Return the retriever as a child is held."""
    return Container(**{kind(node): node})


def changed(node: Retriever, change: Callable[[str, Retriever], Retriever], path: str = "") -> Retriever:
    """Return the tree with ``change`` applied to every retriever and its path, children before parents."""
    here = f"{path}.{kind(node)}" if path else kind(node)
    below = [changed(child, change, f"{here}.{way}") for way, child in node.children]
    match node:
        case Rrf():
            entries = zip(node.retrievers, below, strict=True)
            node = node.model_copy(update={"retrievers": tuple(_with_child(entry, child) for entry, child in entries)})
        case Linear():
            parts = zip(node.retrievers, below, strict=True)
            held = tuple(part.model_copy(update={"retriever": contained(child)}) for part, child in parts)
            node = node.model_copy(update={"retrievers": held})
        case Auto():
            node = node.model_copy(update={"retrievers": tuple(contained(child) for child in below)})
        case Over():
            node = node.model_copy(update={"retriever": contained(below[0])})
    return change(here, node)


def _with_child(entry: RrfEntry, child: Retriever) -> RrfEntry:
    if entry.retriever is not None:
        return entry.model_copy(update={"retriever": contained(child)})
    return entry.model_copy(update={**dict.fromkeys(NAMES), kind(child): child})


def to_json(node: Retriever) -> Json:
    """Return the tree as Elasticsearch reads it, without what is not set."""
    return contained(node).model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
