"""The fixture `xp`: one test, every array library.

A test gets a `Library` and calls tinyloss by `xp.call`. That jits the call for "jax:jit", forbids
Dask to compute, and checks what holds of every call: results are of the library and on the device
of the arrays, inputs are what they were. `xp.numpy` is the way out.
"""

import contextlib
import gc
import importlib.util
import re
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

import tinyloss
import tinyloss_numpy
from tests.support.emulation import emulated_cupy, machine
from tests.support.libraries import LIBRARIES, TURNS, Library, peer, required


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require",
        default="",
        metavar="LIBRARIES",
        help="array libraries, comma-separated, whose absence is a failure instead of a skip",
    )
    parser.addoption(
        "--compilation",
        choices=("auto", "always", "never"),
        default="never",
        help="when losses of NumPy arrays are compiled, in tests that do not say so themselves",
    )
    parser.addoption(
        "--most",
        type=int,
        default=24,
        metavar="CASES",
        help="cases of one test that are tried at most, without those that are long",
    )
    parser.addoption(
        "--passed",
        type=Path,
        metavar="FILE",
        help="tests that have passed, one a line: they are left out, and those that pass are added",
    )


def pytest_configure(config: pytest.Config) -> None:
    # A full collection walks through all tests and libraries: a tenth of the time, for next to
    # nothing. Tests of what is let go collect by themselves.
    gc.set_threshold(*gc.get_threshold()[:2], 1000)
    for name in sorted(required(config)):
        if importlib.util.find_spec(name.replace("-", "_")) is None:
            raise pytest.UsageError(f"--require: {name} is not installed")


def _fail_instead(config: pytest.Config, call: Any, report: Any) -> None:
    """Turn the skip of pytest.importorskip into a failure where the library is required."""
    if call.excinfo is None or report.outcome != "skipped":
        return
    missing = re.match(r"could not import '([^'.]+)", str(call.excinfo.value))
    if missing and {missing[1], missing[1].replace("_", "-")} & required(config):
        report.outcome = "failed"
        report.longrepr = f"{missing[1]} is required: {call.excinfo.value}"


