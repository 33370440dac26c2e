"""RFC 8941 and RFC 9651: structured fields, valid and invalid, in the two fields of a signature."""

import base64
from typing import Any

import pytest

from audiohookd.auth.rejection import RejectionReason, SignatureRejected
from audiohookd.auth.signature.fields import Signature
from tests.auth.signature_rig import parsed

#: A list and parameters with which nothing is wrong.
GOOD = 'sig1=("a");created=1;keyid="k";nonce="n"'
VALUE = "sig1=:AA==:"


def refusal(signature_input: str = GOOD, signature: str = VALUE) -> RejectionReason:
    with pytest.raises(SignatureRejected) as caught:
        parsed(signature_input, signature)
    return caught.value.reason


def with_parameters(text: str, components: str = '"a"') -> Signature:
    return parsed(f"sig1=({components});{text}", VALUE)


class TestMembersOfADictionary:
    """Beside ours, and of any kind: all of the field has to be well-formed."""

    @pytest.mark.parametrize(
        "member",
        [
            "x",
            "x;y",
            "x;y=1; z",
            "x=?0",
            "x=1",
            "x=-0",
            "x=007",
            "x=999999999999999",
            "x=-999999999999999",
            "x=1.5",
            "x=123456789012.125",
            "x=tok/en:*'",
            "x=*tok",
            'x=""',
            'x="\\"\\\\"',
            "x=::",
            "x=:YWI=:",
            "x=@1659578233",
            "x=@-1",
            'x=%"f%c3%bc"',
            "x=()",
            "x=( )",
            'x=(1  "a"   tok);p',
            "x=(1;a 2;b=3)",
            "*x=1",
            "x-y_z.w*=1",
        ],
    )
    @pytest.mark.parametrize("comma", [",", ", ", " ,\t", "\t,  "])
    def test_well_formed_field_is_accepted(self, member: str, comma: str) -> None:
        assert parsed(f"{GOOD}{comma}{member}", VALUE) == parsed(GOOD, VALUE)
        assert parsed(f"{member}{comma}{GOOD}", VALUE) == parsed(GOOD, VALUE)
        assert parsed(GOOD, f"{VALUE}{comma}{member}") == parsed(GOOD, VALUE)

    @pytest.mark.parametrize(
        "member",
        [
            "",
            "X",
            "-x",
            "1x",
            "é",
            "x =1",
            "x= 1",
            "x=",
            "x;",
            "x;Y",
            "x;\ty",
            "x ;y",
            "x=1 2",
            "x=-",
            "x=--1",
            "x=+1",
            "x=1000000000000000",
            "x=1.",
            "x=.5",
            "x=1.1234",
            "x=1234567890123.1",
            "x=1e3",
            "x=?",
            "x=?2",
            "x=?true",
            'x="',
            'x="\\x"',
            'x="\\',
            'x="\t"',
            'x="\x7f"',
            'x="é"',
            "x='a'",
            "x=:YQ==",
            "x=:Y Q==:",
            "x=:YQ-_:",
            "x=:Y:",
            "x=@1.5",
            "x=@",
            'x=%"%C3%BC"',
            'x=%"%ff"',
            'x=%"%a"',
            "x=(",
            "x=(1",
            "x=1)",
            "x=(1,2)",
            "x=(1\t2)",
            'x=(1"a")',
            "x=((1))",
            "x={1}",
            "x=[1]",
        ],
    )
    def test_malformed_field_is_rejected(self, member: str) -> None:
        assert refusal(f"{GOOD}, {member}") is RejectionReason.MALFORMED
        assert refusal(f"{member}, {GOOD}") is RejectionReason.MALFORMED
        assert refusal(GOOD, f"{VALUE}, {member}") is RejectionReason.MALFORMED

    @pytest.mark.parametrize("space", ["\n", "\r", "\x0b", "\x0c", "\xa0", "\x85", "\x00"])
    def test_white_space_is_only_space_and_tab(self, space: str) -> None:
        assert refusal(f"{GOOD},{space}x") is RejectionReason.MALFORMED
        assert refusal(f"{space}{GOOD}") is RejectionReason.MALFORMED

    def test_duplicate_members_are_rejected(self) -> None:
        """RFC 8941, 3.2. Not all parsers do that, so neither is accepted."""
        assert refusal(f"x=1, {GOOD}, x=2") is RejectionReason.DUPLICATE
        assert refusal(f"{GOOD};created=1") is RejectionReason.DUPLICATE
        assert refusal('sig1=("a" "a");created=1;keyid="k";nonce="n"') is RejectionReason.DUPLICATE


