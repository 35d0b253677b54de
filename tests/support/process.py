"""A Python process beside the tests' own, with the packages they test."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import tinyloss
import tinyloss_numpy

ROOT = Path(__file__).parents[2]


def python(
    *arguments: str, stdin: str | None = None, cwd: Path | None = None, **environment: str
) -> str:
    """Return what Python prints, given code to run or other arguments; a failure is an error.

    A clone without an installation finds its packages by pytest's settings, which a child lacks.
    """
    packages = [str(Path(inspect.getfile(m)).parents[1]) for m in (tinyloss, tinyloss_numpy)]
    if len(arguments) == 1:
        arguments = ("-c", inspect.cleandoc("\n" + arguments[0]))
    done = subprocess.run(
        # What a fallback to the formulas would warn of is an error there.
        [sys.executable, "-W", "error::RuntimeWarning", *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*packages, str(ROOT)])} | environment,
        input=stdin,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
