"""Losses of scores that are products, x = scale * h @ w.T + bias, computed chunk by chunk.

    Request   whose x is a `Product`
       |      scored: an array without numbers stands for the scores, and is settled as any x
    Scored    a job without its x, the factors of x, what to differentiate by, rows of a chunk
       |      what the backend does with such, or `by_chunks`, or `at_once`
    Answer

A chunk of rows is a job whose x is their block of scores, and whose `out` is the same block: what
answers any job answers it, and its gradient takes the place of the scores. Two more products hand
that on to h and w. So no loss is known here, and each loss of scores has this.

A loss that says so (`Formula.in_parts`) is computed over parts of the scores' columns, too: where
one row does not fit, and where columns are rows of the same loss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, NamedTuple

from tinyloss._arrays import (
    astype,
    beside,
    compiling,
    compute_dtype,
    dtype_name,
    kind,
    of_rank,
    result_dtype,
    widest_dtype,
    writeable,
)
from tinyloss._engine import registry
from tinyloss._engine.checks import brought, namespace_of, same_shape, show
from tinyloss._engine.job import Answer, Job, Kind, looked, replaced
from tinyloss._engine.pairs import OF_ROWS, arrays_of, scores_and_target, weighed, weights_of
from tinyloss._engine.parts import Parts, with_columns
from tinyloss._engine.request import Product, Refusal, Request, Want, refuse_second
from tinyloss._engine.run import (
    answer_of,
    answer_with_moving_divisor,
    divisor_moves,
    fill,
    share_of_divisor,
)
from tinyloss._engine.settle import settle
from tinyloss.typing import Namespace

FACTORS = ("h", "w", "bias", "scale")
MEMORY = 2**26
"""Bytes of a block of scores where neither the caller nor the backend says."""
_PIECE = 2**21
"""Bytes of what is added to an array at a time: it stays in the cache."""
_PART_ROWS, _PART = 128, 128
"""How many rows, and classes at least, are taken where all classes of one row do not fit."""


@dataclass(frozen=True)
class Scored:
    """A job of scores that are products, for rows along one axis."""

    job: Job
    """Without x: what it holds of items has these along its first axis."""
    h: Any
    """(N, D)."""
    w: Any
    """(V, D), or (D, V) if `class_axis` is 1; None where h are the scores."""
    bias: Any
    """(V,) or 0-d; None for 0."""
    scale: Any
    """0-d; None for 1."""
    class_axis: int
    dtype: Any
    """The dtype of the scores."""
    by: tuple[str, ...]
    """What to differentiate by: of `FACTORS`, and "y"."""
    memory: int
    """Bytes that may be taken at a time besides arguments and results."""
    whole: int
    """Bytes of scores that are taken at once."""
    moves: bool = False
    """Whether the mean's divisor depends on y, by which is differentiated."""
    both_ways: bool = False
    """Whether the loss is the mean of that of the rows and that of the columns, as many."""
    pairs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What tells which pairs count: "pair_columns", and those that have rows."""
    marks: bool = False
    """Whether y is to be made of the pairs: whether they are of one label."""
    columns: "Columns | None" = None
    """The columns, where these have a loss besides and rows are some of more."""

    @property
    def shape(self) -> tuple[Any, int]:
        """The shape of the scores."""
        return self.h.shape[0], self.classes

    @property
    def classes(self) -> int:
        """The number of classes that w has."""
        return int(self.h.shape[-1] if self.w is None else self.w.shape[self.class_axis])

    @property
    def part(self) -> int:
        """How many classes are computed at a time: all, unless one row of these does not fit."""
        whole, size, kind = self.classes, _size(self.dtype), self.job.kind
        parts = kind.formula.in_parts is not None and kind.axis_name is None and "y" not in self.by
        if not parts or self.w is None or self.both_ways or self.pairs:
            return whole
        if self.chunk_of(1) <= self.memory or self.h.shape[0] * whole * size <= self.whole:
            return whole
        rows = min(self.h.shape[0], _PART_ROWS)
        most = (self.memory - _PIECE) // (rows * size) - self._beside
        return int(min(whole, max(most, _PART)))

    @property
    def rows(self) -> int:
        """How many rows a chunk has, if all are taken."""
        return self.rows_of(self.h.shape[0])

    def rows_of(self, count: int) -> int:
        """Return how many rows a chunk has: all alike, the last begins in the one before."""
        if count * self.classes * _size(self.dtype) <= self.whole:
            return int(count)
        sizes = self._sizes(self.part)
        own, made = sizes.row, sizes.row + sizes.made
        most = max(1, min((self.memory - sizes.piece) // (own or 1), self.memory // (made or 1)))
        chunks = -(-count // most)
        return int(-(-count // chunks))

    @property
    def _beside(self) -> int:
        """How many numbers a row of a chunk takes beside scores: features, and their gradient."""
        copied = self.h.dtype != self.dtype or self.scale is not None or self.job.weight is not None
        return int(self.h.shape[-1]) * (copied + bool({"h", "scale"} & {*self.by}))

    def _sizes(self, classes: int) -> "_Sizes":
        features, size = int(self.h.shape[-1]), _size(self.dtype)
        # of pairs the scores that are left, and booleans; of the scale what it moves by
        made = max(
            classes * (size + 1) if self.pairs else 0,
            features * (2 * size + 1) if "scale" in self.by else 0,
        )
        # of w's gradient what is added at a time, or of w what is converted
        pieces = self.w is not None and ("w" in self.by or self.w.dtype != self.dtype)
        return _Sizes(
            row=classes * (size + self.marks) + self._beside * size,
            made=made,
            piece=min(_PIECE, classes * features * size) if pieces else 0,
        )

    def chunk_of(self, rows: int, classes: int | None = None) -> int:
        """Return how many bytes a chunk takes: scores, features, and the gradient by these."""
        sizes = self._sizes(self.classes if classes is None else classes)
        # one chunk alone adds nothing up
        alone = rows == self.h.shape[0] and (self.w is None or self.w.dtype == self.dtype)
        return int(rows * sizes.row + max(rows * sizes.made, 0 if alone else sizes.piece))

    def dtype_of(self, name: str) -> Any:
        """Return the dtype of the derivatives by an argument."""
        kind = self.job.kind
        if name == "y":
            return kind.derivative_dtype("y")
        return kind.dtype if kind.wide else result_dtype(getattr(self, name).dtype, kind.dtype)

    def transposed(self, w: Any) -> Any:
        """Return an array like w with the classes first, or one with the classes first like w."""
        return w if self.class_axis == 0 else w.T


class _Sizes(NamedTuple):
    """How many bytes a chunk takes."""

    row: int
    """For each row, from its scores to its gradients."""
    made: int
    """For each row, while something is made of it."""
    piece: int
    """For all, while products are added."""


@dataclass(frozen=True)
class Columns:
    """Columns of scores that have a loss besides, of which a block of rows is one part."""

    job: Job
    """Without x: with y and the weights of all columns."""
    rows: int
    """How many rows all blocks have."""
    first: int = 0
    """The index of the block's first row."""
    known: tuple[Any, ...] | None = None
    """What all rows showed of each column; None where these are to be looked at."""


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
    lead, total, scored = _scored(request, product, want)
    xp = scored.job.xp
    with registry.quiet(xp):
        answer = _answer_of(scored)
        value = answer.value
        if value is not None and not scored.job.kind.reduce:
            value = xp.reshape(value, (*lead, *value.shape[1:]))
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
        return _mean_of(one, other)
    # the sum of the weights is that of both
    total = one.value[1]
    one, other = (each._replace(value=each.value[0]) for each in (one, other))
    answer = _mean_of(one, other)
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
        _, _, scored = _scored(request, product._replace(unit=False, both_ways=False), want)
    except Refusal as refusal:
        raise refusal.of(request.name) from None
    kind, real = scored.job.kind, _size(scored.dtype)
    if product.both_ways and _in_one_pass(request):
        scored = replace(scored, both_ways=True)
    count, classes = scored.shape
    features = scored.h.shape[-1]
    sizes = {"h": count * features, "w": classes * features, "y": count * classes}
    made = 0
    own = {name: sizes[name] * _bytes(scored.dtype_of(name)) for name in scored.by if name in sizes}
    if product.unit or product.alone:
        # what is multiplied is made of h and w, and gradients by these of those by that
        factors = {"h": scored.h, "w": scored.w}
        if product.unit or scored.h.dtype != scored.dtype:
            made = real * (sizes["h"] if product.alone else sizes["h"] + sizes["w"])
        xp, dtype = scored.job.xp, scored.dtype
        wide = {name: _absent(xp, each, each.shape, dtype) for name, each in factors.items()}
        scored = replace(scored, **wide)
        if product.alone:  # they are added before they are rounded
            own = {name: sizes[name] * real for name in own}
    results = rounded = 0
    for name in scored.by:
        numbers = sizes[name] if name in sizes else prod(getattr(scored, name).shape)
        size = _bytes(scored.dtype_of(name))
        if name == "w" and size < real:
            results, rounded = results + numbers * real, numbers * size
        else:
            results += numbers * size
    if kind.value and not kind.reduce:
        results += count * real * (1 if kind.rowwise and kind.formula.per_item else classes)
    if product.both_ways and not scored.both_ways:
        # those of one way are there while the other's are computed
        results *= 2
    rows = scored.rows
    chunk = scored.chunk_of(rows, scored.part)
    # sums are rounded when of a chunk its scores alone are left
    later = rounded - (chunk - rows * scored.part * real)
    if product.unit:  # no chunk is left when gradients are made of these
        pulled = [name for name in ("h", "w") if name in own]
        last = 2 * real * max([sizes[name] for name in pulled], default=0)
        later = sum([own[name] for name in pulled[:-1]]) + last - chunk
    results += made + max(0, later)
    return Memory(rows, chunk, results)


