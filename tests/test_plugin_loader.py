"""The plugin loader: finds, checks and builds plugins, or reports an error of one line that names the plugin."""

import configparser
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec
import pytest
from twisted.application.service import IService
from twisted.internet.task import Clock
from twisted.logger import LogEvent
from zope.interface import implementer
from zope.interface.verify import verifyObject

from audiohookd.config.errors import ConfigError
from audiohookd.config.schema import Config
from audiohookd.interfaces import (
    IAdmission,
    ICarrier,
    IDaemon,
    INotifier,
    IPlugin,
    IPluginFactory,
    ISessionObserver,
    ISpool,
)
from audiohookd.plugin_host import Daemon
from audiohookd.plugin_loader import GROUP, load_plugins
from audiohookd.protocol.media import Format, Media
from audiohookd.protocol.product import Product
from audiohookd.spool.format import wav
from audiohookd.testing import START, FakeSession

ROOT = Path(__file__).parents[1]
FILE = Path("/etc/audiohookd/audiohookd.toml")

#: A plugin as an operator would write it.
GOOD = """
    import msgspec
    from zope.interface import implementer, provider
    from audiohookd.interfaces import IAdmission, IPlugin, IPluginFactory

    class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        bucket: str = "calls"

    @provider(IPluginFactory)
    @implementer(IPlugin)
    class Plugin:
        config_type = Options

        def __init__(self, config, daemon):
            self.config, self.daemon = config, daemon

        def observe(self, session):
            return None
"""


def outlet(interface: str, method: str) -> str:
    """The source of a plugin that gets recordings."""
    source = GOOD.replace("IAdmission", interface).replace("(IPlugin)", f"(IPlugin, {interface})")
    members = f"config_type = Options\n        concurrency = 2\n        {method}"
    return source.replace("config_type = Options", members)


def today() -> float:
    return START


@implementer(ISpool)
class Nowhere:
    def begin(self, recording_id: str, started_at: float, media: Media | None) -> Any:
        return None


