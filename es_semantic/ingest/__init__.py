"""Files and records become chunks in an index: read, converted, cut, written, and followed when they change."""
