"""Walk the standard library of the running interpreter. It imports everything: run it in a process of its own."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import pkgutil
import sys
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .docstrings import deprecated, read_docstring, since
from .signatures import signature_of

# Not documentation of the library, or dangerous or loud to import, or the private half of a public module.
_LEFT_OUT = {
    *("antigravity", "distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "this", "turtledemo"),
    *("xxlimited", "xxlimited_35", "xxsubtype"),
    *("genericpath", "nt", "ntpath", "nturl2path", "posix", "posixpath"),
    *("sre_compile", "sre_constants", "sre_parse"),
}
_TEST_FOLDERS = {"test", "tests"}
# A hundred generated tables, each with the same few words.
_WITHOUT_SUBMODULES = {"encodings"}


class _Found(NamedTuple):
    """A public object under one of its names; lower ``rank`` is a better name, ``alias`` one it was not born with."""

    rank: tuple[int, bool, int, str]
    module: str
    name: str
    thing: Any
    alias: bool


def write() -> None:
    """Write the documents to stdout as JSON lines, and end this process."""
    # Some modules print when they are imported, some from C: keep the real stdout for the documents alone.
    with os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n") as output:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        output.writelines(json.dumps(document) + "\n" for document in harvest())
    # Not a normal exit: what imported modules registered for it is not ours to run.
    os._exit(0)


def harvest() -> list[dict[str, Any]]:
    """Return the documents of :func:`es_semantic.demo.pydocs.collect`, sorted by id."""
    modules = _modules()
    documents = [_document(name, "module", name, "", module) for name, module in modules.items()]
    found = _canonical(modules)
    public_classes = {id(item.thing) for item in found if inspect.isclass(item.thing)}
    for item in found:
        if inspect.isclass(item.thing):
            documents.extend(_of_class(item.module, item.name, item.thing, public_classes))
        else:
            documents.append(_document(item.name, "function", item.module, item.name, item.thing))
    return _distinct([document for document in documents if document])


def _modules() -> dict[str, types.ModuleType]:
    """Every public module that can be imported here, by its public name."""
    modules: dict[str, types.ModuleType] = {}
    for root in sorted(sys.stdlib_module_names - _LEFT_OUT):
        for name in _importable(root):
            modules[name] = sys.modules[name]
    modules["os.path"] = sys.modules["os.path"]
    return modules


def _importable(name: str) -> Iterator[str]:
    last = name.rpartition(".")[2]
    if last.startswith("_") or last in _TEST_FOLDERS:
        return
    try:
        module = importlib.import_module(name)
    # A module may do anything while it is imported on a platform it was not made for, SystemExit included.
    except BaseException:
        return
    if not _of_the_library(module):
        return
    yield name
    if name not in _WITHOUT_SUBMODULES:
        for info in sorted(pkgutil.iter_modules(getattr(module, "__path__", ()))):
            yield from _importable(f"{name}.{info.name}")


def _of_the_library(module: types.ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return file is None or any(Path(file).is_relative_to(folder) for folder in library_folders())


@functools.cache
def library_folders() -> list[str]:
    """The folders that hold the standard library of this interpreter."""
    paths = sysconfig.get_paths()
    return sorted({paths["stdlib"], paths["platstdlib"]})


def _canonical(modules: dict[str, types.ModuleType]) -> list[_Found]:
    """Each public class and function once, under its best name."""
    best: dict[int, _Found] = {}
    for module in modules:
        for item in _public_names(module, modules):
            known = best.get(id(item.thing))
            if known is None or item.rank < known.rank:
                best[id(item.thing)] = item
    found = best.values()
    # socket.SocketType is only another name of the private parent of socket.socket, whose methods it would take.
    parents = {id(base) for item in found if inspect.isclass(item.thing) for base in item.thing.__mro__[1:]}
    kept = [item for item in found if not (item.alias and id(item.thing) in parents)]
    return sorted(kept, key=lambda item: (item.module, item.name))


def _public_names(module_name: str, modules: dict[str, types.ModuleType]) -> Iterator[_Found]:
    module = modules[module_name]
    exported = getattr(module, "__all__", None)
    for name in sorted(exported if exported is not None else vars(module)):
        thing = getattr(module, name, None)
        if name.startswith("_") or not (inspect.isclass(thing) or _is_function(thing)):
            continue
        home = getattr(thing, "__module__", None) or ""
        alias = name != getattr(thing, "__name__", name)
        if module_name == "builtins" or (exported is not None and f"{home}.".startswith(f"{module_name}.")):
            order = 0  # what a package exports of its own submodules: asyncio.run, not asyncio.runners.run
        elif home == module_name:
            order = 1
        elif exported is not None:
            order = 2
        elif home not in modules and not alias:
            order = 3  # of a C accelerator or another private module
        else:
            continue
        full = _full_name(module_name, name)
        yield _Found((order, alias, len(full), full), module_name, name, thing, alias)


def _is_function(thing: object) -> bool:
    return inspect.isroutine(thing) or isinstance(thing, functools._lru_cache_wrapper)


def _of_class(module: str, qualname: str, cls: type, public: set[int]) -> Iterator[dict[str, Any] | None]:
    kind = "exception" if issubclass(cls, BaseException) else "class"
    yield _document(qualname.rpartition(".")[2], kind, module, qualname, cls)
    for name, member in sorted(_members(cls, public).items()):
        if inspect.isclass(member):
            if id(member) not in public and member.__qualname__ == f"{cls.__qualname__}.{name}":
                yield from _of_class(module, f"{qualname}.{name}", member, public)
        elif member_kind := _kind_of_member(member):
            yield _document(name, member_kind, module, f"{qualname}.{name}", member)


def _members(cls: type, public: set[int]) -> dict[str, Any]:
    """Its own public members, and those of bases that have no public name, such as ``_socket.socket``."""
    members: dict[str, Any] = {}
    elsewhere = {base for parent in cls.__mro__[1:] if id(parent) in public for base in parent.__mro__}
    for base in cls.__mro__:
        if base not in elsewhere:
            for name, member in vars(base).items():
                if not name.startswith("_"):
                    members.setdefault(name, member)
    return members


def _kind_of_member(member: object) -> str | None:
    if isinstance(member, property | functools.cached_property) or inspect.isdatadescriptor(member):
        return "property"
    if isinstance(member, staticmethod | classmethod) or _is_function(member):
        return "method"
    return None


def _document(name: str, kind: str, module: str, qualname: str, thing: Any) -> dict[str, Any] | None:
    texts = (read_docstring(docstring, getattr(thing, "__name__", name)) for docstring in _docstrings(thing))
    if (text := next(filter(None, texts), None)) is None:
        return None
    everything = f"{text.summary}\n{text.body}"
    versions = {"since": since(everything), "deprecated": deprecated(everything)}
    return {
        "id": _full_name(module, qualname),
        "name": name.rpartition(".")[2],
        "kind": kind,
        "module": module,
        "qualname": qualname,
        "signature": _signature(thing, kind) or text.signature,
        "summary": text.summary,
        "body": text.body,
        **{key: version for key, version in versions.items() if version},
    }


def _docstrings(thing: Any) -> Iterator[str]:
    docstrings = [getattr(thing, "__doc__", None)]
    if inspect.isclass(thing):
        # Only its own text (getattr would find its parent's), or what it says of its constructor.
        constructor = vars(thing).get("__init__")
        docstrings = [vars(thing).get("__doc__"), constructor.__doc__ if inspect.isfunction(constructor) else None]
    return (docstring for docstring in docstrings if isinstance(docstring, str))


def _full_name(module: str, qualname: str) -> str:
    if module == "builtins":
        return qualname or module
    return f"{module}.{qualname}" if qualname else module


def _signature(thing: Any, kind: str) -> str | None:
    if kind in ("module", "property"):
        return None
    if isinstance(thing, staticmethod | classmethod):
        thing = thing.__func__
    return signature_of(thing)


def _distinct(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep of documents with the same words the one with the shortest id, and sort by id."""
    # unittest.main is a module and a class; what the name gives a programmer is the class, so it goes last and wins.
    by_id = {document["id"]: document for document in sorted(documents, key=lambda one: one["kind"] != "module")}
    by_words: dict[tuple[str, str], dict[str, Any]] = {}
    for _, document in sorted(by_id.items(), key=lambda item: (len(item[0]), item[0])):
        by_words.setdefault((document["summary"], document["body"]), document)
    return sorted(by_words.values(), key=lambda document: str(document["id"]))