class Site:
    """A directory on ``sys.path`` for modules and distributions."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def module(self, name: str, source: str) -> None:
        (self.directory / f"{name}.py").write_text(dedent(source))

    def distribution(self, name: str, **plugins: str) -> None:
        info = self.directory / f"{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        lines = [f"{plugin} = {target}" for plugin, target in plugins.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield Site(tmp_path)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def build(**tables: dict[str, Any]) -> dict[str, Any]:
    return load_plugins(Config(plugins=tables), FILE, Daemon(Clock(), today, Nowhere()))


def refused(**tables: dict[str, Any]) -> str:
    """The one-line error for ``tables``."""
    with pytest.raises(ConfigError) as caught:
        build(**tables)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert text.startswith(f"{FILE}: plugins.")
    return text.removeprefix(f"{FILE}: ")


class TestFinding:
    def test_a_plugin_is_found_by_its_entry_point(self, site: Site) -> None:
        site.module("acme_hook", GOOD)
        site.distribution("acme-hook", acme="acme_hook:Plugin")
        watcher = build(acme={"bucket": "b"})["acme"]
        assert watcher.name == "acme"
        assert watcher.plugin.config.bucket == "b"
        assert verifyObject(IDaemon, watcher.plugin.daemon)

    def test_a_plugin_is_found_in_a_module(self, site: Site) -> None:
        site.module("own_hook", GOOD)
        assert build(mine={"class": "own_hook:Plugin"})["mine"].plugin.config.bucket == "calls"

    def test_a_plugin_may_have_two_tables(self, site: Site) -> None:
        site.module("own_hook", GOOD)
        use = "own_hook:Plugin"
        watchers = build(one={"class": use, "bucket": "1"}, two={"class": use, "bucket": "2"})
        assert [watcher.plugin.config.bucket for watcher in watchers.values()] == ["1", "2"]

    def test_keeps_the_order_of_the_file(self, site: Site) -> None:
        site.module("own_hook", GOOD)
        names = ["zebra", "ant", "mole"]
        assert list(build(**{name: {"class": "own_hook:Plugin"} for name in names})) == names

    def test_a_misspelt_name_gets_a_suggestion(self) -> None:
        line = refused(recordr={})
        assert line == "plugins.recordr: no plugin of this name is installed, did you mean 'recorder'?"

    def test_an_unknown_plugin_is_one_line(self) -> None:
        line = refused(xyzzy={})
        assert line.startswith("plugins.xyzzy: no plugin of this name is installed; there are: ")
        assert set(shipped()) <= set(line.partition("there are: ")[2].split(", "))

    def test_two_distributions_with_one_name_are_a_mistake(self, site: Site) -> None:
        site.distribution("acme-hook", hook="acme_hook:Plugin")
        site.distribution("other-hook", hook="other_hook:Plugin")
        line = refused(hook={})
        assert line.startswith("plugins.hook: 2 plugins of this name: ")
        assert "acme_hook:Plugin of acme-hook 1.5" in line
        assert "other_hook:Plugin of other-hook 1.5" in line
        assert line.endswith("; uninstall all but one")

    def test_use_needs_no_entry_point(self, site: Site) -> None:
        site.module("own_hook", GOOD)
        assert build(recorder={"class": "own_hook:Plugin"})["recorder"].plugin.config.bucket == "calls"

    @pytest.mark.parametrize(
        "use", ["own_hook", "own_hook:", ":Plugin", "own_hook:Plugin:x", "own-hook:P", "", 1, "a:b [c]"]
    )
    def test_a_use_without_an_object_is_one_line(self, use: object) -> None:
        assert refused(mine={"class": use}) == "plugins.mine.class: must be 'module:attribute'"

    def test_a_strange_name_does_not_break_the_line(self) -> None:
        assert refused(**{"a\nb": {}}).startswith(r"plugins.'a\nb': no plugin of this name")


class TestRequired:
    def test_required_is_off_by_default(self, site: Site) -> None:
        site.module("own_hook", GOOD)
        use = "own_hook:Plugin"
        watchers = build(a={"class": use}, b={"class": use, "required": True}, c={"class": use, "required": False})
        assert [watcher.required for watcher in watchers.values()] == [False, True, False]

    def test_required_must_be_a_boolean(self) -> None:
        assert refused(recorder={"required": "yes"}) == "plugins.recorder.required: must be true or false"


class TestImport:
    @pytest.mark.parametrize(
        ("source", "says"),
        [
            ("import does_not_exist", "ModuleNotFoundError: No module named 'does_not_exist'"),
            ("def (", "SyntaxError: invalid syntax"),
            ("raise RuntimeError('first\\nsecond')", "RuntimeError: first second"),
            ("raise RuntimeError", "RuntimeError"),
            ("raise SystemExit(3)", "SystemExit: 3"),
            ("import asyncio; raise asyncio.CancelledError", "CancelledError"),
            ("Other = 1", "AttributeError: module 'own_hook' has no attribute 'Plugin'"),
        ],
    )
    def test_a_failed_import_is_one_line(self, site: Site, source: str, says: str) -> None:
        site.module("own_hook", source)
        line = refused(mine={"class": "own_hook:Plugin"})
        assert line.startswith(f"plugins.mine: own_hook:Plugin: cannot be imported: {says}")

    def test_a_failed_import_names_the_distribution(self, site: Site) -> None:
        site.distribution("acme-hook", acme="absent_module:Plugin")
        line = refused(acme={})
        assert line.startswith("plugins.acme: absent_module:Plugin of acme-hook 1.5: cannot be imported: ")

    @pytest.mark.parametrize("source", ["Plugin = None", "class Plugin: pass", "def Plugin(config, daemon): pass"])
    def test_an_object_that_is_not_a_plugin_is_one_line(self, site: Site, source: str) -> None:
        site.module("own_hook", source)
        line = refused(mine={"class": "own_hook:Plugin"})
        says = "does not provide IPluginFactory (decorate it with @provider(IPluginFactory))"
        assert line == f"plugins.mine: own_hook:Plugin: {says}"

    @pytest.mark.parametrize("config_type", ["dict", "None", "Options()", "'Options'"])
    def test_a_plugin_without_an_options_structure_is_one_line(self, site: Site, config_type: str) -> None:
        site.module("own_hook", GOOD.replace("config_type = Options", f"config_type = {config_type}"))
        line = refused(mine={"class": "own_hook:Plugin"})
        assert line == "plugins.mine: own_hook:Plugin: its config_type must be a msgspec.Struct"

    def test_a_plugin_without_declared_options_is_one_line(self, site: Site) -> None:
        site.module("own_hook", GOOD.replace("config_type = Options", ""))
        line = refused(mine={"class": "own_hook:Plugin"})
        assert line == "plugins.mine: own_hook:Plugin: its config_type must be a msgspec.Struct"


class TestOptions:
    def test_an_unknown_option_is_one_line(self, site: Site) -> None:
        site.module("own_hook", GOOD)
        line = refused(mine={"class": "own_hook:Plugin", "buket": "x"})
        assert line == "plugins.mine.buket: unknown key, did you mean 'bucket'?"

    def test_a_misspelt_common_option_gets_a_suggestion(self, site: Site) -> None:
        site.module("own_hook", GOOD)
        line = refused(mine={"class": "own_hook:Plugin", "requried": True})
        assert line == "plugins.mine.requried: unknown key, did you mean 'required'?"

    def test_an_unknown_option_is_always_a_mistake(self, site: Site) -> None:
        site.module("own_hook", GOOD.replace(", forbid_unknown_fields=True", ""))
        line = refused(mine={"class": "own_hook:Plugin", "buket": "x"})
        assert line == "plugins.mine.buket: unknown key, did you mean 'bucket'?"

    def test_an_option_of_a_wrong_type_is_one_line(self) -> None:
        line = refused(recorder={"gaps": "silenc"})
        assert line == "plugins.recorder.gaps: must be one of: 'omit', 'silence'"

    def test_paths_are_relative_to_the_file(self) -> None:
        line = refused(agentassist={"script": "absent.toml"})
        assert line.startswith("plugins.agentassist: audiohookd_plugins.agentassist:AgentAssistPlugin of audiohookd ")
        assert line.endswith(" 0.1.0: /etc/audiohookd/absent.toml: cannot be read: No such file or directory")

    def test_the_table_in_the_configuration_stays_as_it_is(self, site: Site) -> None:
        site.module("own_hook", GOOD)
        table = {"class": "own_hook:Plugin", "required": True, "bucket": "b"}
        build(mine=table)
        assert list(table) == ["class", "required", "bucket"]


def test_an_old_key_in_a_table_of_any_name_names_the_new_one() -> None:
    assert refused(billing={"use": "own_hook:Plugin"}) == "plugins.billing.use: this key is named 'class' now"


class TestBuilding:
    @pytest.mark.parametrize(
        ("statement", "says"),
        [
            ("raise OSError(28, 'No space left')", "No space left"),
            ("raise ValueError('one\\n  two')", "one two"),
            ("raise ValueError", "ValueError"),
            ("__import__('json').loads('')", "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
            ("raise KeyError", "KeyError"),
            ("raise SystemExit(3)", "SystemExit: 3"),
            ("raise KeyboardInterrupt", "KeyboardInterrupt"),
            ("raise GeneratorExit", "GeneratorExit"),
        ],
    )
    def test_a_failed_build_is_one_line(self, site: Site, statement: str, says: str) -> None:
        site.module("own_hook", GOOD.replace("self.config, self.daemon = config, daemon", statement))
        assert refused(mine={"class": "own_hook:Plugin"}) == f"plugins.mine: own_hook:Plugin: {says}"

    @pytest.mark.parametrize(
        ("statement", "mistakes"), [("raise KeyError('bucket')", 1), ("raise OSError(28, 'No space left')", 0)]
    )
    def test_an_error_of_the_author_leaves_a_traceback(
        self, site: Site, logged: list[LogEvent], statement: str, mistakes: int
    ) -> None:
        site.module("own_hook", GOOD.replace("self.config, self.daemon = config, daemon", statement))
        assert ".py" not in refused(mine={"class": "own_hook:Plugin"})
        tracebacks = [event["log_failure"].getTraceback() for event in logged if "log_failure" in event]
        assert len(tracebacks) == mistakes
        assert all("own_hook.py" in text for text in tracebacks)

    def test_a_missing_method_is_one_line(self, site: Site) -> None:
        site.module("own_hook", GOOD.replace("observe", "watch"))
        line = refused(mine={"class": "own_hook:Plugin"})
        assert line.startswith("plugins.mine: own_hook:Plugin: has failed to implement interface ")
        assert "IPlugin.observe(session) attribute was not provided" in line
        assert " at 0x" not in line

    def test_several_errors_are_one_line(self, site: Site) -> None:
        site.module("own_hook", GOOD.replace("observe", "watch").replace("@implementer(IPlugin)", ""))
        line = refused(mine={"class": "own_hook:Plugin"})
        assert "Does not declaratively implement the interface" in line
        assert "observe(session) attribute was not provided" in line

    def test_a_method_with_other_arguments_is_one_line(self, site: Site) -> None:
        site.module("own_hook", GOOD.replace("observe(self, session)", "observe(self)"))
        assert "doesn't allow enough arguments" in refused(mine={"class": "own_hook:Plugin"})

    def test_a_missing_method_of_another_interface_is_one_line(self, site: Site) -> None:
        site.module("own_hook", GOOD.replace("@implementer(IPlugin)", "@implementer(IPlugin, IAdmission)"))
        assert "IAdmission.admit(opening) attribute was not provided" in refused(mine={"class": "own_hook:Plugin"})

    @pytest.mark.parametrize(("interface", "method"), [("ICarrier", "carry"), ("INotifier", "notify")])
    def test_a_missing_method_of_a_destination_is_one_line(self, site: Site, interface: str, method: str) -> None:
        site.module("own_hook", outlet(interface, "pass"))
        line = refused(mine={"class": "own_hook:Plugin"})
        assert f"{interface}.{method}(recording) attribute was not provided" in line

    def test_a_destination_is_built(self, site: Site) -> None:
        site.module("own_hook", outlet("ICarrier", "def carry(self, recording): return {}"))
        assert ICarrier.providedBy(build(mine={"class": "own_hook:Plugin"})["mine"].plugin)

    @pytest.mark.parametrize("concurrency", ["0", "-1", "2.5", "'2'", "None"])
    def test_concurrency_is_at_least_one(self, site: Site, concurrency: str) -> None:
        source = outlet("INotifier", "def notify(self, recording): pass")
        site.module("own_hook", source.replace("concurrency = 2", f"concurrency = {concurrency}"))
        line = refused(mine={"class": "own_hook:Plugin"})
        assert line == "plugins.mine: own_hook:Plugin: its concurrency must be an integer of at least 1"

    @pytest.mark.parametrize("name", ["a/b", "a.b", "\N{LATIN SMALL LETTER A WITH DIAERESIS}", "x" * 101, "a b"])
    def test_a_name_that_cannot_be_in_a_file_name_is_one_line(self, site: Site, name: str) -> None:
        site.module("own_hook", outlet("INotifier", "def notify(self, recording): pass"))
        line = refused(**{name: {"class": "own_hook:Plugin"}})
        assert line.endswith("becomes part of their files' names: at most 100 letters, digits, _ and - alone")

    def test_the_first_mistake_ends_the_build(self, site: Site) -> None:
        site.module("own_hook", "raise RuntimeError('to be imported later, if ever')")
        assert refused(nobody={}, mine={"class": "own_hook:Plugin"}).startswith("plugins.nobody: ")


def shipped() -> dict[str, str]:
    """The entry points in setup.cfg."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options.entry_points"][GROUP].split("\n")
    return dict(line.split(" = ") for line in lines if line)


