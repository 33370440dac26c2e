"""The user that the daemon runs as when root starts it.

What root makes in the spool, the service's user could not read afterwards. So root switches to the user that the
spool belongs to.
"""

import grp
import os
import pwd
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class User(NamedTuple):
    """A user, and the group that new files get."""

    uid: int
    gid: int

    def __str__(self) -> str:
        entry = _entry(self.uid)
        return entry.pw_name if entry else str(self.uid)

    @property
    def group(self) -> str:
        """Its name, or its number where it has none."""
        try:
            return grp.getgrgid(self.gid).gr_name
        except KeyError:
            return str(self.gid)


def owner_of(path: Path) -> User | None:
    """The user that ``path`` belongs to, with its group unless that is root's; None where there is nothing."""
    try:
        about = path.stat()
    except OSError:
        return None
    # Of a directory that only its user was given to (chown USER DIR) the group is still root's.
    return User(about.st_uid, about.st_gid) if about.st_gid else user_of(about.st_uid, None)


def user_of(uid: int, gid: int | None) -> User:
    """``uid`` with the group ``gid``, or with its own where that is None."""
    entry = _entry(uid)
    return User(uid, gid if gid is not None else entry.pw_gid if entry else uid)


@contextmanager
def acting_as(user: User) -> Iterator[None]:
    """Inside the block root has the rights of ``user``, in all threads. Any other user acts as itself."""
    if os.geteuid() != 0 or user.uid == 0:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    try:
        os.setgroups(_groups(user))
        os.setegid(user.gid)
        os.seteuid(user.uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        if os.getgroups() != groups:
            os.setgroups(groups)


def can_become(user: User) -> bool:
    """Whether root may switch to ``user``: in a container without CAP_SETUID or CAP_SETGID it may not."""
    try:
        with acting_as(user):
            return True
    except OSError:
        return False


def become(user: User) -> None:
    """Root becomes ``user``, with its home, where boto3 looks for credentials, and cannot become root again."""
    os.setgroups(_groups(user))
    os.setgid(user.gid)
    os.setuid(user.uid)
    if (entry := _entry(user.uid)) is not None:
        os.environ.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)


def read_remedy(path: Path) -> str:
    """Of a file that this process may not read: which user that is, and what to do."""
    user, quoted = User(os.geteuid(), os.getegid()), shlex.quote(str(path))
    return (
        f"cannot be read by user {user} (Permission denied): give it to the group of that user"
        f" (chown root:{user.group} {quoted} && chmod 0640 {quoted}; its directories need x for the group)"
    )


def give_to_owner_of(directory: Path, file: int) -> None:
    """Gives the open ``file`` that root has made in ``directory`` to the owner of that.

    :raises OSError: it cannot be given away.
    """
    if os.geteuid() == 0:
        about = directory.stat()
        os.fchown(file, about.st_uid, about.st_gid)


def _groups(user: User) -> list[int]:
    entry = _entry(user.uid)
    return os.getgrouplist(entry.pw_name, user.gid) if entry else [user.gid]


def _entry(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None
