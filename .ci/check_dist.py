"""Check that a built wheel and sdist hold exactly the files they should.

usage: python .ci/check_dist.py FOLDER_WITH_BOTH

What they should hold is read from git, so a file that the build drops, or a stray one that it
picks up, is an error.
"""

import configparser
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path


def source_files() -> set[str]:
    # --others: a file that is new and not ignored counts before it is committed, too.
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {name for name in listed.split("\0") if name and Path(name).exists()}


def sdist_files(archive: Path) -> set[str]:
    with tarfile.open(archive) as tar:
        root = archive.name.removesuffix(".tar.gz") + "/"
        return {member.name.removeprefix(root) for member in tar.getmembers() if member.isfile()}


def check_metadata(wheel: zipfile.ZipFile, info: str) -> list[str]:
    metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    hard = [r for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    entry_points = configparser.ConfigParser()
    entry_points.read_string(wheel.read(f"{info}/entry_points.txt").decode())
    problems = []
    if len(hard) != 1 or not hard[0].startswith("array-api-compat"):
        problems.append(f"hard dependencies are {hard}, expected array-api-compat alone")
    problems += [
        f"entry point {name} names {package}, which is not in the wheel"
        for name, package in entry_points["tinyloss.backends"].items()
        if f"{package}/__init__.py" not in wheel.namelist()
    ]
    return problems


def difference(kind: str, found: set[str], expected: set[str]) -> list[str]:
    missing = [f"{kind} lacks {name}" for name in sorted(expected - found)]
    return missing + [f"{kind} has a stray {name}" for name in sorted(found - expected)]


def main(folder: Path) -> int:
    (sdist,) = folder.glob("*.tar.gz")
    (wheel_path,) = folder.glob("*.whl")
    sources = source_files()
    packaged = {name for name in sources if name.startswith(("tinyloss/", "backends/"))}
    version = sdist.name.removeprefix("tinyloss-").removesuffix(".tar.gz")
    info = f"tinyloss-{version}.dist-info"

    expected_sdist = {name for name in sources if not name.startswith(".ci/")} | {"PKG-INFO"}
    lessons = {name for name in sources if name.startswith("docs/learn/")}
    expected_wheel = {name.removeprefix("backends/") for name in packaged}
    expected_wheel |= {name.replace("docs/learn", "tinyloss/cli/pages", 1) for name in lessons}
    expected_wheel |= {
        f"{info}/{name}"
        for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    problems = difference("sdist", sdist_files(sdist), expected_sdist)
    with zipfile.ZipFile(wheel_path) as wheel:
        problems += difference("wheel", set(wheel.namelist()), expected_wheel)
        problems += check_metadata(wheel, info)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"as expected: sdist {len(expected_sdist)} files, wheel {len(expected_wheel)} files")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
