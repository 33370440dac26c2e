"""The tables and keys of the configuration file.

Every key, with its default, stands in etc/audiohookd.toml and docs/configuration.rst; a test compares them.
Durations are seconds and sizes are bytes here; in the file they are texts with a unit.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct, field

from audiohookd.protocol.media import ChannelChoice, Format
from audiohookd.protocol.product import Product
from audiohookd.protocol.sending.rates import SendRates
from audiohookd.protocol.timeouts import Timeouts
from audiohookd.units import Duration, Size

Endpoint = Annotated[str, Meta(min_length=1)]
#: The variable in which the reference server has its keys.
REFERENCE_VARIABLE = "STATIC_API_KEY_MAP"
#: Host and port, as clients address it. Or nothing.
AUTHORITY = r"^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])?(?::[0-9]{1,5})?\Z"


class Listen(Struct, frozen=True, forbid_unknown_fields=True):
    """Where clients connect."""

    endpoint: Endpoint = "tcp:3000:interface=127.0.0.1:backlog=1024"
    max_sessions: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    trusted_hops: Annotated[int, Meta(ge=0, le=16)] = 0
    trusted_proxies: tuple[str, ...] = ()
    authority: Annotated[str, Meta(pattern=AUTHORITY)] = ""
    allowed_networks: tuple[str, ...] = ()
    allowed_networks_file: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    renamed_keys: ClassVar[Mapping[str, str]] = {"allow": "allowed_networks", "allow_file": "allowed_networks_file"}


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """How much one client may use. 0 is no limit, except for ``handshake_timeout``."""

    sessions_per_organization: Annotated[int, Meta(ge=0, le=100_000)] = 0
    sessions_per_key: Annotated[int, Meta(ge=0, le=100_000)] = 0
    handshakes_per_second: Annotated[int, Meta(ge=0, le=100_000)] = 50
    handshakes_per_second_total: Annotated[int, Meta(ge=0, le=100_000)] = 200
    handshake_timeout: Annotated[Duration, Meta(gt=0, le=60)] = 5.0
    messages_per_second: Annotated[int, Meta(ge=0, le=100_000)] = 50
    message_bytes_per_second: Annotated[int, Meta(ge=0, le=100_000_000)] = 8_192
    frames_per_second: Annotated[int, Meta(ge=0, le=100_000)] = 1000
    audio_bytes_per_second: Annotated[int, Meta(ge=0, le=100_000_000)] = 320_000
    control_frames_per_second: Annotated[int, Meta(ge=0, le=100_000)] = 5
    fragments_per_second: Annotated[int, Meta(ge=0, le=100_000)] = 50


class Admin(Struct, frozen=True, forbid_unknown_fields=True):
    """Where metrics and health checks are served, and for which host names. An empty endpoint turns it off.

    ``allow_pause``: everyone who reaches the port may pause calls.
    """

    endpoint: str = "tcp:3001:interface=127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()
    allow_pause: bool = False


class AwsSecret(Struct, frozen=True, forbid_unknown_fields=True):
    """Keys in AWS Secrets Manager. Without ``secret`` there is no such source."""

    secret: str = ""
    region: str = ""
    endpoint_url: str = ""
    refresh: Annotated[Duration, Meta(ge=10, le=86_400)] = 300.0
    overlap: Annotated[Duration, Meta(ge=0, le=30 * 86_400)] = 3600.0


class VaultSecret(Struct, frozen=True, forbid_unknown_fields=True):
    """Keys in HashiCorp Vault or OpenBao. Without ``url`` there is no such source."""

    url: str = ""
    mount: str = "secret"
    path: str = "audiohookd"
    token_file: Path | None = None
    role_id: str = ""
    secret_id_file: Path | None = None
    ca_file: Path | None = None
    refresh: Annotated[Duration, Meta(ge=10, le=86_400)] = 300.0
    overlap: Annotated[Duration, Meta(ge=0, le=30 * 86_400)] = 3600.0


class Replay(Struct, frozen=True, forbid_unknown_fields=True):
    """Where used nonces are remembered, and what happens while that store does not answer in time."""

    store: Literal["memory", "sqlite", "redis", "off"] = "memory"
    fail: Literal["closed", "open"] = "closed"
    path: Path = Path("/run/audiohookd/replay.sqlite")
    url: str = ""
    url_file: Path | None = None
    # Shorter than any refusal takes, or its time would tell that the signature was right.
    timeout: Annotated[Duration, Meta(gt=0, le=0.4)] = 0.4


class Auth(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the keys of clients are. ``keys_file = ""`` is None: there is no such source."""

    keys_file: Path | None = Path("/etc/audiohookd/keys.json")
    keys_credential: str = ""
    keys_variable: str = REFERENCE_VARIABLE
    rejection: Literal["http", "disconnect"] = "http"
    aws: AwsSecret = AwsSecret()
    vault: VaultSecret = VaultSecret()
    replay: Replay = Replay()

    renamed_keys: ClassVar[Mapping[str, str]] = {"failure": "rejection"}


