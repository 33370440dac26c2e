"""Keys in a credential of systemd (``LoadCredential=``)."""

from collections.abc import Mapping
from pathlib import Path

from audiohookd.auth.keys.model import KeySourceError
from audiohookd.auth.keys.sources.file import KeyFile


def credential(name: str, credential_name: str, environment: Mapping[str, str]) -> KeyFile:
    """The file in which systemd hands over the credential.

    systemd copies it when the service starts (newer ones also at a reload): it is watched like any other file.

    :raises KeySourceError: systemd hands over none, or the name cannot be one.
    """
    if "/" in credential_name or credential_name in (".", ".."):
        raise KeySourceError(f"{credential_name!r} is no name of a credential: write what is before the colon")
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise KeySourceError(f"systemd hands over no credentials: LoadCredential={credential_name}:/PATH in the unit")
    return KeyFile(name, Path(directory) / credential_name)
