"""Encodings of the text that operators write (files, variables, arguments) and read (logs, output)."""

import codecs
import json
from io import TextIOWrapper
from typing import Final, TextIO

#: Byte order marks, with which editors on Windows and PowerShell begin files, and the encodings that they name.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_JSON_ESCAPE = "audiohookd.json-escape"


def decode_text(content: bytes | str, errors: str = "strict") -> str:
    """Decodes text and removes its byte order mark. UTF-8, or UTF-16 if the mark says so; a ``str`` only loses it.

    :param errors: as for ``bytes.decode``.
    :raises UnicodeDecodeError: it is neither, and ``errors`` does not allow for it.
    """
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    encoding = next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "utf-8")
    return content.decode(encoding, errors)


def escape_unencodable(stream: TextIO | None, as_json: bool = False) -> None:
    r"""Makes a stream write an escape for each character that its encoding lacks, instead of raising.

    :param as_json: escapes that JSON has (``\u00e9``), too, so that JSON in the output stays JSON; else Python's
        ``backslashreplace`` (``\xe9``).
    """
    if not isinstance(stream, TextIOWrapper):
        return
    codecs.register_error(_JSON_ESCAPE, _json_escape)
    stream.reconfigure(errors=_JSON_ESCAPE if as_json else "backslashreplace")


def _json_escape(fault: UnicodeError) -> tuple[str, int]:
    if not isinstance(fault, UnicodeEncodeError):
        raise fault
    return json.dumps(fault.object[fault.start : fault.end])[1:-1], fault.end
