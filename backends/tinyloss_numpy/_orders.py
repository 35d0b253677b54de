"""Sorting the rows of a tile, and bringing numbers into their order and back.

A row is sorted by 32 bits of its numbers at a time, with the places beside them: by counting each
byte, from the lowest up (Knuth, The Art of Computer Programming 3, 5.2.5), or by insertion where it
is short. Equal keys keep their order. -0.0 is 0.0, and NaN comes last.
"""

from functools import cache
from typing import Any

from tinyloss_numpy._llvm import int32
from tinyloss_numpy._memory import accessors
from tinyloss_numpy._source import DIGITS, SIZES
from tinyloss_numpy._translator import subroutine

_SHORT = 48
"""Numbers of a row up to which insertion is faster than counting bytes (measured)."""


@cache
def orders(real: str, lanes: int) -> dict[str, Any]:
    """Return the functions that sort rows of numbers and take others along, `lanes` side by side.

        sort(order, keys, number, n, classes, scratch, digits)    by the last key first
        arrange(order, here, there, n, classes)
        put_back(order, here, there, n, classes)

    All are addresses but `number`, how many keys have decided the order so far, and how many rows
    and classes there are. An order has the place of each class, as int32.
    """
    words, raw = SIZES[real] // 4, f"int{8 * SIZES[real]}"
    load_number, store_number = access(raw, raw)
    load_bits, _ = access(raw, "int64")
    load_place, _ = access("int32", "int64")
    _, store_place = access("int32", "int32")
    infinity = 0x7F800000 if words == 1 else 0x7FF0000000000000
    largest = (1 << (8 * SIZES[real] - 1)) - 1

    @subroutine
    def in_order(bits: Any) -> Any:
        """Return a whole number that is in the order of floats, of the bits of one."""
        size = bits & largest
        if size > infinity:
            return largest
        return size if bits >= 0 else -size

    @subroutine
    def sort(
        order: Any, keys: Any, number: Any, n: Any, classes: Any, scratch: Any, digits: Any
    ) -> None:
        for r in range(n):
            for word in range(words):
                for c in range(classes):
                    place = c
                    if number + word > 0:
                        place = load_place(order, c * lanes + r)
                    key = in_order(load_bits(keys, place * lanes + r))
                    if words == 2:
                        # the lower half, as a number with a sign that is in the same order
                        key = (key & 0xFFFFFFFF) - 0x80000000 if word == 0 else key >> 32
                    _store_item(scratch, c, (key << 32) | place)
                ready = _sorted(scratch, digits, classes)
                for c in range(classes):
                    item = _load_item(ready, c)
                    store_place(order, c * lanes + r, int32(item & 0xFFFFFFFF))

    @subroutine
    def arrange(order: Any, here: Any, there: Any, n: Any, classes: Any) -> None:
        for c in range(classes):
            for r in range(n):
                place = load_place(order, c * lanes + r)
                store_number(there, c * lanes + r, load_number(here, place * lanes + r))

    @subroutine
    def put_back(order: Any, here: Any, there: Any, n: Any, classes: Any) -> None:
        for c in range(classes):
            for r in range(n):
                place = load_place(order, c * lanes + r)
                store_number(there, place * lanes + r, load_number(here, c * lanes + r))

    return {"sort": sort, "arrange": arrange, "put_back": put_back}


def access(memory: str, computed: str) -> tuple[Any, Any]:
    """Return what reads and writes numbers that may lie anywhere."""
    found = accessors({"any": (memory, computed)})
    return found["load_any"], found["store_any"]


_load_item, _store_item = access("int64", "int64")


@subroutine
def _digit(item: Any, number: Any) -> Any:
    """Return a byte of what an item is sorted by, as it counts."""
    byte = (item >> (32 + 8 * number)) & 255
    return byte ^ 128 if number == 3 else byte  # of the highest the sign is turned round


@subroutine
def _sorted(items: Any, counts: Any, n: Any) -> Any:
    """Sort items by their upper 32 bits; return where they are: there, or behind."""
    if n <= _SHORT:
        for k in range(1, n):
            item = _load_item(items, k)
            at = k
            while at > 0 and _load_item(items, at - 1) >> 32 > item >> 32:
                _store_item(items, at, _load_item(items, at - 1))
                at -= 1
            _store_item(items, at, item)
        return items
    other = items + 8 * n
    for each in range(DIGITS):
        _store_item(counts, each, 0)
    for k in range(n):
        item = _load_item(items, k)
        for number in range(4):
            at = 256 * number + _digit(item, number)
            _store_item(counts, at, _load_item(counts, at) + 1)
    for number in range(4):
        first = 256 * number
        if _load_item(counts, first + _digit(_load_item(items, 0), number)) == n:
            continue  # all have the same
        total = 0
        for at in range(first, first + 256):
            count = _load_item(counts, at)
            _store_item(counts, at, total)
            total += count
        for k in range(n):
            item = _load_item(items, k)
            at = first + _digit(item, number)
            place = _load_item(counts, at)
            _store_item(counts, at, place + 1)
            _store_item(other, place, item)
        items, other = other, items
    return items
