"""Several ranked lists become one: pure functions over (key, score) lists."""
