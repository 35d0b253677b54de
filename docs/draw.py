"""Draw README's pictures, in light and in dark: `python docs/draw.py`, from a clone.

Numbers in their titles are measured by this run; the speed is that of the reports in
`benchmarks/results`.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tinyloss import pictures

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "_static" / "pictures"
SUFFIXES: dict[Literal["light", "dark"], str] = {"light": "", "dark": "_dark"}
REPORTS = sorted((ROOT / "benchmarks" / "results").glob("cpu*.json"))
DRAWN: dict[str, Any] = {
    "digits": pictures.digits,
    "zoo": pictures.zoo,
    **{path.stem.replace("cpu", "speed", 1): partial(pictures.speed, path) for path in REPORTS},
}


def main() -> None:
    """Draw them, and say what each found."""
    OUT.mkdir(exist_ok=True)
    for name, draw in DRAWN.items():
        for theme, suffix in SUFFIXES.items():
            figure = draw(theme=theme)
            path = pictures.save(figure, OUT / f"{name}{suffix}.png")
            sys.stdout.write(f"{path.relative_to(ROOT)}: {figure.get_suptitle()}\n")


if __name__ == "__main__":
    main()