def _bytes(dtype: Any) -> int:
    """Return the bytes of a number of a floating dtype."""
    name = dtype_name(dtype)
    return next(n for n, end in ((8, "64"), (4, "32"), (2, "16"), (1, "")) if name.endswith(end))


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
    scored = _scored(request, request.x, want)[-1]
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


def _scored(request: Request, product: Product, want: Want) -> tuple[Any, Any, Scored]:
    """Return the dimensions of the items, the sum of the weights, and what there is to answer."""
    h = product.h
    try:
        xp = namespace_of(h)
    except Refusal as refusal:
        raise Refusal(str(refusal).replace("x", "h", 1), refusal.kind) from None
    w = None if product.w is None else brought(xp, h, "w", product.w)
    _check_factors(h, w, product.class_axis)
    dtype = compute_dtype(xp, h) if w is None else compute_dtype(xp, h, w)
    classes = h.shape[-1] if w is None else w.shape[product.class_axis]
    bias = _beside(xp, h, "bias", product.bias, ((), (classes,)), dtype)
    scale = _beside(xp, h, "scale", product.scale, ((),), dtype)
    given = {"h": h, "w": w, "bias": bias, "scale": scale}
    names = ("h", "w", "y", "bias", "scale")
    for argnum in want.argnums:
        if not 0 <= argnum < len(names) or (given.get(names[argnum], h) is None):
            there = [
                f"{n} ({name})" for n, name in enumerate(names) if given.get(name, h) is not None
            ]
            raise Refusal(f"argnums holds {argnum!r}, expected one of {', '.join(there)}")
    by = tuple([names[argnum] for argnum in want.argnums])
    lead = tuple(h.shape[:-1])
    x = _absent(xp, h, (*lead, classes), dtype)
    dtype = x.dtype  # an array's: a namespace may have another kind of object of this name
    pairs: dict[str, Any] = {}
    marks = product.pairs is not None and product.pairs.marks is not None
    if product.pairs is not None:
        pairs = arrays_of(xp, h, product.pairs, (*lead, classes))
        own = weights_of(xp, product.pairs, pairs, h, (*lead, classes), dtype)
        weight = weighed(xp, h, own, request.weight)
        request = request._replace(weight=weight, of_pairs=True)
    if marks:
        request = request._replace(y=_absent(xp, h, (*lead, classes), xp.bool))
    inner = ((0,) if set(by) - {"y"} else ()) + ((1,) if "y" in by else ())
    try:
        _, (job, total) = settle(
            request._replace(x=x), want._replace(argnums=inner, out=()), fuses=False
        )
    except Refusal as refusal:
        raise Refusal(f"{refusal} (x are the scores, of h and w)", refusal.kind) from None
    if product.both_ways:  # the target of a row is the column of its index
        job = replaced(job, unchecked=None, look=None)
    arrays = {
        name: _flat(xp, job.arrays[name], lead, job.kind.rowwise and not role.per_class)
        if role.per_item
        else job.arrays[name]
        for name, _, role in job.kind.arguments
        if name != "x"
    }
    weight = job.weight
    if weight is not None:
        weight = _flat(xp, weight, lead, job.kind.rowwise)
    memory, whole = _memory(xp, h, h if w is None else w, dtype, product.max_memory)
    flat = h if len(lead) == 1 else xp.reshape(h, (prod(lead), h.shape[-1]))
    return (
        lead,
        total,
        Scored(
            job=replaced(job, arrays=arrays, weight=weight),
            h=flat,
            w=w,
            bias=bias,
            scale=scale,
            class_axis=product.class_axis,
            dtype=dtype,
            by=by,
            memory=memory,
            whole=whole,
            moves=divisor_moves(request, job),
            both_ways=product.both_ways,
            pairs=pairs,
            marks=marks,
        ),
    )


