"""Reads the text of a compiled program: its products of matrices, what its devices exchange, the bytes it moves.

All counts are those of one device. A loop with a known number of steps counts as often as it runs; one that runs until
something is true, such as the iterations of the solver, counts once: `iteration` is that part alone.

What is counted is what the compiler wrote down. `flop` are those of products; `bytes` are the operands and results that
lie in the device's main memory, of every operation outside a fusion. The latter is an upper bound: a fusion that reads
a part of an operand counts as if it read all of it.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) (?:\(.*)?\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r" ([a-z][a-z0-9\-]*)\(")
_ARRAY = re.compile(r"([a-z]+[0-9]*(?:e[0-9]m[0-9]\w*)?)\[([0-9,]*)\](\{[^}]*\})?")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"(calls|body|condition|to_apply|true_computation|false_computation)=%([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_PRECISION = re.compile(r"operand_precision=\{([\w,]+)\}")
_ALGORITHM = re.compile(r"algorithm=dot_(\w+)")
_LISTED_GROUP = re.compile(r"replica_groups=\{\{([\d,]+)\}")
_NAMED_GROUP = re.compile(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(\S*\))? \{([^}]*)\}")
_COUNTED_GROUPS = re.compile(r"replica_groups=\[\d+,(\d+)\]<=")
_BITS = re.compile(r"[0-9]+")
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call", "after-all"}
_COLLECTIVES = {"all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"}


@dataclass(frozen=True)
class Shape:
    """One array of an operation."""

    kind: str
    """Element type, such as `f32`."""
    sides: tuple[int, ...]
    fast: bool
    """Whether it lies in the memory on the chip, and moves no byte of the main one."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.sides)

    @property
    def bytes(self) -> float:
        """Bytes it takes; a Boolean takes one."""
        bits = _BITS.search(self.kind)
        return self.size * (1.0 if bits is None else int(bits.group()) / 8)


@dataclass(frozen=True)
class Instruction:
    """One operation."""

    name: str
    opcode: str
    shapes: tuple[Shape, ...]
    """Of its results."""
    operands: tuple[str, ...]
    text: str
    root: bool
    """Whether its result is that of its computation."""


@dataclass(frozen=True)
class Product:
    """One product of matrices."""

    kinds: tuple[str, ...]
    """Element types of its factors."""
    precision: str
    """`highest` or `default`, of both factors; or the algorithm by which it is made, such as `bf16_bf16_f32_x6`."""
    flop: float
    """Operations a device: two for each product of numbers."""
    times: float
    """How often it runs."""
    origin: str
    """Where in the traced program it comes from."""


@dataclass(frozen=True)
class Collective:
    """One exchange between devices."""

    opcode: str
    bytes: float
    """Bytes of its results on one device."""
    times: float
    devices: int
    """Devices that exchange with each other."""

    @property
    def sent_bytes(self) -> float:
        """Bytes that a device sends on a ring: a sum goes around twice, first to be added up and then to be spread."""
        others = self.devices - 1
        if self.opcode == "reduce-scatter":
            return others * self.bytes
        if self.opcode == "collective-permute":
            return self.bytes
        return (2 if self.opcode == "all-reduce" else 1) * others / self.devices * self.bytes


@dataclass(frozen=True)
class Operation:
    """What a device runs at a time: a fusion, or an operation outside one."""

    opcode: str
    text: str
    products: list[Product]
    """Those that it makes."""
    bytes: float
    """That it reads and writes in the main memory."""
    times: float


