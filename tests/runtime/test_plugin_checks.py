"""Mistakes in the classes of plugins: each is named, and no right class is."""

import sys
from collections.abc import Callable, Generator
from functools import partial, wraps
from types import ModuleType
from typing import Any

import pytest
from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from zope.interface import implementer

from audiohookd.interfaces import IAdmission, IAudioSink, IPlugin, ISessionObserver
from audiohookd.observer import AudioSink, SessionObserver
from audiohookd.runtime.plugin_checks import mistakes_of_observer, mistakes_of_plugin


def observer(base: type = AudioSink, **members: Any) -> type:
    return type("Watch", (base,), {"__module__": __name__, **members})


def named(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    function.__name__ = name
    return {name: function}


MISSPELT: dict[str, tuple[str, Callable[..., Any]]] = {
    "on_opened": ("opened", lambda self: None),
    "onOpened": ("opened", lambda self: None),
    "opend": ("opened", lambda self: None),
    "Closed": ("closed", lambda self, reason: None),
    "closd": ("closed", lambda self, reason: None),
    "handle_closed": ("closed", lambda self, reason: None),
    "audio_received": ("audio", lambda self, frame: None),
    "on_audio": ("audio", lambda self, frame: None),
    "languageChanged": ("language_changed", lambda self, language: None),
    "language_change": ("language_changed", lambda self, language: None),
    "mesage": ("message", lambda self, outgoing, data, at: None),
    "on_message": ("message", lambda self, *arguments: None),
    "roundtrip": ("round_trip", lambda self, nanoseconds: None),
    "resumd": ("resumed", lambda self: None),
}


@pytest.mark.parametrize("name", MISSPELT)
def test_a_misspelt_callback_is_named_with_what_was_meant(name: str) -> None:
    meant, function = MISSPELT[name]
    (mistake,) = mistakes_of_observer(observer(**named(name, function)))
    assert f"Watch.{name} ({__file__}:" in mistake
    assert f"did you mean {meant!r}?" in mistake


RIGHT = (
    "open close pause resume closes pauses messages gaps is_open is_closed closed_at opened_at reopened unpaused"
    " reset flush write send start stop run connect on_connect on_result transcribe audio_level audio_bytes"
    " handle_frame radio studio map cap trip losing playback_position language languages tick done finish"
    " finished failed process observe notify emit result on_open on_close on_error on_final"
    " decode encode upload digits closer opener"
)


@pytest.mark.parametrize("name", RIGHT.split())
def test_a_method_of_another_name_is_no_mistake(name: str) -> None:
    assert list(mistakes_of_observer(observer(**named(name, lambda self, *arguments: None)))) == []


@pytest.mark.parametrize(
    "members",
    [
        {"_on_opened": lambda self: None},
        {"on_opened": lambda self, socket, code: None},
        {"on_opened": lambda self: None, "opened": lambda self: None},
        {"on_opened": property(lambda self: None)},
        {"on_opened": 5},
    ],
    ids=["private", "other arguments", "a helper of the callback", "a property", "no function"],
)
def test_a_member_that_is_no_callback_is_no_mistake(members: dict[str, Any]) -> None:
    assert list(mistakes_of_observer(observer(**members))) == []


@pytest.mark.parametrize("name", ["audio", "gap"])
def test_audio_of_an_observer_that_is_no_sink_is_named(name: str) -> None:
    (mistake,) = mistakes_of_observer(observer(SessionObserver, **named(name, lambda self, frame: None)))
    assert f"Watch.{name} (" in mistake
    assert "is never called, for the class does not provide IAudioSink" in mistake
    assert "derive the class from audiohookd.observer.AudioSink" in mistake


@pytest.mark.parametrize(
    ("name", "function", "fault"),
    [
        ("closed", lambda self: None, "write def closed(self, reason)"),
        ("opened", lambda self, session: None, "write def opened(self)"),
        ("message", lambda self, data: None, "write def message(self, outgoing, data, at)"),
        ("audio", lambda self, frame, *, rate: None, "write def audio(self, frame)"),
    ],
)
def test_a_callback_with_other_arguments_is_named(name: str, function: Any, fault: str) -> None:
    (mistake,) = mistakes_of_observer(observer(**named(name, function)))
    assert f"Watch.{name} (" in mistake
    assert "cannot be called" in mistake
    assert fault in mistake


def test_callbacks_with_defaults_and_variable_arguments_are_right() -> None:
    members: dict[str, Any] = {
        "closed": lambda self, reason="end": None,
        "message": lambda self, *arguments: None,
        "audio": lambda self, frame, rate=8000, **options: None,
    }
    assert list(mistakes_of_observer(observer(**members))) == []


class Waiting(AudioSink):
    async def opened(self) -> None:
        await Deferred()

    @inlineCallbacks
    def closing(self, reason: str) -> Generator[Deferred[None], None, None]:
        yield Deferred()


def test_coroutines_and_inline_callbacks_are_right() -> None:
    assert list(mistakes_of_observer(Waiting)) == []


def traced(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: Any, *arguments: Any) -> Any:
        return method(self, "span", *arguments)

    return call


class CallableObject:
    def __call__(self, *arguments: Any) -> None: ...


class Decorated(AudioSink):
    @traced
    def opened(self, span: str) -> None: ...

    @wraps(CallableObject())
    def closed(self, reason: str) -> None: ...  # type: ignore[override]

    @wraps(partial(print))
    def closing(self, reason: str) -> None: ...  # type: ignore[override]


def test_decorators_may_add_arguments_and_wrap_what_is_no_function() -> None:
    assert list(mistakes_of_observer(Decorated)) == []


class Subscriber(AudioSink):
    client: Any

    def opened(self) -> None:
        self.client.subscribe("topic", self.message_received)
        self.client.done.addBoth(lambda reason: self.on_closed(str(reason)))

    def message_received(self, client: Any, userdata: Any, message: Any) -> None: ...

    def on_closed(self, reason: Any) -> None: ...

    dtmf = staticmethod(lambda digit: None)

    def on_dtmf(self, digit: str) -> None: ...


def test_a_method_that_the_plugin_uses_itself_is_no_misspelt_callback() -> None:
    assert list(mistakes_of_observer(Subscriber)) == []


def test_a_method_that_another_module_of_the_package_uses_is_no_misspelt_callback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = type("Stream", (AudioSink,), {"__module__": "vendor.stream", "on_closed": lambda self, reason: None})
    socket = ModuleType("vendor.socket")
    vars(socket)["lost"] = lambda stream: stream.on_closed("lost")
    assert len(list(mistakes_of_observer(stream))) == 1
    monkeypatch.setitem(sys.modules, "vendor.socket", socket)
    assert list(mistakes_of_observer(stream)) == []


class Yielding(AudioSink):
    def opened(self) -> Any:
        yield Deferred()

    async def closed(self, reason: str) -> Any:
        yield reason


def test_a_callback_that_is_a_generator_is_named() -> None:
    opened, closed = mistakes_of_observer(Yielding)
    assert "Yielding.opened (" in opened
    assert "Yielding.closed (" in closed
    assert "is a generator, which never runs" in opened


@implementer(IPlugin)
class Right(Service):
    def observe(self, session: Any) -> None:
        return None

    def observer(self, session: Any) -> None:
        pass

    def admitted(self, opening: Any) -> None:
        pass


def plugin(base: type = Right, **members: Any) -> Any:
    return type("Plugin", (base,), {"__module__": "plugin_of_test", **members})()


@implementer(IPlugin)
class Bare:
    def observe(self, session: Any) -> None:
        return None


def test_a_plugin_without_mistakes_has_none() -> None:
    assert list(mistakes_of_plugin(plugin())) == []


@pytest.mark.parametrize(
    ("name", "interface", "function"),
    [
        ("admit", "IAdmission", lambda self, opening: None),
        ("carry", "ICarrier", lambda self, recording: None),
        ("notify", "INotifier", lambda self, recording: None),
        ("startService", "IService", lambda self: None),
        ("stopService", "IService", lambda self: None),
    ],
)
def test_a_method_of_an_interface_that_the_plugin_does_not_provide_is_named(
    name: str, interface: str, function: Any
) -> None:
    (mistake,) = mistakes_of_plugin(plugin(Bare, **named(name, function)))
    assert f"Plugin.{name} (" in mistake
    assert f"decorate the class with @implementer(IPlugin, {interface})" in mistake


def test_a_method_with_the_name_of_a_callback_and_parameters_of_its_own_is_no_mistake() -> None:
    members = {**named("notify", lambda self, text: None), **named("carry", lambda self, amount: None)}
    assert list(mistakes_of_plugin(plugin(Bare, **members))) == []


@pytest.mark.parametrize("name", ["on_admit", "admt", "start_service", "Carry"])
def test_a_misspelt_method_of_a_plugin_is_named(name: str) -> None:
    (mistake,) = mistakes_of_plugin(plugin(Bare, **named(name, lambda self, *arguments: None)))
    assert "did you mean" in mistake


def test_an_observe_that_is_a_coroutine_is_named() -> None:
    async def observe(self: Any, session: Any) -> None: ...

    (mistake,) = mistakes_of_plugin(plugin(observe=observe))
    assert "must return the observer at once" in mistake


def of_module(monkeypatch: pytest.MonkeyPatch, *classes: type) -> list[str]:
    module = ModuleType("plugin_of_test")
    for one in classes:
        setattr(module, one.__name__, one)
    monkeypatch.setitem(sys.modules, "plugin_of_test", module)
    return list(mistakes_of_plugin(plugin()))


def test_observers_in_the_module_of_a_plugin_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    (mistake,) = of_module(monkeypatch, observer(closed=lambda self: None), AudioSink, SessionObserver)
    assert "write def closed(self, reason)" in mistake


def test_a_class_from_which_an_observer_derives_may_be_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    base = observer(SessionObserver, **named("audio", lambda self, frame: None))
    sent = {"audio_sent": lambda self, start, data: None, "audio_dropped": lambda self, start: None}
    sent["audio_while_paused"] = lambda self, position, size: None
    derived = implementer(IAudioSink)(type("Sink", (base,), {"gap": lambda self, gap: None, **sent}))
    assert of_module(monkeypatch, base, derived) == []


@implementer(IAudioSink)
class Hollow:  # type: ignore[misc]
    def __init__(self) -> None:
        self.opened = print

    def audio(self, frame: bytes) -> None:
        pass


def test_methods_that_an_observer_lacks_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    mistakes = of_module(monkeypatch, Hollow)
    assert any("implements IAudioSink and has no closed: write def closed(self, reason)" in one for one in mistakes)
    assert not any("has no opened" in one or "has no audio:" in one for one in mistakes)


def test_an_observer_that_makes_its_methods_may_lack_them(monkeypatch: pytest.MonkeyPatch) -> None:
    members = {"__module__": __name__, "__getattr__": lambda self, name: print}
    made = implementer(ISessionObserver)(type("Made", (), members))
    assert of_module(monkeypatch, made) == []


def test_an_observer_that_sets_its_methods_by_name_may_lack_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def set_all(self: Any) -> None:
        for name in ISessionObserver:
            setattr(self, name, print)

    set_later = type("Set", (), {"__module__": __name__, "__init__": set_all})
    assert of_module(monkeypatch, implementer(ISessionObserver)(set_later)) == []


class Lazy:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("not configured yet")


def test_an_object_that_does_not_tell_its_class_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("plugin_of_test")
    vars(module)["settings"] = Lazy()
    monkeypatch.setitem(sys.modules, "plugin_of_test", module)
    assert list(mistakes_of_plugin(plugin())) == []
    assert any("did you mean 'admit'" in one for one in mistakes_of_plugin(plugin(Bare, admt=admitted)))


def admitted(self: Any, opening: Any) -> None:
    """As ``admit``."""


def test_an_admission_that_declares_itself_is_right() -> None:
    admitting = plugin(Bare, **named("admit", lambda self, opening: None))
    implementer(IAdmission)(type(admitting))
    assert list(mistakes_of_plugin(admitting)) == []
