"""The sample file, the documentation and the structures of the configuration agree."""

import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from audiohookd.config.convert import convert
from audiohookd.config.load import load
from audiohookd.config.schema import Config, Route
from audiohookd.plugin_loader import COMMON_KEYS
from audiohookd_plugins.recorder import RecorderConfig
from tests.config_rig import PLUGINS, defaults_of, tables

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "etc" / "audiohookd.toml"
MINIMAL = ROOT / "etc" / "audiohookd.minimal.toml"
DOCUMENT = ROOT / "docs" / "configuration.rst"
ANYWHERE = Path("/etc/audiohookd/audiohookd.toml")
#: Tables that are comments in the file.
OPTIONAL = {f"plugins.{name}" for name in PLUGINS if name != "recorder"}
COMMON_DEFAULTS = {"required": False}
#: Keys with a meaning if they are absent that no value has.
WITHOUT_VALUE = {
    "route.plugins",
    "route.record",
    "route.time_limit",
    "auth.replay.url_file",
    "plugins.agentassist.script",
}
WITHOUT_VALUE |= {
    "plugins.publish.target",
    "plugins.menubot.menu",
    "plugins.menubot.choices",
    "plugins.menubot.invalid",
}
WITHOUT_VALUE |= {f"auth.vault.{key}" for key in ("token_file", "secret_id_file", "ca_file")}
FILES = {f"listen.{key}" for key in ("allowed_networks_file", "tls_certificate", "tls_key")}
WITHOUT_VALUE |= FILES
WITHOUT_VALUE |= {f"plugins.publish.{key}" for key in ("region", "endpoint_url")}
WITHOUT_VALUE |= {f"plugins.s3.{key}" for key in ("bucket", "region", "endpoint_url", "sse", "kms_key_id")}
WITHOUT_VALUE |= {f"plugins.s3.{key}" for key in ("storage_class", "fallback")}
WITHOUT_VALUE |= {f"plugins.webhook.{key}" for key in ("url", "secret_file", "headers_file", "ca_file", "proxy")}


class TestTheSampleFile:
    HEADER = re.compile(r"(?:# )?\[{1,2}([a-z0-9.]+)\]{1,2}")
    KEY = re.compile(r"(# )?([a-z_0-9]+) = (.*)")

    def entries(self) -> Iterator[tuple[str, str, bool, str]]:
        """For each key: its table, its name, whether it is commented out, and its value."""
        table = ""
        for line in SAMPLE.read_text().splitlines():
            if header := self.HEADER.fullmatch(line):
                table = header[1]
            elif key := self.KEY.fullmatch(line):
                yield table, key[2], key[1] is not None, key[3]

    def test_holds_every_key_of_every_table_and_no_other(self) -> None:
        there = [(table, key) for table, key, _, _ in self.entries()]
        wanted = {(table, key) for table, keys in tables().items() for key in keys}
        wanted |= {(f"plugins.{name}", key) for name in PLUGINS for key in COMMON_KEYS}
        assert set(there) == wanted
        assert len(there) == len(set(there))

    def test_holds_all_defaults(self) -> None:
        config = load(SAMPLE)
        assert msgspec.structs.replace(config, plugins={}) == Config()
        assert list(config.plugins) == ["recorder"]
        table = dict(config.plugins["recorder"])
        assert {key: table.pop(key) for key in COMMON_DEFAULTS} == COMMON_DEFAULTS
        assert table == defaults_of(RecorderConfig)

    def test_only_what_has_no_value_by_default_is_commented_out(self) -> None:
        commented = {
            f"{table}.{key}"
            for table, key, is_comment, _ in self.entries()
            if is_comment and key != "class" and table not in OPTIONAL
        }
        assert commented == {key for key in WITHOUT_VALUE if not key.startswith("plugins.")}

    def test_loads_with_every_key_uncommented(self, tmp_path: Path) -> None:
        lines = SAMPLE.read_text().splitlines()
        bare = [
            line.removeprefix("# ") if self.HEADER.fullmatch(line) or self.KEY.fullmatch(line) else line
            for line in lines
        ]
        assert bare != lines
        (tmp_path / "all.toml").write_text("\n".join(bare))
        config = load(tmp_path / "all.toml")
        assert config.route == (Route(time_limit=900.0, plugins=("recorder",), record=True),)
        assert list(config.plugins) == list(PLUGINS)
        for name, kind in PLUGINS.items():
            table = {key: value for key, value in config.plugins[name].items() if key not in COMMON_KEYS}
            convert(table, kind, tmp_path / "all.toml")

    def test_describes_each_key(self) -> None:
        lines = SAMPLE.read_text().splitlines()
        keys = [(before, line) for before, line in itertools.pairwise(lines) if self.KEY.fullmatch(line)]
        assert [line for before, line in keys if not before.startswith("# ")] == []

    def test_has_a_minimal_form_that_loads(self) -> None:
        config = load(MINIMAL)
        assert list(config.plugins) == ["recorder", "agentassist"]
        assert config.auth.keys_file == ROOT / "var" / "keys.json"