def _check_factors(h: Any, w: Any, class_axis: int) -> None:
    if len(h.shape) == 0:
        raise Refusal("h is 0-d, expected features along its last axis")
    if w is None:
        return
    if len(w.shape) != 2:
        raise Refusal(f"w has shape {show(w)}, expected two dimensions, of classes and features")
    features = w.shape[1 - class_axis]
    if not same_shape((features,), tuple(h.shape[-1:])):
        hint = ""
        if same_shape((w.shape[class_axis],), tuple(h.shape[-1:])):
            hint = f"; it fits with class_axis={1 - class_axis}"
        raise Refusal(
            f"w has shape {show(w)}, expected {h.shape[-1]} features along axis {1 - class_axis}, "
            f"for h of shape {show(h)}{hint}"
        )


def _beside(xp: Namespace, h: Any, name: str, value: Any, shapes: Any, dtype: Any) -> Any:
    """Return a further factor as an array of h's library, None if there is none."""
    if value is None:
        return None
    if isinstance(value, int | float):  # of all its digits, where torch traces this, too
        return xp.asarray(value, dtype=dtype, **beside(h))
    array = brought(xp, h, name, value)
    if not any(same_shape(tuple(array.shape), shape) for shape in shapes):
        expected = " or ".join(str(shape) for shape in shapes)
        raise Refusal(f"{name} has shape {show(array)}, expected {expected}")
    own = hasattr(value, "dtype") and kind(array.dtype) == "float"
    return array if own else astype(xp, array, dtype)


