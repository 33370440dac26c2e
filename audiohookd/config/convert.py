"""Tables of TOML to msgspec structures, and msgspec's complaints to lines that an operator understands."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from audiohookd import units
from audiohookd.config.errors import ConfigError, address, did_you_mean

T = TypeVar("T")

#: msgspec's names of types, which are those of JSON and Python, to TOML's.
_TOML_WORDS = {"object": "table", "str": "string", "int": "integer", "bool": "boolean"}
_COMPARED = {">": "more than", ">=": "at least", "<": "less than", "<=": "at most"}
_out_of_range = re.compile(r"Expected `(?:float|int)` (>=?|<=?) (\S+)")


def convert(table: dict[str, Any], kind: type[T], path: Path, where: str = "") -> T:
    """``table`` as a ``kind``. Values of type Path become absolute, durations and sizes become numbers.

    A class attribute ``renamed_keys`` of a structure maps old names of keys to new ones.

    :param path: the file; relative paths in the table are relative to its directory.
    :param where: the address of ``table`` in the file.
    :raises ConfigError: with the address of what is wrong.
    """

    def resolve(wanted: type, value: Any) -> Any:
        if wanted is Path and isinstance(value, str) and value and "\0" not in value:
            return Path(os.path.normpath(path.parent.absolute() / value))
        raise ValueError(f"Expected a {wanted.__name__.lower()}, in quotes")

    try:
        return msgspec.convert(_with_numbers(table, inspect.type_info(kind), where), kind, dec_hook=resolve)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_explain(str(error), kind, where)}") from None
    except _Mistake as error:
        raise ConfigError(f"{path}: {error}") from None


class _Mistake(Exception):
    """The address in the file, and what is wrong there."""


def _with_numbers(value: Any, expected: inspect.Type, where: str) -> Any:
    """``value`` with numbers, in seconds and bytes, for the texts that say durations and sizes.

    :raises _Mistake: a quantity has no unit or is none, or a key has another name now.
    """
    if isinstance(expected, inspect.UnionType):
        return _with_numbers(value, _alternative(expected, value), where)
    if isinstance(expected, inspect.Metadata):
        unit = (expected.extra or {}).get(units.UNIT)
        return _number(value, unit, where) if unit else _with_numbers(value, expected.type, where)
    if isinstance(expected, inspect.StructType) and isinstance(value, dict):
        _check_renamed(value, expected, where)
        fields = {known.encode_name: known.type for known in expected.fields}
        inner = {key: _with_numbers(value[key], fields[key], _below(where, key)) for key in value if key in fields}
        return value | inner
    if isinstance(expected, inspect.VarTupleType | inspect.ListType) and isinstance(value, list):
        return [_with_numbers(one, expected.item_type, f"{where}[{at}]") for at, one in enumerate(value)]
    if isinstance(expected, inspect.DictType) and isinstance(value, dict):
        return {key: _with_numbers(one, expected.value_type, _below(where, key)) for key, one in value.items()}
    return value


def _below(where: str, key: str) -> str:
    return f"{where}.{address(key)}" if where else address(key)


def _alternative(expected: inspect.UnionType, value: Any) -> inspect.Type:
    """The first of the types that ``value`` may be meant to have."""
    kinds: Mapping[type, Any] = {dict: (inspect.StructType, inspect.DictType), list: inspect.ListType}
    kind = kinds.get(type(value), inspect.Metadata)
    return next((one for one in expected.types if isinstance(one, kind)), inspect.AnyType())


def _check_renamed(table: Mapping[str, Any], struct: inspect.StructType, where: str) -> None:
    renamed: Mapping[str, str] = getattr(struct.cls, "renamed_keys", {})
    for key in table:
        if key in renamed:
            raise _Mistake(f"{_below(where, key)}: this key is named {renamed[key]!r} now")


def _number(value: Any, unit: str, where: str) -> Any:
    if isinstance(value, str):
        try:
            number = units.parse(value, unit)
        except ValueError as error:
            raise _Mistake(f"{where}: {error}") from None
        return round(number) if unit == "B" else number
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Mistake(f"{where}: must be {units.EXAMPLES[unit]}")
    if value and unit == "B":  # a number without a unit could be meant as bytes or as MiB
        raise _Mistake(f"{where}: {value} has no unit: write {units.EXAMPLES[unit]}")
    return value


def _explain(text: str, kind: Any, where: str) -> str:
    """Msgspec says ``Expected `int`, got `str` - at `$.listen.max_sessions```: the address goes first."""
    text, _, found = text.partition(" - at `$")
    found = found.removesuffix("`").removeprefix(".")
    expected = _type_at(kind, found)
    key = ""
    if text.startswith("Object contains unknown field"):
        key = text.partition("`")[2].removesuffix("`")
        # All that the file itself holds are tables.
        text = f"unknown {'key' if where or found else 'table'}{did_you_mean(key, _keys(expected))}"
    elif text.startswith("Object missing required field"):
        key = text.partition("`")[2].removesuffix("`")
        text = "is missing, and has no default"
    elif text.startswith("Invalid enum value"):
        text = f"must be one of: {', '.join(map(repr, _choices(expected)))}"
    elif (unit := _unit(expected)) and (bound := _out_of_range.fullmatch(text)):
        text = f"must be {_COMPARED[bound[1]]} {units.written(float(bound[2]), unit)}"
    full = ".".join(part for part in (where, found, key and address(key)) if part)
    words = re.sub(r"\w+", lambda word: _TOML_WORDS.get(word[0], word[0]), text) if "`" in text else text
    return f"{full or 'file'}: {words.replace(' | null', '').replace('`', '')}"


def _type_at(kind: Any, found: str) -> inspect.Type:
    """What msgspec expects at the address ``found`` below ``kind``: ``route[0].path``."""
    expected = inspect.type_info(kind)
    for part in re.findall(r"\[[^]]*\]|[^.\[]+", found):
        members = (_member(one, part) for one in _alternatives(expected))
        expected = next((member for member in members if member is not None), inspect.AnyType())
    return expected


def _unit(expected: inspect.Type) -> str | None:
    extras = [one.extra or {} for one in _alternatives(expected) if isinstance(one, inspect.Metadata)]
    return next((extra[units.UNIT] for extra in extras if units.UNIT in extra), None)


def _member(outer: inspect.Type, part: str) -> inspect.Type | None:
    match outer:
        case inspect.StructType(fields=fields):
            return next((known.type for known in fields if known.encode_name == part), None)
        case inspect.VarTupleType(item_type=inner) | inspect.ListType(item_type=inner):
            return inner
        case inspect.DictType(value_type=inner):
            return inner
    return None


def _alternatives(expected: inspect.Type) -> Iterable[inspect.Type]:
    return expected.types if isinstance(expected, inspect.UnionType) else (expected,)


def _keys(expected: inspect.Type) -> list[str]:
    structs = [one for one in _alternatives(expected) if isinstance(one, inspect.StructType)]
    return [known.encode_name for struct in structs for known in struct.fields]


def _choices(expected: inspect.Type) -> list[object]:
    literals = [one for one in _alternatives(expected) if isinstance(one, inspect.LiteralType)]
    return [value for literal in literals for value in literal.values]
