"""The collector of cycles, kept out of the way of calls."""

import gc

#: Containers that were made and not freed again before the youngest are looked at. With Python's own 700 each commit
#: of 500 calls set it off, and each hundredth time it looked at everything: a third of the reactor's processor time.
YOUNGEST = 50_000
#: Of the looks at the younger ones, so many before the older ones are looked at, too.
OLDER = 20


def freeze_gc() -> None:
    """What there is after the start stays, and is never looked at again; what comes later, seldom.

    Calls leave no cycles behind, so their memory does not wait for this.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNGEST, OLDER, OLDER)
