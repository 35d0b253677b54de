"""`tinyloss info`: what is here and what answers whom, or all about one loss."""

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import tinyloss
from tinyloss.cli._libraries import LIBRARIES
from tinyloss.cli._screen import Part, Screen, dim, good, name, strong, warn
from tinyloss.cli._usage import EVERY, PIECES, losses_called
from tinyloss.cli.cards import card_of, plain, told
from tinyloss.cli.definitions import DEFINITIONS
from tinyloss.compiler import disk

__all__ = ["register"]


def register(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = add(
        "info",
        help="what is installed and what computes it, or the card of a loss",
        description="Show the array libraries found and what computes the losses of their arrays, "
        "or all about one loss.",
    )
    parser.add_argument("losses", nargs="*", metavar="LOSS", help="a loss")
    parser.add_argument(
        "--clear-cache", action="store_true", help="remove the compiled kernels that are kept"
    )
    parser.add_argument("--json", action="store_true", help="print the same for programs")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Show what is asked for; nothing of it can fail."""
    if arguments.clear_cache:
        kept = _Kept.now()
        disk.clear()
        if arguments.json:
            screen.json({"removed": kept.kernels, "bytes": kept.bytes})
        else:
            screen.print(good("✓"), f" removed {kept}")
    elif not arguments.losses:
        _installation(arguments, screen)
    elif arguments.json:
        chosen = losses_called(arguments.losses, (*EVERY, *PIECES))
        screen.json(
            {each: vars(card_of(each)) | {"traits": plain(_traits(each))} for each in chosen}
        )
    else:
        for number, each in enumerate(losses_called(arguments.losses, (*EVERY, *PIECES))):
            if number:
                screen.print()
            _card(each, screen)
    return 0


# ----------------------------------------------------------------------------------- installation


_CPU, _CUDA = LIBRARIES["numpy"].install, LIBRARIES["cupy"].install


class _Kept(NamedTuple):
    """The kernels on disk."""

    folder: str | None
    kernels: int
    bytes: int

    @classmethod
    def now(cls) -> "_Kept":
        folder, files = disk.contents()
        return cls(None if folder is None else str(folder), len(files), sum(files.values()))

    def __str__(self) -> str:
        return f"{self.kernels} kernels, {self.bytes / 1e6:.1f} MB"


class _Path(NamedTuple):
    """What computes the losses of a library's arrays."""

    answer: str
    derivatives: str
    slower: str = ""
    """Why it is not the faster one."""
    next: str = ""
    """The command that would change that."""


def _version_of(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _compiles() -> str | None:
    """Return the reason why losses of NumPy arrays are not compiled, None where they are."""
    if _version_of("llvmlite") is None:
        return "llvmlite is not installed"
    try:
        import_module("llvmlite.binding")
    except Exception as error:  # a broken LLVM
        return f"llvmlite does not load: {str(error).splitlines()[0]}"
    return None


def _numpy(gpus: list[str]) -> _Path:
    reason = _compiles()
    if reason is not None:
        return _Path("formulas, block by block", "tinyloss.grad", reason, _CPU)
    threads = import_module("tinyloss_numpy._threads").number_of_threads()
    return _Path(
        f"compiled loops, llvmlite {_version_of('llvmlite')}, {threads} threads", "tinyloss.grad"
    )


def _jax(gpus: list[str]) -> _Path:
    platforms = {each.platform for each in import_module("jax").devices()}
    blind = bool(gpus) and platforms == {"cpu"}
    how = f"one jitted function, on {', '.join(sorted(platforms))}"
    if platforms == {"cpu"} and sys.platform == "linux" and _compiles() is None:
        how += "; large arrays by NumPy's compiled loops"
    return _Path(
        how,
        "tinyloss.grad, jax.grad",
        *(("JAX does not see the GPU", 'pip install "jax[cuda13]"') if blind else ()),
    )


def _torch(gpus: list[str]) -> _Path:
    reason = _compiles()
    host = "NumPy's compiled loops" if reason is None else "formulas in torch"
    slower, fix = (reason, _CPU) if reason is not None else ("", "")
    if import_module("torch").cuda.is_available():
        kernels = LIBRARIES["cupy"].version is not None
        host += f"; on CUDA {'its kernels' if kernels else 'formulas in torch'}"
        if not kernels:
            slower, fix = "CuPy, which compiles CUDA's kernels, is not installed", _CUDA
    elif gpus:
        slower, fix = "torch does not see the GPU", "pip install torch"
    return _Path(host, "tinyloss.grad, backward()", slower, fix)


def _cupy(gpus: list[str]) -> _Path:
    try:
        import_module("cupy").cuda.runtime.getDeviceCount()
    except Exception as error:
        return _Path("nothing: there is no GPU", "", str(error).splitlines()[0])
    return _Path("one CUDA kernel", "tinyloss.grad")


def _dask(gpus: list[str]) -> _Path:
    reason = _compiles()
    if reason is not None:
        return _Path("a graph of blocks, by formulas", "tinyloss.grad", reason, _CPU)
    return _Path("a graph of blocks, each by compiled loops", "tinyloss.grad")


_PATHS: dict[str, Callable[[list[str]], _Path]] = {
    "numpy": _numpy,
    "jax": _jax,
    "torch": _torch,
    "cupy": _cupy,
    "dask": _dask,
}
_WITHOUT = {
    "numpy": "compiled loops",
    "jax": "one jitted function",
    "torch": "NumPy's compiled loops",
    "cupy": "one CUDA kernel",
    "dask": "a graph of blocks",
}


def _gpus() -> list[str]:
    """Return the names of the GPUs that NVIDIA's driver knows."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        listed = subprocess.run(
            [command, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):  # a driver that does not answer
        return []
    return listed.stdout.splitlines()


def _installation(arguments: argparse.Namespace, screen: Screen) -> None:
    paths: dict[str, tuple[str | None, _Path]] = {}
    gpus = _gpus()
    with screen.bar(len(_PATHS)) as bar:  # to import torch and JAX takes seconds
        for library, ask in _PATHS.items():
            bar.step(LIBRARIES[library].title)
            installed = LIBRARIES[library].version
            paths[library] = installed, _found(library, partial(ask, gpus), installed)
            bar.step(LIBRARIES[library].title, 1)
    kept = _Kept.now()
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if arguments.json:
        screen.json(
            {
                "tinyloss": tinyloss.__version__,
                "python": platform.python_version(),
                "system": f"{platform.system()} {platform.machine()}",
                "cpus": cpus,
                "libraries": {
                    each: {"version": installed, **path._asdict()}
                    for each, (installed, path) in paths.items()
                },
                "gpus": gpus,
                "kernels": kept._asdict(),
                "losses": [*EVERY],
            }
        )
        return
    screen.print(
        strong(f"tinyloss {tinyloss.__version__}"),
        f"  Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{cpus} CPUs",
    )
    screen.print()
    rows: list[list[Part]] = [
        [" ", strong("arrays"), strong("version"), strong("computed by"), strong("derivatives")]
    ]
    for library, (installed, path) in paths.items():
        title = LIBRARIES[library].title
        if installed is None:
            line: list[Part] = [
                warn("–"),
                dim(title),
                dim("–"),
                dim(path.answer),
                dim(path.derivatives),
            ]
        else:
            mark = warn("–") if path.slower else good("✓")
            line = [mark, title, installed, path.answer, path.derivatives]
        rows.append(line)
    screen.table(rows)
    screen.print()
    for library, (_, path) in paths.items():
        if path.slower:
            fix: list[Part] = [": ", name(path.next)] if path.next else []
            screen.print(f"{LIBRARIES[library].title:9} {path.slower}", *fix)
    found = ", ".join(gpus) if gpus else "none found; its kernels can be read all the same: "
    how = [] if gpus else [name("tinyloss source LOSS --target cuda")]
    screen.print("GPU       ", found, *how)
    if kept.folder is None:
        screen.print("kernels   not kept: ", name('pip install "tinyloss[cpu]"'))
    else:
        screen.print("kernels   ", name(kept.folder), f": {kept}; to remove them: ",
                     name("tinyloss info --clear-cache"))  # fmt: skip
    screen.print(f"losses    {len(EVERY)}; about one of them: ", name("tinyloss info LOSS"))
    screen.table([["  ", each, dim(card_of(each).summary)] for each in EVERY])
    screen.print("beside    what some are made of, with cards too: ", ", ".join(PIECES))


def _found(library: str, ask: Callable[[], _Path], installed: str | None) -> _Path:
    if installed is None:
        return _Path(_WITHOUT[library], "", "not installed", LIBRARIES[library].install)
    try:
        return ask()
    except Exception as error:  # installed, and broken in its own way
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        return _Path("nothing: it does not load", "", said, LIBRARIES[library].install)


# ------------------------------------------------------------------------------------------- card


_SHOWN = {
    "use for": "Use for",
    "loss": "Formula",
    "gradient": "Gradient",
    "x and y": "Shapes",
    "domain": "Domain",
    "digits": "Accuracy",
    "edges": "Edge cases",
    "source": "Source",
}


def _traits(loss: str) -> tinyloss.Traits:
    """Return the traits of a loss with its default parameters; a piece has none."""
    if loss in PIECES:
        return tinyloss.Traits()
    known: tinyloss.Traits = tinyloss.traits(getattr(tinyloss, loss))
    return known


def _card(loss: str, screen: Screen) -> None:
    card = card_of(loss)
    screen.print(strong(card.name), card.signature.removeprefix(card.name))
    screen.print(dim(card.summary))
    screen.print()
    for label, section in _SHOWN.items():
        screen.field(label, card.sections.get(section, ""))
    known = told(_traits(loss)).items()
    screen.field("traits", "; ".join(f"{trait}: {said}" for trait, said in known if said != "–"))
    for library, said in card.elsewhere.items():
        screen.field(library, said)
    if card.objects:
        screen.field("object", ", ".join(card.objects))
    screen.print()
    if loss not in DEFINITIONS:  # of a whole batch, which has no curve
        screen.print(strong("example"))
        for line in card.example.splitlines():
            screen.print(line)
        return
    if LIBRARIES["numpy"].version is None:
        screen.print("numbers and curves need NumPy: ", name(LIBRARIES["numpy"].install))
        return
    from tinyloss.cli import _curves

    _curves.show(loss, screen)