class TestTheDocumentation:
    """The tables in the documentation, as rendered."""

    HEADING = re.compile(r"^``\[{1,2}([^\]]+)\]{1,2}``\n-+$", re.MULTILINE)
    ROW = re.compile(r"^   \* - ``(\w+)``\n     - .+\n     - (.+)\n     - .+$", re.MULTILINE)

    def rows(self) -> dict[str, dict[str, str]]:
        """For each table its keys, with the text in the column of defaults."""
        _, *parts = self.HEADING.split(DOCUMENT.read_text())
        return {name: dict(self.ROW.findall(text)) for name, text in zip(parts[::2], parts[1::2], strict=True)}

    def test_describes_every_key_of_every_table_and_no_other(self) -> None:
        wanted = {table: set(keys) for table, keys in tables().items()} | {"plugins.NAME": set(COMMON_KEYS)}
        assert {table: set(rows) for table, rows in self.rows().items()} == wanted

    def test_leaves_out_no_row(self) -> None:
        written = len(re.findall(r"^   \* - (?!Key$)", DOCUMENT.read_text(), re.MULTILINE))
        assert written == sum(map(len, self.rows().values())) > 20

    def test_says_the_defaults(self) -> None:
        found = {
            f"{table}.{key}": tomllib.loads(f"default = {default.strip('`')}")["default"]
            for table, rows in self.rows().items()
            for key, default in rows.items()
            if not default.startswith("left out: ")
        }
        wanted = {f"{table}.{key}": default for table, keys in tables().items() for key, default in keys.items()}
        assert found == {
            **{key: default for key, default in wanted.items() if key not in WITHOUT_VALUE},
            "plugins.NAME.required": False,
        }

    def test_has_the_order_of_the_file(self) -> None:
        documented = [(table, key) for table, rows in self.rows().items() for key in rows]
        filed = [(table, key) for table, key, _, _ in TestTheSampleFile().entries() if key not in COMMON_KEYS]
        assert [row for row in documented if row[0] != "plugins.NAME"] == filed


@pytest.mark.parametrize(
    "document", [ROOT / "README.rst", ROOT / "SECURITY.rst", *sorted((ROOT / "docs").glob("*.rst"))]
)
def test_a_document_names_settings_that_exist(document: Path) -> None:
    """In the form ``[table] key``."""
    known = {**tables(), "plugins.NAME": dict.fromkeys(COMMON_KEYS)}
    named = re.findall(r"``\[\[?([a-z0-9.]+)\]\]? ([a-z_0-9]+)", document.read_text())
    assert [
        f"{table}.{key}" for table, key in named if key not in known.get(table, {}) | dict.fromkeys(COMMON_KEYS)
    ] == []
