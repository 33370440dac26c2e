"""Keys in files, systemd credentials, and environment variables."""

import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from zope.interface.verify import verifyObject

from audiohookd.auth.keys.model import UNSIGNED, IKeySource, Key, Keys, KeySourceError
from audiohookd.auth.keys.sources.credential import credential
from audiohookd.auth.keys.sources.environment import KeyVariable
from audiohookd.auth.keys.sources.file import KeyFile
from audiohookd.runtime.privileges import User, acting_as
from audiohookd.secret_file import MAX_SIZE

SECRET = "U2VjcmV0U2VjcmV0"
ONE = f'{{"a-key": "{SECRET}"}}'
READ = Keys({"a-key": Key((b"SecretSecret",))})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An empty file that only its owner may access."""
    path = tmp_path / "keys.json"
    path.touch(0o600)
    return path


def refusal(source: KeyFile | KeyVariable) -> str:
    with pytest.raises(KeySourceError) as caught:
        source.load()
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown
    assert "a-key" not in shown
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


class TestFile:
    def test_file_is_a_key_source(self, path: Path) -> None:
        verifyObject(IKeySource, KeyFile("auth.keys_file", path))

    def test_file_is_read(self, path: Path) -> None:
        path.write_text(ONE)
        assert KeyFile("f", path).load() == READ

    @pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o660])
    def test_group_may_read_the_file(self, path: Path, mode: int) -> None:
        path.write_text(ONE)
        path.chmod(mode)
        assert KeyFile("f", path).load() == READ

    @pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o601, 0o666])
    def test_file_for_all_users_is_rejected(self, path: Path, mode: int) -> None:
        path.write_text(ONE)
        path.chmod(mode)
        said = refusal(KeyFile("f", path))
        assert said.startswith(f"'{path}': is accessible to all users (mode {mode:04o}): chmod o= it")

    def test_file_size_is_limited(self, path: Path) -> None:
        path.write_text("{" + " " * (MAX_SIZE - 2) + "}")
        assert len(KeyFile("f", path).load()) == 0
        path.write_text("{" + " " * (MAX_SIZE - 1) + "}")
        assert f"larger than {MAX_SIZE} bytes" in refusal(KeyFile("f", path))

    def test_a_mistake_in_it_names_it(self, path: Path) -> None:
        path.write_text(ONE[:-1])
        assert refusal(KeyFile("f", path)).startswith(f"'{path}': is not JSON: correct line 1")

    @pytest.mark.parametrize("content", ["", " \n"])
    def test_empty_file_is_reported_with_an_example(self, path: Path, content: str) -> None:
        path.write_text(content)
        said = refusal(KeyFile("f", path))
        assert said == f'\'{path}\': is empty: write {{"API key": "secret in base64"}}'

    def test_missing_file_is_reported(self, tmp_path: Path) -> None:
        said = refusal(KeyFile("f", tmp_path / "absent.json"))
        assert said.endswith("absent.json': cannot be read (No such file or directory): correct path or permissions")

    def test_directory_is_reported(self, tmp_path: Path) -> None:
        assert "cannot be read (Is a directory)" in refusal(KeyFile("f", tmp_path))

    def test_pipe_does_not_block(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe", 0o600)
        assert "is empty" in refusal(KeyFile("f", tmp_path / "pipe"))

    @pytest.mark.parametrize("name", ["a\0b", "a\nb"])
    def test_invalid_name_is_reported(self, name: str) -> None:
        assert "correct" in refusal(KeyFile("f", Path(name)))


class TestChangedFile:
    def test_file_is_unchanged_after_a_read(self, path: Path) -> None:
        path.write_text(ONE)
        source = KeyFile("f", path)
        assert source.changed()
        source.load()
        assert not source.changed()

    def test_replacement_is_detected(self, path: Path) -> None:
        path.write_text(ONE)
        source = KeyFile("f", path)
        source.load()
        new = path.with_suffix(".new")
        new.touch(0o600)
        new.write_text('{"b": null}')
        new.rename(path)
        assert source.changed()
        assert source.load() == Keys({"b": Key((UNSIGNED,))})

    def test_rewrite_of_equal_size_is_detected(self, path: Path) -> None:
        path.write_text('{"a": null}')
        source = KeyFile("f", path)
        source.load()
        path.write_text('{"b": null}')
        os.utime(path, ns=(1, 1))
        assert source.changed()

    def test_change_of_mode_is_detected(self, path: Path) -> None:
        path.write_text(ONE)
        source = KeyFile("f", path)
        source.load()
        path.chmod(0o644)
        assert source.changed()
        refusal(source)
        assert source.changed()

    def test_missing_file_counts_as_changed(self, path: Path) -> None:
        path.write_text(ONE)
        source = KeyFile("f", path)
        source.load()
        path.rename(path.with_suffix(".away"))
        assert source.changed()
        refusal(source)
        path.with_suffix(".away").rename(path)
        assert source.changed()
        source.load()
        assert not source.changed()

    def test_invalid_file_is_read_once(self, path: Path) -> None:
        path.write_text("{")
        source = KeyFile("f", path)
        refusal(source)
        assert not source.changed()


class TestCredential:
    def test_credential_is_read_from_its_directory(self, tmp_path: Path, path: Path) -> None:
        path.write_text(ONE)
        source = credential("auth.keys_credential", "keys.json", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
        verifyObject(IKeySource, source)
        assert source.name == "auth.keys_credential"
        assert source.load() == READ

    @pytest.mark.parametrize("environment", [{}, {"CREDENTIALS_DIRECTORY": ""}])
    def test_credential_without_systemd_is_reported(self, environment: dict[str, str]) -> None:
        with pytest.raises(KeySourceError, match="LoadCredential=keys:/PATH in the unit"):
            credential("c", "keys", environment)

    @pytest.mark.parametrize("name", ["../keys", "/etc/keys", "..", "."])
    def test_name_with_a_path_is_rejected(self, name: str) -> None:
        with pytest.raises(KeySourceError, match="not the name of a credential"):
            credential("c", name, {"CREDENTIALS_DIRECTORY": "/run/credentials"})


class TestVariable:
    def test_variable_has_the_format_of_a_file(self) -> None:
        source = KeyVariable("auth.keys_variable", "STATIC_API_KEY_MAP", ONE)
        verifyObject(IKeySource, source)
        assert source.load() == READ
        assert not source.changed()
        assert source.interval is None

    def test_a_mistake_in_it_names_it(self) -> None:
        said = refusal(KeyVariable("v", "STATIC_API_KEY_MAP", ONE[:-1]))
        assert said.startswith("$STATIC_API_KEY_MAP: is not JSON")


@pytest.mark.skipif(os.geteuid() != 0, reason="switches users: needs root")
class TestUnreadableFile:
    """Root starts the daemon, which runs as the owner of the spool. The file belongs to root."""

    NOBODY = User(65534, 65534)

    @pytest.fixture
    def readable(self) -> Iterator[Path]:
        """A directory that any user may enter, unlike the directories of pytest."""
        with TemporaryDirectory() as name:
            Path(name).chmod(0o755)
            yield Path(name)

    def test_error_names_the_user_and_the_remedies(self, readable: Path) -> None:
        path = readable / "keys.json"
        path.write_text(ONE)
        path.chmod(0o600)
        with acting_as(self.NOBODY):
            said = refusal(KeyFile("f", path))
        assert said.startswith(f"'{path}': cannot be read by user nobody (Permission denied): ")
        assert f"chown root:nogroup {path} && chmod 0640 {path}" in said
        assert "LoadCredential= and keys_credential, docs/keys.rst" in said

    def test_file_is_read_after_the_remedy(self, readable: Path) -> None:
        path = readable / "keys.json"
        path.write_text(ONE)
        path.chmod(0o640)
        os.chown(path, 0, self.NOBODY.gid)
        with acting_as(self.NOBODY):
            assert len(KeyFile("f", path).load()) == 1
