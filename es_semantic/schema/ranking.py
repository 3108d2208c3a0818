"""How the legs of a hybrid query are fused, as kept in the binding: what was tuned for this index."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Normalizer = Literal["none", "minmax", "l2_norm"]

MAX_WEIGHT = 1_000.0


class Ranking(BaseModel):
    """The fusion of a hybrid query's legs, ``bm25`` and ``knn``.

    ``rrf`` uses ``rank_constant`` and the weights, ``linear`` the ``normalizer`` and the weights, ``auto`` neither:
    it looks at the scores of each query (docs/fusion.md). A leg without a weight has 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: Literal["auto", "rrf", "linear"] = "auto"
    weights: dict[Literal["bm25", "knn"], float] = {}
    rank_constant: int = Field(default=60, ge=1)
    normalizer: Normalizer = "minmax"

    @field_validator("weights")
    @classmethod
    def _usable_weights(cls, weights: dict[str, float]) -> dict[str, float]:
        if any(not 0 <= weight <= MAX_WEIGHT for weight in weights.values()):
            raise ValueError(f"weights must be between 0 and {MAX_WEIGHT:,.0f}")
        if len(weights) == 2 and not any(weights.values()):
            raise ValueError("at least one leg must have a weight above 0")
        return weights

    def __hash__(self) -> int:
        # A mapping has no hash of its own.
        return hash((self.method, frozenset(self.weights.items()), self.rank_constant, self.normalizer))

    def weight(self, leg: Literal["bm25", "knn"]) -> float:
        """Return the weight of a leg; 1 where none is given."""
        return self.weights.get(leg, 1.0)