@dataclass(frozen=True)
class CompiledText:
    """The text of a compiled program, taken apart."""

    text: str
    computations: dict[str, list[Instruction]] = field(default_factory=dict)

    @staticmethod
    def of(text: str) -> "CompiledText":
        """Takes a text apart."""
        program, here = CompiledText(text), None
        for line in text.splitlines():
            begins = _COMPUTATION.match(line)
            if begins:
                here = program.computations.setdefault("" if begins[1] else begins[2], [])
            elif here is not None and (instruction := _read(line)):
                here.append(instruction)
        return program

    def iteration(self) -> "CompiledText":
        """Returns one round of the loop that runs until something is true; all around it is done once for many."""
        [loop] = [one for one in self.computations[""] if one.opcode == "while"]
        called = dict(_CALLED.findall(loop.text))
        around = [*self.computations[called["condition"]], *self.computations[called["body"]]]
        return replace(self, computations={**self.computations, "": around})

    @property
    def donated(self) -> int:
        """Number of results that take over the memory of an argument."""
        head = self.text.split("\n", 1)[0]
        return len(re.findall(r"(?:may|must)-alias", head))

    @cached_property
    def products(self) -> list[Product]:
        """All products of matrices."""
        return [
            self._product(instruction, times)
            for instruction, times, _ in self._walk("", 1.0)
            if instruction.opcode in ("dot", "convolution")
        ]

    @cached_property
    def collectives(self) -> list[Collective]:
        """All exchanges between devices."""
        return [
            self._exchange(instruction, times)
            for instruction, times, _ in self._walk("", 1.0)
            if instruction.opcode.removesuffix("-done") in _COLLECTIVES
        ]

    @property
    def flop(self) -> float:
        """Operations of products on one device."""
        return sum(product.flop * product.times for product in self.products)

    @property
    def collective_bytes(self) -> float:
        """Bytes that one device has after its exchanges."""
        return sum(collective.bytes * collective.times for collective in self.collectives)

    @property
    def sent_bytes(self) -> float:
        """Bytes that one device sends to its neighbour, where all devices stand on a ring."""
        return sum(collective.sent_bytes * collective.times for collective in self.collectives)

    @cached_property
    def bytes(self) -> float:
        """Bytes between a device and its main memory."""
        return sum(one.bytes * one.times for one in self.operations)

    @cached_property
    def operations(self) -> list[Operation]:
        """All operations, none of which is a part of another."""
        found: list[Operation] = []
        for instruction, times, fused in self._walk("", 1.0):
            if not fused and instruction.opcode not in _FREE and not instruction.opcode.endswith("-start"):
                moved = _moved(instruction, self._by_name)
                found.append(Operation(instruction.opcode, instruction.text, [], moved, times))
            if instruction.opcode in ("dot", "convolution"):
                found[-1].products.append(self._product(instruction, 1.0))
        return found

    def subtracts_from_itself(self) -> list[str]:
        """The operations whose result is zero whatever their operand is: what is left of a rounding that was removed.

        A compiler that keeps the digits of a cast writes `x - x` for the rest of it.
        """
        every = (instruction for listed in self.computations.values() for instruction in listed)
        return [
            one.name
            for one in every
            if one.opcode == "subtract" and len(one.operands) == 2 and len(set(one.operands)) == 1
        ]

    def _walk(
        self, computation: str, times: float, *, fused: bool = False
    ) -> Iterator[tuple[Instruction, float, bool]]:
        """Yields every operation, how often it runs, and whether it is part of a fusion."""
        for instruction in self.computations.get(computation, []):
            yield instruction, times, fused
            if instruction.opcode in ("all-reduce", "reduce", "reduce-window", "scatter", "sort", "select-and-scatter"):
                continue  # what they apply is arithmetic of two numbers
            called = dict(_CALLED.findall(instruction.text))
            steps = self._steps(instruction, called.pop("condition", ""))
            inside = fused or instruction.opcode == "fusion"
            names = [
                *called.values(),
                *(name for part in _BRANCHES.findall(instruction.text) for name in _NAME.findall(part)),
            ]
            for name in names:
                yield from self._walk(name, times * steps, fused=inside)

    def _steps(self, instruction: Instruction, condition: str) -> float:
        """How often a loop runs; 1 where that depends on its numbers, and for everything that is no loop."""
        if instruction.opcode != "while":
            return 1.0
        known = re.search(r'"known_trip_count":\{"n":"(\d+)"', instruction.text)
        if known:
            return float(known[1])
        listed = {one.name: one for one in self.computations[condition]}
        root = next(one for one in listed.values() if one.root)
        if root.opcode != "compare" or "direction=LT" not in root.text:
            return 1.0
        limit = listed.get(root.operands[1])
        constant = re.search(r"s32\[\]\S* constant\((\d+)\)", limit.text) if limit else None
        return float(constant[1]) if constant else 1.0

    def _exchange(self, instruction: Instruction, times: float) -> Collective:
        scatter = self._scatters.get(instruction.name)
        opcode = "reduce-scatter" if scatter else instruction.opcode.removesuffix("-done")
        size = sum(shape.bytes for shape in (scatter or instruction).shapes)
        return Collective(opcode, size, times, self._group(instruction))

    @cached_property
    def _scatters(self) -> dict[str, Instruction]:
        """The fusions that are a TPU's reduce-scatter, by the name of the sum that is written inside each of them."""
        fusions = [
            (one, dict(_CALLED.findall(one.text))["calls"]) for one in self._by_name.values() if one.opcode == "fusion"
        ]
        return {
            inner.name: fusion
            for fusion, called in fusions
            if called.startswith("all-reduce-scatter")
            for inner in self.computations[called]
            if inner.opcode == "all-reduce"
        }

    def _group(self, instruction: Instruction) -> int:
        """Number of devices of an exchange; of all where it names none."""
        texts = [instruction.text, *(self._by_name[name].text for name in instruction.operands[:1])]
        for text in texts:
            if listed := _LISTED_GROUP.search(text):
                return listed[1].count(",") + 1
            if named := _NAMED_GROUP.search(text):
                sides = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
                return math.prod(int(sides[axis]) for axis in re.findall(r"'(\w+)'", named[2]))
            if counted := _COUNTED_GROUPS.search(text):
                return int(counted[1])
        everywhere = re.search(r"num_partitions=(\d+)", self.text.split("\n", 1)[0])
        return int(everywhere[1]) if everywhere else 1

    @cached_property
    def _by_name(self) -> dict[str, Instruction]:
        return {one.name: one for listed in self.computations.values() for one in listed}

    def _product(self, instruction: Instruction, times: float) -> Product:
        factors = [self._by_name[name].shapes[0] for name in instruction.operands[:2]]
        precision, algorithm = _PRECISION.search(instruction.text), _ALGORITHM.search(instruction.text)
        names = set(precision[1].split(",")) if precision else {"default"}
        origin = re.search(r'op_name="([^"]*)"', instruction.text)
        return Product(
            kinds=tuple(factor.kind for factor in factors),
            precision=algorithm[1] if algorithm else "highest" if names == {"highest"} else "default",
            flop=2.0 * instruction.shapes[0].size * _summed(instruction, factors),
            times=times,
            origin=origin[1] if origin else "",
        )


