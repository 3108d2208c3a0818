"""Cross-encoders run in this process by SentenceTransformers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from es_semantic.config import CrossEncoderSettings
from es_semantic.embedding.batching import plan_batches
from es_semantic.embedding.dynamic_batching import MOST_CHARACTERS, DynamicBatcher
from es_semantic.embedding.library import first_line, sentence_transformers_for
from es_semantic.embedding.window import heads
from es_semantic.errors import RerankerError, RerankerUnavailable
from es_semantic.reranking.deadline import Deadline
from es_semantic.reranking.scoring import checked, scored

LARGEST_WINDOW = 1_000_000
"""Tokens. Tokenizers without a limit say 10**30 or infinity."""

CHARACTERS_PER_TOKEN = 4
"""Only sizes batches, for models whose tokenizer cannot be asked."""


@dataclass(frozen=True, slots=True)
class _Pair:
    query: str
    text: str
    clock: Deadline

    @property
    def characters(self) -> int:
        return len(self.query) + len(self.text)


class CrossEncoderReranker:
    """A cross-encoder from a hub name or a local folder.

    Scores are what the model declares: the sigmoid of its one output, from 0 to 1, where it declares nothing; the
    output itself, which has no bounds, for instance with the ``cross-encoder/ms-marco`` models.

    Safe to use from several threads: what they ask for at the same time runs through the model together, unless a call
    fills batches of its own, which take turns with the others. The deadline is looked at before each text is measured
    and before each batch, so a long call may outlast it by one batch.
    """

    def __init__(self, settings: CrossEncoderSettings) -> None:
        """Load the model.

        Raises:
            MissingExtra: the library is not installed.
            RerankerUnavailable: no such model, no safetensors weights, or it needs code that is not trusted.
            RerankerError: the model does not give one score to a pair of texts.
        """
        self.name = settings.name
        self._settings = settings
        self._model = _load(settings)
        _require_reranker(self._model, settings)
        # Counting tokens and scoring set different truncation on the one tokenizer they share.
        self._lock = threading.Lock()
        self._batcher = DynamicBatcher[_Pair, list[float]](
            self._in_batches,
            part=lambda scores, start, end: scores[start:end],
            size=lambda pair: pair.characters,
            refusals=(RerankerError,),
        )

    @property
    def bounded(self) -> bool:
        """Whether scores lie between 0 and 1: the library's default, unless the model declares another activation."""
        return type(self._model.activation_fn).__name__ == "Sigmoid"

    def scores(self, query: str, texts: Sequence[str], *, deadline: float | None = None) -> list[float]:
        """See :class:`~es_semantic.reranking.Reranker`."""
        clock = Deadline(self._settings.timeout if deadline is None else deadline, self.name)
        return scored(
            query, texts, lambda query, texts: self._together([_Pair(query, text, clock) for text in texts], clock)
        )

    def _together(self, pairs: list[_Pair], clock: Deadline) -> list[float]:
        if sum(pair.characters for pair in pairs) > MOST_CHARACTERS:
            return self._in_batches(pairs)
        asked = self._batcher.ask(pairs)
        try:
            return asked.result(clock.left())
        except TimeoutError:
            asked.cancel()
            raise clock.passed() from None

    def _in_batches(self, pairs: Sequence[_Pair]) -> list[float]:
        # Whoever has less time does not wait for the end.
        clock = max((pair.clock for pair in pairs), key=lambda each: each.end)
        with self._turn(clock):
            shown, lengths = self._shown(pairs, clock)
        scores = [0.0] * len(pairs)
        for batch in plan_batches(lengths, max_texts=self._settings.batch_size):
            with self._turn(clock):
                found = self._predict([shown[position] for position in batch])
            for position, score in zip(batch, found, strict=True):
                scores[position] = score
        return scores

    @contextmanager
    def _turn(self, clock: Deadline) -> Iterator[None]:
        if not self._lock.acquire(timeout=clock.left()):
            raise clock.passed()
        try:
            yield
        finally:
            self._lock.release()

    def _shown(self, pairs: Sequence[_Pair], clock: Deadline) -> tuple[list[tuple[str, str]], list[int]]:
        """Each pair, as much as the model looks at, and about how many tokens it reads of both."""

        def count(text: str) -> int:
            clock.left()
            return self._tokens(text)

        window = self._window()
        # A model that keeps the end of a text, not its beginning, needs the whole.
        cut = window if getattr(self._model.tokenizer, "truncation_side", "right") == "right" else None
        queries = list(dict.fromkeys(pair.query for pair in pairs))
        query = dict(zip(queries, zip(*beginnings(queries, count, cut), strict=True), strict=True))
        texts = zip(*beginnings([pair.text for pair in pairs], count, cut), strict=True)
        shown, lengths = [], []
        for pair, (text, length) in zip(pairs, texts, strict=True):
            shown_query, of_query = query[pair.query]
            shown.append((shown_query, text))
            lengths.append(min(of_query + length, window or of_query + length))
        return shown, lengths

    def _tokens(self, text: str) -> int:
        tokenizer = self._model.tokenizer
        if not callable(tokenizer):
            return len(text) // CHARACTERS_PER_TOKEN + 1
        tokens = tokenizer(
            text, truncation=False, verbose=False, return_attention_mask=False, return_token_type_ids=False
        )
        return len(tokens["input_ids"])

    def _window(self) -> int | None:
        length = self._model.max_seq_length
        return int(length) if length and length <= LARGEST_WINDOW else None

    def _predict(self, pairs: list[tuple[str, str]]) -> list[float]:
        try:
            scores = self._model.predict(pairs, batch_size=len(pairs), show_progress_bar=False)
        except (RuntimeError, IndexError) as error:
            # torch's own: out of memory, or a token or a position that the model has no embedding for.
            raise RerankerError(
                f"reranker {self.name!r} fails for one of {len(pairs)} texts: {first_line(error)}",
                hint="Set rerankers.*.max_length to no more than the model's window, or a smaller batch_size.",
            ) from error
        return checked(scores.tolist(), len(pairs), self.name)


