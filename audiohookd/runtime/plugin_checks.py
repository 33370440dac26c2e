"""Finds mistakes in the classes of a plugin that no call would show: callbacks that are never called, or wrongly."""

import difflib
import dis
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import CodeType, FunctionType, ModuleType
from typing import Any

from twisted.application.service import IService
from zope.interface.interface import InterfaceClass, Method

from audiohookd.interfaces import IAdmission, IAudioSink, ICarrier, INotifier, IPlugin, ISessionObserver

#: Classes of these distributions are not the plugin's own.
_FOREIGN = frozenset({"audiohookd", "twisted", "zope", "builtins", "abc", "typing"})
#: What other frameworks put around the name of an event.
_PREFIXES = ("on", "handle")
_SUFFIXES = ("received", "event", "callback", "handler")
#: How much alike two names are, 0 to 1, when one is a misspelling of the other.
_ALIKE = 0.85
#: Names of methods that are near to a callback's and are words of their own.
_WORDS = frozenset(
    {"open", "opens", "opening", "close", "closes", "closer", "losing", "notified", "play"}
    | {"pause", "pauses", "resume", "resumes"}
)
#: Where descriptors have the functions that they are made of.
_FUNCTIONS_OF: Mapping[type, Sequence[str]] = {
    property: ("fget", "fset", "fdel"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    cached_property: ("func",),
}
#: Names by which a method sets attributes that its code does not name.
_SETTERS = frozenset({"setattr", "__dict__", "vars"})
#: What calls of a service are for; the rest of IService is not overridden.
_SERVICE = ("startService", "stopService")


def mistakes_of_plugin(plugin: Any) -> Iterator[str]:
    """One line for each mistake in the class of ``plugin``, and in the observer classes of its module."""
    own = _own_functions(type(plugin))
    for interface in (IAdmission, ICarrier, INotifier, IService):
        if not interface.providedBy(plugin):
            remedy = f"decorate the class with @implementer(IPlugin, {interface.__name__})"
            yield from _undeclared(type(plugin), own, interface, remedy)
    known = {**_methods(IPlugin, IAdmission, ICarrier, INotifier), **_methods(IService, only=_SERVICE)}
    yield from _near_misses(type(plugin), own, known)
    observe = own.get("observe")
    if observe is not None and (inspect.iscoroutinefunction(observe) or inspect.isgeneratorfunction(observe)):
        yield f"{_place(type(plugin), observe)} must return the observer at once: no async def, no yield"
    for observer in _observer_classes(sys.modules.get(type(plugin).__module__)):
        yield from _missing(observer)
        yield from mistakes_of_observer(observer)


def mistakes_of_observer(observer: type) -> Iterator[str]:
    """One line for each mistake in a class that implements ISessionObserver, but for methods that it lacks."""
    own, known = _own_functions(observer), _methods(IAudioSink)
    declared = _declared(observer)
    if declared is ISessionObserver:
        yield from _undeclared(observer, own, IAudioSink, "derive the class from audiohookd.observer.AudioSink")
    for name, method in _methods(declared).items():
        if name in own:
            yield from _wrong_callback(observer, own[name], method)
    yield from _near_misses(observer, own, known)


def _missing(observer: type) -> Iterator[str]:
    declared = _declared(observer)
    for name, method in _methods(declared).items():
        if not hasattr(observer, name) and not _is_set_later(observer, name):
            yield f"{_place(observer)} implements {declared.__name__} and has no {name}: write {_header(method)}"


def _declared(observer: type) -> InterfaceClass:
    return IAudioSink if IAudioSink.implementedBy(observer) else ISessionObserver


def _wrong_callback(owner: type, function: FunctionType, method: Method) -> Iterator[str]:
    place = _place(owner, function)
    if (fault := _mismatch(owner, function, method)) is not None:
        yield f"{place} cannot be called: {fault}; write {_header(method)}"
    elif inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        yield f"{place} is a generator, which never runs: write async def without yield, or use inlineCallbacks"


def _undeclared(
    owner: type, own: Mapping[str, FunctionType], interface: InterfaceClass, remedy: str
) -> Iterator[str]:
    """Callbacks that are never called because the class does not provide their interface."""
    for name, method in _methods(interface, only=_SERVICE if interface is IService else None).items():
        if name not in own or any(name in _methods(base) for base in interface.__bases__):
            continue
        if _is_meant(owner, own[name], interface, method):
            place = _place(owner, own[name])
            yield f"{place} is never called, for the class does not provide {interface.__name__}: {remedy}"


def _is_meant(owner: type, function: FunctionType, interface: InterfaceClass, method: Method) -> bool:
    """Whether a method of the name is the callback. A plugin may have a ``notify(text)`` of its own."""
    if interface is IAudioSink:
        return _mismatch(owner, function, method) is None
    code = function.__code__
    return list(code.co_varnames[1 : code.co_argcount]) == list(method.positional)


def _near_misses(owner: type, own: Mapping[str, FunctionType], known: Mapping[str, Method]) -> Iterator[str]:
    """Methods that are named almost as a callback that the class does not have."""
    for name, function in own.items():
        meant = None if name in known else _meant(name, known)
        if meant is None or _defines(owner, meant) or name in _names_used(owner):
            continue
        if _mismatch(owner, function, known[meant]) is None:
            place = _place(owner, function)
            yield f"{place} is no callback, did you mean {meant!r}? If not, let its name begin with an underscore"


def _defines(owner: type, name: str) -> bool:
    """Whether the plugin's author wrote it, as a method or as anything else."""
    return any(name in vars(base) for base in owner.__mro__ if _is_own(base))


def _names_used(owner: type) -> set[str]:
    """Names in the code of the class and its packages: a method among them is called, or passed on, by the plugin."""
    own = [base for base in owner.__mro__ if _is_own(base)]
    values = [value for module in _modules_of(own) for value in vars(module).values()]
    classes = dict.fromkeys([*own, *(value for value in values if issubclass(type(value), type))])
    values += [value for one in classes if _is_own(one) for value in vars(one).values()]
    codes = [code for value in values for code in _codes(value)]
    names: set[str] = set()
    while codes:
        code = codes.pop()
        names.update(_names_loaded(code))
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return names


def _names_loaded(code: CodeType) -> Iterable[str]:
    """The body of a class stores the names of its methods, and thereby uses none of them."""
    if code.co_flags & inspect.CO_OPTIMIZED:
        return code.co_names
    return [
        one.argval
        for one in dis.get_instructions(code)
        if one.opname.startswith("LOAD") and one.argval in code.co_names
    ]


def _modules_of(classes: Iterable[type]) -> list[ModuleType]:
    """Their modules, and the others of the same packages."""
    names = {one.__module__ for one in classes}
    packages = tuple(f"{package}." for name in names if (package := name.rpartition(".")[0]))
    found = [module for name, module in list(sys.modules.items()) if name in names or name.startswith(packages)]
    return [module for module in found if type(module) is ModuleType]


def _codes(value: object) -> Iterator[CodeType]:
    names = _FUNCTIONS_OF.get(type(value))
    for function in [value] if names is None else [getattr(value, name) for name in names]:
        layer = function
        while type(layer) is FunctionType:
            yield layer.__code__
            layer = vars(layer).get("__wrapped__")


def _meant(name: str, known: Iterable[str]) -> str | None:
    plain, plains = _plain(name), {_plain(one): one for one in known}
    bare = [*(plain.removeprefix(one) for one in _PREFIXES), *(plain.removesuffix(one) for one in _SUFFIXES)]
    for candidate in (plain, *bare):
        if candidate in plains:
            return plains[candidate]
    if plain in _WORDS or any(one in plain for one in plains):  # such as closed_at, reopened, messages
        return None
    close = difflib.get_close_matches(plain, plains, 1, _ALIKE)
    return plains[close[0]] if close else None


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _methods(*interfaces: Any, only: Iterable[str] | None = None) -> dict[str, Method]:
    found: dict[str, Method] = {}
    for interface in interfaces:
        members = interface.namesAndDescriptions(all=True)
        found |= {name: one for name, one in members if isinstance(one, Method)}
    return {name: one for name, one in found.items() if only is None or name in only}


def _own_functions(owner: type) -> dict[str, FunctionType]:
    """The public methods that the plugin's author wrote, by name."""
    found: dict[str, FunctionType] = {}
    for base in reversed([base for base in owner.__mro__ if _is_own(base)]):
        functions = {name: one for name, one in vars(base).items() if type(one) is FunctionType}
        found |= {name: one for name, one in functions.items() if not name.startswith("_")}
    return found


def _is_own(owner: type) -> bool:
    return _is_own_module(owner.__module__)


def _is_own_module(name: str) -> bool:
    return name.partition(".")[0] not in _FOREIGN


def _observer_classes(module: Any) -> list[type]:
    """The observers in a module. Not those from which others derive: they may be incomplete."""
    classes = [one for one in vars(module).values() if issubclass(type(one), type)] if module is not None else []
    return [
        one
        for one in dict.fromkeys(classes)
        if ISessionObserver.implementedBy(one) and _is_own(one) and not one.__subclasses__()
    ]


def _is_set_later(owner: type, name: str) -> bool:
    """Whether an instance may have the attribute all the same."""
    functions = [one for base in owner.__mro__ for one in vars(base).values() if isinstance(one, FunctionType)]
    return hasattr(owner, "__getattr__") or any(
        {name, *_SETTERS}.intersection(function.__code__.co_names) for function in functions
    )


def _mismatch(owner: type, function: FunctionType, method: Method) -> str | None:
    """Why the function cannot be called with the arguments of the interface.

    A plugin's own decorator may add arguments to what it wraps, so that its wrapper's signature counts. Twisted's
    decorators add none.
    """
    is_decorator_known = not _is_own_module(function.__globals__.get("__name__", ""))
    try:
        signature = inspect.signature(function, follow_wrapped=is_decorator_known)
    except Exception:  # it has no known signature, which is no mistake
        return None
    try:
        signature.bind(owner, *method.positional)
    except TypeError as fault:
        return str(fault)
    return None


def _header(method: Method) -> str:
    return f"def {method.getName()}({', '.join(['self', *method.positional])})"


def _place(owner: type, function: FunctionType | None = None) -> str:
    if function is None:
        file = getattr(sys.modules.get(owner.__module__), "__file__", None) or owner.__module__
        return f"{owner.__qualname__} ({file})"
    *_, code = _codes(function)
    return f"{owner.__qualname__}.{function.__name__} ({code.co_filename}:{code.co_firstlineno})"
