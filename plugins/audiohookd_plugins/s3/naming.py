"""Keys, tags and metadata of a recording's objects (pure)."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlencode

from audiohookd_plugins.s3.config import S3Config
from audiohookd_plugins.s3.template import KeyTemplate, Template

AUDIO = ".wav"
SIDECAR = ".json"
#: Limits of S3 for an object; some of the metadata is reserved for audiohookd.
KEY_BYTES = 1024
TAGS = 10
TAG_KEY, TAG_VALUE = 128, 256
METADATA_BYTES = 2048 - 256

_TAG = "[A-Za-z0-9 +=._:/@-]*"
_METADATA = "[ -~]*"
_METADATA_KEY = re.compile("[a-z0-9-]+")
_OURS = "audiohookd-"


class Naming:
    """The templates of the configuration.

    :raises ValueError: a template, or the name of a tag or of metadata, is invalid.
    """

    def __init__(self, config: S3Config) -> None:
        with _at("key"):
            self._key = KeyTemplate(config.key, KEY_BYTES - len(SIDECAR))
        self._tags = _tags(config.tags)
        self._metadata = _metadata(config.metadata)

    def key(self, values: Mapping[str, str]) -> str:
        """The key without its suffix."""
        return self._key.render(values)

    def tagging(self, values: Mapping[str, str]) -> str:
        """The tags, URL-encoded."""
        return urlencode({name: template.render(values) for name, template in self._tags.items()})

    def metadata(self, values: Mapping[str, str]) -> dict[str, str]:
        """The configured metadata, and the recording's id."""
        wanted = {name: template.render(values) for name, template in self._metadata.items()}
        return {**wanted, f"{_OURS}recording": values["recording"]}


def _tags(texts: Mapping[str, str]) -> dict[str, Template]:
    if len(texts) > TAGS:
        raise ValueError(f"tags: {len(texts)} of them; S3 allows {TAGS}")
    templates = {}
    for name, text in texts.items():
        with _at(f"tags.{name}"):
            if not name or len(name) > TAG_KEY or not re.fullmatch(_TAG, name) or name.startswith("aws:"):
                raise ValueError("cannot be the name of a tag")
            templates[name] = Template(text, _TAG, TAG_VALUE)
    return templates


def _metadata(texts: Mapping[str, str]) -> dict[str, Template]:
    templates = {}
    for name, text in texts.items():
        with _at(f"metadata.{name}"):
            if not _METADATA_KEY.fullmatch(name) or name.startswith(_OURS):
                raise ValueError(f"must be of a-z, 0-9 and '-', and not begin with {_OURS}")
            templates[name] = Template(text, _METADATA, METADATA_BYTES)
    size = sum(len(name) + template.longest for name, template in templates.items())
    if size > METADATA_BYTES:
        raise ValueError(f"metadata: could get longer than {METADATA_BYTES} bytes")
    return templates


@contextmanager
def _at(key: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error
