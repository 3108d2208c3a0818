"""Which engine serves: a pure decision over what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MIN_COSINE = 0.9999
"""The least cosine to float32 torch, over all probe texts, of an engine that may be used unasked."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What an engine did on the probe texts. ``refusal`` is the reason why it could not run at all, else empty.

    ``speed`` is texts a second; the cosines are to the vectors of torch in float32.
    """

    name: str
    speed: float = 0.0
    min_cosine: float = 0.0
    mean_cosine: float = 0.0
    refusal: str = ""

    @property
    def problem(self) -> str:
        """Why the engine may not be used; empty if it may."""
        if self.refusal:
            return self.refusal
        # Written so that NaN is refused too.
        if not self.min_cosine >= MIN_COSINE:
            return f"its vectors deviate from torch in float32: min cosine {self.min_cosine:.6f}, wanted {MIN_COSINE}"
        return ""


def fastest(reference: Trial, others: Sequence[Trial]) -> str:
    """Return the name of the fastest engine that may be used; the reference wins a tie and is never refused."""
    usable = [reference, *(trial for trial in others if not trial.problem)]
    return max(usable, key=lambda trial: trial.speed).name
