"""The configuration: each mistake is an error of one line."""

import string
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiohookd.config.convert import convert
from audiohookd.config.errors import ConfigError, address
from audiohookd.config.load import check, load
from audiohookd.config.schema import Route
from tests.config_rig import tables

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "etc" / "audiohookd.toml"
MINIMAL = ROOT / "etc" / "audiohookd.minimal.toml"
DOCUMENT = ROOT / "docs" / "configuration.rst"
ANYWHERE = Path("/etc/audiohookd/audiohookd.toml")


def mistake(path: Path) -> str:
    """The one-line error for the file at ``path``."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert text.isprintable()
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("[listn]", "listn: unknown table, did you mean 'listen'?"),
            ("[listen]\nendpont = ''", "listen.endpont: unknown key, did you mean 'endpoint'?"),
            ("[session]\nidle_time = 3", "session.idle_time: unknown key, did you mean 'idle_timeout'?"),
            ("[[route]]\n[[route]]\npth = '/'", "route[1].pth: unknown key, did you mean 'path'?"),
            ("[admin]\nx = 1", "admin.x: unknown key; there are: allow_pause, allowed_hosts, endpoint"),
            ('[admin]\n"a\\nb" = 1', r"admin.'a\nb': unknown key; there are: allow_pause, allowed_hosts, endpoint"),
        ],
    )
    def test_an_unknown_key_is_one_line(self, tmp_path: Path, text: str, line: str) -> None:
        assert self.refused(tmp_path, text) == line

    @pytest.mark.parametrize("admin", ["tcp:8080:interface=localhost", "tcp:8080", r"tcp6:8080:interface=\:\:"])
    def test_admin_and_calls_on_one_port_are_a_mistake(self, tmp_path: Path, admin: str) -> None:
        listen = "tcp:8080:interface=127.0.0.1"
        line = self.refused(tmp_path, f"[listen]\nendpoint = '{listen}'\n[admin]\nendpoint = '{admin}'")
        said = f"{admin!r} is the same port or socket as listen.endpoint, {listen!r}: give it one of its own"
        assert line == f"admin.endpoint: {said}"

    @pytest.mark.parametrize("name", ["a:3001", "http://a", "*.example.com", "", ".", "a b", "a..b"])
    def test_an_invalid_allowed_host_is_a_mistake(self, tmp_path: Path, name: str) -> None:
        line = self.refused(tmp_path, f"[admin]\nallowed_hosts = ['{name}']")
        assert line.startswith(f"admin.allowed_hosts[0]: {name!r} must be a name without a port, ")

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("listen = 1", "listen: Expected table, got integer"),
            ("[listen]\nmax_sessions = '9'", "listen.max_sessions: Expected integer, got string"),
            ("[listen]\nmax_sessions = true", "listen.max_sessions: Expected integer, got boolean"),
            ("[listen]\nmax_sessions = 1.5", "listen.max_sessions: Expected integer, got float"),
            ("[listen]\nmax_sessions = 2020-01-01", "listen.max_sessions: Expected integer, got date"),
            ("[route]\npath = '/'", "route: Expected array, got table"),
            ("route = [1]", "route[0]: Expected table, got integer"),
            ("[[route]]\nplugins = 'recorder'", "route[0].plugins: Expected array, got string"),
            ("[[route]]\nplugins = [1]", "route[0].plugins[0]: Expected string, got integer"),
            ("[auth]\nrejection = 'htp'", "auth.rejection: must be one of: 'disconnect', 'http'"),
            ("plugins = 1", "plugins: Expected table, got integer"),
            ("[plugins]\nrecorder = 1", "plugins.recorder: must be a table, [plugins.recorder]"),
            ("[[plugins.'a b']]", "plugins.'a b': must be a table, [plugins.'a b']"),
        ],
    )
    def test_a_wrong_type_is_one_line(self, tmp_path: Path, text: str, line: str) -> None:
        assert self.refused(tmp_path, text) == line

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("[listen]\nmax_sessions = 0", "listen.max_sessions: Expected integer >= 1"),
            ("[listen]\nmax_sessions = 100001", "listen.max_sessions: Expected integer <= 100000"),
            ("[listen]\nendpoint = ''", "listen.endpoint: Expected string of length >= 1"),
            ("[spool]\nflush_interval = 0", "spool.flush_interval: must be more than 0 s"),
            ("[spool]\nflush_interval = '61 s'", "spool.flush_interval: must be at most 1 min"),
            ("[session]\nmax_duration = '8 d'", "session.max_duration: must be at most 7 d"),
            (
                "[session]\nadmission_timeout = '4500 ms'",
                "session.admission_timeout: must not be longer than session.accept_timeout",
            ),
        ],
    )
    def test_a_value_out_of_range_is_one_line(self, tmp_path: Path, text: str, line: str) -> None:
        assert self.refused(tmp_path, text) == line

    @pytest.mark.parametrize("value", ["1", "''", '"a\\u0000b"', "['a']"])
    def test_an_invalid_path_is_one_line(self, tmp_path: Path, value: str) -> None:
        for key in ("auth.vault.ca_file", "spool.directory"):
            assert self.refused(tmp_path, f"{key} = {value}") == f"{key}: Expected a path, in quotes"

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("route = []", "route: at least one [[route]] is needed"),
            (
                "[[route]]\n[[route]]",
                "route[1].path: '/api/v1/audiohook/ws' stands twice: remove one of the two routes",
            ),
            (
                "[plugins.recorder]\n[[route]]\nplugins = ['recordr']",
                "route[0].plugins: there is no table [plugins.recordr], did you mean 'recorder'?",
            ),
            ("[[route]]\nplugins = ['s3']", "route[0].plugins: there is no table [plugins.s3]; there are: none"),
            (
                "[plugins.s3]\n[[route]]\nplugins = ['s3', 's3']",
                "route[0].plugins: 's3' stands twice: remove one",
            ),
        ],
    )
    def test_invalid_routes_are_one_line(self, tmp_path: Path, text: str, line: str) -> None:
        assert self.refused(tmp_path, text) == line

    @pytest.mark.parametrize("path", ["", "api", "/a?b", "/a#b", "/a b", "/ä", "/a\n", "https://a/b"])
    def test_a_path_that_no_request_line_can_hold_is_a_mistake(self, tmp_path: Path, path: str) -> None:
        line = self.refused(tmp_path, f"[[route]]\npath = {toml_string(path)}")
        assert line.startswith(f"route[0].path: {path!r} must begin with /")

    @pytest.mark.parametrize("path", ["/", "/a", "/a/b/", "/%C3%A4", "/a;b=c,d~e", "//"])
    def test_a_path_that_a_request_line_can_hold_is_accepted(self, tmp_path: Path, path: str) -> None:
        (tmp_path / "good.toml").write_text(f"[[route]]\npath = '{path}'")
        assert load(tmp_path / "good.toml").route == (Route(path),)

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            (b"[listen", "is not TOML: Expected ']' at the end of a table declaration (at end of document)"),
            (b"a = [\n\n}", "is not TOML: Invalid value (at line 3, column 1)"),
            (b"[spool]\n[auth]\n[spool]", "is not TOML: Cannot declare ('spool',) twice (at line 3, column 7)"),
            (b"[auth]\nrejection = 'http'\nrejection = 'http'", "is not TOML: Cannot overwrite a value"),
            (b"a = '\xff'", "is not TOML: 'utf-8' codec can't decode byte 0xff in position 5"),
            (b"a = " + b"9" * 5000, "is not TOML: Exceeds the limit"),
            (b"a = " + b"[" * 5000, "is not TOML: nested too deeply"),
        ],
    )
    def test_a_file_that_is_not_toml_is_one_line(self, tmp_path: Path, text: bytes, line: str) -> None:
        path = tmp_path / "bad.toml"
        path.write_bytes(text)
        assert mistake(path).startswith(line)

    def test_a_missing_file_is_one_line(self, tmp_path: Path) -> None:
        line = mistake(tmp_path / "absent.toml")
        assert line == "cannot be read (No such file or directory): correct path or permissions"

    def test_an_unreadable_file_is_one_line(self, tmp_path: Path) -> None:
        # Root, which may run this test, can read every file: so use a directory, and a name that is too long.
        assert mistake(tmp_path) == "cannot be read (Is a directory): correct path or permissions"
        assert mistake(tmp_path / ("x" * 300)).startswith("cannot be read (File name too long)")

    @staticmethod
    def refused(directory: Path, text: str) -> str:
        path = directory / "bad.toml"
        path.write_text(text)
        return mistake(path)


class Nested(msgspec.Struct, forbid_unknown_fields=True):
    bucket: str = ""


class Options(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
    """Options that the author of a plugin may define."""

    access_key: str
    nested: Nested | None = None
    several: list[Nested] = []
    by_name: dict[str, Nested] = {}
    certificate: Path | None = None
    level: msgspec.UnsetType | int = msgspec.UNSET


class TestATableOfAPlugin:
    @pytest.mark.parametrize(
        ("table", "line"),
        [
            ({}, "plugins.x.access-key: is missing, and has no default"),
            ({"access_key": ""}, "plugins.x.access_key: unknown key, did you mean 'access-key'?"),
            ({"nested": {"bukket": 1}}, "plugins.x.nested.bukket: unknown key, did you mean 'bucket'?"),
            ({"several": [{}, {"bukket": 1}]}, "plugins.x.several[1].bukket: unknown key, did you mean 'bucket'?"),
            ({"by-name": {"a": {"bukket": 1}}}, "plugins.x.by-name[...].bukket: unknown key, did you mean 'bucket'?"),
            ({"by-name": {"a": 1}}, "plugins.x.by-name[...]: Expected table, got integer"),
            ({"certificate": 1}, "plugins.x.certificate: Expected a path, in quotes"),
            ({"nested": {"bucket": 1}}, "plugins.x.nested.bucket: Expected string, got integer"),
        ],
    )
    def test_an_invalid_option_is_one_line(self, table: dict[str, Any], line: str) -> None:
        given = table if table == {} or "access_key" in table else {"access-key": "", **table}
        with pytest.raises(ConfigError) as caught:
            convert(given, Options, ANYWHERE, "plugins.x")
        assert str(caught.value) == f"{ANYWHERE}: {line}"

    def test_paths_are_relative_to_the_file(self) -> None:
        options = convert({"access-key": "", "certificate": "tls/ca.pem"}, Options, ANYWHERE, "plugins.x")
        assert options.certificate == Path("/etc/audiohookd/tls/ca.pem")


class TestPaths:
    def test_are_relative_to_the_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc" / "x.toml").write_text("[auth]\nkeys_file = 'keys.json'\n[spool]\ndirectory = '../spool'")
        monkeypatch.chdir(tmp_path)
        config = load(Path("etc/x.toml"))
        assert config.auth.keys_file == tmp_path / "etc" / "keys.json"
        assert config.spool.directory.resolve() == tmp_path / "spool"

    def test_are_kept_if_absolute(self, tmp_path: Path) -> None:
        (tmp_path / "x.toml").write_text("[auth]\nkeys_file = '/run/keys.json'")
        assert load(tmp_path / "x.toml").auth.keys_file == Path("/run/keys.json")


class TestPluginsOfARoute:
    def test_are_all_in_the_order_of_the_file(self) -> None:
        config = check({"plugins": {"s3": {}, "recorder": {}}}, ANYWHERE)
        assert config.plugins_of(config.route[0]) == ("s3", "recorder")

    def test_are_named_in_the_order_of_the_route(self) -> None:
        routes = [{"plugins": ["c", "a"]}, {"path": "/", "plugins": []}]
        config = check({"plugins": {"a": {}, "b": {}, "c": {}}, "route": routes}, ANYWHERE)
        assert [config.plugins_of(route) for route in config.route] == [("c", "a"), ()]


def test_an_address_is_parsed_with_any_key() -> None:
    assert address("plugins", "recorder") == "plugins.recorder"
    assert address("plugins", "a.b\n") == r"plugins.'a.b\n'"
    assert address("") == "''"


def toml_string(text: str) -> str:
    """``text`` as a TOML string."""
    plain = string.ascii_letters + string.digits
    return '"' + "".join(char if char in plain else f"\\U{ord(char):08X}" for char in text) + '"'


KNOWN = ["plugins", *tables(), *(key for keys in tables().values() for key in keys)]
KEYS = st.sampled_from(KNOWN) | st.text(max_size=8)
SCALARS = (
    st.just("http")
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.times()
    | st.datetimes()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
@example({"a - at `$.x": 1})
@example({"route": [{"` - at `$[": 1}]})
@example({"plugins": {"\u2028": {}}, "route": [{"plugins": ["\x1b"]}]})
def test_any_file_is_a_configuration_or_one_line(tables: dict[str, Any]) -> None:
    refusal = ""
    try:
        config = check(tables, ANYWHERE)
    except ConfigError as fault:
        refusal = str(fault)
    if refusal:
        assert refusal.startswith(f"{ANYWHERE}: ")
        assert refusal.isprintable()
    else:
        assert config.route
        assert config.auth.keys_file is None or config.auth.keys_file.is_absolute()


@given(st.text(max_size=200))
def test_any_error_of_a_plugin_stays_one_line(text: str) -> None:
    assert len(str(ConfigError(f"x{text}")).splitlines()) == 1
