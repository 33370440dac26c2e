"""Protocol section 2.3: how the two header fields may be spelled."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.auth.rejection import RejectionReason, SignatureRejected
from tests.auth import foreign_signer as foreign
from tests.auth.foreign_signer import CREATED, replaced, signed
from tests.auth.signature_rig import ODD, parsed, refusal, verified


class TestSpelling:
    """A signer may sign what it sent, or what that means."""

    canonical = foreign.rendering(alg=None, expires=None) + ";z;y"

    def test_the_signer_signed_what_it_sent(self) -> None:
        verified(signed(text=ODD))

    def test_the_signer_signed_what_it_means(self) -> None:
        verified(replaced(signed(text=self.canonical), signature_input=f"sig1={ODD}"))

    def test_other_spellings_are_rejected(self) -> None:
        request = replaced(signed(text=self.canonical), signature_input=f"sig1={ODD};more")
        assert refusal(request) is RejectionReason.SIGNATURE_WRONG

    @pytest.mark.parametrize(
        "neighbour",
        ['a=",sig1=("', 'a="\\",sig1=("', 'a=%"\\",b="x,sig1=("', "sig1x=1", "a=1;sig1=2", "sig1.b"],
    )
    def test_signature_is_found_between_other_members(self, neighbour: str) -> None:
        request = signed(text=ODD)
        ours = request.headers["signature-input"]
        verified(replaced(request, signature_input=f"{neighbour} ,\t{ours}\t, z"))

    def test_commas_in_parameters_are_accepted(self) -> None:
        verified(signed(text=ODD + ';a=",x=\\"";b=%",x=";c="\\\\"'))


class TestLabels:
    @pytest.mark.parametrize("label", ["sig1", "a", "*x-y.z_1"])
    def test_any_label_is_accepted(self, label: str) -> None:
        verified(signed(label=label))

    def test_no_common_label_is_rejected(self) -> None:
        request = replaced(signed(label="one"), signature=signed(label="two").headers["signature"])
        assert refusal(request) is RejectionReason.SIGNATURE_INCOMPLETE

    @pytest.mark.parametrize("field", ["signature", "signature_input"])
    def test_duplicate_label_is_rejected(self, field: str) -> None:
        request = signed()
        once = request.headers[field.replace("_", "-")]
        assert refusal(replaced(request, **{field: f"{once}, {once}"})) is RejectionReason.DUPLICATE


class TestGarbage:
    @pytest.mark.parametrize("length", [0, 1, 31, 33, 300])
    def test_signature_of_another_length(self, length: int) -> None:
        value = base64.b64encode(bytes(length)).decode()
        assert refusal(replaced(signed(), signature=f"sig1=:{value}:")) is RejectionReason.SIGNATURE_WRONG

    @pytest.mark.parametrize("field", ["signature", "signature_input"])
    def test_a_field_beyond_the_limit_is_not_parsed(self, field: str) -> None:
        """Sixteen kilobytes of it took 13 ms of every call's time."""
        request = signed()
        long = request.headers[field.replace("_", "-")] + ";a" * 1000
        assert refusal(replaced(request, **{field: long})) is RejectionReason.MALFORMED

    def test_truncated_signature_is_rejected(self) -> None:
        value = base64.b64encode(base64.b64decode(foreign.DOCUMENTED_SIGNATURE)[:31]).decode()
        assert refusal(replaced(signed(), signature=f"sig1=:{value}:")) is RejectionReason.SIGNATURE_WRONG

    @pytest.mark.parametrize(
        "text",
        ["sig1", "sig1=1", 'sig1="AA=="', "sig1=(:AA==:)", "sig1=:A:", "sig1=:===:", "sig1=:\xe9:", "=", ","],
    )
    def test_malformed_signature_is_rejected(self, text: str) -> None:
        assert refusal(replaced(signed(), signature=text)) is RejectionReason.MALFORMED

    @pytest.mark.parametrize(
        "text",
        [
            "sig1",
            "sig1=:AA==:",
            f'sig1="x";created={CREATED};keyid="k";nonce="n"',
            "sig1=(",
            "sig1=" + "(" * 100_000,
            "sig1=()" + ";" * 100_000,
            "sig1=();created=" + "9" * 100_000,
            "sig1=();x=@999999999999999",
            "sig1=(), ",
            "sig1=()\n",
            "SIG1=()",
            "\ud800",
            "\xff",
        ],
    )
    def test_malformed_input_is_rejected(self, text: str) -> None:
        assert refusal(replaced(signed(), signature_input=text)) is RejectionReason.MALFORMED

    @pytest.mark.parametrize("field", ["signature", "signature_input"])
    @pytest.mark.parametrize("text", ["", " "])
    def test_empty_fields_are_rejected(self, field: str, text: str) -> None:
        assert refusal(replaced(signed(), **{field: text})) is RejectionReason.SIGNATURE_INCOMPLETE

    fragments = st.sampled_from(
        ["sig1=", "(", ")", '"x-api-key"', " ", ";", "created=", "1", '"', ":", "AA==", ",", "?1", "%", "@"]
    )

    latin_1 = st.binary().map(lambda raw: raw.decode("latin-1"))
    anything = st.one_of(st.text(), latin_1, st.lists(fragments).map("".join))

    @given(anything, anything)
    def test_garbage_is_rejected_without_another_error(self, signature_input: str, signature: str) -> None:
        with pytest.raises(SignatureRejected):
            parsed(signature_input, signature)
