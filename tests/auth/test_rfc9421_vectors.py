"""RFC 9421: its own examples, as far as AudioHook's part of it goes."""

import base64

import pytest

from audiohookd.auth.rejection import RejectionReason, SignatureRejected
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.message_signature import mac
from tests.auth.signature_rig import refusal

#: Appendix B.1.5, and the request of B.2.
SHARED_SECRET = base64.b64decode(
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
)
REQUEST = UpgradeRequest(
    "/foo?param=Value&Pet=dog",
    {
        "host": "example.com",
        "date": "Tue, 20 Apr 2021 02:07:55 GMT",
        "content-type": "application/json",
        "content-length": "18",
    },
)
#: Appendix B.2.5.
COVERED = ("date", "@authority", "content-type")
PARAMETERS = '("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"'
SIGNATURE = "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8="


def lines(request: UpgradeRequest, covered: tuple[str, ...]) -> str:
    return "".join(f'"{name}": {request.component(name)}\n' for name in covered)


class TestAppendixB25:
    """HMAC with SHA-256."""

    def test_the_base_matches(self) -> None:
        assert lines(REQUEST, COVERED) == (
            '"date": Tue, 20 Apr 2021 02:07:55 GMT\n"@authority": example.com\n"content-type": application/json\n'
        )

    def test_the_signature_matches(self) -> None:
        assert base64.b64encode(mac(SHARED_SECRET, lines(REQUEST, COVERED), PARAMETERS)).decode() == SIGNATURE

    def test_a_signature_without_a_nonce_is_rejected(self) -> None:
        """AudioHook asks for more than RFC 9421 does."""
        fields = {"signature-input": f"sig-b25={PARAMETERS}", "signature": f"sig-b25=:{SIGNATURE}:"}
        request = UpgradeRequest(REQUEST.target, {**REQUEST.headers, **fields})
        assert refusal(request, SHARED_SECRET, 1618884473) is RejectionReason.PARAMETER_MISSING


class TestSection21:
    """The values of fields."""

    request = UpgradeRequest(
        "/",
        {
            "x-ows-header": "   Leading and trailing whitespace.   \t",
            "x-obs-fold-header": "Obsolete\r\n    line folding.",
            "cache-control": "max-age=60,    must-revalidate",
            "example-dict": " a=1,    b=2;x=1;y=2,   c=(a   b   c)",
            "x-empty-header": "",
        },
    )

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("x-ows-header", "Leading and trailing whitespace."),
            ("x-obs-fold-header", "Obsolete line folding."),
            ("cache-control", "max-age=60,    must-revalidate"),  # within a line all stays as it is
            ("example-dict", "a=1,    b=2;x=1;y=2,   c=(a   b   c)"),
            ("x-empty-header", ""),
        ],
    )
    def test_the_value_of_a_field_matches_the_vector(self, name: str, value: str) -> None:
        assert self.request.component(name) == value

    def test_an_absent_field_has_no_value(self) -> None:
        with pytest.raises(SignatureRejected, match="component-absent"):
            self.request.component("x-other")


class TestSection22:
    """Derived components."""

    @pytest.mark.parametrize(
        ("host", "authority"),
        [
            ("www.example.com", "www.example.com"),
            ("WWW.Example.COM", "www.example.com"),
            ("www.example.com:443", "www.example.com"),
            ("www.example.com:80", "www.example.com"),
            ("www.example.com:", "www.example.com"),
            ("www.example.com:8443", "www.example.com:8443"),
            ("[2001:DB8::1]:443", "[2001:db8::1]"),
        ],
    )
    def test_the_authority_matches_the_vector(self, host: str, authority: str) -> None:
        assert UpgradeRequest("/", {"host": host}).component("@authority") == authority

    @pytest.mark.parametrize(
        "target", ["/path?param=value", "/", "/a%2Fb//c/../d", "https://www.example.com/path?param=value", "/?"]
    )
    def test_request_target_is_as_it_was_sent(self, target: str) -> None:
        assert UpgradeRequest(target, {}).component("@request-target") == target

    @pytest.mark.parametrize(
        "name",
        ["@method", "@target-uri", "@scheme", "@path", "@query", "@query-param", "@status", "@signature-params"],
    )
    def test_other_components_are_rejected(self, name: str) -> None:
        """Rather refused than taken for something that it is not."""
        with pytest.raises(SignatureRejected, match="component-unsupported"):
            REQUEST.component(name)
