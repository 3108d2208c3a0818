"""Documents a second of ``embed_documents``, per engine, against ``SentenceTransformer.encode`` with its defaults.

``python -m benchmarks.embedding --texts 512 --rounds 3``. Same texts, same weights, same process; one engine after the
other in turns. The cosines are to the vectors of ``encode``. ``matrix products`` is the limit: the model's linear
layers alone, at the speed at which torch multiplies matrices here, in bfloat16 where the CPU has it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.harness import Rows, alternate, arguments, medians, report, texts
from es_semantic.config import SentenceTransformersModel
from es_semantic.embedding.engines.hardware import no_bf16
from es_semantic.embedding.engines.trial import cosines
from es_semantic.embedding.protocol import Vectors
from es_semantic.embedding.sentence_transformers import SentenceTransformerEmbedder
from es_semantic.errors import MissingExtra, ModelUnavailable

GOALS = {"auto_vs_encode": 5.0, "min_cosine": 0.9999}
ENGINES = ("auto", "torch", "torch-bf16", "openvino", "openvino-int8")
LIMIT = "matrix products"
WARM_UP = 64
TOKENS = 1024
"""Rows of the matrices by which the limit is measured: a batch's tokens."""


class Candidate:
    """Embeds the documents by one way; remembers the vectors of its last run."""

    def __init__(self, embed: Callable[[list[str]], Any], documents: list[str]) -> None:
        """Run it once over as many texts as make an engine stand."""
        self._embed = embed
        self._documents = documents
        self.vectors: Vectors = embed((documents * WARM_UP)[:WARM_UP])

    def __call__(self) -> float:
        """Return documents a second."""
        start = time.perf_counter()
        self.vectors = self._embed(self._documents)
        return len(self._documents) / (time.perf_counter() - start)


def candidates(documents: list[str], engines: list[str], model: str) -> dict[str, Candidate]:
    """Return ``encode`` and every engine that this machine can run; says of the others why not."""
    plain = SentenceTransformerEmbedder(SentenceTransformersModel(name=model, engine="torch"))
    found = {"encode": Candidate(lambda batch: plain._model.encode(batch, show_progress_bar=False), documents)}
    for engine in engines:
        if engine == "torch-bf16" and (reason := no_bf16(torch.device("cpu"))):
            print(f"{engine}: not measured, {reason}")
            continue
        settings = SentenceTransformersModel.model_validate({"name": model, "engine": engine})
        embedder = SentenceTransformerEmbedder(settings)
        try:
            start = time.perf_counter()
            found[engine] = Candidate(lambda batch, one=embedder: one.embed_documents(batch).vectors, documents)  # type: ignore[misc]
            print(f"{engine}: first call {time.perf_counter() - start:.1f} s")
        except (MissingExtra, ModelUnavailable) as error:
            print(f"{engine}: not measured, {error.what}")
    return found


def limit(encoder: Any, documents: list[str]) -> float:
    """Return the documents a second that the products of the linear layers' weights with all tokens would allow."""
    weights = [layer.weight for layer in encoder.modules() if isinstance(layer, torch.nn.Linear)]
    lengths = [
        len(row)
        for row in encoder.tokenizer(documents, truncation=True, max_length=encoder.max_seq_length)["input_ids"]
    ]
    operations = 2.0 * sum(weight.numel() for weight in weights) * sum(lengths)
    number = torch.float32 if no_bf16(torch.device("cpu")) else torch.bfloat16
    widest = max(weights, key=torch.numel).detach().to(number)
    batch = torch.randn(TOKENS, widest.shape[1]).to(number)
    turns = 0
    start = time.perf_counter()
    while (seconds := time.perf_counter() - start) < 1.0:
        torch.nn.functional.linear(batch, widest)
        turns += 1
    speed = 2.0 * widest.numel() * TOKENS * turns / seconds
    return len(documents) * speed / operations


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__.splitlines()[0], texts=512)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=[*ENGINES], help="which to measure")
    parser.add_argument("--model", default=SentenceTransformersModel().name, help="hub name or folder")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("es_semantic").setLevel(logging.INFO)
    documents = texts(given.texts, dataset=given.dataset, seed=given.seed)
    runs = candidates(documents, given.engines, given.model)
    encoder = SentenceTransformerEmbedder(SentenceTransformersModel(name=given.model, engine="torch"))._model
    limits: dict[str, Callable[[], float]] = {LIMIT: lambda: limit(encoder, documents)}
    speeds = medians(alternate({**runs, **limits}, given.rounds))
    reference = runs["encode"].vectors
    rows, ratios = [], {}
    for name, run in runs.items():
        near = cosines(run.vectors, reference)
        ratio = speeds[name] / speeds["encode"]
        rows.append([name, f"{speeds[name]:.1f}", f"{ratio:.2f}", f"{near.min():.6f}", f"{near.mean():.6f}"])
        if name != "encode":
            ratios[f"{name.replace('-', '_')}_vs_encode"] = round(ratio, 3)
        if name == "auto":
            ratios |= {"min_cosine": round(float(near.min()), 6), "mean_cosine": round(float(near.mean()), 6)}
    rows.append([LIMIT, f"{speeds[LIMIT]:.1f}", f"{speeds[LIMIT] / speeds['encode']:.2f}", "", ""])
    if "auto" in speeds:
        ratios["auto_vs_limit"] = round(speeds["auto"] / speeds[LIMIT], 3)
    columns = ["engine", "documents/s", "x encode", "min cosine", "mean cosine"]
    report("embedding", Rows(columns, rows), ratios, GOALS)


if __name__ == "__main__":
    main()
