"""The stack of a plugin call shows which plugin a delivery calls."""

import sys
from pathlib import Path
from typing import Any

from audiohookd.interfaces import IRecording
from audiohookd.plugin_frames import plugin_call
from tests.delivery.delivery_rig import Carrier, Notifier, Rig


def test_carriers_and_notifiers_are_named_with_their_method(tmp_path: Path) -> None:
    calls: list[Any] = []

    def act(recording: IRecording) -> dict[str, int]:
        frame = sys._getframe()
        while frame is not None and (call := plugin_call(frame)) is None:
            frame = frame.f_back  # type: ignore[assignment]  # None at the end
        calls.append(call)
        return {"bytes": 1}

    rig = Rig(tmp_path, s3=Carrier(act=act), webhook=Notifier(act=act)).start()
    rig.announce(1)
    assert calls == [("s3", "carry"), ("webhook", "notify")]
