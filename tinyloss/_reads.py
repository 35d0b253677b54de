"""What a function reads besides its arguments: globals, closures, attributes of these.

A recorded formula is valid only while these have the values of its recording. So the names that a
user's function reads are found in its bytecode, once. Their values are looked up at each call and
are part of the formula's key.
"""

import builtins
import dis
import sys
import sysconfig
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from enum import Enum
from functools import partial
from numbers import Real
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from tinyloss._formula import exact

_PLAIN = (bool, int, float, str, type(None))


class Changing(NamedTuple):
    """A value that may change without a change of its key."""

    name: str
    kind: str


class _Read(NamedTuple):
    """A name that a function looks up, and attributes of what it finds."""

    root: str
    """Where the name is: "global", "cell", or "self" for a method's object."""
    name: str
    attributes: tuple[str, ...]


class Reads:
    """The values that functions read, and their parameters, at this moment."""

    def __init__(self, functions: Iterable[Callable[..., Any]], params: Mapping[str, Any]) -> None:
        self._home: str | None = None
        self._seen: set[int] = set()
        self._found: list[Hashable] = []
        self._watched: list[tuple[_Read, FunctionType, Any, Any]] = []
        self._steady = True
        for function in functions:
            self._visit(function)
        self._given = tuple(params.values())
        self.params = tuple([self._key(name, value) for name, value in params.items()])
        """A key of each parameter; `Changing` for an object that may change."""
        self.state = tuple(self._found)
        """A key of all that is read, also by functions of the same package."""

    def hold(self, params: Mapping[str, Any]) -> bool:
        """Return whether all values are still the same objects; False where that is not enough."""
        if not self._steady or len(params) != len(self._given):
            return False
        for value, before in zip(params.values(), self._given, strict=True):
            if value is not before:
                return False
        for read, function, bound, before in self._watched:
            if _look_up(read, function, bound) is not before:
                return False
        return True

    @property
    def changing(self) -> list[Changing]:
        """What was read and may change without a change of its key."""
        return [each for each in self._found if isinstance(each, Changing)]

    def _key(self, name: str, value: Any) -> Any:
        kind: Any = value.__class__
        if kind in _PLAIN or isinstance(value, (Real, Enum)):
            return exact(value)
        if issubclass(kind, (tuple, frozenset)):
            return tuple([self._key(name, each) for each in value])
        if isinstance(value, (type, ModuleType)):
            return value
        if isinstance(value, BuiltinFunctionType) and _is_free(value):
            return value
        if issubclass(kind, (FunctionType, MethodType, partial)):
            self._visit(value)
            return value
        if not hasattr(kind, "__array__") and not hasattr(kind, "__dlpack__"):
            hashed: Any = kind.__hash__
            if hashed is object.__hash__ and callable(value) and not self._is_home(kind.__module__):
                return value  # a library's function that is an object, such as a ufunc
            if hashed is not None and hashed is not object.__hash__:
                self._steady = False  # the same object may come to equal others
                return exact(value)
        changing = Changing(name, kind.__name__)
        self._found.append(changing)
        return changing

    def _is_home(self, module: str) -> bool:
        package = module.partition(".")[0]
        if self._home is None:  # of code in no module it is ""
            self._home = package
        return package == self._home or not _is_installed(package)

    def _visit(self, function: Any) -> None:
        """Add what a function reads, if it is of the first function's package."""
        bound: Any = None
        if isinstance(function, partial):
            given = (*function.args, *function.keywords.values())
            self._found.append(self._key("what functools.partial holds", given))
            self._visit(function.func)
            return
        if not isinstance(function, FunctionType):
            method: Any = function if isinstance(function, MethodType) else type(function).__call__
            bound = function.__self__ if isinstance(function, MethodType) else function
            function = getattr(method, "__func__", method)
        if not isinstance(function, FunctionType) or id(function) in self._seen:
            return
        self._seen.add(id(function))
        if not self._is_home(function.__module__ or ""):
            return
        for read in _reads(function):
            found = _look_up(read, function, bound)
            self._watched.append((read, function, bound, found))
            if found is not _NOTHING:
                name = ".".join((read.name, *read.attributes))
                self._found.append(self._key(name, found))


def _is_installed(package: str) -> bool:
    """Return whether a package is Python's own or installed, so that it does not change."""
    if package in ("__main__", "tinyloss"):
        return package == "tinyloss"
    found = getattr(sys.modules.get(package), "__file__", None)
    places = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    return found is None or any(Path(place) in Path(found).parents for place in places)


def _is_free(function: BuiltinFunctionType) -> bool:
    """Return whether a function of C is bound to no object, which might change."""
    return function.__self__ is None or isinstance(function.__self__, ModuleType)


_NOTHING = object()


def _look_up(read: _Read, function: FunctionType, bound: Any) -> Any:
    if read.root == "global":
        default = vars(builtins).get(read.name, _NOTHING)
        value = function.__globals__.get(read.name, default)
    elif read.root == "self":
        value = bound
    else:
        cell = (function.__closure__ or ())[function.__code__.co_freevars.index(read.name)]
        try:
            value = cell.cell_contents
        except ValueError:  # not yet filled
            return _NOTHING
    for attribute in read.attributes:
        value = getattr(value, attribute, _NOTHING)
    return value


_known: WeakKeyDictionary[FunctionType, tuple[_Read, ...]] = WeakKeyDictionary()


def _reads(function: FunctionType) -> tuple[_Read, ...]:
    reads = _known.get(function)
    if reads is None:
        code = function.__code__
        method = "." in function.__qualname__.rpartition("<locals>.")[2]
        own = code.co_varnames[0] if method and code.co_argcount else None
        reads = tuple(dict.fromkeys(_walk(code, frozenset(code.co_freevars), own)))
        _known[function] = reads
    return reads


def _walk(code: CodeType, free: frozenset[str], own: str | None) -> Iterator[_Read]:
    """Yield what code reads; `own` is the name of a method's first argument."""
    instructions = list(dis.get_instructions(code))
    for number, each in enumerate(instructions):
        # Python 3.13 may load two variables by one instruction
        argument: Any = each.argval
        name: Any = argument[-1] if "_LOAD_" in each.opname else argument
        if each.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            root = "global"
        elif (
            name == own and own is not None and each.opname.startswith(("LOAD_FAST", "LOAD_DEREF"))
        ):
            root = "self"
        elif each.opname.startswith("LOAD_DEREF") and name in free:
            root = "cell"
        else:
            continue
        attributes: list[str] = []
        for following in instructions[number + 1 :]:
            if following.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
                break
            attributes.append(following.argval)
        yield _Read(root, name, tuple(attributes))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _walk(constant, free, own)