def beginnings(texts: list[str], count: Callable[[str], int], window: int | None) -> tuple[list[str], list[int]]:
    """Return of each text as much as the model can look at beside another one, and how many tokens that is.

    What is cut is still longer than the window, but in most cases not by much: where both texts of a pair are longer,
    tokenizers make something of every piece of the one with every piece of the other that they then throw away, and two
    texts of a megabyte cost more memory than a machine has.
    """
    shown, lengths = heads(texts, count, window)
    if window is None:
        return shown, lengths
    cut = [_shorter(text, length, count, window) for text, length in zip(shown, lengths, strict=True)]
    return [text for text, _ in cut], [length for _, length in cut]


def _shorter(text: str, length: int, count: Callable[[str], int], window: int) -> tuple[str, int]:
    if length <= 2 * window:
        return text, length
    head = text[: len(text) * (window + window // 2) // length]
    kept = count(head)
    return (head, kept) if kept > window else (text, length)


def _load(settings: CrossEncoderSettings) -> Any:
    library = sentence_transformers_for(settings.name)
    try:
        return library.CrossEncoder(
            settings.name,
            revision=settings.revision,
            device=settings.device,
            max_length=settings.max_length,
            trust_remote_code=settings.trust_remote_code,
            local_files_only=settings.offline,
            model_kwargs={"use_safetensors": True},
        )
    except Exception as error:
        # The library raises anything from OSError to KeyError for a model it cannot load, so no narrower class fits.
        raise RerankerUnavailable(
            f"reranker {settings.name!r} cannot be loaded: {first_line(error)}", hint=_load_hint(error)
        ) from error


def _load_hint(error: Exception) -> str:
    if "trust_remote_code" in str(error):
        return "The model comes with its own Python code. Read it, then set rerankers.*.trust_remote_code: true."
    return (
        "Check rerankers.*.name (a hub name or a local folder with safetensors weights), rerankers.*.revision, and "
        "that the model hub can be reached, or set `offline: true` for a model that is in the local cache."
    )


def _require_reranker(model: Any, settings: CrossEncoderSettings) -> None:
    hint = "Choose a cross-encoder that was trained to rank, such as cross-encoder/ms-marco-MiniLM-L6-v2."
    if model.num_labels != 1:
        raise RerankerError(
            f"model {settings.name!r} gives {model.num_labels} scores to a pair of texts; a reranker gives one",
            hint=hint,
        )
    # For weights without a classifier the library makes one up, and its scores are random.
    declared = getattr(model.config, "architectures", None) or []
    loaded = type(model.model).__name__
    if loaded.endswith("ForSequenceClassification") and declared and loaded not in declared:
        raise RerankerError(
            f"model {settings.name!r} is no reranker: its weights are of {', '.join(declared)}, which gives no scores",
            hint=hint,
        )