#: Required options, for the plugins that have any.
NEEDED: dict[str, dict[str, Any]] = {
    "s3": {"bucket": "calls", "region": "eu-central-1"},
    "webhook": {"url": "https://127.0.0.1/recordings", "allow_unsigned": True},
    "publish": {"target": "arn:aws:sns:eu-central-1:123456789012:recordings"},
}


class TestShippedPlugins:
    def test_every_shipped_plugin_is_installed(self) -> None:
        installed = {entry.name: entry.value for entry in entry_points(group=GROUP)}
        assert installed.items() >= shipped().items()
        assert set(shipped()) >= {"recorder", "agentassist"}

    @pytest.mark.parametrize("name", sorted(shipped()))
    def test_keeps_the_contract(self, name: str, tmp_path: Path) -> None:
        factory = entry_points(group=GROUP)[name].load()
        # The interface describes a call, for which `verifyObject` cannot check a class.
        assert IPluginFactory.providedBy(factory)
        config_type = factory.config_type
        assert issubclass(config_type, msgspec.Struct)
        assert config_type.__struct_config__.frozen
        assert config_type.__struct_config__.forbid_unknown_fields

        (tmp_path / "menu.wav").write_bytes(wav.header(Media(Format.PCMU, ("external",)), 8) + bytes(8))
        bot = {"menu": str(tmp_path / "menu.wav"), "choices": {"1": {"output": {}}}}
        config = Config(plugins={name: bot if name == "menubot" else NEEDED.get(name, {})})
        plugin = load_plugins(config, FILE, Daemon(Clock(), today, Nowhere()))[name].plugin
        assert verifyObject(IPlugin, plugin)
        for optional in (IAdmission, ICarrier, INotifier, IService):
            assert not optional.providedBy(plugin) or verifyObject(optional, plugin)
        session = FakeSession()
        session.custom_config = {"agentassist": True}
        session.product = Product.AUDIO
        observer = plugin.observe(session)
        assert (observer is None) == (name in NEEDED), "a plugin that gets recordings must not observe calls"
        assert observer is None or verifyObject(ISessionObserver, observer)


