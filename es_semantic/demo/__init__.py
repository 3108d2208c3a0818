"""What ``es-semantic demo`` searches: the documentation of Python's own standard library, and questions to it."""
