"""The text of what goes over the classes of a row in an order: sorts, and running joins.

It stands between two passes of `_source.Tiles`, and takes numbers from scratch memory and puts
others there: LANES rows side by side. What makes a row of another order is a function of `_orders`,
what goes over the pairs of a row in an order one of `_shortfalls`.
Parts of a row are joined as `tinyloss._in_order` joins them, with the same rounding, or one after
the other where nothing is rounded.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from tinyloss.compiler.passes import Pass, Passes, has_memory
from tinyloss.compiler.program import ALONG, VIEWS, Join, Node, in_order
from tinyloss.compiler.ranges import narrowed


class Along:
    """Where the numbers lie that go along a row, and the lines that sort and join them."""

    def __init__(self, staged: Passes, write: Any, scratch_array: Callable[[str], None]) -> None:
        """Take the passes, what writes a line, and what reserves a scratch array of a name."""
        self._staged, self._write = staged, write
        self._memory: dict[int, str] = {}
        """Names of the scratch arrays that hold nodes."""
        self._scans: dict[Any, _Scan] = {}
        self.orders: dict[Any, str] = {}
        """Names of the orders of rows, by the keys that make them."""
        self.pairs: list[Node] = []
        """What comes of the pairs of rows."""
        self._done: set[Any] = set()
        program = staged.program
        along = [node for step in staged.passes for node in step.along]
        users: dict[int, set[Any]] = {}
        for node in program.nodes():
            for arg in node.args:
                users.setdefault(id(arg), set()).add(_scan_of(node))
        outputs = {id(node) for node in program.outputs}

        def alone(arg: Node, node: Node) -> bool:
            """Return whether nothing else reads what a running join takes: it is done in place."""
            memory = arg.op not in ("constant", "input") and id(arg) not in outputs
            return memory and users[id(arg)] == {_scan_of(node)} and node.args.count(arg) == 1

        for node in along:
            name = staged.name(node)
            if node.op == "shortfall":
                self.pairs.append(node)
                for number, arg in enumerate(node.args):
                    if arg.op == "constant" and id(arg) not in self._memory:
                        self._memory[id(arg)] = f"{name}_of{number}"
                        scratch_array(self._memory[id(arg)])
            if node.op != "running":
                self._memory[id(node)] = name
                scratch_array(name)
                self.orders.setdefault(_names_of_keys(node), f"order{len(self.orders)}")
                continue
            key = _scan_of(node)
            if key not in self._scans:
                wanted = [each.constant.place for each in along if _scan_of(each) == key]
                written = _written(node.constant, wanted)
                scan = self._scans[key] = _Scan(name, node.constant, written)
                for number, arg in enumerate(node.args):
                    taken = arg.op != "constant" and number not in scan.written
                    if taken or alone(arg, node):
                        scan.places.append(self.place_of(arg))
                    else:
                        scan.places.append(f"{name}_run{number}")
                        scratch_array(scan.places[-1])
            self._memory[id(node)] = self._scans[key].places[node.constant.place]

    def place_of(self, node: Node) -> str:
        """Return the name of the scratch array that holds a node."""
        if node.op == "input" and has_memory(node):
            return f"{self._staged.name(node)}_packed"
        return self._memory.get(id(node)) or self._staged.name(node)

    def before(self, step: Pass) -> None:
        """Sort and join what a pass reads."""
        write = self._write
        for node in step.along:
            if node.op == "running":
                if _scan_of(node) not in self._done:
                    self._done.add(_scan_of(node))
                    self._join(node)
                continue
            keys = _names_of_keys(node)
            order = self.orders[keys]
            if keys not in self._done:
                self._done.add(keys)
                for number, key in enumerate(reversed(_keys_of(node))):
                    held = f"{self.place_of(key)}_scratch"
                    write(f"sort({order}, {held}, {number}, n, classes, sorting, digits)")
            if node.op == "shortfall":
                if _scan_of(node) not in self._done:
                    self._done.add(_scan_of(node))
                    self._pair(node, order)
                continue
            way = "arrange" if node.op == "sorted_by" else "put_back"
            here, there = self.place_of(node.args[0]), self.place_of(node)
            write(f"{way}({order}, {here}_scratch, {there}_scratch, n, classes)")

    def read(self, node: Node) -> None:
        """Read class j of what was sorted or joined, or is at other places of a row."""
        base, at = node, "j"
        if node.op in VIEWS:
            base = node.args[0]
            moved = f"max(0, min(classes - 1, j + {node.constant}))"
            at = "(classes - 1 - j)" if node.op == "flip" else moved
        place = self.place_of(base)
        load = f"take_{place}({place}_scratch + {at} * ROW)"
        load = f"{load} != real(0.0)" if node.boolean else load
        self._write(f"{self._staged.name(node)} = {load}")

    def _join(self, node: Node) -> None:
        """Write the running joins of rows."""
        write, scan = self._write, self._scans[_scan_of(node)]
        self._fill(scan.places, node.args)
        step = "-ROW" if scan.join.backwards else "ROW"
        for place in dict.fromkeys(scan.places):
            first = f"{place}_scratch"
            first = f"{first} + (classes - 1) * ROW" if scan.join.backwards else first
            write(f"{place}_first = {first}")
            # Of a choice between a number and what was read from where it goes, LLVM makes a store
            # under a mask, which takes AVX2 some 20 cycles. It cannot tell that this is that place:
            # no row has 2^62 classes.
            write(f"{place}_joined = {place}_first + (classes >> 62)")
        outputs = narrowed(scan.join.program).outputs
        results = [(scan.places[number], outputs[number]) for number in sorted(scan.written)]
        lines = in_order([each for _, each in results])
        names = {
            id(each): f"{scan.name}_{each.constant if each.op == 'input' else f'joined_{number}'}"
            for number, each in enumerate(lines)
        }
        spelled = Passes(scan.join.program, [], [], [], {}, names)

        def body(earlier: str) -> None:
            for each in lines:
                if each.op == "input":
                    part, number = each.constant.split("_")
                    place, k = scan.places[int(number)], earlier if part == "one" else "k"
                    load = f"take_{place}({place}_first + {k} * {step})"
                    load = f"{load} != real(0.0)" if each.boolean else load
                    write(f"{names[id(each)]} = {load}")
                elif each.op != "constant":
                    write(f"{names[id(each)]} = {spelled.text(each)}")
            for place, each in results:
                write(f"put_{place}({place}_joined + k * {step}, {spelled.as_real(each)})")

        if scan.join.exact:
            with write.loop("for k in range(1, classes):"):
                body("(k - 1)")
            return
        # those at odd places, of these those at odd places, and so on; then back to those between
        write("steps = 0")
        with write.loop("while (1 << steps) < classes:"):
            write("steps += 1")
        with write.loop("for turn in range(2 * steps):"):
            write("reach = 1 << (turn if turn < steps else 2 * steps - 1 - turn)")
            write("begin_at = (2 if turn < steps else 3) * reach - 1")
            with write.loop("for k in range(begin_at, classes, 2 * reach):"):
                body("(k - reach)")

    def _pair(self, node: Node, order: str) -> None:
        """Write the call that goes over the pairs of rows in an order."""
        places = [self.place_of(each) for each in node.args]
        self._fill(places, node.args)
        together = [each for each in self.pairs if _scan_of(each) == _scan_of(node)]
        wanted = {each.constant: f"{self.place_of(each)}_scratch" for each in together}
        given = [order, *[f"{each}_scratch" for each in places]]
        given += [wanted.get(result, "0") for result in ("cost", "led", "behind")]
        self._write(f"shortfalls({', '.join(given)}, n, classes, pairing)")

    def _fill(self, places: Sequence[str], args: Sequence[Node]) -> None:
        """Copy what goes along a row to where that is done, unless it is there."""
        write, lines = self._write, list[str]()
        for place, arg in zip(places, args, strict=True):
            if arg.op == "constant":
                number = self._staged.as_real(arg)
            elif self.place_of(arg) != place:
                held = self.place_of(arg)
                number = f"take_{held}({held}_scratch + k * ROW)"
            else:
                continue
            lines.append(f"put_{place}({place}_scratch + k * ROW, {number})")
        if lines:
            with write.loop("for k in range(classes):"):
                for line in lines:
                    write(line)


class _Scan:
    """Running joins that are made in one go."""

    def __init__(self, name: str, join: Join, written: Collection[int]) -> None:
        self.name, self.join = name, join
        self.written = written
        """Which of what is joined changes."""
        self.places: list[str] = []
        """Names of the scratch arrays where it is."""


def _scan_of(node: Node) -> Any:
    """Return what nodes have in common that are made in one go; of others, which it is."""
    if node.op == "running":
        return (node.constant.text, node.constant.backwards, *map(id, node.args))
    return (node.op, *map(id, node.args)) if node.op == "shortfall" else id(node)


def _keys_of(node: Node) -> Sequence[Node]:
    """Return what decides the order of rows that a node takes: of pairs, labels, then scores."""
    return node.args[1::-1] if node.op == "shortfall" else node.args[1:]


def _names_of_keys(node: Node) -> Any:
    return tuple(map(id, _keys_of(node)))


def _written(join: Join, wanted: Sequence[int]) -> set[int]:
    """Return which results of joins are needed: those that are wanted, and what these are made of.

    One after the other, what is joined to a part is what it was.
    """
    found, todo = set[int](), [*wanted]
    while todo:
        place = todo.pop()
        if place in found:
            continue
        found.add(place)
        inputs = [each for each in in_order([join.program.outputs[place]]) if each.op == "input"]
        parts = [each.constant.split("_") for each in inputs]
        todo += [int(number) for part, number in parts if part == "one" or not join.exact]
    return found


def seen_elsewhere(nodes: Collection[Node]) -> set[int]:
    """Return the identities of nodes that are read at other places of a row than their own."""
    return {id(arg) for node in nodes if node.op in ALONG for arg in node.args}
