"""Machine code in the user's cache folder, taken from nobody but the user.

What is read here is run. A folder or file counts if it belongs to the user, nobody else can write
it, and it is no link; a file is opened first and looked at then, so that it is the one that is
read. Where there is no such folder, nothing is kept.

The folder has a limit: beyond it the files that were read longest ago go.
"""

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

LIMIT = 2**28
"""Bytes in the folder: some ten thousand kernels."""

_DIGEST = hashlib.sha256
# O_NONBLOCK: a pipe in a file's place is not waited for.
_FLAGS = ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
_READ: int = os.O_RDONLY + sum(getattr(os, name, 0) for name in _FLAGS)  # a bit each


def key_of(*parts: str) -> str:
    """Return what tells machine code from any other: by all that it is made of."""
    return _DIGEST("\0".join(parts).encode()).hexdigest()


def kept(key: str) -> bytes | None:
    """Return what is kept under a key, None where nothing is, or nothing whole."""
    try:
        folder = _checked_folder()
        if folder is None:
            return None
        with os.fdopen(os.open(folder / key, _READ), "rb") as file:
            state = os.fstat(file.fileno())
            if not (stat.S_ISREG(state.st_mode) and _is_ours(state)):
                return None
            stored = file.read()
        with suppress(OSError):
            os.utime(folder / key)  # the time of the last use, which many disks do not note
    except OSError:
        return None
    digest, _, content = stored.partition(b"\n")
    return content if digest == _digest(key, content) else None


def keep(key: str, content: bytes) -> None:
    """Write a file that appears whole or not at all; a disk that takes none is no error."""
    with suppress(OSError):
        folder = _checked_folder(make=True)
        if folder is None:
            return
        handle, path = tempfile.mkstemp(dir=folder)  # for the user alone
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_digest(key, content) + b"\n" + content)
            os.replace(path, folder / key)
        except BaseException:
            os.unlink(path)
            raise
        _trim(folder)


def contents() -> tuple[Path | None, dict[Path, int]]:
    """Return the folder, None for a user who has none, and its files with their bytes."""
    files: dict[Path, int] = {}
    with suppress(OSError):
        folder = _checked_folder()
        if folder is not None:
            with os.scandir(folder) as entries:
                files = {Path(each): each.stat(follow_symlinks=False).st_size for each in entries}
    return _folder(), files


def clear() -> None:
    """Remove what is kept; what is wanted again is compiled again."""
    for path in contents()[1]:
        with suppress(OSError):  # another process was faster
            path.unlink()


def _trim(folder: Path) -> None:
    """Remove the files that were used longest ago, until a quarter of a full folder is free."""
    with os.scandir(folder) as entries:
        files = [(each.stat(follow_symlinks=False), each.path) for each in entries]
    total = sum(state.st_size for state, _ in files)
    if total <= LIMIT:
        return
    for state, path in sorted(files, key=lambda each: each[0].st_mtime):
        with suppress(OSError):  # another process was faster
            os.unlink(path)
        total -= state.st_size
        if total <= 0.75 * LIMIT:
            return


def _digest(key: str, content: bytes) -> bytes:
    """Return what tells a whole file that is under its own name."""
    return _DIGEST(key.encode() + b"\n" + content).hexdigest().encode()


def _folder() -> Path | None:
    """Return the folder, None for a user who has none."""
    try:
        from platformdirs import user_cache_path
    except ImportError:
        return None
    try:
        folder = user_cache_path("tinyloss", appauthor=False) / "kernels"
    except RuntimeError:  # neither HOME nor an entry in the list of users
        return None
    return folder if folder.is_absolute() else None  # a "~" that stands for nothing


def _checked_folder(*, make: bool = False) -> Path | None:
    """Return the folder if it and the one above it are the user's own, made where missing."""
    folder = _folder()
    if folder is None:
        return None
    if make:
        for each in (*reversed(folder.parents), folder):
            if not each.exists():
                with suppress(FileExistsError):  # another process was faster
                    each.mkdir(mode=0o700)
    for each in (folder.parent, folder):
        state = os.lstat(each)
        if not (stat.S_ISDIR(state.st_mode) and _is_ours(state)):
            return None
    return folder


def _is_ours(state: os.stat_result) -> bool:
    """Return whether a file is the user's own and nobody else can write it."""
    if not hasattr(os, "geteuid"):  # Windows: the folder is within the user's profile
        return True
    return state.st_uid == os.geteuid() and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
