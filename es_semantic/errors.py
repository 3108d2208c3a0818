"""Every exception that es-semantic raises on purpose.

::

    EsSemanticError
    ├── UsageError             the call or the command line is wrong (exit 2)
    │   ├── ConfigError        es-semantic.yml is wrong: file, line, what is allowed
    │   └── InvalidQuery       the query cannot be searched for
    │       └── InvalidRetriever  a part of the retriever tree cannot be used
    ├── ClusterError           Elasticsearch said no, or could not be asked
    │   ├── Unreachable        no answer from any URL
    │   ├── NotElasticsearch   something else answers there
    │   ├── UnsupportedVersion the server is older than we support
    │   ├── Forbidden          a privilege is missing (401, 403)
    │   ├── IndexUnavailable   no such index, or it is closed or read-only
    │   └── RequestFailed      any other refusal, with Elasticsearch's own reason
    ├── ControlDamaged         what es-semantic keeps in the cluster was edited by somebody else
    ├── TooManyFailures        a sync stopped because too many documents fail (exit 4)
    ├── JobTaken               another run of the same job goes on in this one's place
    ├── JobStopped             a re-indexed copy is not what its source is; nothing was switched (exit 4)
    ├── NodeError              the local node could not be fetched, started or stopped
    ├── SchemaError            this index cannot take this semantic field; nothing was changed
    │   ├── NotAttached        the index has no semantic field of that name
    │   └── BindingConflict    it has one already, with another model or other fields
    └── ModelError
        ├── MissingExtra       an optional dependency is not installed
        ├── ModelUnavailable   the model cannot be loaded, or its provider does not answer
        │   └── Overloaded     too many texts wait for it already
        ├── InputRejected      the model refuses this text; another text may pass
        ├── BadVector          the model returned something that is not a usable vector
        ├── FingerprintMismatch  query and index would use different models
        └── RerankerError      a reranker's answer or its settings are of no use
            └── RerankerUnavailable  it is down, overloaded or too slow
"""

from __future__ import annotations


class EsSemanticError(Exception):
    """Base of all errors raised on purpose.

    ``what`` says what happened and to which index, document or file; ``hint`` says what to do next.
    Neither may hold a secret: both are printed and logged.
    """

    exit_code = 1

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n{self.hint}" if self.hint else self.what


class UsageError(EsSemanticError):
    """The call or the command line is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """The configuration file is wrong; the text names file and line."""


class InvalidQuery(UsageError):
    """The query text, a filter or a size cannot be used."""


class InvalidRetriever(InvalidQuery):
    """A retriever tree is malformed, or Elasticsearch refuses a part of it.

    ``path`` leads to that part (``rrf.retrievers[1].knn.k``); ``type`` and ``reason`` are as Elasticsearch has them.
    """

    def __init__(self, path: str, type: str, reason: str, *, hint: str = "") -> None:
        super().__init__(f"{path}: {reason}" if path else reason, hint=hint)
        self.path = path
        self.type = type
        self.reason = reason


class ClusterError(EsSemanticError):
    """Elasticsearch refused a request or could not be asked.

    ``status`` is the HTTP status (None when nothing answered), ``error_type`` Elasticsearch's name for the error.
    """

    def __init__(self, what: str, *, status: int | None = None, error_type: str = "", hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.status = status
        self.error_type = error_type


class Unreachable(ClusterError):
    """No configured URL answered."""


class NotElasticsearch(ClusterError):
    """Something that is not Elasticsearch answers at the URL."""


class UnsupportedVersion(ClusterError):
    """The server is older than es-semantic supports."""


class Forbidden(ClusterError):
    """The credentials are wrong or lack a privilege (HTTP 401 and 403)."""


class IndexUnavailable(ClusterError):
    """The index does not exist, is closed, or is read-only."""


class RequestFailed(ClusterError):
    """Any other refusal, with Elasticsearch's own reason."""


class ControlDamaged(EsSemanticError):
    """A document of the control index, or the setting that remembers held-back ones, was edited: it is not trusted."""


class TooManyFailures(EsSemanticError):
    """A sync stopped because so many documents fail that something else than these documents must be wrong."""

    exit_code = 4


class JobTaken(EsSemanticError):
    """Another run of the same job goes on in this one's place."""


class JobStopped(EsSemanticError):
    """What was to take something's place is not as good, and cannot become so: nothing was switched."""

    exit_code = 4


class NodeError(EsSemanticError):
    """The local node could not be fetched, started or stopped."""


class SchemaError(EsSemanticError):
    """The index cannot take the semantic field; nothing was changed."""


class NotAttached(SchemaError):
    """The index has no semantic field of that name."""


class BindingConflict(SchemaError):
    """The index has a semantic field of that name with another definition."""


class ModelError(EsSemanticError):
    """An embedding model or a reranker failed."""


class MissingExtra(ModelError):
    """An optional dependency is not installed; the hint is the exact install command."""


class ModelUnavailable(ModelError):
    """The model cannot be loaded, or its provider does not answer."""


class Overloaded(ModelUnavailable):
    """Too many texts wait for the model already; a little later it may take more."""


class InputRejected(ModelError):
    """The model refuses one of the given texts; others may pass."""


class BadVector(ModelError):
    """The model returned a vector that is non-finite, zero or of the wrong size."""


class FingerprintMismatch(ModelError):
    """The query's model is not the model that made the index's vectors."""


class RerankerError(ModelError):
    """A reranker cannot be used as configured, refuses the request, or answered with something else than scores."""


class RerankerUnavailable(RerankerError):
    """A reranker is down, overloaded, or took longer than it may; later it may answer."""
