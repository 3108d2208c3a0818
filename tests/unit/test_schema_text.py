"""The text that is embedded, by example; the property test on a real node is tests/integration/test_hash_parity.py."""

from __future__ import annotations

import decimal
import hashlib
from typing import Any

import pytest

from es_semantic.schema.text import is_blank, source_text, text_hash


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is \n", "as it is \n"),
        ("", ""),
        (None, ""),
        ({"inner": "object"}, ""),
        ([], ""),
        (["one", "two"], "one\ntwo"),
        (["one", None, {"inner": "x"}, "two"], "one\ntwo"),
        (["", ""], "\n"),
        ([["deep", ["deeper"]], "flat"], "deep\ndeeper\nflat"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-7, "-7"),
        (123456789012345678901234567890, "123456789012345678901234567890"),
        (1.0, "1"),
        (2.50, "2.5"),
        (-0.0, "0"),
        (1e5, "100000"),
        (1.5e-7, "0.00000015"),
        (1e22, "10000000000000000000000"),
        (0.1, "0.1"),
        (1 / 3, "0.3333333333333333"),
        (5e-324, "0." + 323 * "0" + "49"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        ("\U0001f600", "\U0001f600"),
        ("a\ud800b\udc00", "a?b?"),
        ("\x00\ufeff\u2028", "\x00\ufeff\u2028"),
    ],
)
def test_one_value(value: Any, text: str) -> None:
    assert source_text({"title": value}, ["title"]) == text


def test_fields_are_joined_in_the_order_asked_for() -> None:
    source = {"body": "second", "title": "first", "unused": "never"}
    assert source_text(source, ["title", "body"]) == "first\nsecond"
    assert source_text(source, ["body", "title"]) == "second\nfirst"
    assert source_text(source, ["missing", "title"]) == "first"
    assert source_text({}, ["title", "body"]) == ""


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ({"a": {"b": {"c": "x"}}}, "x"),
        ({"a.b.c": "x"}, "x"),
        ({"a.b": {"c": "x"}}, "x"),
        ({"a": {"b.c": "x"}}, "x"),
        ({"a.b.c": "4", "a": {"b.c": "2", "b": {"c": "1"}}, "a.b": {"c": "3"}}, "1\n2\n3\n4"),
        ({"a": [{"b": {"c": "x"}}, {"b": [{"c": "y"}, {"c": ["z"]}]}, "none", None]}, "x\ny\nz"),
        ({"a": {"b": "not an object"}}, ""),
        ({"a": {"b": {"c": {"d": "too deep"}}}}, ""),
    ],
)
def test_a_path_goes_through_objects_arrays_and_dotted_keys(source: dict[str, Any], text: str) -> None:
    assert source_text(source, ["a.b.c"]) == text


def test_arrays_may_nest_deeper_than_python_can_call_itself() -> None:
    nested: Any = "deep"
    for _ in range(5000):
        nested = [nested]
    assert source_text({"title": nested}, ["title"]) == "deep"


def test_the_callers_decimal_context_does_not_matter() -> None:
    with decimal.localcontext() as context:
        context.prec = 3
        assert source_text({"price": 1234.5678}, ["price"]) == "1234.5678"


def test_the_hash_is_sha_256_of_utf_8() -> None:
    assert text_hash("é\U0001f600") == hashlib.sha256(b"\xc3\xa9\xf0\x9f\x98\x80").hexdigest()
    assert text_hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("text", "blank"),
    [("", True), (" \t\r\n", True), ("\x00\x1f", True), ("x", False), ("\u00a0", False), ("\x7f", False), ("0", False)],
)
def test_blank_is_what_javas_trim_leaves_nothing_of(text: str, blank: bool) -> None:
    assert is_blank(text) is blank
