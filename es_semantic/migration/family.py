"""The fields that stand for one name while its model is being changed."""

from __future__ import annotations

from dataclasses import dataclass

from es_semantic.cluster.capabilities import server_version
from es_semantic.cluster.steps import Steps
from es_semantic.config import DEFAULT_FIELD_NAME
from es_semantic.schema.binding import Binding, Bindings, generation, number_of, read_bindings
from es_semantic.schema.target import Target, resolve


@dataclass(frozen=True, slots=True)
class Family:
    """What stands for ``name``: the field that is ``serving``, and a newer or an older one beside it.

    ``prepared`` has been made for another model and may serve next; ``before`` is the one that served until the switch.
    """

    target: Target
    bindings: Bindings
    name: str
    serving: str
    prepared: str | None = None
    before: str | None = None

    @property
    def leaving(self) -> list[str]:
        """Fields of the name whose values are being removed."""
        return [field for field, name in self.bindings.leaving.items() if name == self.name]

    @property
    def beside(self) -> str | None:
        """The field beside the one that serves, None where it is alone."""
        return self.prepared or self.before

    def command(self, step: str = "") -> str:
        """Return the command line of a step."""
        option = "" if self.name == DEFAULT_FIELD_NAME else f"--name {self.name}"
        return " ".join(filter(None, ("es-semantic migrate", self.target.name, step, option)))

    def binding(self, field: str) -> Binding:
        """Return the binding of one of the fields."""
        return self.bindings.fields[field]

    def next_place(self) -> str:
        """Return the place of the name's next field: one that nothing in the mapping has, nor ever had from us."""
        states = self.target.indices.values()
        taken = {field for state in states for field in state.mapping.get("properties", {})} | self.bindings.hidden()
        number = number_of(self.name, self.serving) + 1
        while generation(self.name, number) in taken:
            number += 1
        return generation(self.name, number)


def look(index: str, name: str) -> Steps[Family]:
    """Look up the fields that stand for a name.

    Raises:
        NotAttached: there is no semantic field of that name.
        IndexUnavailable, SchemaError: there is no such index, or the name stands for several.
    """
    yield from server_version()
    target = yield from resolve(index)
    bindings = read_bindings(target.mapping, index=target.name)
    bindings.one(name, index=target.name)
    known = bindings.name_of(bindings.place(name))
    serving = bindings.place(known)
    here = number_of(known, serving)
    beside = {number_of(known, field): field for field in bindings.beside(serving)}
    newer = next((field for number, field in sorted(beside.items()) if number > here), None)
    older = next((field for number, field in sorted(beside.items()) if number < here), None)
    return Family(target, bindings, known, serving, newer, older)