class Spool(Struct, frozen=True, forbid_unknown_fields=True):
    """Where recordings are kept, how much of one a crash may cost, and how much room they have."""

    directory: Path = Path("/var/spool/audiohookd")
    flush_interval: Annotated[Duration, Meta(gt=0, le=60)] = 0.5
    sync_interval: Annotated[Duration, Meta(ge=0, le=3600)] = 5.0
    min_free: Annotated[Size, Meta(ge=0)] = 1 << 30
    max_spool: Annotated[Size, Meta(ge=0)] = 0
    local_retention: Annotated[Duration, Meta(ge=0)] = 0.0

    renamed_keys: ClassVar[Mapping[str, str]] = {"keep_local": "local_retention"}


class Delivery(Struct, frozen=True, forbid_unknown_fields=True):
    """How long to wait before a failed delivery is retried: the first time, and at most."""

    retry_initial_delay: Annotated[Duration, Meta(gt=0, le=3600)] = 1.0
    retry_max_delay: Annotated[Duration, Meta(gt=0, le=86_400)] = 300.0

    renamed_keys: ClassVar[Mapping[str, str]] = {
        "retry_first": "retry_initial_delay",
        "retry_limit": "retry_max_delay",
    }


class Shutdown(Struct, frozen=True, forbid_unknown_fields=True):
    """How the daemon shuts down."""

    drain_timeout: Annotated[Duration, Meta(ge=0, le=7 * 24 * 3600)] = 900.0


class Route(Struct, frozen=True, forbid_unknown_fields=True):
    """A path of the WebSocket, and which plugins see its sessions (all, when none are named).

    ``time_limit``: after which the client itself ends a session; None: 15 min for a bot, else never.
    ``record``: its calls must, or must not, be recorded. None: they should, and a warning says so where they are not.
    """

    path: str = "/api/v1/audiohook/ws"
    product: Product = Product.MONITOR
    time_limit: Annotated[Duration, Meta(ge=0, le=86_400)] | None = None
    reconnect: bool = False
    formats: Annotated[tuple[Format, ...], Meta(min_length=1, max_length=2)] = (Format.PCMU, Format.L16)
    channels: Annotated[tuple[ChannelChoice, ...], Meta(max_length=3)] = ()
    audio: bool = True
    plugins: tuple[str, ...] | None = None
    record: bool | None = None


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    listen: Listen = Listen()
    admin: Admin = Admin()
    auth: Auth = Auth()
    limits: Limits = Limits()
    spool: Spool = Spool()
    delivery: Delivery = Delivery()
    session: Timeouts = Timeouts()
    send: SendRates = SendRates()
    shutdown: Shutdown = Shutdown()
    route: tuple[Route, ...] = (Route(),)
    #: The tables [plugins.NAME] in their order, not checked yet: only the plugin knows its own keys.
    plugins: dict[str, dict[str, Any]] = field(default_factory=dict)

    def plugins_of(self, route: Route) -> tuple[str, ...]:
        """The names of the plugins on ``route``, in the order of delivery."""
        return tuple(self.plugins) if route.plugins is None else route.plugins