def _absent(xp: Namespace, h: Any, shape: tuple[Any, ...], dtype: Any) -> Any:
    """Return an array of this shape and dtype that takes no memory: its numbers are no matter."""
    own: Any = getattr(registry.backend_of(xp), "absent", None)
    if own is not None:
        return own(h, shape, dtype)
    return xp.broadcast_to(xp.zeros((), dtype=dtype, **beside(h)), shape)


def _flat(xp: Namespace, array: Any, lead: tuple[Any, ...], ends: bool) -> Any:
    """Return what items have, with these along one axis; of length 1 where all have the same.

    `ends`: each item has one number, not one for each class.
    """
    array = of_rank(xp, array, len(lead) + (not ends))
    own, rest = tuple(array.shape[: len(lead)]), tuple(array.shape[len(lead) :])
    if len(lead) == 1:
        return array
    if all(n == 1 for n in own) and lead:
        return xp.reshape(array, (1, *rest))
    if own != lead:
        array = xp.broadcast_to(array, (*lead, *rest))
    return xp.reshape(array, (prod(lead), *rest))


def _memory(xp: Namespace, h: Any, w: Any, dtype: Any, given: int | None) -> tuple[int, int]:
    """Return how many bytes may be taken at a time, and how many bytes of scores are one chunk.

    Where the caller does not say, twice as many scores as numbers in w are: to go through w and
    its gradient once more for each chunk would take longer, and XLA holds both once more.
    """
    if given is not None:
        return given, given
    own: Any = getattr(registry.backend_of(xp), "product_memory", None)
    memory = MEMORY if own is None else own(h)
    return memory, max(memory, 2 * prod(w.shape) * _size(dtype))


def _size(dtype: Any) -> int:
    return 8 if dtype_name(dtype) == "float64" else 4


