"""Languages, and Elasticsearch's built-in analysers for them (Elastic docs, "Language analyzers")."""

from __future__ import annotations

ANALYZERS = {
    "ar": "arabic",
    "bg": "bulgarian",
    "bn": "bengali",
    "ca": "catalan",
    "ckb": "sorani",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "gl": "galician",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "ja": "cjk",
    "ko": "cjk",
    "lt": "lithuanian",
    "lv": "latvian",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "pt-br": "brazilian",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "th": "thai",
    "tr": "turkish",
    "zh": "cjk",
}
"""By ISO 639-1 code (``ckb`` is Central Kurdish in ISO 639-3). Every supported server has all of them, from 8.14 on."""


def language_of(code: str) -> str:
    """Return the key of :data:`ANALYZERS` for a language code; regions and scripts may follow (``zh-Hant``, ``en_US``).

    Raises:
        ValueError: no such language; the text says which there are, and does not hold the code.
    """
    known = code.strip().lower().replace("_", "-")
    primary = known.partition("-")[0]
    # Norwegian's two written languages have codes of their own; the analyser knows the stop words of both.
    primary = "no" if primary in ("nb", "nn") else primary
    for candidate in (known, primary):
        if candidate in ANALYZERS:
            return candidate
    raise ValueError(f"must be one of {', '.join(ANALYZERS)}")
