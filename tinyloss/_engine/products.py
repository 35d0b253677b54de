"""Losses of scores that are products, x = scale * h @ w.T + bias, computed chunk by chunk.

Request   whose x is a `Product`
   |      scored: an array without numbers stands for the scores, and is settled as any x
Scored    a job without its x, the factors of x, what to differentiate by, rows of a chunk
   |      what the backend does with such, or `by_chunks`, or `at_once`
Answer
"""

from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

from tinyloss._arrays import astype, beside, compiling, compute_dtype, result_dtype, writeable
from tinyloss._engine import registry
from tinyloss._engine.checks import brought, namespace_of
from tinyloss._engine.chunks import at_once, by_chunks, mean_of
from tinyloss._engine.job import Answer, Job, replaced
from tinyloss._engine.request import Product, Refusal, Request, Want, refuse_second
from tinyloss._engine.run import fill, summed_over
from tinyloss._engine.scored import Scored, absent, bytes_of, scored_of, size_of
from tinyloss.typing import Namespace


def run_product(request: Request, want: Want) -> Answer:
    """Answer a request whose predictions are products."""
    product: Product = request.x
    try:
        refuse_second(want)
        if product.alone and not product.unit:
            # what both sides make of its gradient is added before it is rounded
            xp = namespace_of(product.h)
            both = astype(xp, product.h, compute_dtype(xp, product.h))
            product = product._replace(h=both, w=both)
            request = request._replace(x=product)
        if product.unit:
            answer = _of_units(request, product, want._replace(out=()))
        elif product.both_ways and not _in_one_pass(request):
            answer = _both_ways(request, product, want._replace(out=()))
        else:
            answer = _of_scores(request, product, want)
    except Refusal as refusal:
        raise refusal.of(request.name) from None
    return fill(request.name, answer, want.out) if want.out else answer


def _of_scores(request: Request, product: Product, want: Want) -> Answer:
    lead, total, scored = scored_of(request, product, want)
    xp = scored.job.xp
    with registry.quiet(xp):
        answer = _answer_of(scored)
        value = answer.value
        if value is not None and not scored.job.kind.reduce:
            value = xp.reshape(value, (*lead, *value.shape[1:]))
            value = value if want.over is None else summed_over(want, value)
        grads = [
            xp.reshape(grad, (*lead, grad.shape[-1])) if name in ("h", "y") else grad
            for name, grad in zip(scored.by, answer.grads, strict=True)
        ]
    return Answer((value, total) if want.sums else value, tuple(grads))


def _in_one_pass(request: Request) -> bool:
    """Return whether a loss and that of the columns are computed from the same scores."""
    formula = request.labels
    backend = registry.backend_of(namespace_of(request.x.h))
    own = hasattr(backend, "products") and not getattr(backend, "BOTH_WAYS", False)
    return formula is not None and formula.in_parts is not None and not own


def _both_ways(request: Request, product: Product, want: Want) -> Answer:
    """Answer for the mean of two losses, of h and w and of w and h."""
    product = product._replace(both_ways=False)
    pairs = None if product.pairs is None else product.pairs.turned
    turned, places = product._replace(h=product.w, w=product.h, pairs=pairs), want.argnums
    if product.w is None:
        turned = turned._replace(h=product.h.T, w=None)
    else:
        places = tuple([{0: 1, 1: 0}.get(n, n) for n in places])
    one = run_product(request._replace(x=product), want)
    other = run_product(request._replace(x=turned), want._replace(argnums=places))
    if product.w is None:
        back = [g.T if n == 0 else g for n, g in zip(places, other.grads, strict=True)]
        other = other._replace(grads=tuple(back))

    if not want.sums:
        return mean_of(one, other)
    # the sum of the weights is that of both
    total = one.value[1]
    one, other = (each._replace(value=each.value[0]) for each in (one, other))
    answer = mean_of(one, other)
    return answer._replace(value=(answer.value, total))


