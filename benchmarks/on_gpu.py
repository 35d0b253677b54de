"""All tests and benchmarks that need a GPU, within ten minutes, on a machine without installation.

    python benchmarks/on_gpu.py [--out FOLDER] [--wheels FOLDER] [--only STEP,...]

The steps are the tests that need a GPU, JAX's among them, the speed of the losses on CuPy's arrays
and on torch's tensors, a last layer, the example and the losses' accuracy, the most valuable first.
Each is a process of its own with a time limit. Its output goes to the
terminal and to a log in FOLDER, beside the results. The status is 1 if a step does not pass.

Nothing is installed or downloaded: tinyloss runs from this checkout. Required are CuPy, NumPy,
pytest with hypothesis and mpmath, ml_dtypes, rich, scikit-learn and matplotlib; torch is compared
if it is there. Missing packages may be pure Python wheels in the folder `--wheels`, such as
array-api-compat, which tinyloss needs.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOTAL = 570.0
"""Seconds for everything: ten minutes, less what it takes to begin and to end."""
LEAST = 10.0
"""Seconds that are worth beginning with."""
GRACE = 5.0
"""Seconds in which a process that is told to end may do so."""
MOST_PROCESSES = 12
"""Each has a context of its own on the device, of half a gigabyte."""


@dataclass(frozen=True)
class Step:
    """A command, its time limit, and the file or text that shows that it has run."""

    name: str
    command: Sequence[str]
    seconds: float
    proof: str
    """A pattern: a test that is skipped, a column that is left out, is no failure of its own."""
    shown: int = 3
    """Lines of its end that the summary repeats."""
    platforms: str = "cpu"
    """Where JAX computes: it would take part of the device's memory."""


def steps(out: Path, processes: int, parallel: bool) -> list[Step]:
    """Return the steps, the most valuable first: tests before speed."""
    python = sys.executable
    tests = [python, "-m", "pytest", "-m", "gpu", "tests", "--require=cupy", "--durations=10", "-v"]
    tests += ["-p", "no:benchmark"]  # where it is installed, it warns of xdist
    if parallel:  # most of the time goes to compiling
        tests += ["-n", str(processes), "--dist=worksteal"]
    jax = [*tests, "tests/test_gpu_jax.py"]
    jax.remove("tests")

    def speed(module: str) -> list[str]:
        return [python, "-m", f"benchmarks.{module}", "--json", str(out / f"{module}.json")]

    example = [python, "examples/train_digits.py", "--array", "cupy"]
    accuracy = [python, "-m", "benchmarks.accuracy", "--quick", "--libraries", "numpy,cupy"]
    accuracy += ["--processes", str(processes), "--json", str(out / "accuracy.json")]
    return [
        Step("tests", tests, 240, r"\b[1-9]\d* passed"),
        Step("jax", jax, 120, r"\b[1-9]\d* passed", platforms="cuda,cpu"),
        Step("speed", speed("gpu"), 240, r"^[1-9]\d* measurements", shown=30),
        Step("torch", speed("gpu_torch"), 60, r"^\(32, 10\) bfloat16", shown=8),
        Step("scores", speed("gpu_scores"), 90, r"^[1-9]\d* measurements", shown=12),
        Step("example", [*example, "--plot", str(out / "digits.png")], 60, r"^cupy, .*right"),
        Step("accuracy", accuracy, 240, r"tinyloss cupy"),
    ]


def metadata(folder: Path) -> None:
    """Write the metadata of an installation of tinyloss: name, version, entry points."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "tinyloss" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if version is None:
        raise SystemExit("on_gpu.py: tinyloss/__init__.py has no __version__")
    name = project["name"]
    info = folder / f"{name}-{version[1]}.dist-info"
    info.mkdir()
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version[1]}\n"
    (info / "METADATA").write_text(head, encoding="utf-8")
    lines: list[str] = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


def environment(installed: Path, wheels: Path | None) -> dict[str, str]:
    """Return the environment in which tinyloss is found as if it were installed."""
    paths = [installed, ROOT, ROOT / "backends"]
    if wheels is not None:
        paths += sorted(wheels.resolve().glob("*-none-any.whl"))  # zip files, which Python imports
    before = os.environ.get("PYTHONPATH")
    here = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    return here | {
        "PYTHONPATH": os.pathsep.join([*map(str, paths), *([before] if before else [])]),
        "PYTHONUNBUFFERED": "1",
        "MPLBACKEND": "agg",
        # JAX would take three quarters of the device's memory in each process.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }


def complaint(code: str, environment: Mapping[str, str]) -> str:
    """Return the last line of the error of a piece of Python code, or ""."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip("= ")]
    return lines[-1] if lines else f"status {done.returncode}"