#: Observers in the module of a plugin, and the error of the start for each.
SILENT = {
    "class Watch(SessionObserver):\n    def audio(self, frame): pass": (
        "Watch.audio (FILE:22) is never called, for the class does not provide IAudioSink:"
        " derive the class from audiohookd.observer.AudioSink"
    ),
    "class Watch(AudioSink):\n    def on_opened(self): pass": (
        "Watch.on_opened (FILE:22) is no callback, did you mean 'opened'?"
        " If not, let its name begin with an underscore"
    ),
    "class Watch(AudioSink):\n    def closed(self): pass": (
        "Watch.closed (FILE:22) cannot be called: too many positional arguments; write def closed(self, reason)"
    ),
}


class TestSilentMistakes:
    @pytest.mark.parametrize("source", SILENT)
    def test_mistakes_of_observers_are_one_line(self, site: Site, source: str) -> None:
        imports = "from audiohookd.observer import AudioSink, SessionObserver\n"
        site.module("own_hook", f"{dedent(GOOD)}\n{imports}{source}\n")
        line = refused(mine={"class": "own_hook:Plugin"})
        file = str(sys.modules["own_hook"].__file__)
        assert line == f"plugins.mine: own_hook:Plugin: {SILENT[source].replace('FILE', file)}"

    def test_a_factory_that_gives_one_plugin_to_two_tables_is_one_line(self, site: Site) -> None:
        source = """
            _plugins = []

            @provider(IPluginFactory)
            def make(config, daemon):
                _plugins.append(Plugin(config, daemon))
                return _plugins[0]

            make.config_type = Options
        """
        site.module("own_hook", dedent(GOOD) + dedent(source))
        line = refused(one={"class": "own_hook:make"}, other={"class": "own_hook:make"})
        assert line == "plugins.other: its factory returns the plugin of [plugins.one] and not a new one"