def _of_units(request: Request, product: Product, want: Want) -> Answer:
    """Answer for vectors that are divided by their lengths."""
    h = product.h
    xp = namespace_of(h)
    w = brought(xp, h, "w", product.w)
    dtype = compute_dtype(xp, h, w)
    with registry.quiet(xp):
        of_h = _Unit(xp, h, -1, dtype)
        of_w = of_h if w is h else _Unit(xp, w, 1 - product.class_axis, dtype)
        sides = [of_h, of_w]
        product = product._replace(h=of_h.unit, w=of_w.unit, unit=False)
        answer = run_product(request._replace(x=product), want)
        grads = [
            sides[n].pulled(grad, want.wide) if n < 2 else grad
            for n, grad in zip(want.argnums, answer.grads, strict=True)
        ]
    return answer._replace(grads=tuple(grads))


def run_columns(request: Request, want: Want) -> Answer:
    """Answer a request whose predictions are products of the columns of h and w, less their means.

    Derivatives by h and w are as wide as what is computed in.
    """
    product: Product = request.x
    h = product.h
    try:
        xp = namespace_of(h)
        w = brought(xp, h, "w", product.w)
    except Refusal as refusal:
        raise refusal.of(request.name) from None
    dtype, count = compute_dtype(xp, h, w), h.shape[0]
    if count == 0:  # there is neither a mean nor a loss
        request = request._replace(where=xp.zeros((1,), dtype=xp.bool, **beside(h)))

    def mean(rows: Any) -> Any:
        return xp.mean(rows, axis=0, keepdims=True) if count else 0.0

    def centred(rows: Any) -> Any:
        # Twice: of large numbers the first mean is rounded to some eps of these.
        for _ in range(2):
            rows = rows - mean(rows)
        return rows

    with registry.quiet(xp):
        one = centred(astype(xp, h, dtype))
        other = one if w is h else centred(astype(xp, w, dtype))
        product = product._replace(h=one.T, w=other.T)
        answer = run_product(request._replace(x=product), want._replace(wide=True))
        grads = [each.T - mean(each.T) for each in answer.grads]
    return answer._replace(grads=tuple(grads))


class Memory(NamedTuple):
    """How many bytes a call takes beside its arguments.

    Examples
    --------
    >>> import tinyloss
    >>> tinyloss.Memory(rows=256, chunk=33_554_432, results=8_388_608).total
    41943040
    """

    rows: int
    """How many rows of scores there are at a time."""
    chunk: int
    """Bytes of what is taken for a chunk, and let go at the end."""
    results: int
    """Bytes of the results, and of the sums in a wider dtype that they are rounded from."""

    @property
    def total(self) -> int:
        """Bytes at the peak."""
        return self.chunk + self.results


def memory_of(request: Request, want: Want) -> Memory:
    """Return how many bytes a request takes, of arrays of any library, by their layout alone."""
    product: Product = request.x
    try:
        _, _, scored = scored_of(request, product._replace(unit=False, both_ways=False), want)
    except Refusal as refusal:
        raise refusal.of(request.name) from None
    if product.both_ways and _in_one_pass(request):
        scored = replace(scored, both_ways=True)
    real, kind, (count, classes) = size_of(scored.dtype), scored.job.kind, scored.shape
    features = scored.h.shape[-1]
    numbers = {"h": count * features, "w": classes * features, "y": count * classes}
    vectors = [name for name in ("h", "w") if name in scored.by]
    made, last = 0, [numbers[name] * bytes_of(scored.dtype_of(name)) for name in vectors]
    """Bytes of what is multiplied instead of h and w, and of the gradients by these."""
    if product.unit or product.alone:
        if product.unit or scored.h.dtype != scored.dtype:
            made = real * (numbers["h"] + (0 if product.alone else numbers["w"]))
        if product.alone:  # gradients are added before they are rounded
            last = [numbers[name] * real for name in vectors]
        scored = _widened(scored)
    results = rounded = 0
    for name in scored.by:
        some = numbers[name] if name in numbers else prod(getattr(scored, name).shape)
        size = bytes_of(scored.dtype_of(name))
        results += some * size
        if name == "w" and size < real:  # chunks add up to a sum of more digits
            results, rounded = results + some * (real - size), some * size
    if kind.value and not kind.reduce:
        results += count * real * (1 if kind.rowwise and kind.formula.per_item else classes)
    if product.both_ways and not scored.both_ways:
        results *= 2  # those of one way are there while the other's are computed
    rows = scored.rows
    chunk = scored.chunk_of(rows, scored.part)
    if product.unit:  # when no chunk is left, one vector's gradient after the other
        later = sum(last[:-1]) + 2 * real * max([numbers[name] for name in vectors], default=0)
        later -= chunk
    else:  # when of a chunk its scores alone are left
        later = rounded - (chunk - rows * scored.part * real)
    return Memory(rows, chunk, int(results + made + max(0, later)))


