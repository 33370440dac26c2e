"""Kills the daemon repeatedly during live calls, and then checks the recordings of all of them."""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tqdm import tqdm

from tests.crash.calls import Lines
from tests.crash.ext4 import Ext4
from tests.crash.instants import Chance, Tripwire
from tests.crash.power_loss import PowerLoss
from tests.crash.recording_site import Site
from tests.crash.verdict import KINDS, Verdict, judge
from tests.stores.seaweedfs import SeaweedFS

BUCKET = "recordings"
FLUSH_INTERVAL = 0.5
#: Shorter than the default, so that more syncs happen between two kills.
SYNC_INTERVAL = 1.0
#: The shortest and the longest call, in seconds.
DURATION = (0.3, 6.0)


class Campaign(NamedTuple):
    """The number of kills and of simultaneous calls, and the seed for the instants.

    ``power``: each kill is also a power loss. ``ext4``: the spool is on its own ext4, which is shut down. ``synced``:
    each file ends at its last sync, which is the least that a file system keeps. ``leeway``: extra seconds of lost
    audio, for a busy machine.
    """

    kills: int
    calls: int
    seed: int
    power: Literal["ext4", "synced"] | None = None
    leeway: float = 0.0

    @property
    def bound(self) -> float:
        """Seconds of audio that a kill may cost a call."""
        return (SYNC_INTERVAL if self.power else FLUSH_INTERVAL) + self.leeway


def run(campaign: Campaign, directory: Path) -> Verdict:
    """Runs the campaign in ``directory`` and prints the figures."""
    intervals = {"flush_interval": FLUSH_INTERVAL, "sync_interval": SYNC_INTERVAL if campaign.power else 0}
    begun = time.monotonic()
    with ExitStack() as stack:
        store = stack.enter_context(SeaweedFS(directory / "store"))
        proxy = stack.enter_context(Tripwire(store.port))
        store.create_bucket(BUCKET)
        disk = Ext4(directory / "ext4", directory / "spool") if campaign.power == "ext4" else None
        if disk is not None:
            stack.enter_context(disk)
        with Site(directory, store, BUCKET, proxy.endpoint, spool=intervals) as site:
            lines = Lines(site.port, campaign.calls, DURATION, campaign.seed)
            kills, instants, ends = _kill_again_and_again(campaign, site, proxy, lines, disk)
            is_empty = _finish(site, lines)
            verdict = judge(site, lines.calls, kills, campaign.bound)
            for text in ends:
                verdict.blame("unexpected ends of the daemon", text)
            if not is_empty:
                verdict.why.insert(0, f"the spool was not empty in time; end of the log:\n{_log_tail(site)}")
    _print(campaign, verdict, instants, proxy, time.monotonic() - begun)
    return verdict


def _kill_again_and_again(
    campaign: Campaign, site: Site, proxy: Tripwire, lines: Lines, disk: Ext4 | None
) -> tuple[dict[int, float], Counter[str], list[str]]:
    """Runs the kills.

    :returns: the instant of each kill by the number of the daemon's run, the number of instants of each kind, and the
        end of the log if the daemon ended by itself.
    """
    power = PowerLoss(site.directory / "synced")
    site.environment = power.environment if campaign.power == "synced" else {}
    chance = Chance(campaign.seed, site.spool, proxy, lines.opened)
    kills: dict[int, float] = {}
    instants: Counter[str] = Counter()
    ends: list[str] = []  # the first one ends the test
    lines.start()
    for life in tqdm(range(campaign.kills), unit="kill", disable=None):
        lines.opened.clear()
        instant = chance.next()
        site.start()
        instant.wait()
        if not site.is_running:
            ends.append(_log_tail(site))
            break
        kills[life] = site.kill() if disk is None else _lose_power(site, disk)
        instants[instant.name] += 1
        lines.life += 1
        if campaign.power == "synced":
            power.strike(site.spool)
    return kills, instants, ends


def _lose_power(site: Site, disk: Ext4) -> float:
    """Cuts the power. Stops the daemon first, so that it does not see failing writes."""
    instant = site.freeze()
    disk.cut_power()
    site.kill()
    disk.restart()
    return instant


def _finish(site: Site, lines: Lines) -> bool:
    """Runs the daemon once more and shuts it down normally. False if a recording in the spool was still due."""
    site.start()
    lines.opened.clear()
    lines.opened.wait(20)
    lines.hang_up()
    is_empty = site.wait_until_empty()
    if site.is_running:
        site.stop()
    return is_empty


def _log_tail(site: Site) -> str:
    return "\n".join(site.log.read_text("utf-8", "replace").splitlines()[-30:])


def _print(campaign: Campaign, verdict: Verdict, instants: Counter[str], proxy: Tripwire, seconds: float) -> None:
    what = f"power losses ({campaign.power})" if campaign.power else "kills"
    at = ", ".join(f"{count} {name}" for name, count in instants.most_common())
    rows: list[tuple[str, Any]] = [
        ("calls", f"{verdict.calls}, {campaign.calls} simultaneous"),
        (what, f"{campaign.kills} in {seconds:.0f} s, seed {campaign.seed}: {at}"),
        ("calls cut off", f"{verdict.cut}; {verdict.recovered} recordings recovered"),
        ("calls stored completely", verdict.whole),
        ("calls too new to have a recording", f"{verdict.too_young}; {verdict.empty} drafts were empty"),
        ("audio lost by calls cut off", f"{_spread(verdict.lost)} (sent but not recorded)"),
        ("age of lost audio at the kill", _spread(verdict.ages)),
        ("the bound", f"{campaign.bound} s"),
        ("uploads", f"{proxy.count('PUT', status=200)} done, {proxy.count('PUT', status=412)} were stored already"),
        *((kind, verdict.wrong[kind]) for kind in KINDS),
    ]
    for name, value in rows:
        print(f"{name + ':':36}{value}")
    for text in verdict.why[:20]:
        print(f"  {text}")


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "none"
    ranked = sorted(seconds)
    median, p99 = (ranked[min(int(len(ranked) * share), len(ranked) - 1)] for share in (0.5, 0.99))
    return f"median {median:.3f} s, p99 {p99:.3f} s, max {ranked[-1]:.3f} s"