@dataclass(frozen=True)
class Outcome:
    """The end of a step."""

    step: Step
    verdict: str
    seconds: float
    last: list[str]

    @property
    def passed(self) -> bool:
        return self.verdict == "passed"


def run(step: Step, log: Path, environment: Mapping[str, str], seconds: float) -> Outcome:
    """Run a step; its output goes to the terminal and to its log."""
    started = time.perf_counter()
    if seconds < LEAST:
        return Outcome(step, "left out: there was no time for it", 0.0, [])
    print(f"\n=== {step.name}: {' '.join(step.command)}", flush=True)
    with log.open("wb") as file:
        process = subprocess.Popen(
            step.command,
            cwd=ROOT,
            env={**environment, "JAX_PLATFORMS": step.platforms},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,  # so that its own processes end with it
        )
        assert process.stdout is not None
        pipe = process.stdout.fileno()

        def pass_on() -> None:
            while said := os.read(pipe, 2**16):
                file.write(said)
                file.flush()
                sys.stdout.buffer.write(said)
                sys.stdout.buffer.flush()

        thread = threading.Thread(target=pass_on, daemon=True)
        thread.start()
        verdict = ""
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            verdict, status = f"stopped after {seconds:.0f} s", None
        end(process)
        thread.join(GRACE)
        process.stdout.close()
    text = log.read_text(encoding="utf-8", errors="replace")
    if status is not None:
        proven = re.search(step.proof, text, re.MULTILINE) is not None
        verdict = (
            f"failed with status {status}" if status else "passed" if proven else "did nothing"
        )
    last = [line.rstrip() for line in text.splitlines() if line.strip()][-step.shown :]
    return Outcome(step, verdict, time.perf_counter() - started, last)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and those it has started, if they still run."""
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):  # pytest tells first what failed
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            break
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, help="where logs and figures go; default: a new folder")
    parser.add_argument("--wheels", type=Path, help="wheels of pure Python to import from")
    parser.add_argument("--only", help="names of steps, with commas between")
    given = parser.parse_args()
    if given.wheels is not None and not given.wheels.is_dir():
        parser.error(f"{given.wheels} is no folder")

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as installed:
        metadata(Path(installed))
        env = environment(Path(installed), given.wheels)
        if why := complaint("import cupy; cupy.empty(1)", env):
            print(f"on_gpu.py: nothing to do without a GPU: {why}")
            return 0
        if why := complaint("import array_api_compat", env):
            print(f"on_gpu.py: {why}: tinyloss needs it; --wheels FOLDER with its wheel will do")
            return 1
        if why := complaint("import tinyloss, tinyloss_cupy, tinyloss_numpy", env):
            print(f"on_gpu.py: tinyloss cannot be imported: {why}")
            return 1
        parallel = not complaint("import xdist", env)
        processes = max(1, min(os.cpu_count() or 1, MOST_PROCESSES))
        out: Path = given.out or Path(tempfile.mkdtemp(prefix="on_gpu-"))
        out = out.resolve()
        out.mkdir(parents=True, exist_ok=True)
        outcomes: list[Outcome] = []
        for step in steps(out, processes, parallel):
            if given.only and step.name not in given.only.split(","):
                continue
            left = TOTAL - (time.perf_counter() - started)
            outcomes.append(run(step, out / f"{step.name}.log", env, min(step.seconds, left)))

    print(f"\n=== summary; logs and figures: {out}")
    for outcome in outcomes:
        print(f"\n{outcome.step.name}: {outcome.verdict}, {outcome.seconds:.0f} s")
        for line in outcome.last:
            print(f"    {line}")
    verdicts = ", ".join(f"{each.step.name} {each.verdict}" for each in outcomes)
    print(f"\n{verdicts}; {time.perf_counter() - started:.0f} s")
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