def at_once(scored: Scored) -> Answer:
    """Answer with all scores in memory, in operations that a library may trace."""
    job, h, scale = scored.job, scored.h, scored.scale
    xp, kind = job.xp, job.kind
    w: Any = None
    if scored.w is not None:
        w = astype(xp, scored.transposed(scored.w), scored.dtype)
    wide = astype(xp, h, scored.dtype)
    part = wide if scale is None else wide * astype(xp, scale, scored.dtype)
    x = part if w is None else xp.matmul(part, w.T)
    if scored.bias is not None:
        x = x + astype(xp, scored.bias, scored.dtype)
    arrays = dict(job.arrays)
    if scored.pairs:
        x, arrays["y"] = scores_and_target(xp, scored.pairs, scored.marks, x, arrays["y"])
    answered = answer_with_moving_divisor if scored.moves else answer_of
    inner = answered(replaced(job, arrays={"x": x, **arrays}))
    if scored.both_ways:
        turned = answered(replaced(job, arrays={"x": x.T, **arrays}))
        inner = _mean_of(inner, turned._replace(grads=tuple([each.T for each in turned.grads])))
    found = dict(zip(kind.grads, inner.grads, strict=True))
    if "x" in found:
        z = astype(xp, found["x"], scored.dtype)
        keep = None if scored.both_ways else _kept(xp, kind, job.weight)
        if {"h", "scale"} & {*scored.by}:
            by_part = z if w is None else xp.matmul(z, w)
            found["h"] = by_part
            if scale is not None:
                found["h"] = by_part * astype(xp, scale, scored.dtype)
                if "scale" in scored.by:
                    found["scale"] = xp.sum(_moved(xp, by_part, _selected(xp, keep, wide)))
        if "w" in scored.by:
            found["w"] = scored.transposed(xp.matmul(z.T, _selected(xp, keep, part)))
        if "bias" in scored.by:
            bias: Any = scored.bias
            found["bias"] = xp.sum(z, axis=0) if len(bias.shape) else xp.sum(z)
    grads = tuple([astype(xp, found[name], scored.dtype_of(name)) for name in scored.by])
    return Answer(inner.value, grads)


def _mean_of(one: Answer, other: Answer) -> Answer:
    """Return the mean of two answers."""

    def mean(a: Any, b: Any) -> Any:
        return None if a is None else 0.5 * (a + b)

    return Answer(mean(one.value, other.value), tuple(map(mean, one.grads, other.grads)))


def _moved(xp: Namespace, slope: Any, by: Any) -> Any:
    """Return the product of slopes with what moves, 0 where a slope is: a score may be -inf."""
    return slope * xp.where(slope == 0, xp.zeros_like(by), by)


def by_chunks(scored: Scored) -> Answer:
    """Answer chunk by chunk, in a library whose arrays can be written."""
    job = scored.job
    with registry.quiet(job.xp):
        chunks = _Chunks(replace(scored, job=looked(job)))
        chunks.look()
        for first, last in chunks.spans():
            chunks.add(first, last)
        return chunks.answer()


def seen_of_columns(scored: Scored) -> Answer:
    """Return what a block of rows shows of columns that have a loss besides, as gradients.

    And the value of the rows, where gradients are not asked for.
    """
    with registry.quiet(scored.job.xp):
        chunks = _Chunks(scored)
        known = chunks.look()
        return Answer(None if scored.by else chunks.answer().value, known)


def known_of_columns(columns: Columns, seen: Sequence[Answer]) -> Answer:
    """Return what all blocks of rows show of columns, as gradients, and the columns' value."""
    job, like = columns.job, seen[0].grads[0]
    with registry.quiet(job.xp):
        parts = Parts(job, columns.rows, like.shape[0], like)
        for each in seen:
            parts.join(each.grads)
        wide = widest_dtype(job.xp, like) if job.kind.reduce else job.kind.dtype
        value = 0.5 * parts.value(wide) if job.kind.value else None
        return Answer(value, parts.known)


class _Chunk(NamedTuple):
    """Some rows, and what is made of their features."""

    first: int
    last: int
    new: int
    """How many rows the chunk before had."""
    part: Any
    """What w is multiplied with: the scaled features, of those rows too."""
    scale: Any
    weight: Any
    wide: Any
    """The features, 0 where they are left out; None where nobody asks."""
    own: Any
    """The scaled ones likewise."""
    pulled: Any
    """The gradient by the scaled features; None where nobody asks."""