def _read(line: str) -> Instruction | None:
    found = _INSTRUCTION.match(line)
    opcode = _OPCODE.search(found[3]) if found else None
    if found is None or opcode is None:
        return None
    before, rest = found[3][: opcode.start()], found[3][opcode.end() :]
    depth, end = 1, 0
    while depth and end < len(rest):
        depth += {"(": 1, ")": -1}.get(rest[end], 0)
        end += 1
    shapes = tuple(
        Shape(kind, tuple(int(side) for side in sides.split(",") if side), "S(1)" in layout)
        for kind, sides, layout in _ARRAY.findall(before)
    )
    return Instruction(found[2], opcode[1], shapes, tuple(_NAME.findall(rest[:end])), found[3], root=bool(found[1]))


def _summed(instruction: Instruction, factors: list[Shape]) -> float:
    """The number of products of numbers that are summed for one number of the result."""
    text = instruction.text
    if instruction.opcode == "dot":
        axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", text)
        return math.prod(factors[0].sides[int(axis)] for axis in axes[1].split(",")) if axes else 1
    labels = re.search(r"dim_labels=(\w+)_(\w+)->", text)
    assert labels is not None
    channels = factors[1].sides[labels[2].index("i")]
    window = re.search(r"window=\{size=([\dx]+)([^}]*)\}", text)
    # A batch is written as a window over dilated rows, of which one meets a number and the others zeros.
    if window is None or "dilate" in window[2]:
        return channels
    sizes = [int(size) for size in window[1].split("x")]
    told = re.search(r"pad=([\d_x]+)", window[2])
    pads = [[int(side) for side in pad.split("_")] for pad in told[1].split("x")] if told else [[0, 0]] * len(sizes)
    lengths = [factors[0].sides[labels[1].index(str(axis))] for axis in range(len(sizes))]
    return channels * math.prod(map(_met, lengths, sizes, pads))


def _met(length: int, size: int, pad: list[int]) -> float:
    """The number of places of a window that meet a number and not the padding beside it, mean over its positions."""
    positions = length + sum(pad) - size + 1
    met = sum(0 <= place + at - pad[0] < length for place in range(positions) for at in range(size))
    return met / positions


def _moved(instruction: Instruction, of_name: dict[str, Instruction]) -> float:
    """Bytes of the main memory that an operation reads and writes."""
    written = sum(shape.bytes for shape in instruction.shapes if not shape.fast)
    if instruction.opcode.endswith("-done"):
        return sum(shape.bytes for shape in instruction.shapes)  # begun before, from one memory to the other
    if instruction.opcode in ("slice", "dynamic-slice", "gather", "broadcast", "iota"):
        return 2 * written
    read = [shape.bytes for name in instruction.operands for shape in of_name[name].shapes if not shape.fast]
    return written + sum(read)
