"""The metrics that exist in /metrics from the start, so that an alert sees their first change."""

from pathlib import Path

from audiohookd.edge.tls import read_identity
from audiohookd.observe.gauges import GAUGES
from tests.certificates import write_certificate
from tests.tap_rig import PLAIN, Reactor, build, page, writer

ADMIN = '[admin]\nendpoint = "tcp:9000"\n'
ALL = '[auth.replay]\nstore = "sqlite"\npath = "replay.sqlite"\n'
ALL += '[listen]\ntls_certificate = "tls.pem"\ntls_key = "tls.key"\n'


def metrics(path: Path) -> dict[str, str]:
    reactor = Reactor()
    build(path, reactor).startService()
    _, _, body = page(reactor.ports[0], "/metrics").partition("\r\n\r\n")
    return dict(line.rsplit(" ", 1) for line in body.splitlines() if not line.startswith("#"))


def test_metrics_exist_for_everything_configured(tmp_path: Path) -> None:
    expires = read_identity(*write_certificate(tmp_path)).expires
    found = metrics(writer(tmp_path)(PLAIN + ALL + ADMIN))
    gauges = {name: value for name, value in found.items() if name.partition("{")[0][11:] in GAUGES}
    assert gauges == {
        'audiohookd_key_source_failing{source="auth.keys_file"}': "0",
        'audiohookd_keys{source="auth.keys_file"}': "1",
        "audiohookd_replay_store_down": "0",
        "audiohookd_tls_certificate_expiry_seconds": str(int(expires)),
    }
    assert {name.partition("{")[0] for name in gauges} == {f"audiohookd_{name}" for name in GAUGES}


def test_metrics_omit_everything_not_configured(tmp_path: Path) -> None:
    found = metrics(writer(tmp_path)(PLAIN + ADMIN))
    assert [name for name in found if "replay_store" in name or "tls" in name] == []


def test_failures_start_at_zero(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    found = metrics(writer(tmp_path)(PLAIN + ALL + ADMIN + "[plugins.recorder]\n"))
    assert found['audiohookd_key_refresh_failures_total{source="auth.keys_file"}'] == "0"
    assert found['audiohookd_replay_store_failures_total{done="refused"}'] == "0"
    assert found['audiohookd_replay_store_failures_total{done="let-in"}'] == "0"
    assert found['audiohookd_reactor_blocks_total{plugin="recorder"}'] == "0"
    assert found['audiohookd_reactor_blocked_seconds_total{plugin="(daemon)"}'] == "0.000"
