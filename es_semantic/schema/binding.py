"""The binding: what a semantic field is, kept in the mapping's ``_meta.es_semantic``.

The cluster is the one source of truth: whoever can read the mapping knows the source fields, the model and its
fingerprint. It holds no URL and no key, and nothing in it can make a reader run code or send texts or keys to another
machine. It does hold the model's name: a SentenceTransformers model that the reader has not configured is loaded by
that name, from a folder or the local cache, else from the model hub. So whoever can write the mapping chooses what such
a reader downloads. It is weights, never code, and nothing where ``HF_HUB_OFFLINE=1`` is set or the caller brings the
model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from es_semantic.embedding import Fingerprint
from es_semantic.embedding.chunking import Chunking
from es_semantic.embedding.protocol import Similarity
from es_semantic.errors import NotAttached, SchemaError
from es_semantic.schema.analysis import Analysis, bm25_fields, common_analysis
from es_semantic.schema.ranking import Ranking

META_KEY = "es_semantic"
META_VERSION = 1

QUERIES_ALONE = ("ranking", "analysis")
"""What only queries look at: no document is another one for it. Left out of ``_meta`` where it is not set, so that
versions of es-semantic which do not know it can read all other bindings."""

LEFT_OUT = (*QUERIES_ALONE, "stands_for")

EXACTLY = "="
"""Before a name: that very field, whichever field serves under the name."""


class Binding(BaseModel):
    """One semantic field of one index: ``source`` fields in order, and how their vectors are made and indexed.

    With ``chunking`` a document has one vector for each chunk of its text, without one for the whole. ``ranking`` is
    the fusion tuned for this index; without one it is the default. ``analysis`` tells by which fields BM25 knows the
    text in its language; without one there are the source fields alone. ``stands_for`` is the name by which people know
    the field, where a change of models has given it another place in the mapping.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: list[str] = Field(min_length=1)
    fingerprint: Fingerprint
    similarity: Similarity
    index_options: dict[str, Any]
    chunking: Chunking | None = None
    ranking: Ranking | None = None
    analysis: Analysis | None = None
    stands_for: str | None = None

    @model_validator(mode="after")
    def _one_analysed_field_each(self) -> Binding:
        if self.analysis is not None and len(self.analysis.fields) != len(self.source):
            raise ValueError("analysis must name one field for each source field")
        return self

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_set(self, serialized: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {k: v for k, v in serialized(self).items() if v is not None or k not in LEFT_OUT}

    @property
    def stamp(self) -> str:
        """What documents carry in ``model``: the fingerprint's id and, in chunks, their size (``mini-0a1b+256/25``).

        A vector under another stamp is not true: it was made by another model or of other chunks.
        """
        return self.fingerprint.id + (f"+{self.chunking}" if self.chunking is not None else "")

    @property
    def holder(self) -> str:
        """The part of the semantic field that holds the vectors: ``vector``, or the nested ``chunks``."""
        return "vector" if self.chunking is None else "chunks"

    @property
    def chunk_mode(self) -> Literal["always", "never"]:
        """How its texts are cut, as attach is told: ``always`` into chunks, or ``never``."""
        return "never" if self.chunking is None else "always"

    def analyzed(self, *, complete: bool) -> Binding:
        """Return this binding with its analysed fields marked as complete, or as not; as it is without any."""
        if self.analysis is None:
            return self
        return self.model_copy(update={"analysis": self.analysis.model_copy(update={"complete": complete})})

    @property
    def bm25_fields(self) -> list[str]:
        """The fields that BM25 looks at, with their boosts: the source fields, and how their language has them."""
        return bm25_fields_of([self])


class Bindings(BaseModel):
    """All semantic fields of one index, by their place in the mapping, and the final pipeline that its owner had.

    People know a semantic field by a name. Its vectors are in the field of that name, unless a change of models has
    made another: then ``serving`` tells, by name, the place that queries go to. While the models change there are two
    places for one name. ``leaving`` are places whose values are being removed from the documents, and their names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(default=META_VERSION, ge=1, le=META_VERSION)
    owner_final_pipeline: str | None = None
    fields: dict[str, Binding] = {}
    serving: dict[str, str] = {}
    leaving: dict[str, str] = {}

    @model_serializer(mode="wrap")
    def _leave_out_what_is_empty(self, serialized: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {k: v for k, v in serialized(self).items() if v or k not in ("serving", "leaving")}

    def place(self, name: str) -> str:
        """Return the field that serves under a name; of ``=name`` that very field, whatever serves."""
        return name.removeprefix(EXACTLY) if name.startswith(EXACTLY) else self.serving.get(name, name)

    def served(self) -> dict[str, str]:
        """Return the fields that serve, by the names that people know."""
        names = dict.fromkeys(self.name_of(field) for field in self.fields)
        return {name: place for name in names if (place := self.place(name)) in self.fields}

    def name_of(self, field: str) -> str:
        """Return the name that people know a bound field by."""
        return self.fields[field].stands_for or field

    def beside(self, field: str) -> list[str]:
        """Return the other fields that stand for the same name as this one."""
        name = self.name_of(field)
        return [each for each in sorted(self.fields) if each != field and self.name_of(each) == name]

    def hidden(self) -> set[str]:
        """Return the fields of documents that are es-semantic's own."""
        return {*self.fields, *self.leaving}

    def served_by(self, name: str, field: str) -> Bindings:
        """Return these bindings with a field that serves under a name, if it is bound and not leaving."""
        if field not in self.fields or field in self.leaving:
            return self
        others = {key: place for key, place in self.serving.items() if key != name}
        return self.model_copy(update={"serving": others if field == name else {**others, name: field}})

    def kinds(self, field: str) -> set[tuple[str, str]]:
        """Return place and model of every field that stands for the same name as this one."""
        return {(each, self.fields[each].stamp) for each in (field, *self.beside(field)) if each not in self.leaving}

    def leaves(self, field: str) -> Bindings:
        """Return these bindings with a bound field noted as leaving, unless it serves."""
        if field not in self.fields or self.place(self.name_of(field)) == field:
            return self
        return self.model_copy(update={"leaving": {**self.leaving, field: self.name_of(field)}})

    def has_left(self, field: str) -> Bindings:
        """Return these bindings with a field that is not leaving any more."""
        return self.model_copy(update={"leaving": {k: v for k, v in self.leaving.items() if k != field}})

    def one(self, name: str, *, index: str) -> Binding:
        """Return the binding of the field that serves under a name.

        Raises:
            NotAttached: there is none.
        """
        place = self.place(name)
        if place in self.fields:
            return self.fields[place]
        if self.fields:
            known, asked = ", ".join(sorted(self.served())), name.removeprefix(EXACTLY)
            raise NotAttached(f"index {index!r} has no semantic field {asked!r} (it has: {known})", hint="Use --name.")
        raise NotAttached(
            f"index {index!r} has no semantic field", hint=f"Run: es-semantic attach {index} --fields FIELD[,FIELD...]"
        )

    def with_field(self, name: str, binding: Binding) -> Bindings:
        """Return these bindings with one added or replaced."""
        return self.model_copy(update={"fields": {**self.fields, name: binding}})

    def completed(self) -> Bindings:
        """Return these bindings with all analysed fields marked as complete, as in an index without documents."""
        return self.model_copy(update={"fields": {k: each.analyzed(complete=True) for k, each in self.fields.items()}})

    def no_more_complete_than(self, others: Sequence[Bindings]) -> Bindings:
        """Return these bindings with analysed fields marked as complete only where all who know them say so."""

        analyses = [(name, each.analysis) for other in others for name, each in other.fields.items() if each.analysis]
        incomplete = {name for name, analysis in analyses if not analysis.complete}
        fields = {k: each.analyzed(complete=False) if k in incomplete else each for k, each in self.fields.items()}
        return self.model_copy(update={"fields": fields})

    def without_field(self, name: str) -> Bindings:
        """Return these bindings with one removed."""
        fields = {k: v for k, v in self.fields.items() if k != name}
        serving = {k: v for k, v in self.serving.items() if v != name}
        return self.model_copy(update={"fields": fields, "serving": serving})


def exactly(field: str) -> str:
    """Return how a field itself is asked for, whichever serves under its name."""
    return EXACTLY + field


def generation(name: str, number: int) -> str:
    """Return the place of a name's first, second ... field: ``semantic``, ``semantic_2`` ..."""
    return name if number == 1 else f"{name}_{number}"


def number_of(name: str, field: str) -> int:
    """Return which of a name's fields this is, from 1 on."""
    number = field.removeprefix(f"{name}_")
    return int(number) if field != name and number.isdigit() else 1


def places_of(bindings: Mapping[str, Bindings], name: str) -> dict[str, str]:
    """Return by index the place to search for a name, of those indices that have it.

    That is the one that serves. But while a change of models reaches one index after the other, all are searched at a
    place, of one model, that all of them still have, if there is one: both are kept up to date.
    """
    serving = {index: place for index, each in bindings.items() if (place := each.place(name)) in each.fields}
    kinds = Counter((place, bindings[index].fields[place].stamp) for index, place in serving.items())
    if len(kinds) < 2:
        return serving
    common = set.intersection(*(bindings[index].kinds(place) for index, place in serving.items()))
    if not common:
        return serving
    place, _ = max(sorted(common), key=lambda kind: kinds[kind])
    return dict.fromkeys(serving, place)


def bm25_fields_of(bindings: Iterable[Binding]) -> list[str]:
    """Return the fields that BM25 looks at, with their boosts, in indices and semantic fields that are bound so."""
    every = list(bindings)
    source = list(dict.fromkeys(field for binding in every for field in binding.source))
    return bm25_fields(source, common_analysis(binding.analysis for binding in every))


def read_bindings(mapping: Mapping[str, Any], *, index: str) -> Bindings:
    """Return the bindings kept in a mapping; none at all where nothing is attached.

    Raises:
        SchemaError: ``_meta.es_semantic`` is not what es-semantic wrote there.
    """
    stored = (mapping.get("_meta") or {}).get(META_KEY)
    if stored is None:
        return Bindings()
    try:
        return Bindings.model_validate(stored)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise SchemaError(
            f"the mapping of {index!r} has an _meta.{META_KEY} that this version cannot read: {where}: {first['msg']}",
            hint=f"Restore it, or remove the key {META_KEY!r} from the mapping's _meta and attach again.",
        ) from error


def meta_with(mapping: Mapping[str, Any], bindings: Bindings) -> dict[str, Any]:
    """Return the mapping's ``_meta`` with these bindings in it, and everything that the owner keeps there."""
    meta = {key: value for key, value in (mapping.get("_meta") or {}).items() if key != META_KEY}
    if bindings.fields:
        meta[META_KEY] = bindings.model_dump()
    return meta
