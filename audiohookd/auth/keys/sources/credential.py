"""Keys in a systemd credential (``LoadCredential=``)."""

from collections.abc import Mapping
from pathlib import Path

from audiohookd.auth.keys.model import KeySourceError
from audiohookd.auth.keys.sources.file import KeyFile


def credential(name: str, credential_name: str, environment: Mapping[str, str]) -> KeyFile:
    """Returns the file in which systemd passes the credential.

    systemd copies it when the service starts, and newer versions also at a reload. The file is polled like any other.

    :raises KeySourceError: systemd passes no credentials, or the name is invalid.
    """
    if "/" in credential_name or credential_name in (".", ".."):
        raise KeySourceError(
            f"{credential_name!r} is not the name of a credential: write the part of LoadCredential= before the colon"
        )
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise KeySourceError(
            f"systemd passes no credentials: write LoadCredential={credential_name}:/PATH in the unit"
        )
    return KeyFile(name, Path(directory) / credential_name)
