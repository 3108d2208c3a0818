"""The texts by which an engine is judged: short and long, many scripts, digits, code, emoji, control characters."""

# ruff: noqa: RUF001  (letters that look like others are the point of these texts)
from __future__ import annotations

import random

_SHORT = (
    "search",
    "a",
    "The index is read-only.",
    "How do I reset my password?",
    "42",
    "3.14159, 1e-9, 0x7f, 1_000_000 and -273.15 °C",
    "2024-02-29T23:59:60Z",
    "+49 (0)30 1234567-89",
    "ERROR 503: Service Unavailable!!!",
    "def add(a: int, b: int = 0) -> int: return a + b",
    "SELECT name FROM users WHERE id = 7 OR 1=1; --",
    "https://example.org/a/b?c=d&e=%20f#g",
    "user.name+tag@example.com",
    "C:\\Windows\\System32\\drivers\\etc\\hosts",
    "a\tb\nc\r\nd\x00e\u200bf",
    "?",
    "🙂🚀",
    "Great product 👍🏽, would buy again ❤️",
    "👩‍👩‍👧‍👦 family",
    "𝕳𝖊𝖑𝖑𝖔 𐍈 𠜎",
    "naïve café façade Ångström",
    "cafe\u0301 and café",
    "ﬁnal ½ ™ Ⅷ",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
)

_LANGUAGES = (
    "Der schnelle braune Fuchs springt über den faulen Hund, und niemand auf der Straße sieht ihm dabei zu.",
    "La recherche sémantique trouve ce que l'on veut dire, même quand les mots diffèrent.",
    "¿Dónde está la biblioteca? Queda a la vuelta de la esquina, junto a la estación.",
    "A pesquisa devolve os documentos mais próximos da pergunta.",
    "Il gatto dorme sul divano mentre fuori piove.",
    "Быстрая коричневая лиса перепрыгивает через ленивую собаку.",
    "Η αναζήτηση βρίσκει γρήγορα έγγραφα που μοιάζουν με την ερώτηση όλων των χρηστών.",
    "البحث الدلالي يجد الوثائق القريبة من معنى السؤال.",
    "חיפוש סמנטי מוצא מסמכים לפי משמעות.",
    "語意搜尋會找到意思相近的文件。",
    "意味の近い文書を探します。カタカナとひらがな。",
    "의미가 비슷한 문서를 찾습니다.",
    "अर्थ के आधार पर खोज करना उपयोगी है।",
    "การค้นหาเชิงความหมาย",
    "Tìm kiếm ngữ nghĩa rất hữu ích.",
    "Anlamsal arama İstanbul'da da çalışır.",
)

_PASSAGE = (
    "A shard that has been moved to another node keeps its documents, but the node must first copy every segment "
    "before it may answer a search. While the copy runs, writes go to both places, so nothing is lost if it dies. "
    "When it is finished, the cluster state says so, the old copy is deleted, and requests follow the new route. "
)

PROBES: tuple[str, ...] = (
    *_SHORT,
    *_LANGUAGES,
    _PASSAGE,
    _PASSAGE[:120],
    " ".join(_LANGUAGES[:4]),
    " ".join(_LANGUAGES[9:12]),
    "mixed: " + " | ".join(_SHORT[:12]),
    _PASSAGE * 2,
    "Over the window of most small models. " + _PASSAGE * 9,
    "word " * 600,
)
"""48 texts. The last two are longer than a window of 512 tokens."""


def calibration_texts(count: int = 128) -> list[str]:
    """Return texts from which int8 learns the ranges of a model's activations: words of the probes in another order.

    Always the same texts, so that the same model becomes the same int8 model on every machine.
    """
    draw = random.Random(8)
    words = [word for text in PROBES[:-2] for word in text.split()]
    return [" ".join(draw.choices(words, k=draw.choice((1, 4, 12, 40, 120, 200)))) for _ in range(count)]
