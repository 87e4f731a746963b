"""The Storport memory pool: StorPortAllocatePool and StorPortFreePool outside Windows.

    from storport_pool import Pool

    with Pool(range=(0xFFFF_A000_0000_0000, 16 << 20), on_violation=print) as pool:  # a guest's addresses
        disk = pool.adapter("disk0")
        status, address = pool.allocate(disk, 208, "VioS")
        print(pool.free(disk, address), pool.free(disk, address))  # the second one is a double free
        print(pool.snapshot().table())
"""

from ._library import Library, LibraryNotFound, NotSupported, PoolError, load
from ._pool import Adapter, Image, Pool, PoolClosed, irql
from ._types import (
    Block,
    BugCheck,
    ClassRow,
    CpuRow,
    Leak,
    Snapshot,
    Status,
    TagRow,
    Trimmed,
    Usage,
    Violation,
    ViolationKind,
    bug_check_text,
    tag_number,
    tag_text,
)

__all__ = [
    "Adapter",
    "Block",
    "BugCheck",
    "ClassRow",
    "CpuRow",
    "Image",
    "Leak",
    "Library",
    "LibraryNotFound",
    "NotSupported",
    "Pool",
    "PoolClosed",
    "PoolError",
    "Snapshot",
    "Status",
    "TagRow",
    "Trimmed",
    "Usage",
    "Violation",
    "ViolationKind",
    "bug_check_text",
    "irql",
    "load",
    "tag_number",
    "tag_text",
]