def _widened(scored: Scored) -> Scored:
    """Return what there is to answer of factors of the scores' dtype, of their layout alone."""
    xp, dtype = scored.job.xp, scored.dtype
    h, w = (absent(xp, each, each.shape, dtype) for each in (scored.h, scored.w))
    return replace(scored, h=h, w=w)


class _Unit:
    """Vectors divided by their lengths; 0 stays 0, and has the gradient 0."""

    def __init__(self, xp: Namespace, vectors: Any, axis: int, dtype: Any) -> None:
        self._xp, self._axis, self._dtype = xp, axis, vectors.dtype
        wide = astype(xp, vectors, dtype)
        self._nothing = 0 in vectors.shape  # which has no largest component
        if self._nothing:
            self.unit = wide
            return
        # divided by the largest component, squares neither overflow nor underflow
        largest = xp.max(xp.abs(wide), axis=axis, keepdims=True)
        self._some = (largest > 0) | (largest != largest)
        scale = xp.where(self._some, largest, xp.ones_like(largest))
        # selected before: autodiff, too, has the gradient 0 there
        part = xp.where(self._some, wide, xp.zeros_like(wide)) / scale
        square = xp.sum(part * part, axis=axis, keepdims=True)
        root = xp.sqrt(xp.where(self._some, square, xp.ones_like(square)))
        self.unit = part / root
        self._root, self._scale = root, scale

    def pulled(self, grad: Any, wide: bool) -> Any:
        """Return the gradient by the vectors."""
        xp, unit, by = self._xp, self.unit, grad
        if not self._nothing:
            along = xp.sum(unit * grad, axis=self._axis, keepdims=True)
            by = (grad - unit * along) / self._root / self._scale
            # a vector that is left out has the gradient 0, whatever it holds
            moves = self._some & xp.any(grad != 0, axis=self._axis, keepdims=True)
            by = xp.where(moves, by, 0.0)
        return by if wide else astype(xp, by, result_dtype(self._dtype, by.dtype))


def job_of_product(request: Request, want: Want) -> Job:
    """Return the job of one chunk of rows."""
    scored = scored_of(request, request.x, want)[-1]
    xp, rows = scored.job.xp, scored.rows
    job = scored.job
    made = {"x", "y"} if scored.marks else {"x"}
    arrays = {
        name: job.arrays[name][:rows, ...] if role.per_item else job.arrays[name]
        for name, _, role in job.kind.arguments
        if name not in made
    }
    shape, place = (rows, scored.classes), beside(scored.h)
    x = xp.zeros(shape, dtype=scored.dtype, **place)
    if scored.marks:
        arrays["y"] = xp.zeros(shape, dtype=xp.bool, **place)
    weight = None if job.weight is None else job.weight[:rows, ...]
    return replaced(job, arrays={"x": x, **arrays}, weight=weight)


def _answer_of(scored: Scored) -> Answer:
    xp = scored.job.xp
    backend = registry.backend_of(xp)
    own: Any = getattr(backend, "products", None)
    if own is not None:
        return own(scored)  # type: ignore[no-any-return]
    if compiling() or not writeable(scored.h):
        return at_once(scored)
    return by_chunks(scored)
