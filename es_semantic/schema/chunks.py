"""One vector a document, or one a chunk: chosen once, when a semantic field is attached (docs/decisions/chunks.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

from es_semantic.cluster.steps import Compute, Request, Steps, url_path
from es_semantic.embedding import ModelProfile
from es_semantic.embedding.chunking import Chunking, TokenCounter, default_chunking, is_longer, room
from es_semantic.errors import BindingConflict, Forbidden, UsageError
from es_semantic.schema.binding import Binding
from es_semantic.schema.checks import SHAPES, shape_of
from es_semantic.schema.target import Target
from es_semantic.schema.text import is_blank, source_text

ChunkMode = Literal["auto", "never", "always"]
LoadTokenizer = Callable[[], TokenCounter | None]

SAMPLE = 1000
"""Documents that ``auto`` looks at."""

SAMPLE_CHARACTERS = 50_000_000
"""Where documents are very long, so much text is enough of a sample."""

SHARE = 0.05
"""``auto`` splits texts where a greater part of the sample than this is longer than the model's window."""

SEED = 1
"""So that ``--dry-run`` and the run itself look at the same documents."""

FIRST_PAGE = 10
LARGEST_PAGE = 100
PAGE_CHARACTERS = 4_000_000


@dataclass(frozen=True, slots=True)
class Choice:
    """How texts are split, None for one vector a document, and a ``note`` that says why where nobody has asked."""

    chunking: Chunking | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """How many texts were looked at, and how many of these are longer than the model's window."""

    texts: int
    longer: int


def require_chunk_mode(mode: str) -> ChunkMode:
    """Return the mode.

    Raises:
        UsageError: it is none of auto, never, always.
    """
    if mode not in get_args(ChunkMode):
        raise UsageError(f"chunk {mode!r} does not exist", hint=f"Use one of: {', '.join(get_args(ChunkMode))}.")
    return mode  # type: ignore[return-value]


def require_same_chunks(bound: Binding, mode: ChunkMode, *, target: Target, name: str) -> None:
    """Refuse to split the texts of a bound field, or to stop splitting them; ``auto`` takes what is bound.

    Raises:
        BindingConflict: with both shown.
    """
    if mode != "auto" and (bound.chunking is not None) != (mode == "always"):
        raise BindingConflict(
            f"semantic field {name!r} of {target.name!r} is bound to {SHAPES[bound.holder]}; "
            f"wanted {SHAPES['chunks' if mode == 'always' else 'vector']} (--chunk {mode})",
            hint="Attach under another --name.",
        )


def choose_chunks(
    target: Target,
    name: str,
    fields: Sequence[str],
    mode: ChunkMode,
    model: ModelProfile,
    load_tokenizer: LoadTokenizer,
) -> Steps[Choice]:
    """Choose for a new semantic field; ``auto`` may read up to 1,000 documents, of these only the source fields.

    Raises:
        UsageError: the model's prompt leaves no room for text in a chunk.
    """
    if mode == "never":
        return Choice(None)
    tokenizer = yield Compute(load_tokenizer)
    choice = Choice(default_chunking(model.max_tokens))
    if mode == "auto":
        choice = yield from _decide(target, name, fields, model, tokenizer)
    if choice.chunking is not None:
        room(choice.chunking, tokenizer)
    return choice


def _decide(
    target: Target, name: str, fields: Sequence[str], model: ModelProfile, tokenizer: TokenCounter | None
) -> Steps[Choice]:
    mapped = shape_of(target.mapping.get("properties", {}).get(name, {}))
    if mapped is not None:
        chunking = default_chunking(model.max_tokens) if mapped == "chunks" else None
        return Choice(chunking, f"field {name!r} is mapped already, for {SHAPES[mapped]}")
    if target.kind == "index template":
        return _unasked("an index template has no documents to look at")
    if model.max_tokens is None:
        return _unasked(f"nothing tells how many tokens model {model.fingerprint.model} looks at")
    try:
        sample = yield from _sample(target, fields, lambda text: is_longer(text, int(model.max_tokens or 0), tokenizer))
    except Forbidden:
        return _unasked("these credentials may not read documents")
    if not sample.texts:
        return _unasked(f"{target.kind} {target.name!r} holds no text to look at yet")
    return chosen(sample, model.max_tokens, estimated=tokenizer is None)


def chosen(sample: Sample, window: int, *, estimated: bool = False) -> Choice:
    """Return what follows from a sample of at least one text; ``window`` is the model's, in tokens."""
    verb = "text is" if sample.texts == 1 else "texts are"
    found = (
        f"{sample.longer:,} of {sample.texts:,} sampled {verb} longer than the model's {window:,} tokens"
        f"{' (estimated)' if estimated else ''}"
    )
    if sample.longer > SHARE * sample.texts:
        return Choice(default_chunking(window), f"{found}: documents get one vector a chunk")
    return Choice(None, f"{found}: documents get one vector each{', of its beginning' if sample.longer else ''}")


def _unasked(why: str) -> Choice:
    return Choice(None, f"{why}: documents get one vector each; --chunk always gives one a chunk")


def _sample(target: Target, fields: Sequence[str], longer: Callable[[str], bool]) -> Steps[Sample]:
    """Read documents at random; ids first, so that a page of very long ones can be a small one."""
    size = min(SAMPLE, target.max_result_window)
    found = yield Request("POST", url_path("/{}/_search", target.name), body=_random_ids(size))
    waiting: list[Mapping[str, Any]] = found["hits"]["hits"]
    page, read, texts, long = FIRST_PAGE, 0, 0, 0
    while waiting and read < SAMPLE_CHARACTERS:
        taken, waiting = waiting[:page], waiting[page:]
        answer = yield Request("POST", "/_mget", body=_documents(taken, fields), about=f"sampling {target.name!r}")
        sources = [each["_source"] for each in answer["docs"] if each.get("found") and "_source" in each]
        found_texts = [text for text in (source_text(source, fields) for source in sources) if not is_blank(text)]
        long += yield Compute(partial(_count, longer, found_texts))
        texts += len(found_texts)
        characters = sum(map(len, found_texts))
        read += characters
        page = max(1, min(LARGEST_PAGE, PAGE_CHARACTERS * len(taken) // (characters + 1)))
    return Sample(texts, long)


def _count(longer: Callable[[str], bool], texts: Sequence[str]) -> int:
    return sum(map(longer, texts))


def _random_ids(size: int) -> dict[str, Any]:
    random = {"random_score": {"seed": SEED, "field": "_seq_no"}, "boost_mode": "replace"}
    return {
        "size": size,
        "query": {"function_score": random},
        "_source": False,
        "stored_fields": ["_routing"],
        "track_total_hits": False,
    }


def _documents(hits: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> dict[str, Any]:
    docs = []
    for hit in hits:
        routing = {"routing": hit["_routing"]} if "_routing" in hit else {}
        docs.append({"_index": hit["_index"], "_id": hit["_id"], "_source": list(fields), **routing})
    return {"docs": docs}