class TestInnerLists:
    @pytest.mark.parametrize("text", ['"a" "b"', '  "a"   "b"  ', ' "a" "b"'])
    def test_any_number_of_spaces_is_accepted(self, text: str) -> None:
        assert with_parameters('created=1;keyid="k";nonce="n"', text).components == ("a", "b")

    @pytest.mark.parametrize("text", ["", " ", "   "])
    def test_empty_list_is_accepted(self, text: str) -> None:
        assert with_parameters('created=1;keyid="k";nonce="n"', text).components == ()

    @pytest.mark.parametrize(("text", "reason"), [("a", "malformed"), ("1", "malformed"), (":YQ==:", "malformed")])
    def test_list_has_only_strings(self, text: str, reason: str) -> None:
        assert refusal(f'sig1=({text});created=1;keyid="k";nonce="n"') == reason

    @pytest.mark.parametrize("parameter", ["sf", 'key="x"', "bs", "req", "tr", "x=?0"])
    def test_parameters_of_a_component_are_not_done_as_if_they_were_not_there(self, parameter: str) -> None:
        assert (
            refusal(f'sig1=("a";{parameter});created=1;keyid="k";nonce="n"') is RejectionReason.COMPONENT_UNSUPPORTED
        )


class TestStrings:
    @pytest.mark.parametrize(
        ("text", "meaning"),
        [('""', ""), ('"a b"', "a b"), ('"\\""', '"'), ('"\\\\"', "\\"), ('"\\\\\\""', '\\"'), ('",;=()"', ",;=()")],
    )
    def test_value_is_parsed(self, text: str, meaning: str) -> None:
        assert with_parameters(f'created=1;keyid="k";nonce={text}').nonce == meaning
        assert with_parameters(f'created=1;keyid={text};nonce="n"').keyid == meaning

    @pytest.mark.parametrize("other", ["tok", "1", "1.5", "?1", ":YQ==:", "@1", '%"a"'])
    @pytest.mark.parametrize("name", ["keyid", "nonce", "alg"])
    def test_other_values_are_rejected(self, name: str, other: str) -> None:
        parameters = {"created": "1", "keyid": '"k"', "nonce": '"n"'} | {name: other}
        text = ";".join(f"{key}={value}" for key, value in parameters.items())
        assert refusal(f'sig1=("a");{text}') is RejectionReason.MALFORMED


class TestIntegers:
    @pytest.mark.parametrize(
        ("text", "meaning"),
        [("0", 0), ("-0", 0), ("0042", 42), ("-7", -7), ("999999999999999", 999_999_999_999_999)],
    )
    def test_value_is_parsed(self, text: str, meaning: int) -> None:
        assert with_parameters(f'created={text};keyid="k";nonce="n"').created == meaning
        assert with_parameters(f'created=1;expires={text};keyid="k";nonce="n"').expires == meaning

    @pytest.mark.parametrize("other", ['"1"', "1.0", "?1", "tok", "@1", ":MQ==:", "1000000000000000"])
    @pytest.mark.parametrize("name", ["created", "expires"])
    def test_other_values_are_rejected(self, name: str, other: str) -> None:
        parameters = {"created": "1", "keyid": '"k"', "nonce": '"n"'} | {name: other}
        text = ";".join(f"{key}={value}" for key, value in parameters.items())
        assert refusal(f'sig1=("a");{text}') is RejectionReason.MALFORMED


class TestByteSequences:
    @pytest.mark.parametrize("octets", [b"", b"\0", b"ab", b"abc", b"\xfb\xff\xfe", bytes(32), bytes(range(64))])
    def test_value_is_parsed(self, octets: bytes) -> None:
        text = base64.b64encode(octets).decode()
        assert parsed(GOOD, f"sig1=:{text}:").value == octets
        assert parsed(GOOD, f"sig1=:{text.rstrip('=')}:").value == octets  # may be taken, and is (RFC 8941, 4.2.7)

    @pytest.mark.parametrize("other", ["sig1", "sig1=?0", 'sig1="AA=="', "sig1=AA", "sig1=1", "sig1=(:AA==:)"])
    def test_other_values_are_rejected(self, other: str) -> None:
        assert refusal(GOOD, other) is RejectionReason.MALFORMED

    def test_its_parameters_mean_nothing(self) -> None:
        assert parsed(GOOD, f'{VALUE};alg="none";created=2') == parsed(GOOD, VALUE)


@pytest.mark.parametrize("nothing", ["", " ", "   "])
def test_an_empty_field_is_an_empty_dictionary(nothing: str) -> None:
    expected: Any = RejectionReason.SIGNATURE_INCOMPLETE
    assert (refusal(nothing), refusal(GOOD, nothing), refusal(nothing, nothing)) == (expected,) * 3
