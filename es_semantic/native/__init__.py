"""Elastic's own ``semantic_text``, embedded by ``es-semantic serve``: what a licence above Basic allows."""
