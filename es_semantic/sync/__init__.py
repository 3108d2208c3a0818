"""Keep vectors true: find what changed, embed it, write it."""
