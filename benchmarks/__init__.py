"""Side-by-side measurements: ``python -m benchmarks.NAME`` compares in one run and ends with one line of JSON."""
