"""Queries: one request with every leg, fused ranks, and hits that tell where they come from."""