class TestTheDaemonForPlugins:
    def test_keeps_the_contract(self) -> None:
        assert verifyObject(IDaemon, Daemon(Clock(), today, Nowhere()).of_plugin("copy"))

    def test_keeps_the_pools_that_are_asked_for(self) -> None:
        daemon = Daemon(Clock(), today, Nowhere())
        plugin = daemon.of_plugin("copy")
        pools = [plugin.workers("upload", 2, 10), plugin.workers("scan", 1, 1)]
        assert daemon.pools == pools
        assert [pool.name for pool in pools] == ["plugins.copy/upload", "plugins.copy/scan"]

    def test_a_table_has_one_pool_of_a_name_and_each_table_may_have_it(self) -> None:
        daemon = Daemon(Clock(), today, Nowhere())
        one, other = daemon.of_plugin("one"), daemon.of_plugin("other")
        one.workers("upload", 2, 10)
        other.workers("upload", 2, 10)
        with pytest.raises(ValueError, match=r"^plugins\.one/upload: the plugin has a worker pool of this name"):
            one.workers("upload", 1, 1)
        assert len(daemon.pools) == 2

    def test_names_of_tables_and_pools_cannot_be_made_to_collide(self) -> None:
        daemon = Daemon(Clock(), today, Nowhere())
        daemon.of_plugin("a").workers("b/c", 1, 1)
        daemon.of_plugin("a/b").workers("c", 1, 1)
        assert len({pool.name for pool in daemon.pools}) == 2

    @pytest.mark.parametrize("pool", [("", 1, 1), ("upload", 0, 1), ("upload", 1, -1)])
    def test_a_pool_that_cannot_work_is_rejected(self, pool: tuple[str, int, int]) -> None:
        with pytest.raises(ValueError, match="worker pool"):
            Daemon(Clock(), today, Nowhere()).of_plugin("copy").workers(*pool)

    def test_a_pool_that_would_never_start_is_rejected(self) -> None:
        daemon = Daemon(Clock(), today, Nowhere())
        load_plugins(Config(), FILE, daemon)
        with pytest.raises(RuntimeError, match="while they are built"):
            daemon.of_plugin("copy").workers("upload", 1, 1)

    def test_a_claim_of_another_table_is_rejected(self) -> None:
        daemon = Daemon(Clock(), today, Nowhere())
        daemon.of_plugin("one").claim("bucket calls")
        daemon.of_plugin("one").claim("bucket calls")
        daemon.of_plugin("other").claim("bucket other")
        with pytest.raises(ValueError, match=r"^\[plugins.one\] has claimed it"):
            daemon.of_plugin("other").claim("bucket calls")
