"""Machine code on disk is taken from nobody but the user, and whole or not at all."""

import functools
import hashlib
import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import tinyloss
import tinyloss_numpy
from tests.support.process import python
from tinyloss.compiler import disk
from tinyloss_numpy import _compiler

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no modes here")


# what is compiled is the same each time: the tests look at what is done with it
compile_once = functools.cache(_compiler._compile)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """The folder of this test, and how often something was compiled."""
    count = SimpleNamespace(compiled=0, folder=tmp_path / "tinyloss" / "kernels")

    def counted(*args: Any) -> bytes:
        count.compiled += 1
        return compile_once(*args)

    monkeypatch.setattr(disk, "_folder", lambda: count.folder)
    monkeypatch.setattr(_compiler, "_compile", counted)
    return count


def call(loss: Any = tinyloss.mse) -> bytes:
    """Return the bits of a call to a kernel that no memory holds; a warning is an error."""
    x = np.linspace(-3, 3, 500)
    with (
        tinyloss_numpy.compilation("always"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        tinyloss.clear_caches()
        derive: Any = tinyloss.value_and_grad(loss)
        value, gradient = derive(x, np.cos(x))
    return bytes(value.tobytes() + gradient.tobytes())


def the_file(cache: SimpleNamespace) -> Path:
    (file,) = cache.folder.iterdir()
    return Path(file)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_and_files_are_the_user_s_alone(cache: SimpleNamespace) -> None:
    before = os.umask(0)
    try:
        first = call()
    finally:
        os.umask(before)
    assert [mode(cache.folder.parent), mode(cache.folder)] == [0o700, 0o700]
    assert mode(the_file(cache)) == 0o600
    assert (call(), cache.compiled) == (first, 1)


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


UNSAFE: dict[str, Callable[[Path], None]] = {
    "others can write": lambda path: path.chmod(mode(path) | 0o002),
    "its group can write": lambda path: path.chmod(mode(path) | 0o020),
    "a link": linked,
}


@pytest.mark.parametrize("what", ["file", "folder", "folder above"])
@pytest.mark.parametrize("unsafe", UNSAFE)
def test_what_others_may_have_written_is_not_run(
    unsafe: str, what: str, cache: SimpleNamespace
) -> None:
    first, folder = call(), cache.folder
    file = the_file(cache)
    UNSAFE[unsafe]({"file": file, "folder": folder, "folder above": folder.parent}[what])
    assert (call(), cache.compiled) == (first, 2)
    # a file is put right, a folder is left as it is
    assert (call(), cache.compiled) == (first, 2 if what == "file" else 3)


def test_what_belongs_to_another_user_is_not_run(
    cache: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = call()
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert (call(), cache.compiled) == (first, 2)


def test_pipe_is_not_waited_for(cache: SimpleNamespace) -> None:
    first = call()
    file = the_file(cache)
    file.unlink()
    os.mkfifo(file, 0o600)
    assert (call(), cache.compiled) == (first, 2)
    assert file.is_file()


def test_kernel_under_another_name_is_not_taken(cache: SimpleNamespace) -> None:
    call()
    mse = the_file(cache)
    expected = call(tinyloss.mae)
    (mae,) = set(cache.folder.iterdir()) - {mse}
    mae.write_bytes(mse.read_bytes())
    assert (call(tinyloss.mae), cache.compiled) == (expected, 3)


def test_function_that_is_not_there_is_not_called(cache: SimpleNamespace) -> None:
    first = call()
    key = the_file(cache).name
    content = (disk.kept(key) or b"").replace(b"kernel", b"absent")
    digest = hashlib.sha256(key.encode() + b"\n" + content).hexdigest()
    the_file(cache).write_bytes(digest.encode() + b"\n" + content)
    assert disk.kept(key) == content
    assert (call(), cache.compiled) == (first, 2)


@pytest.mark.long
def test_user_without_a_home_compiles_and_keeps_nothing(tmp_path: Path) -> None:
    """As in a container whose user has no name."""
    code = """
        import os, pwd, warnings
        warnings.simplefilter("error", RuntimeWarning)
        for name in ("HOME", "XDG_CACHE_HOME"):
            os.environ.pop(name, None)
        def unknown(*_): raise KeyError("uid not found")
        pwd.getpwuid = pwd.getpwnam = unknown
        import numpy as np, tinyloss, tinyloss_numpy
        from tinyloss.compiler import disk
        from tinyloss_numpy import _blocks
        def refuse(job): raise AssertionError("not compiled")
        _blocks.run = refuse
        with tinyloss_numpy.compilation("always"):
            print(tinyloss.mse(np.array([1.0, 2.0]), np.zeros(2)), disk._folder())
    """
    assert python(code, cwd=tmp_path) == "2.5 None\n"
    assert list(tmp_path.iterdir()) == []


def test_key_tells_all_that_makes_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part of it changed makes another key."""
    seen: list[Any] = []
    key = _compiler._key

    def noted(*args: Any) -> str:
        seen.append(args)
        return key(*args)

    monkeypatch.setattr(_compiler, "_key", noted)
    call()
    ((text, real),) = seen
    environment = _compiler._environment()
    keys = {
        key(text, real),
        key(replace(text, source=text.source + "\n"), real),
        key(replace(text, places=text.places[1:]), real),
        key(text, "float32"),
    }
    for n in range(len(environment)):
        changed = (*environment[:n], environment[n] + "x", *environment[n + 1 :])
        monkeypatch.setattr(_compiler, "_environment", lambda changed=changed: changed)
        keys.add(key(text, real))
    assert len(keys) == 4 + len(environment)


def test_the_folder_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was used longest ago goes first; what is in use stays."""
    monkeypatch.setattr(disk, "_folder", lambda: tmp_path / "tinyloss" / "kernels")
    monkeypatch.setattr(disk, "LIMIT", 10_000)
    for number in range(30):
        disk.keep(f"key{number}", bytes(1000))
        for each in (tmp_path / "tinyloss" / "kernels").iterdir():  # a clock as coarse as any
            state = each.stat()
            os.utime(each, (state.st_atime - 10, state.st_mtime - 10))
        assert disk.kept("key0") == bytes(1000)
    folder = tmp_path / "tinyloss" / "kernels"
    assert sum(each.stat().st_size for each in folder.iterdir()) <= 10_000
    assert disk.kept("key29") == bytes(1000)
    assert disk.kept("key15") is None
