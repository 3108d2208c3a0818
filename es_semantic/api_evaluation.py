"""The Python face of evaluation: evaluate, compare_models, tune and reset_ranking.

As in :mod:`es_semantic.api` each takes an ``Elasticsearch`` or an ``AsyncElasticsearch`` client first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path

from es_semantic.chosen import Model, choosing, loaded
from es_semantic.cluster.served import served
from es_semantic.cluster.steps import Compute, Steps
from es_semantic.config import DEFAULT_FIELD_NAME, Config, ModelSettings
from es_semantic.embedding import Embedder
from es_semantic.embedding.cached import caching
from es_semantic.errors import UsageError
from es_semantic.evaluation.beir import DEFAULT_QRELS, read_beir, read_corpus, sampled_corpus
from es_semantic.evaluation.compare import Candidate, ModelComparison
from es_semantic.evaluation.csv_judgements import read_csv, read_queries
from es_semantic.evaluation.evaluate import Evaluation, evaluate_steps
from es_semantic.evaluation.judgements import Judgements
from es_semantic.evaluation.metrics import require_libraries
from es_semantic.evaluation.scratch import DEFAULT_ANALYZER, NAME, Content, Scratch, corpus_content, with_scratch
from es_semantic.evaluation.subjects import Asked, compare_content_steps, compare_index_steps
from es_semantic.evaluation.tune import FOLDS, Tuning, tune_steps
from es_semantic.evaluation.watch import Watch, unwatched
from es_semantic.schema.binding import Binding
from es_semantic.schema.tuned import store_ranking

File = str | PathLike[str]

SAMPLE = 10_000
"""Documents of an index that :func:`compare_models` looks at unless told otherwise."""


@served
def evaluate(
    index: str | None = None,
    *,
    dataset: File | None = None,
    judgements: File | None = None,
    qrels: str = DEFAULT_QRELS,
    model: Model = None,
    config: Config | None = None,
    name: str = DEFAULT_FIELD_NAME,
    fields: Sequence[str] | None = None,
    analyzer: str = DEFAULT_ANALYZER,
    chunk: str = "never",
    progress: Watch = unwatched,
) -> Steps[Evaluation]:
    """Measure how well ``bm25``, ``knn`` and ``hybrid`` find what people have judged relevant.

    Judgements come from a BEIR folder ``dataset`` (``queries.jsonl`` and ``qrels/{qrels}.tsv``) or a CSV file
    ``judgements`` with the columns query, id and grade; a grade above 0 is relevant. Every query is asked for 100 hits
    in each mode. The result has nDCG@10, recall@100, MRR@10 and MAP, what the differences between the modes are worth,
    the recall of approximate kNN against exact, and percentiles of the searches' time, embedding apart.

    Without ``index`` the folder's ``corpus.jsonl`` is put into a scratch index, embedded by ``model`` and removed
    afterwards, also after an error. There ``analyzer`` and ``chunk`` apply, and BM25 searches title and text as one
    field, as the published figures of BEIR do; by default one vector stands for a whole document, as in those of MTEB.

    Raises:
        UsageError: a file is missing or broken (with file and line), or none of the judged documents is in the index.
        MissingExtra: the libraries of the extra ``eval`` are not installed.
        NotAttached: the index has no semantic field of that name.
        FingerprintMismatch: the model is not the one that the index is bound to.
        Forbidden: a scratch index cannot be created with these credentials.
    """
    require_libraries()
    if index is not None:
        _require_one(dataset, judgements)
    judged = yield Compute(lambda: _judgements(dataset, judgements, qrels))
    if index is not None:
        of = _bound(index, model, config)
        return (yield from evaluate_steps(index, judged, of, progress, name=name, fields=fields))
    if dataset is None:
        raise UsageError("judgements without a corpus need an index", hint="Name the index that they are for.")
    content = corpus_content(partial(read_corpus, Path(dataset)), analyzer=analyzer, chunk=chunk)
    return (yield from _evaluate_scratch(content, judged, model, config, progress))


@served
def compare_models(
    models: Mapping[str, Model],
    index: str | None = None,
    *,
    dataset: File | None = None,
    judgements: File | None = None,
    qrels: str = DEFAULT_QRELS,
    queries: File | None = None,
    sample: int | None = None,
    config: Config | None = None,
    name: str = DEFAULT_FIELD_NAME,
    fields: Sequence[str] | None = None,
    analyzer: str = DEFAULT_ANALYZER,
    chunk: str | None = None,
    progress: Watch = unwatched,
) -> Steps[ModelComparison]:
    """Put several models side by side on the same documents, each in a scratch index that is removed afterwards.

    The documents are those of ``index``, or of the BEIR folder ``dataset``: ``sample`` of them, drawn with a fixed
    seed, and judged ones in any case; 0 takes all, and so does None for a folder, while of an index it takes 10,000.
    Only the fields that are searched are copied, by default the source fields of the semantic field ``name``. The model
    that an index is bound to is compared as well where ``models`` names but one.

    With judgements (see :func:`evaluate`) every model has the metrics. Without them the result tells how much the
    models' hits overlap, for ``queries``, a file with one query a line, or for the first words of some documents.
    ``chunk`` is as for :func:`~es_semantic.attach`; by default as the index is attached, for a folder ``never``.

    Raises:
        UsageError: fewer than two models, no documents, or a file is missing or broken.
        SchemaError: a field is missing.
        ModelUnavailable, MissingExtra: a model cannot be loaded; nothing is left behind.
    """
    require_libraries()
    if index is None and dataset is None:
        raise UsageError("compare on which documents?", hint="Name an index, or a BEIR folder with --dataset.")
    if sample is not None and sample < 0:
        raise UsageError(f"sample must be 0 (all) or more, not {sample}")
    asked = yield Compute(lambda: asked_for(dataset, judgements, qrels, queries, of_index=index is not None))
    candidates = [_candidate(label, model, config) for label, model in models.items()]
    if index is not None:
        compared = compare_index_steps(
            index,
            candidates,
            lambda binding: bound_candidate(binding, index, config),
            asked,
            progress,
            name=name,
            fields=fields,
            chunk=chunk,
            sample=SAMPLE if sample is None else sample or None,
        )
        return (yield from compared)
    folder = Path(str(dataset))
    documents = yield Compute(lambda: sampled_corpus(folder, asked.documents, sample or None))
    content = corpus_content(documents, analyzer=analyzer, chunk=chunk or "never")
    return (yield from compare_content_steps(folder.name, content, candidates, asked, progress))


@served
def tune(
    index: str,
    *,
    dataset: File | None = None,
    judgements: File | None = None,
    qrels: str = DEFAULT_QRELS,
    model: Model = None,
    config: Config | None = None,
    name: str = DEFAULT_FIELD_NAME,
    fields: Sequence[str] | None = None,
    folds: int = FOLDS,
    store: bool = True,
    progress: Watch = unwatched,
) -> Steps[Tuning]:
    """Fit how hybrid search fuses its legs to judged queries, and keep it in the binding if it helps.

    Weighted reciprocal rank fusion, linear fusion and ``auto`` are tried. What is best on four fifths of the queries is
    judged by the rest, five times (``folds``); the gain in nDCG@10 over the ranking in force comes with a bootstrap
    interval of 95 %. Only if that is above 0 as a whole, and ``store``, is the best ranking of all queries stored;
    every later hybrid search uses it. Judgements are as for :func:`evaluate`.

    Raises:
        UsageError: a file is missing or broken, there are fewer than two queries a fold, or none of the judged
            documents is in the index.
        NotAttached: the index has no semantic field of that name.
    """
    _require_one(dataset, judgements)
    judged = yield Compute(lambda: _judgements(dataset, judgements, qrels))
    of = _bound(index, model, config)
    tuned = tune_steps(index, judged, of, progress, name=name, fields=fields, folds=folds, store=store)
    return (yield from tuned)


@served
def reset_ranking(index: str, *, name: str = DEFAULT_FIELD_NAME) -> Steps[bool]:
    """Take a tuned ranking out of the binding again; return whether there was one.

    Raises:
        NotAttached: the index has no semantic field of that name.
        Forbidden: the privilege `manage` is missing.
    """
    return store_ranking(index, None, name=name)


def _require_one(dataset: File | None, judgements: File | None) -> None:
    """An index has its own documents: beside it, a folder would be nothing but a second set of judgements."""
    if dataset is not None and judgements is not None:
        raise UsageError("there are two sets of judgements for one index", hint="Give --dataset or --judgements.")


def _judgements(dataset: File | None, judgements: File | None, qrels: str) -> Judgements:
    if judgements is not None:
        return read_csv(Path(judgements))
    if dataset is None:
        raise UsageError(
            "which judged queries?", hint="Give a BEIR folder with --dataset, or a CSV file with --judgements."
        )
    return read_beir(Path(dataset), qrels)


def asked_for(
    dataset: File | None, judgements: File | None, qrels: str, queries: File | None, *, of_index: bool
) -> Asked:
    """Return what models are to be asked; ``of_index`` says that the documents are those of an index.

    Raises:
        UsageError: queries are given twice, or a file is missing or broken.
    """
    if of_index:
        _require_one(dataset, judgements)
    if queries is not None and (judgements is not None or (of_index and dataset is not None)):
        raise UsageError("queries and judgements are two ways to say what is searched for", hint="Give one of them.")
    if queries is not None:
        return Asked(None, read_queries(Path(queries)))
    if dataset is None and judgements is None:
        return Asked(None, None)
    return Asked(_judgements(dataset, judgements, qrels), None)


def _bound(index: str, model: Model, config: Config | None) -> Callable[[Binding], Embedder]:
    choose = choosing(model, config)
    return lambda binding: choose(binding.fingerprint, index)


def _evaluate_scratch(
    content: Content, judged: Judgements, model: Model, config: Config | None, progress: Watch
) -> Steps[Evaluation]:
    candidate = _candidate("", model, config)
    plain = yield Compute(candidate.load)

    def use(scratch: Scratch) -> Steps[Evaluation]:
        found = yield from evaluate_steps(
            scratch.index, judged, lambda _: plain, progress, name=NAME, fields=content.fields
        )
        return replace(found, index=None, notes=scratch.notes)

    found, left = yield from with_scratch(content, candidate.cached(plain), use, progress)
    return replace(found, notes=(*found.notes, *left))


def _candidate(label: str, model: Model, config: Config | None) -> Candidate:
    own = model is not None and not isinstance(model, ModelSettings)
    wanted = config.model() if model is None and config is not None else model
    return Candidate(label, lambda: loaded(wanted), partial(_behind_cache, own=own, config=config))


def bound_candidate(binding: Binding, index: str, config: Config | None) -> Candidate:
    """Return the model that a semantic field is bound to."""
    of = _bound(index, None, config)
    label = binding.fingerprint.model.rstrip("/").rsplit("/", 1)[-1]
    return Candidate(label, lambda: of(binding), partial(_behind_cache, own=False, config=config))


def _behind_cache(embedder: Embedder, *, own: bool, config: Config | None) -> Embedder:
    """Let configured models remember vectors; one that the caller brings only within a batch."""
    settings = (config or Config()).embedding_cache
    return caching(embedder, settings.model_copy(update={"max_size": "0"}) if own else settings)
