"""YAML text → plain data whose every value still knows its line, with ``${NAME}`` filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import yaml

from es_semantic.errors import ConfigError

KeyPath = tuple[str | int, ...]

# Keys whose values are secrets wherever they stand; nothing below them is ever printed, not even a key.
SECRET_KEYS = frozenset({"api_key", "password"})

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}|\$\{")
_MERGE_TAG = "tag:yaml.org,2002:merge"
_TEXT_TAGS = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"}
_TYPED_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float")}


class Problem(NamedTuple):
    """One mistake: the line (from 1; 0 when it is not in the file), the key path, and what is wrong."""

    line: int
    path: KeyPath
    text: str


class Document(NamedTuple):
    """``data`` is ``{}`` for an empty file; ``root`` is its YAML node, for :func:`line_of`."""

    data: object
    root: yaml.Node | None
    problems: list[Problem]


def read_document(text: str, *, filename: str, env: Mapping[str, str]) -> Document:
    """Parse YAML 1.1 (safe types only) and expand references to environment variables in its values.

    In a string value ``${NAME}`` becomes the variable, ``${NAME:-default}`` the default where it is unset or empty,
    and ``$${`` a literal ``${``. An expanded value stays text, except that an unquoted one that comes out empty is
    null, as an empty value in YAML is. Keys are not expanded.

    Raises:
        ConfigError: this is not YAML. Everything else that is wrong is listed in ``problems``.
    """
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        builder = _Builder(loader, env)
        data = None if root is None else builder.build(root, ())
    except yaml.YAMLError as error:
        failure = _syntax_problem(error, text)
    except RecursionError:
        failure = Problem(1, (), "is nested too deeply")
    else:
        return Document({} if data is None else data, root, builder.problems)
    # Raised out here so that the original error, which quotes the file, does not travel along as its context.
    raise ConfigError(describe([failure], filename))


def describe(problems: list[Problem], filename: str) -> str:
    """One line per problem, in the order of the file: ``file:line: key.path: what is wrong``."""
    lines = []
    for line, path, text in sorted(problems, key=lambda problem: problem.line):
        place = f"{filename}:{line}: " if line else ""
        key = dotted(path)
        lines.append(f"{place}{key}: {text}" if key else f"{place}{text}")
    return "\n".join(dict.fromkeys(lines))


def dotted(path: KeyPath) -> str:
    """``("semantic_fields", 0, "model")`` → ``semantic_fields[0].model``; cut after the key of a secret."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        if part in SECRET_KEYS:
            break
    return text


def line_of(root: yaml.Node | None, path: KeyPath) -> int:
    """The line of the deepest part of ``path`` that the file has; 1 for an empty file."""
    line = 1
    node = root
    for part in path:
        entry = _entry(node, part)
        if entry is None:
            break
        line, node = entry[0].start_mark.line + 1, entry[1]
    return line


def _entry(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        # The last one wins: merged keys (<<) come first in a flattened mapping.
        return next((pair for pair in reversed(node.value) if pair[0].value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


class _Builder:
    """Turns nodes into data. Nodes are built once, so that aliases cost nothing and may form a loop."""

    def __init__(self, loader: yaml.SafeLoader, env: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._loader = loader
        self._env = env
        self._built: dict[int, object] = {}

    def build(self, node: yaml.Node, path: KeyPath) -> object:
        if id(node) not in self._built:
            if isinstance(node, yaml.MappingNode):
                self._mapping(node, path)
            elif isinstance(node, yaml.SequenceNode):
                items: list[object] = []
                self._built[id(node)] = items
                items.extend(self.build(item, (*path, number)) for number, item in enumerate(node.value))
            elif isinstance(node, yaml.ScalarNode):
                self._built[id(node)] = self._scalar(node, path)
        return self._built[id(node)]

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> None:
        result: dict[str, object] = {}
        self._built[id(node)] = result
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._report(key, path, "a key must be plain text; put quotes around a value that starts with { or [")
                return
            if key.value in seen:
                self._report(key, (*path, key.value), f"is given twice; first on line {seen[key.value]}")
            seen.setdefault(key.value, key.start_mark.line + 1)
        merging = next((key for key, _ in node.value if key.tag == _MERGE_TAG), None)
        try:
            self._loader.flatten_mapping(node)
        except yaml.constructor.ConstructorError:
            self._report(merging or node, path, "<< must be followed by a mapping or by a list of mappings")
            return
        for key, value in node.value:
            result[key.value] = self.build(value, (*path, key.value))

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> object:
        if node.tag in _TYPED_TAGS:
            try:
                return self._loader.construct_object(node)
            except (ValueError, KeyError, yaml.YAMLError):
                self._report(node, path, "is not what its tag (a leading !!) says; leave the tag out")
                return None
        if node.tag not in _TEXT_TAGS:
            self._report(node, path, "has a tag; put quotes around a value that starts with !")
            return None
        text = "".join(self._expand(node, path))
        return None if not text and node.value and node.style is None else text

    def _expand(self, node: yaml.ScalarNode, path: KeyPath) -> Iterator[str]:
        end = 0
        for match in _REFERENCE.finditer(node.value):
            yield node.value[end : match.start()]
            end = match.end()
            name, default = match["name"], match["default"]
            if match[0] == "$${":
                yield "${"
            elif name is None:
                self._report(node, path, "${ must begin ${NAME} or ${NAME:-default}; write $${ for a literal ${")
            elif default is not None:
                yield self._env.get(name) or default.removeprefix(":-")
            elif name in self._env:
                yield self._env[name]
            else:
                self._report(
                    node, path, f"the environment variable {name} is not set; set it or write ${{{name}:-default}}"
                )
        yield node.value[end:]

    def _report(self, node: yaml.Node, path: KeyPath, text: str) -> None:
        self.problems.append(Problem(node.start_mark.line + 1, path, text))


def _syntax_problem(error: yaml.YAMLError, text: str) -> Problem:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Problem(line, (), "not valid YAML: it holds a control character")
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Problem(1, (), "not valid YAML")
    # PyYAML quotes the names of aliases, anchors and tags; an unquoted password that starts with * & or ! is one.
    advice = r"\1; put quotes around a value that starts with * & or !"
    what = re.sub(r"\b(alias|anchor|handle) .*", advice, error.problem or "", flags=re.DOTALL)
    return Problem(error.problem_mark.line + 1, (), f"not valid YAML: {what}")
