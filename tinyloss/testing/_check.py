"""Running cases: the backend's answers, unchanged inputs, and the same bits again."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import tinyloss
from tinyloss._arrays import dtype_name
from tinyloss.testing._arguments import Placed, compute_dtype_of, hosts_of, place
from tinyloss.testing._arrays import Library
from tinyloss.testing._cases import Case
from tinyloss.testing._reference import Reference, compare
from tinyloss.testing._subjects import Parts
from tinyloss.testing._watch import Log, logged

THREADS = 4


@dataclass
class Tally:
    """The outcomes of the cases."""

    ran: int = 0
    answered: int = 0
    programs: set[Any] = field(default_factory=set[Any])
    worst: dict[str, float] = field(default_factory=dict[str, float])
    failures: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Check:
    """Runs cases; for the fields see `check_backend`."""

    library: Library
    reference: Reference
    pool: ThreadPoolExecutor
    context: Callable[[], AbstractContextManager[Any]]
    through: Callable[[Callable[..., Any]], Callable[..., Any]] | None
    derive: Callable[..., Any] | None
    bound: float
    tally: Tally = field(default_factory=Tally)

    def run(self, case: Case) -> None:
        """Run a case on the backend and record the outcome."""
        self.tally.ran += 1
        arrays, options = hosts_of(self.library, case)
        try:
            complaints = self._complaints(case, arrays, options)
        except Exception as error:  # an error of the backend is a failure, and the check goes on
            complaints = [f"raised {type(error).__name__}: {str(error).partition(chr(10))[0]}"]
        if complaints:
            self.tally.failures.append(f"{case}: {'; '.join(complaints)}")

    def _complaints(self, case: Case, arrays: list[Any], options: dict[str, Any]) -> list[str]:
        bits = self.library.bits
        placed = place(self.library, case, arrays, options)
        before = {name: bits(base) for name, base in placed.bases.items()}
        between = [bits(gap) for gap in placed.gaps]
        complaints = self._refusal(case, placed) if case.special == "range" else []
        log = Log()
        call = self._calling(case, placed)
        first = logged(log, call)
        if log.declined:
            return complaints
        self.tally.answered += 1
        self.tally.programs.update(log.programs)

        changed = [name for name, base in placed.bases.items() if bits(base) != before[name]]
        complaints += [f"{name} was changed" for name in changed]
        if between != [bits(gap) for gap in placed.gaps]:
            complaints.append("wrote between the elements of out")
        complaints += self._sharing(placed, first)
        complaints += self._differences(case, arrays, options, first)
        if not complaints:
            if placed.out:
                call = self._calling(case, place(self.library, case, arrays, options))
            complaints += self._unsteadiness(call, first, threads=not placed.out)
        return complaints

    def _calling(self, case: Case, placed: Placed) -> Callable[[], Parts]:
        """Return the call of a case, which may be made many times."""
        mode: Any = "never" if case.special == "range" else "auto"
        subject = case.subject
        static = {n: v for n, v in placed.options.items() if not isinstance(v, self.library.array)}
        given = {name: v for name, v in placed.options.items() if name not in static}

        def ask(arrays: Any, options: Any) -> Parts:
            given = {**static, **options}
            return subject.call(case.want, case.argnums, arrays, given, placed.out, self.derive)

        transformed = ask if self.through is None else self.through(ask)

        def call() -> Parts:
            with self.context(), tinyloss.validation(mode):
                parts: Parts = transformed(placed.arrays, given)
                return parts

        return call

    def _refusal(self, case: Case, placed: Placed) -> list[str]:
        """Return a complaint if class indices out of range raise no error where they are read."""
        if case.weight or not self.library.sees:  # an item of weight 0 need not be in range
            return []
        try:
            with self.context(), tinyloss.validation("always"):
                case.subject.call(case.want, case.argnums, placed.arrays, placed.options)
        except ValueError:
            return []
        return ["class indices out of range raise no ValueError"]

    def _sharing(self, placed: Placed, parts: Parts) -> list[str]:
        """Return complaints if results are not in `out`, or share memory with inputs."""
        np = self.library.numpy
        if placed.out:
            written = [part for name, part in parts.items() if name != "value"]
            if all(part is out for part, out in zip(written, placed.out, strict=True)):
                return []
            return ["a derivative is not the array given as out"]
        return [
            f"{name} shares memory with {of}"
            for name, part in parts.items()
            for of, base in placed.bases.items()
            if isinstance(part, np.ndarray) and np.may_share_memory(part, base)
        ]

    def _unsteadiness(self, call: Callable[[], Parts], first: Parts, *, threads: bool) -> list[str]:
        """Return complaints if a second call, or four in threads, give other bits."""
        bits = {name: self.library.bits(part) for name, part in first.items()}

        def differ(parts: Parts) -> list[str]:
            return [name for name, part in parts.items() if self.library.bits(part) != bits[name]]

        changed = differ(call())
        if changed:
            return [f"{', '.join(changed)}: other bits at the second call"]
        if not threads:
            return []
        start = threading.Barrier(THREADS)

        def at_once(_: int) -> Parts:
            start.wait()
            return call()

        answers = self.pool.map(at_once, range(THREADS))
        changed = list(dict.fromkeys(name for parts in answers for name in differ(parts)))
        return [f"{', '.join(changed)}: other bits in a thread"] if changed else []

    def _differences(
        self, case: Case, arrays: list[Any], options: dict[str, Any], got: Parts
    ) -> list[str]:
        """Return complaints where results differ from the formulas'."""
        np, computed = self.library.numpy, compute_dtype_of(self.library, case)
        complaints: list[str] = []
        for name, truth in self.reference.truths(case, arrays, options, computed).items():
            part, want = got[name], np.asarray(truth.formulas)
            expected = self.library.array
            if self.library.is_numpy and not (case.out and name != "value"):
                expected = truth.formulas.__class__
            if type(part) is not expected:
                complaints.append(
                    f"{name} is a {type(part).__name__}, expected {expected.__name__}"
                )
                continue
            dtype = dtype_name(part.dtype)
            if dtype != dtype_name(want.dtype):
                complaints.append(f"{name} has dtype {dtype}, expected {dtype_name(want.dtype)}")
            if tuple(part.shape) != want.shape:
                complaints.append(f"{name} has shape {tuple(part.shape)}, expected {want.shape}")
                continue
            host = self.library.to_numpy(part)
            worst, complaint = compare(np, name, host, dtype, truth, computed, self.bound)
            loss = case.subject.name
            self.tally.worst[loss] = max(self.tally.worst.get(loss, 0.0), worst)
            complaints += [complaint] if complaint else []
        return complaints
