"""What all sections of ``es-semantic.yml`` are made of."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError


class Settings(BaseModel):
    """Base of all sections: unknown keys are errors, values are immutable.

    A key with no value (null) counts as not given. ``repr`` names the keys that were given and none of their values,
    because any of them may have come out of the environment.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(sorted(self.model_fields_set))})"

    __str__ = __repr__


def problem(text: str, *at: str | int) -> PydanticCustomError:
    """An error of a whole section that belongs at the key path ``at`` below it; ``text`` must hold no value."""
    return PydanticCustomError("section", "{text}", {"text": text, "at": at})


def _plain_url(url: str) -> str:
    wrong = ValueError("must be an http:// or https:// URL")
    try:
        parts = urlsplit(url)
        readable = parts.port is None or parts.port > 0
    except ValueError:
        # urllib's own text quotes the part it cannot read, which may be half of a password.
        raise wrong from None
    if not readable or parts.scheme not in ("http", "https") or not parts.hostname or any(map(str.isspace, url)):
        raise wrong
    if parts.username or parts.password:
        raise ValueError("must not carry a user name or password; use the keys made for them")
    if parts.query or parts.fragment:
        raise ValueError("must not carry a query (?) or a fragment (#)")
    return url.rstrip("/")


def not_a_bool(value: Any) -> Any:
    """Refuse true and false where a number is wanted."""
    # To Python, and so to pydantic, true is the number 1; in a file it is a mistake.
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


Url = Annotated[str, AfterValidator(_plain_url)]
Whole = Annotated[int, BeforeValidator(not_a_bool)]
Seconds = Annotated[float, Field(gt=0), BeforeValidator(not_a_bool)]
Urls = Annotated[
    Annotated[Url, Tag("one")] | Annotated[list[Url], Tag("several"), Field(min_length=1)],
    # Without a discriminator, pydantic reports every wrong URL once for each side of the union.
    Discriminator(lambda url: "several" if isinstance(url, list) else "one"),
]
