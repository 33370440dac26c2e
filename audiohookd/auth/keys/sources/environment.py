"""Keys in an environment variable, as in the reference server."""

from zope.interface import implementer

from audiohookd.auth.keys.model import IKeySource, Keys, KeySourceError
from audiohookd.auth.keys.parse import BadKeys, read_keys


@implementer(IKeySource)
class KeyVariable:
    """The value of an environment variable, which does not change while the daemon runs."""

    interval = None

    def __init__(self, name: str, variable: str, text: str) -> None:
        self.name = name
        self._variable = variable
        self._text = text

    def changed(self) -> bool:
        """See :class:`IKeySource`."""
        return False

    def load(self) -> Keys:
        """See :class:`IKeySource`."""
        try:
            return read_keys(self._text)
        except BadKeys as error:
            raise KeySourceError(f"${self._variable}: {error}") from None
