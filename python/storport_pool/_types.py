"""What calls answer: statuses, violations, sums. All of it is plain data."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, List, Optional, Tuple, Union

from ._library import PoolError

if TYPE_CHECKING:
    from ._pool import Adapter

Tag = Union[str, bytes, int]


class Status(enum.IntEnum):
    """What StorPortAllocatePool and StorPortFreePool answer: the numbers of STOR_STATUS_SUCCESS and its kind."""

    SUCCESS = 0x0000_0000
    NOT_IMPLEMENTED = 0xC100_0002
    INSUFFICIENT_RESOURCES = 0xC100_0003
    INVALID_PARAMETER = 0xC100_0006
    INVALID_IRQL = 0xC100_0008


class ViolationKind(enum.IntEnum):
    """What a caller did wrong."""

    DOUBLE_FREE = 1
    WILD_FREE = 2
    FOREIGN_FREE = 3
    INTERIOR_FREE = 4
    WRONG_OWNER = 5
    WRONG_TAG = 6
    LEAK = 7
    ZERO_SIZE = 8
    ZERO_TAG = 9
    BIG_TAG = 10
    UNREADABLE_TAG = 11
    FREE_AT_IRQL = 12
    FREE_NOT_IMPLEMENTED = 13
    FENCE_REFUSED = 14
    OVERRUN = 15
    UNDERRUN = 16
    WRITE_AFTER_FREE = 17
    ACCESS_BEYOND = 18
    ACCESS_FREED = 19
    ALLOCATE_AT_IRQL = 20
    OVERWRITTEN = 21
    OTHER = 99

    @classmethod
    def _missing_(cls, value: object) -> "ViolationKind":
        # A newer library may know more.
        return cls.OTHER


def tag_number(tag: Tag) -> int:
    """The ULONG of a tag. A text is written forwards, as PoolMon shows it: "Ahci" is C's 'ichA'."""
    if isinstance(tag, int):
        if 0 <= tag < 1 << 32:
            return tag
        raise ValueError(f"a tag has 32 bits: {tag:#x}")
    text = tag.encode("latin-1") if isinstance(tag, str) else tag
    if not 1 <= len(text) <= 4 or not all(0x20 <= byte <= 0x7E for byte in text):
        raise ValueError(f"a tag has one to four characters between 0x20 and 0x7E: {tag!r}")
    return int.from_bytes(text, "little")


def tag_text(tag: int) -> str:
    """A tag as PoolMon shows it: four columns, zeros as spaces, what cannot be printed as dots."""
    shown = (chr(byte) if 0x20 <= byte <= 0x7E else " " if byte == 0 else "." for byte in tag.to_bytes(4, "little"))
    return "".join(shown)


@dataclasses.dataclass(frozen=True)
class Violation:
    """One misuse. The pool's state is intact when it is told."""

    kind: ViolationKind
    #: The IRQL at which the call was made.
    irql: int
    #: Of the block (its last one, when it is free now) or of the refused allocation; 0: none.
    tag: int
    #: What was passed to free, where that takes a tag; else 0.
    given_tag: int
    #: What was passed to free; else 0.
    address: int
    #: Bytes that were asked for: of the block, of the refused allocation, or of all blocks left behind.
    bytes: int
    #: How many blocks were left behind; else 0.
    blocks: int
    #: Who owns the block, or owned it last; None: not known.
    owner: "Optional[Adapter]"
    #: In whose name the call was made.
    caller: "Optional[Adapter]"
    #: The Windows bug check that this stands for (0: none), and its four parameters.
    bug_check: int
    parameters: Tuple[int, int, int, int]
    #: A few words: what was done.
    description: str
    #: All of it for a person, with the names of the adapters.
    text: str

    def __str__(self) -> str:
        return f"{self.text}: {bug_check_text(self.bug_check, self.parameters)}" if self.bug_check else self.text


def bug_check_text(code: int, parameters: Tuple[int, ...]) -> str:
    """As a debugger shows it."""
    return f"bug check {code:#x} ({', '.join(format(parameter, '#x') for parameter in parameters)})"


