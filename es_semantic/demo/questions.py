"""Questions that a programmer would ask of the standard library's documentation.

Chosen so that neither BM25 nor kNN answers all of them: some hold the very word of the answer, some say it in other
words, some need both.
"""

QUESTIONS: tuple[str, ...] = (
    "run a function later without blocking",
    "split a path into folder and file name",
    "JSONDecodeError",
    "how many processors does this computer have",
    "keep only the most recent results of an expensive function",
    "count how often each item occurs",
    "strip the extension from a filename",
    "wait until several threads have reached the same point",
)
