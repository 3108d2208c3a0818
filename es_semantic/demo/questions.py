"""Questions that a programmer would ask of the standard library's documentation.

Chosen so that neither BM25 nor kNN answers all of them: some hold the very word of the answer, some say it in other
words, some need both.
"""

QUESTIONS: tuple[str, ...] = (
    "run a function later without blocking",
    "split a path into folder and file name",
    "how many processors does this computer have",
    "chmod",
    "Ascii85 encoding",
    "evaluate a literal without executing code",
    "strip the extension from a filename",
    "work out the square root exactly for whole numbers",
)