class _Chunks:
    """The answer so far."""

    def __init__(self, scored: Scored) -> None:
        self._scored = scored
        job, h, w, by = scored.job, scored.h, scored.w, scored.by
        self._xp = xp = job.xp
        self._kind = kind = job.kind
        self._wide = widest_dtype(xp, h)
        self._columns: Parts | None = None
        self._target: Any = None
        """Of the scores that were made last, where it is made of pairs."""
        self._taken = None
        if not scored.both_ways:
            self._taken = _taken(xp, kind, job.weight, h.shape[0])
        """The rows that count, where that is known; None for all."""
        place = beside(h)
        count, classes = scored.shape
        self._count = count if self._taken is None else self._taken.shape[0]
        partly = self._count < count or scored.both_ways
        self._rows = max(1, scored.rows_of(self._count))
        new = xp.zeros if partly else xp.empty
        items = (count,) if kind.rowwise and kind.formula.per_item else (count, classes)
        self._value: Any = None
        if kind.value or scored.moves:
            self._value = (
                xp.zeros((), dtype=self._wide, **place)
                if kind.reduce
                else new(items, dtype=kind.value_dtype or kind.dtype, **place)
            )
        self._scores = xp.empty((self._rows, scored.part), dtype=scored.dtype, **place)
        self._found: dict[str, Any] = {}
        for name, shape in (("h", h.shape), ("y", (count, classes))):
            if name in by:
                own = kind.dtype if name == "y" and scored.moves else scored.dtype_of(name)
                self._found[name] = new(shape, dtype=own, **place)
        if "w" in by:
            self._found["w"] = xp.zeros(w.shape, dtype=kind.dtype, **place)
        for name in ("bias", "scale"):
            if name in by:
                shape = getattr(scored, name).shape
                self._found[name] = xp.zeros(shape, dtype=self._wide, **place)
        changes: dict[str, Any] = {"value_dtype": self._wide} if kind.reduce else {}
        self._block_kind = replace(kind, wide=False, value=kind.value or scored.moves, **changes)
        if scored.moves:  # rounded once, at the end
            arguments = [
                each._replace(dtype=kind.dtype) if each.name == "y" else each
                for each in kind.arguments
            ]
            self._block_kind = replace(self._block_kind, arguments=tuple(arguments))

    def spans(self) -> Any:
        """Yield the first and last row of each chunk that the one before has not."""
        for first in range(0, self._count, self._rows):
            yield first, min(first + self._rows, self._count)

    def look(self) -> tuple[Any, ...]:
        """Look at all columns, where these have a loss besides; return what is known of them."""
        scored = self._scored
        if not scored.both_ways:
            return ()
        job, (count, classes) = scored.job, scored.shape
        whole = scored.columns or Columns(job, count)
        self._columns = columns = Parts(whole.job, whole.rows, classes, self._scores)
        if whole.known is not None:
            columns.known = whole.known
            return columns.known
        for first, last in self.spans():
            self._look_at(columns, first, last, whole.first)
        if scored.columns is None and job.kind.value:
            dtype = self._wide if job.kind.reduce else self._value.dtype
            self._add_value(0, classes, columns.value(dtype))
        return columns.known

    def _look_at(self, columns: Parts, first: int, last: int, start: int) -> None:
        """Look at the columns' part in the rows of a chunk."""
        chunk = self._chunk(first, last)
        z = self._scores_of(chunk, slice(None))
        columns.look(z.T, start + first)
        if not self._scored.by:
            self._of_rows(chunk, z)

    def add(self, first: int, last: int) -> None:
        """Add the rows of a chunk."""
        scored = self._scored
        if scored.both_ways and not scored.by:
            return  # has been looked at
        chunk = self._chunk(first, last)
        if scored.part < scored.classes:
            self._in_parts(chunk)
        else:
            whole = slice(None)
            known = scored.both_ways and scored.columns is None and self._rows == self._count
            z = self._scores[: last - first, :] if known else self._scores_of(chunk, whole)
            self._of_rows(chunk, z)
            self._pull(chunk, z, whole)
        self._finish(chunk)

    def _chunk(self, first: int, last: int) -> "_Chunk":
        scored, xp, dtype = self._scored, self._xp, self._scored.dtype
        # as many rows as in every chunk: a product's last bits depend on how many there are
        begin = max(0, last - self._rows)
        wide = astype(xp, self._cut(scored.h, begin, last), dtype)
        scale = None if scored.scale is None else astype(xp, scored.scale, dtype)
        part = wide if scale is None else wide * scale
        weight = None if scored.job.weight is None else self._cut(scored.job.weight, first, last)
        keep = None
        if self._taken is None and not scored.both_ways:
            keep = _kept(xp, scored.job.kind, weight)
        new, pulled = first - begin, None
        if {"h", "scale"} & {*scored.by}:
            pulled = xp.empty((last - first, part.shape[1]), dtype=dtype, **beside(part))
        wide = _selected(xp, keep, wide[new:, :]) if "scale" in scored.by else None
        own = _selected(xp, keep, part[new:, :]) if "w" in scored.by else None
        return _Chunk(first, last, new, part, scale, weight, wide, own, pulled)

    def _scores_of(self, chunk: "_Chunk", classes: slice) -> Any:
        """Return the scores of a chunk for some classes."""
        scored, xp, dtype = self._scored, self._xp, self._scored.dtype
        z = self._scores[: chunk.part.shape[0], :]
        if scored.w is None:
            z[...] = chunk.part
        else:
            w = scored.transposed(scored.w)[classes, :]
            z = z[:, : w.shape[0]]
            for some in self._pieces(w.shape[0]):
                multiply(xp, chunk.part, astype(xp, w[some, :], dtype).T, z[:, some], False)
        z = z[chunk.new :, :]
        if scored.bias is not None:
            bias = astype(xp, scored.bias, dtype)
            z += bias[classes] if bias.shape else bias
        if scored.pairs:
            first, last = chunk.first, chunk.last
            pairs = {
                name: self._cut(each, first, last) if name in OF_ROWS else each
                for name, each in scored.pairs.items()
            }
            y = None if scored.marks else self._cut(scored.job.arrays["y"], first, last)
            self._target = None  # that of the chunk before goes first
            z[...], self._target = scores_and_target(xp, pairs, scored.marks, z, y)
        return z

    def _arrays(self, first: int, last: int) -> dict[str, Any]:
        """Return the arrays of a job that has some of the rows."""
        job = self._scored.job
        marked = {"x", "y"} if self._scored.marks else {"x"}
        arrays = {
            name: self._cut(job.arrays[name], first, last) if role.per_item else job.arrays[name]
            for name, _, role in job.kind.arguments
            if name not in marked
        }
        if self._scored.marks:
            arrays["y"] = self._target
        elif self._scored.moves:
            arrays["y"] = astype(self._xp, arrays["y"], job.kind.dtype)
        return arrays

    def _of_rows(self, chunk: "_Chunk", z: Any) -> None:
        """Add the losses of a chunk's rows, and write their gradients in place of the scores."""
        job, by, (first, last) = self._scored.job, self._scored.by, chunk[:2]
        out: tuple[Any, ...] = ()
        if by:
            place = {"x": z}
            if "y" in by:
                place["y"] = self._place("y", first, last)
            out = tuple([place[name] for name in job.kind.grads])
        arrays = {"x": z, **self._arrays(first, last)}
        block = Job(
            self._block_kind, self._xp, arrays, chunk.weight, job.divisor, job.numbers, out,
            job.ignored,
        )  # fmt: skip
        if by and self._columns is not None:
            block = with_columns(block, self._columns)
        self._add_value(first, last, answer_of(block).value)
        if "y" in by:
            self._put(self._found["y"], first, last, out[job.kind.grads.index("y")])

    def _add_value(self, first: int, last: int, value: Any) -> None:
        if value is None:
            return
        if self._scored.job.kind.reduce:
            self._value = self._value + value
        elif self._columns is not None:
            self._value[first:last, ...] += value
        else:
            self._put(self._value, first, last, value)

    def _in_parts(self, chunk: "_Chunk") -> None:
        """Add the rows of a chunk, some classes at a time."""
        scored, (first, last) = self._scored, chunk[:2]
        job = replaced(scored.job, arrays=self._arrays(first, last), weight=chunk.weight)
        parts = Parts(job, scored.classes, last - first, self._scores)
        ends = range(0, scored.classes, scored.part)
        some = [slice(at, min(at + scored.part, scored.classes)) for at in ends]
        for classes in some:
            parts.look(self._scores_of(chunk, classes), classes.start)
        if job.kind.value:
            value = parts.value(self._wide if job.kind.reduce else self._value.dtype)
            self._add_value(first, last, value)
        if scored.by:
            for classes in some:
                z = self._scores_of(chunk, classes)
                parts.grad(z, classes.start, z)
                self._pull(chunk, z, classes)

    def _pull(self, chunk: "_Chunk", z: Any, classes: slice) -> None:
        """Add what a gradient by the scores of some classes makes of the derivatives."""
        scored, xp, by, dtype = self._scored, self._xp, self._scored.by, self._scored.dtype
        if scored.w is None:
            if chunk.pulled is not None:
                chunk.pulled[...] = z
        elif chunk.pulled is not None:
            w = scored.transposed(scored.w)[classes, :]
            for some in self._pieces(w.shape[0]):
                adds = bool(classes.start or some.start)
                multiply(xp, z[:, some], astype(xp, w[some, :], dtype), chunk.pulled, adds)
        if "w" in by:
            total = scored.transposed(self._found["w"])[classes, :]
            multiply(xp, z.T, chunk.own, total, chunk.first > 0)
        if "bias" in by:
            bias = self._found["bias"]
            if bias.shape:
                bias[classes] += xp.sum(z, axis=0, dtype=self._wide)
            else:
                self._found["bias"] = bias + xp.sum(z, dtype=self._wide)

    def _finish(self, chunk: "_Chunk") -> None:
        """Add what all classes of a chunk make of the derivatives by its features."""
        xp, by, pulled = self._xp, self._scored.by, chunk.pulled
        if "scale" in by:
            moved = _moved(xp, pulled, chunk.wide)
            self._found["scale"] += xp.sum(moved, dtype=self._wide)
        if "h" in by:
            if chunk.scale is not None:
                pulled *= chunk.scale
            into = self._found["h"]
            self._put(into, chunk.first, chunk.last, astype(xp, pulled, into.dtype))

    def answer(self) -> Answer:
        """Return the answer to all chunks."""
        scored, xp = self._scored, self._xp
        kind, value = scored.job.kind, self._value
        if scored.moves:
            share = share_of_divisor(scored.job, value)
            self._found["y"] -= astype(xp, share, kind.dtype)
        if value is not None and kind.reduce:
            value = astype(xp, value, kind.value_dtype or kind.dtype)[()]
        if value is not None and scored.both_ways:
            value = 0.5 * value
        grads = [astype(xp, self._found[name], scored.dtype_of(name)) for name in scored.by]
        return Answer(value if kind.value else None, tuple(grads))

    def _pieces(self, classes: int) -> list[slice]:
        """Return parts of so many classes: all, unless w has to be converted first."""
        scored = self._scored
        if scored.w.dtype == scored.dtype:
            return [slice(0, classes)]
        step = max(1, _PIECE // (scored.h.shape[-1] * _size(scored.dtype) or 1))
        ends = range(0, classes, step)
        return [slice(at, min(at + step, classes)) for at in ends]

    def _cut(self, array: Any, first: int, last: int) -> Any:
        """Return what an array of items, or of one for all, has of some rows."""
        if array.shape[0] != self._scored.h.shape[0]:
            return array
        if self._taken is None:
            return array[first:last, ...]
        return self._xp.take(array, self._taken[first:last], axis=0)

    def _place(self, name: str, first: int, last: int) -> Any:
        """Return the memory of some rows of a result, or of a copy of them."""
        whole = self._found[name]
        if self._taken is None:
            return whole[first:last, ...]
        return self._xp.empty((last - first, *whole.shape[1:]), dtype=whole.dtype, **beside(whole))

    def _put(self, whole: Any, first: int, last: int, rows: Any) -> None:
        if self._taken is None:
            whole[first:last, ...] = rows
        else:
            whole[self._taken[first:last]] = rows


def _taken(xp: Namespace, kind: Kind, weight: Any, count: int) -> Any:
    """Return the indices of the rows with weight, where they are known without waiting."""
    if weight is None or not kind.rowwise:
        return None
    find: Any = getattr(registry.backend_of(xp), "indices", None)
    if find is None:
        return None
    return find(xp.broadcast_to(weight != 0, (count,)))


def _kept(xp: Namespace, kind: Kind, weight: Any) -> Any:
    """Return which rows have weight, as a column; None for all."""
    if weight is None:
        return None
    keep = weight != 0
    if kind.rowwise:
        return keep[:, None]
    return xp.any(keep, axis=-1, keepdims=True)


def _selected(xp: Namespace, keep: Any, rows: Any) -> Any:
    """Return rows, 0 where they are left out: what these hold may be NaN."""
    return rows if keep is None else xp.where(keep, rows, xp.zeros_like(rows))


def multiply(xp: Namespace, a: Any, b: Any, into: Any, adds: bool) -> None:
    """Write the product of two matrices into an array, or add it to what is there."""
    own: Any = getattr(registry.backend_of(xp), "multiply", None)
    if own is not None:
        own(a, b, into, adds)
        return
    step = max(1, _PIECE // (into.shape[-1] * _size(into.dtype) or 1))
    for at in range(0, into.shape[0], step):
        some = slice(at, min(at + step, into.shape[0]))
        if adds:
            into[some, :] += xp.matmul(a[some, :], b)
        else:
            into[some, :] = xp.matmul(a[some, :], b)
