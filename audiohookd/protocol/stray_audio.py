"""Classifies audio that a session cannot use: too much, with a partial sample, or in the wrong state."""

from audiohookd.protocol.codec import MAX_RECEIVED
from audiohookd.protocol.errors import RemoteProtocolError
from audiohookd.protocol.states import State


def classify_unexpected_audio(state: State, size: int, frame_bytes: int, paused: bool) -> str | RemoteProtocolError:
    """Decides whether unexpected audio of ``size`` bytes is a protocol error.

    :param frame_bytes: bytes of one sample of all channels while audio is accepted, else 0.
    :param paused: True if the client reported a pause.
    :returns: the error, or the name under which the anomaly is counted.
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