def _test_of(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def _for_the_long_run(items: list[pytest.Item]) -> Iterator[tuple[pytest.Item, str]]:
    """Yield what the default leaves out of the tests on many libraries, with its mark.

    Those that compile each call take turns: each third case of a test, from the first on, runs on
    one of them. An emulated GPU has no turn: g++ takes half a second for each kernel. Of the others
    each case of a test of many cases runs on NumPy and on one more in turn. Where there are very
    many cases, the longest run alone tries each of them on every library.
    """
    tests = defaultdict[str, dict[str, list[Any]]](lambda: defaultdict(list))
    for item in items:
        given = getattr(item, "callspec", None)
        name = given.params.get("xp") if given else None
        if given and name in LIBRARIES and name != "numpy":
            tests[_test_of(item)][given.id.replace(name, "", 1)].append(item)
    for test, cases in tests.items():
        there = {item.callspec.params["xp"] for each in cases.values() for item in each}
        slow = [name for name in TURNS if name in there]
        fast = [name for name in LIBRARIES if name in there and not LIBRARIES[name].slow]
        start = crc32(test.encode())
        for n, each in enumerate(cases.values()):
            chosen: set[str] = set()
            if slow and n % 3 == 0:
                chosen.add(slow[(start + n // 3) % len(slow)])
            if fast:
                chosen |= {*fast} if len(cases) < 3 * len(fast) else {fast[(start + n) % len(fast)]}
            for item in each:
                name = item.callspec.params["xp"]
                waits = len(cases) >= 24 and (start + n + len(name)) % 2
                if name not in chosen:
                    yield item, "slow" if waits else "long"


MOST_LONG = 128
"""Cases of one test that are tried at most without those that are slow."""


def _beyond(
    items: list[pytest.Item], mark: str, most: int, chosen: set[str]
) -> Iterator[pytest.Item]:
    """Yield the cases that an even selection of so many leaves out, of tests that choose none."""
    left_out = {"long", "slow", "gpu"} if mark == "long" else {"slow", "gpu"}
    tests = defaultdict[str, list[pytest.Item]](list)
    for item in items:
        if left_out.isdisjoint(each.name for each in item.iter_markers()):
            tests[_test_of(item)].append(item)
    for test, cases in tests.items():
        if test not in chosen:
            yield from _left_out(cases, most)


def _left_out(cases: list[pytest.Item], most: int) -> Iterator[pytest.Item]:
    """Yield the cases that an even selection of so many leaves out."""
    kept = {n * len(cases) // most for n in range(most)}
    yield from (item for n, item in enumerate(cases) if n not in kept)


def _too_heavy(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield the long cases of heavy tests that CI leaves out."""
    tests = defaultdict[str, list[pytest.Item]](list)
    most: dict[str, int] = {}
    for item in items:
        heavy = item.get_closest_marker("heavy")
        marks = {each.name for each in item.iter_markers()}
        if heavy is not None and "long" in marks and marks.isdisjoint({"slow", "gpu"}):
            tests[_test_of(item)].append(item)
            (most[_test_of(item)],) = heavy.args
    for test, cases in tests.items():
        yield from _left_out(cases, most[test])


@pytest.hookimpl(tryfirst=True)  # before those that are long are left out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = {
        _test_of(item)
        for item in items
        if not {"long", "slow"}.isdisjoint(each.name for each in item.own_markers)
    }
    for item, mark in [*_for_the_long_run(items)]:
        item.add_marker(mark)
    by_default: Any = config.getoption("--most")
    for mark, most in (("slow", MOST_LONG), ("long", by_default)):
        for item in [*_beyond(items, mark, most, chosen)]:
            item.add_marker(mark)
    for item in [*_too_heavy(items)]:
        item.add_marker("slow")
    file: Path | None = config.getoption("--passed")
    if file is not None and file.exists():
        passed = {*file.read_text("utf-8").splitlines()}
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
        items[:] = [item for item in items if item.nodeid not in passed]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker tests that follow each other: these compile the same."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say for each reason of a skip how many tests it left out, not where they are."""
    told = (str(each.longrepr[2]) for each in terminalreporter.stats.get("skipped", ()))
    reasons = Counter(
        re.sub(r"^Skipped: (could not import '([^'.]+).*)?", _not_installed, each) for each in told
    )
    for reason, number in reasons.most_common():
        terminalreporter.write_line(f"{number} skipped: {reason}")


def _not_installed(found: "re.Match[str]") -> str:
    return f"{found[2]} is not installed" if found[2] else ""


def pytest_sessionfinish(session: pytest.Session) -> None:
    file: Path | None = session.config.getoption("--passed")
    terminal: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if file is not None and not hasattr(session.config, "workerinput"):  # of xdist
        with file.open("a", encoding="utf-8") as lines:
            lines.writelines(f"{each.nodeid}\n" for each in terminal.stats.get("passed", []))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_instead(item.config, call, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_instead(collector.config, getattr(report, "call"), report)  # noqa: B009 - it has no type
    return report


@contextlib.contextmanager
def library(name: str, config: pytest.Config) -> Generator[Library]:
    """Give the library of this name, or skip the test."""
    try:
        lib = LIBRARIES[name](name)
    except ImportError as error:
        root = name.partition(":")[0]
        if root in required(config):
            pytest.fail(f"{root} is required: {error}", pytrace=False)
        pytest.skip(f"{root} is not installed" if error.name else str(error))
    with lib.settings():
        yield lib


@pytest.fixture
def fresh() -> Iterator[None]:
    """Nothing is known of earlier calls, nor of those inside afterwards."""
    tinyloss.clear_caches()
    yield
    tinyloss.clear_caches()


@pytest.fixture(autouse=True)
def _compilation(request: pytest.FixtureRequest) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    # Under "auto" a loss changes by a few eps at the call that compiles it.
    mode: Any = request.config.getoption("--compilation")
    with tinyloss_numpy.compilation(mode):
        yield


@pytest.fixture(params=[name for name in LIBRARIES if name != "jax:x64"])
def xp(request: pytest.FixtureRequest) -> Iterator[Library]:
    with library(request.param, request.config) as lib:
        yield lib


@pytest.fixture
def torch(request: pytest.FixtureRequest) -> Iterator[Any]:
    """PyTorch itself."""
    with library("torch", request.config) as lib:
        yield lib.lib


@pytest.fixture
def jax(request: pytest.FixtureRequest) -> Iterator[Any]:
    """JAX itself, with float64."""
    with library("jax:x64", request.config) as lib:
        yield lib.lib


@pytest.fixture
def cupy() -> Iterator[Any]:
    """CuPy on an emulated GPU as it comes from the shop; what a test changes of it is undone."""
    before = dict(vars(machine))
    with emulated_cupy() as module:
        yield module
        from tinyloss_cupy import _run

        if machine.mutate is not None:
            tinyloss.clear_caches()
        _run._without_clusters.clear()
        _run._devices.clear()
    vars(machine).update(before)


@pytest.fixture
def optax(request: pytest.FixtureRequest, jax: Any) -> Any:
    """optax's losses, with float64."""
    return peer("optax.losses", request.config)


@pytest.fixture
def sklearn(request: pytest.FixtureRequest) -> Any:
    return peer("sklearn.metrics", request.config)


@pytest.fixture
def scipy(request: pytest.FixtureRequest) -> Any:
    peer("scipy.spatial.distance", request.config)
    return peer("scipy.special", request.config)
