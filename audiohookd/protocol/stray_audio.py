"""What to think of audio that is no use: too much of it, cut in mid-sample, or at the wrong time."""

from audiohookd.protocol.codec import MAX_RECEIVED
from audiohookd.protocol.errors import RemoteProtocolError
from audiohookd.protocol.states import State


def classify_unexpected_audio(state: State, size: int, frame_bytes: int, paused: bool) -> str | RemoteProtocolError:
    """The client's fault, or the name under which ``size`` bytes of stray audio are counted.

    :param frame_bytes: of the selected media while audio is welcome, else 0.
    """
    if state in (State.PREPARING, State.OPENING):
        return RemoteProtocolError("audio not expected", f"while {state.name}")
    if state is not State.OPEN:
        return "audio-late"
    if size > MAX_RECEIVED:
        return RemoteProtocolError("message too large", f"{size} bytes")
    if not frame_bytes:
        return "audio-while-paused" if paused else "audio-without-media"
    if size % frame_bytes:
        return RemoteProtocolError("audio holds part of a sample", f"{size} bytes in frames of {frame_bytes}")
    return RemoteProtocolError("position too far", f"{size} bytes of audio beyond the longest session")