class BugCheck(PoolError):
    """What Windows would have stopped with. Raised by the call that did it, of a pool with `raise_violations`; the
    pool's state is intact. What the call answered, or did, is in no result then."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(str(violation))
        self.violation = violation
        self.code = violation.bug_check
        self.parameters = violation.parameters


@dataclasses.dataclass(frozen=True)
class Block:
    """A block, as `Pool.block_at` found it."""

    #: Where it begins.
    address: int
    #: Bytes that were asked for.
    bytes: int
    #: Bytes that it has; nobody asked for those from `bytes` on.
    capacity: int
    #: Whether it is allocated. Else the rest tells of its last owner.
    live: bool
    #: Who allocated it; None where a removed adapter left it.
    owner: "Optional[Adapter]"
    #: Its tag; 0: not known.
    tag: int


@dataclasses.dataclass(frozen=True)
class Leak:
    """The blocks of one tag that a removed adapter left."""

    tag: int
    blocks: int
    #: Bytes that were asked for.
    bytes: int

    @property
    def text(self) -> str:
        """The tag, as PoolMon shows it."""
        return tag_text(self.tag)


@dataclasses.dataclass(frozen=True)
class Trimmed:
    """What a trim did."""

    #: Empty slabs that returned to the common stock.
    slabs: int
    #: Bytes given back to the operating system; none of a range of the host's.
    bytes: int


@dataclasses.dataclass(frozen=True)
class Usage:
    """A pool's sums, over all tags."""

    #: Blocks that were allocated, and freed, ever; and that are allocated now.
    allocs: int
    frees: int
    live: int
    #: Bytes that were asked for, for the live blocks; and what they take of the range.
    bytes: int
    bytes_occupied: int
    #: Bytes of the spans that nobody uses: of 4 KiB each in pools below 8 MiB, of 64 KiB in larger ones.
    free_bytes: int
    #: Where the range begins, and its bytes.
    range: int
    range_bytes: int
    #: Slabs that changed their use while they were looked at; their blocks are not counted.
    changing: int
    #: Allocations that failed because memory was in another call's hand.
    contended: int
    #: Violations found.
    violations: int
    #: Whether the pool commits by restartable sequences.
    uses_rseq: bool
    #: Whether the system ever refused a fence: then what removals reported since may be inexact.
    fence_refused: bool


@dataclasses.dataclass(frozen=True)
class TagRow:
    """The sums of a tag, or of one adapter's tag."""

    tag: int
    #: As PoolMon shows it.
    text: str
    #: None in rows of tags, and for what no adapter of ours owns.
    adapter: "Optional[Adapter]"
    #: Blocks that were allocated, and freed, ever; and that are allocated now.
    allocs: int
    frees: int
    live: int
    #: Bytes that were asked for, for the live blocks; and what they take of the range.
    bytes: int
    bytes_occupied: int


@dataclasses.dataclass(frozen=True)
class ClassRow:
    """What the pool has of one size of blocks."""

    block_bytes: int
    slabs: int
    live: int
    #: Free blocks, in slabs and in caches; and of those, the ones in CPUs' caches.
    free: int
    cached: int


@dataclasses.dataclass(frozen=True)
class CpuRow:
    """What one CPU's cache holds: free blocks, and their bytes."""

    cpu: int
    blocks: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A picture of a pool: exact when nothing is in flight."""

    tags: List[TagRow]
    accounts: List[TagRow]
    classes: List[ClassRow]
    cpus: List[CpuRow]

    def table(self) -> str:
        """The tags, in PoolMon's columns. Bytes are those that were asked for."""
        lines = [" Tag  Type     Allocs            Frees      Diff     Bytes    Per Alloc"]
        for row in self.tags:
            each = row.bytes // row.live if row.live else 0
            lines.append(
                f" {row.text} Nonp {row.allocs:>10} {row.frees:>16} {row.live:>9} {row.bytes:>9} {each:>12}"
            )
        return "\n".join(lines) + "\n"
