"""Judged queries to metrics, comparisons and tuned rankings; what ranks is in ``retrieval``."""
