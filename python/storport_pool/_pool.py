"""A pool, its adapters, and images of it."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import threading
import weakref
from ctypes import byref
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Union

from . import _library
from ._library import Library, NotSupported, PoolError
from ._types import (
    Block,
    BugCheck,
    ClassRow,
    CpuRow,
    Leak,
    Snapshot,
    Status,
    Tag,
    TagRow,
    Trimmed,
    Usage,
    Violation,
    ViolationKind,
    tag_number,
)

_STATUSES = {int(status): status for status in Status}
_NO_ADAPTER = ctypes.c_size_t(-1).value
_HIGH = 15
_PAGE = 4096


class PoolClosed(PoolError):
    """The pool, or the image, has been closed."""


def _ulong(name: str, value: int) -> int:
    if not 0 <= value < 1 << 32:
        raise ValueError(f"{name} has 32 bits: {value}")
    return value


def _size(name: str, value: int) -> int:
    if not 0 <= value < 1 << 64:
        raise ValueError(f"{name} has 64 bits: {value}")
    return value


def _pointer(value: int) -> int:
    if not 0 <= value < 1 << 64:
        raise ValueError(f"an address has 64 bits: {value}")
    return value


class Adapter:
    """An adapter of a pool, made by `Pool.adapter`. It stands for a HwDeviceExtension. An emulator keeps a dict: from the
    guest's address of that extension to this."""

    __slots__ = ("pool", "name", "extension", "__weakref__")

    def __init__(self, pool: "Pool", name: str, extension: int) -> None:
        #: A weak reference, so that an adapter keeps no pool.
        self.pool = weakref.ref(pool)
        self.name = name
        #: The address of the extension in this process; `extension_bytes` from there on are zeroed memory.
        self.extension = extension

    def __repr__(self) -> str:
        return f"<Adapter {self.name!r}>"


class _Memory:
    """Zeroed memory that begins on a page, resident when touched."""

    def __init__(self, size: int) -> None:
        self._map = mmap.mmap(-1, size)
        self._view = ctypes.c_char.from_buffer(self._map)
        self.address, self.size = ctypes.addressof(self._view), size
        assert self.address % _PAGE == 0

    def close(self) -> None:
        del self._view
        self._map.close()


class _Held:
    """What lives as long as the library's pool, and ends it: also when Python collects the `Pool`. It does not know the
    `Pool`."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.pool = 0
        self.memory: Optional[_Memory] = None
        self.callbacks: List[object] = []
        #: Callbacks that are running: calls that are inside the library.
        self.inside = 0

    def end(self, silently: bool) -> None:
        pool, self.pool = self.pool, 0
        if pool:
            if silently:
                self.library.sp_on_violation(pool, None, None)
            self.library.sp_pool_destroy(pool)
        if self.memory:
            self.memory.close()
            self.memory = None
        self.callbacks.clear()

    def collect(self) -> None:
        # At the interpreter's end a callback may still run in another thread: then the system takes all of it.
        if self.inside == 0:
            self.end(silently=True)


class Pool:
    """A Storport pool of `bytes` bytes of address space (64 KiB to 64 GiB, resident when touched).

    `Pool(range=(base, bytes))` hands out the addresses from `base` on, a multiple of 65536, and never touches them: they
    may be a guest's. What the pool knows of them lies in memory of this process, which the module owns.

    cpus             CPUs with a cache of their own, 1 to 512; None: this machine's, or 1 with `irql` or `cpu`
    accounts         pairs of adapter and tag that are told apart, a power of two, 16 to 32768
    adapters         adapters that may live at once, 1 to 1022
    min_block        bytes of the smallest block, a power of two, 16 to 4096. Larger: less memory for the pool itself
    magazines        magazines of free blocks, 1024 bytes each; None: enough for a pool that is all free
    strict_tags      refuse tags that Windows 1903 and later refuse
    resident         make the memory resident at once
    portable         commit by two atomic operations, not by restartable sequences
    irql, cpu        the host's functions: the caller's IRQL (0 to 15) and CPU. Called with no argument at each call;
                     one alone is enough: 0 stands for the other. None: the IRQL is the thread's, see `irql()`
    on_violation     called with each `Violation`, before the call that did it returns. It may call the pool, but not
                     close it
    raise_violations raise the first violation of a call as `BugCheck`, when the call is over
    library          path of the shared library, see `load`

    What a callback raises, the call raises when it is over; a failed `irql` counts as 15, so nothing is done then.

    A pool is ended by `close()`, at the end of `with`, or when it is collected; what it had is given back then. `close()`
    tells of the blocks left, collection does not. Afterwards every call raises `PoolClosed`.

    Raises `PoolError` if the pool cannot be made, with the reason.
    """

    def __init__(
        self,
        bytes: Optional[int] = None,
        *,
        range: Optional[Tuple[int, int]] = None,
        cpus: Optional[int] = None,
        accounts: Optional[int] = None,
        adapters: Optional[int] = None,
        min_block: Optional[int] = None,
        magazines: Optional[int] = None,
        strict_tags: bool = False,
        resident: bool = False,
        portable: bool = False,
        irql: Optional[Callable[[], int]] = None,
        cpu: Optional[Callable[[], int]] = None,
        on_violation: Optional[Callable[[Violation], object]] = None,
        raise_violations: bool = False,
        library: Union[None, str, "os.PathLike[str]", Library] = None,
    ) -> None:
        if (bytes is None) == (range is None):
            raise TypeError("a pool has either bytes or a range")
        self._lib = _library.load(library)
        self._held = _Held(self._lib)
        #: What callbacks of the calls under way raised, by thread.
        self._raised = threading.local()
        self._some_raised = False
        self._adapters: Dict[int, Adapter] = {}
        #: Called with each `Violation`; may be changed at any time.
        self.on_violation = on_violation
        #: Whether a violation is raised as `BugCheck`; may be changed at any time.
        self.raise_violations = raise_violations

        options = _library.Options(size=ctypes.sizeof(_library.Options))
        base, options_bytes = (0, bytes) if range is None else range
        options.range = _pointer(base)
        options.range_bytes = _size("the range's bytes", options_bytes)
        numbers = {"cpus": cpus, "accounts": accounts, "adapters": adapters}
        numbers.update(min_block=min_block, magazines=magazines)
        for name, number in numbers.items():
            if number is not None:
                if number <= 0:
                    raise ValueError(f"{name} is {number}")
                setattr(options, name, _ulong(name, number))
        options.strict_tags, options.resident, options.portable = strict_tags, resident, portable
        if irql or cpu:
            self._add_host(options, irql, cpu)
        if range is not None:
            if base == 0:
                raise ValueError("a range begins above 0")
            needed = self._lib.sp_metadata_bytes(byref(options))
            if not needed:
                raise self._lib.error()
            self._held.memory = _Memory(needed)
            options.metadata, options.metadata_bytes = self._held.memory.address, needed
        self._held.pool = self._lib.sp_pool_create_with(byref(options))
        if not self._held.pool:
            error = self._lib.error()
            self._held.end(silently=True)
            raise error
        self._finalizer = weakref.finalize(self, self._held.collect)
        self._hear()

    # What the library calls. Each knows the pool weakly, so that pools are collected at once.

    def _add_host(
        self,
        options: _library.Options,
        irql: Optional[Callable[[], int]],
        cpu: Optional[Callable[[], int]],
    ) -> None:
        me = weakref.ref(self)

        def guarded(function: Optional[Callable[[], int]], most: int, failed: int) -> Callable[[object], int]:
            def call(_context: object) -> int:
                pool = me()
                if function is None or pool is None:
                    return 0
                pool._held.inside += 1
                try:
                    value = int(function())
                    if not 0 <= value <= most:
                        raise ValueError(f"a callback said {value}, which is not 0 to {most}")
                    return value
                except BaseException as error:  # raised by the call that asked
                    pool._keep(error)
                    return failed
                finally:
                    pool._held.inside -= 1

            return call

        irql_callback = _library.IrqlCallback(guarded(irql, _HIGH, _HIGH))
        cpu_callback = _library.CpuCallback(guarded(cpu, (1 << 32) - 1, 0))
        options.irql = ctypes.cast(irql_callback, ctypes.c_void_p)
        options.cpu = ctypes.cast(cpu_callback, ctypes.c_void_p)
        self._held.callbacks += [irql_callback, cpu_callback]

    def _hear(self) -> None:
        me = weakref.ref(self)

        def hear(_context: object, row: "ctypes._Pointer[_library.ViolationRow]") -> None:
            pool = me()
            if pool is None:
                return
            pool._held.inside += 1
            try:
                pool._told(pool._violation(row.contents))
            except BaseException as error:  # raised by the call that did it
                pool._keep(error)
            finally:
                pool._held.inside -= 1

        callback = _library.ViolationCallback(hear)
        self._held.callbacks.append(callback)
        self._lib.sp_on_violation(self._held.pool, ctypes.cast(callback, ctypes.c_void_p), None)

    def _violation(self, row: _library.ViolationRow) -> Violation:
        return Violation(
            kind=ViolationKind(row.kind),
            irql=row.irql,
            tag=row.tag,
            given_tag=row.given_tag,
            address=row.address,
            bytes=row.bytes,
            blocks=row.blocks,
            owner=self._adapters.get(row.owner),
            caller=self._adapters.get(row.caller),
            bug_check=row.bug_check,
            parameters=tuple(row.parameters),
            description=row.description.decode("utf-8", "replace"),
            # The library's text ends with the bug check, which `str` of a violation says in its own way.
            text=row.text.decode("utf-8", "replace").partition("; Windows stops with ")[0],
        )

    def _told(self, violation: Violation) -> None:
        if self.on_violation:
            self.on_violation(violation)
        # What is nobody's misuse stands for no bug check.
        if self.raise_violations and violation.bug_check:
            raise BugCheck(violation)

    def _keep(self, error: BaseException) -> None:
        if getattr(self._raised, "first", None) is None:
            self._raised.first = error
            self._some_raised = True

    def _settle(self) -> None:
        """After each call of the library: raises what a callback in it raised."""
        if self._some_raised:
            first = getattr(self._raised, "first", None)
            if first is not None:
                self._raised.first = None
                raise first

    @property
    def _pool(self) -> int:
        pool = self._held.pool
        if not pool:
            raise PoolClosed("the pool has been closed")
        return pool

    def _extension(self, adapter: Optional[Adapter]) -> int:
        """Raises where the library would reach another pool, or none."""
        if not self._held.pool:
            raise PoolClosed("the pool has been closed")
        if adapter is None:
            # The library answers INVALID_PARAMETER, as to a driver.
            return 0
        if adapter.pool() is not self:
            raise ValueError(f"{adapter!r} belongs to another pool")
        return adapter.extension

    # Its life.

    def close(self) -> None:
        """Ends the pool: tells of the blocks left, and gives all memory back. A second time does nothing. Raises
        `PoolError` while a callback of the pool runs, in whatever thread: then it changes nothing."""
        self._outside("closed")
        if self._held.pool:
            self._finalizer.detach()
            self._held.end(silently=False)
            self._settle()

    def _outside(self, done: str) -> None:
        if self._held.inside:
            raise PoolError(f"a call of this pool is under way: it cannot be {done} from a callback")

    @property
    def closed(self) -> bool:
        return not self._held.pool

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.closed:
            return "<Pool, closed>"
        usage = self.usage
        return f"<Pool of {usage.range_bytes} bytes at {usage.range:#x}, {usage.live} live blocks>"

    # Adapters.

    def adapter(self, name: str, extension_bytes: int = 0) -> Adapter:
        """Adds an adapter; its extension has so many bytes, zeroed, of this process's memory. Names are cut to 32 bytes.
        Raises `PoolError`: the pool has as many as it was made for, or there is no address space."""
        extension_bytes = _size("an extension's bytes", extension_bytes)
        text = name.encode("utf-8", "replace")
        if 0 in text:
            raise ValueError("a name without zero bytes is wanted")
        extension = self._lib.sp_adapter_create(self._pool, text, extension_bytes)
        self._settle()
        if not extension:
            raise self._lib.error()
        made = self._adapters[extension] = Adapter(self, name, extension)
        return made

    def restored(self, name: str, extension_bytes: int = 0) -> Adapter:
        """The live adapter with this name, the first one if several have it: after another pool's image was restored, whose
        adapters nobody knows here. One that has no extension gets one. Raises `PoolError`: there is no such adapter."""
        _check_saving(self._lib)
        text = name.encode("utf-8", "replace")
        if 0 in text:
            raise ValueError("a name without zero bytes is wanted")
        extension = self._lib.sp_adapter_restored(self._pool, text, _size("an extension's bytes", extension_bytes))
        self._settle()
        if not extension:
            raise self._lib.error()
        known = self._adapters.get(extension)
        if known is None:
            known = self._adapters[extension] = Adapter(self, name, extension)
        return known

    def remove(self, adapter: Adapter, *, release: bool = False) -> List[Leak]:
        """Removes an adapter, and says which blocks it left, by tag. They stay allocated for ever, or are freed with
        `release`: then nobody may use them any more. From now on the adapter's calls get INVALID_PARAMETER. Raises
        `PoolError`: it has been removed before."""
        left: List[Leak] = []
        callback = _library.LeakCallback(lambda _context, *leak: left.append(Leak(*leak)))
        function = self._lib.sp_adapter_release if release else self._lib.sp_adapter_remove
        blocks = function(self._extension(adapter), ctypes.cast(callback, ctypes.c_void_p), None)
        self._settle()
        if blocks == _NO_ADAPTER:
            raise self._lib.error()
        return left

    # The routines.

    def allocate(self, adapter: Optional[Adapter], bytes: int, tag: Tag) -> Tuple[Status, int]:
        """StorPortAllocatePool: the status, and the block's address, which is 0 after every failure. `bytes` and `tag`
        are ULONGs (a tag may be a text, written forwards). Not zeroed; aligned to 16, and to a page from a page up; a
        block of up to a page crosses no page boundary. `adapter` may be None, for an extension that nobody knows.

        INVALID_PARAMETER: 0 bytes, no or a removed adapter, a tag that `strict_tags` refuses. INVALID_IRQL: above
        DISPATCH_LEVEL (2). INSUFFICIENT_RESOURCES: no memory. NOT_IMPLEMENTED: the host's switch."""
        block = ctypes.c_uint64()
        tag = tag if isinstance(tag, int) else tag_number(tag)
        extension = self._extension(adapter)
        status = self._lib.sp_allocate(extension, _ulong("bytes", bytes), _ulong("a tag", tag), byref(block))
        if self._some_raised:
            self._settle_allocation(extension, block.value)
        return _STATUSES[status], block.value

    def allocate_aligned(
        self, adapter: Optional[Adapter], bytes: int, alignment: int, tag: Tag
    ) -> Tuple[Status, int]:
        """As `allocate`, at a multiple of `alignment`: any power of two; another one is INVALID_PARAMETER. It takes more
        of the range than its bytes."""
        block = ctypes.c_uint64()
        extension = self._extension(adapter)
        numbers = _ulong("bytes", bytes), _ulong("an alignment", alignment), tag_number(tag)
        status = self._lib.sp_allocate_aligned(extension, *numbers, byref(block))
        if self._some_raised:
            self._settle_allocation(extension, block.value)
        return _STATUSES[status], block.value

    def _settle_allocation(self, extension: int, block: int) -> None:
        """A call that raises hands out no block."""
        try:
            self._settle()
        except BaseException:
            if block:
                self._lib.sp_free(extension, block)
                self._raised.first = None
            raise

    def free(self, adapter: Optional[Adapter], address: int, tag: Optional[Tag] = None) -> Status:
        """StorPortFreePool: gives a block back. Any address may be passed; a bad one changes nothing. With a `tag` other
        than 0, a block of another tag is refused, as ExFreePoolWithTag would.

        INVALID_PARAMETER: the address is 0 or no live block of this adapter (then it is a violation), or no or a removed
        adapter. INVALID_IRQL: above DISPATCH_LEVEL (2). NOT_IMPLEMENTED: the host's switch."""
        extension, address = self._extension(adapter), _pointer(address)
        if tag:
            status = self._lib.sp_free_with_tag(extension, address, tag_number(tag))
        else:
            status = self._lib.sp_free(extension, address)
        self._settle()
        return _STATUSES[status]

    def resize(self, adapter: Optional[Adapter], address: int, bytes: int) -> Status:
        """Lets a block have `bytes` bytes from now on, where it is. INSUFFICIENT_RESOURCES: it has no room for them
        (`Block.capacity`). INVALID_PARAMETER: 0 bytes, or what `free` refuses, which is a violation as there."""
        extension = self._extension(adapter)
        status = self._lib.sp_resize(extension, _pointer(address), _ulong("bytes", bytes))
        self._settle()
        return _STATUSES[status]

    def block_at(self, address: int) -> Optional[Block]:
        """The block that an address lies in, live or free. None: there is none, and none was there since the memory was
        last given to blocks of another size."""
        row = _library.BlockRow()
        if not self._lib.sp_block_at(self._pool, _pointer(address), byref(row)):
            return None
        owner = self._adapters.get(row.owner)
        return Block(row.address, row.bytes, row.capacity, bool(row.live), owner, row.tag)

    def set_not_implemented(self, on: bool) -> None:
        """The host's switch: while it is on, the routines answer NOT_IMPLEMENTED, as on an old system or in dump mode."""
        self._lib.sp_set_not_implemented(self._pool, on)
        self._settle()

    # What it has.

    @property
    def usage(self) -> Usage:
        """The pool's sums. Walks the pool."""
        row = _library.UsageRow()
        if not self._lib.sp_pool_usage(self._pool, byref(row)):
            raise self._lib.error()
        names = [name for name, *_ in row._fields_]
        values = {name: getattr(row, name) for name in names}
        values.update(uses_rseq=bool(row.uses_rseq), fence_refused=bool(row.fence_refused))
        return Usage(**values)

    def trim(self) -> Trimmed:
        """Returns empty slabs to the common stock, and free memory to the operating system (not that of a range of the
        host's). Raises `PoolError`: another trim is under way."""
        row = _library.TrimmedRow()
        done = self._lib.sp_pool_trim(self._pool, byref(row))
        self._settle()
        if not done:
            raise self._lib.error()
        return Trimmed(row.slabs, row.bytes)

    def snapshot(self) -> Snapshot:
        """A picture of tags, accounts (an adapter's tag each), sizes and CPUs. Walks the pool. `table()` of it is what
        PoolMon shows."""
        taken = self._lib.sp_snapshot_take(self._pool)
        self._settle()
        if not taken:
            raise self._lib.error()
        try:
            tags = [self._row(row) for row in _rows(self._lib.sp_snapshot_next_tag, taken, _library.Row)]
            accounts = [self._row(row) for row in _rows(self._lib.sp_snapshot_next_account, taken, _library.Row)]
            classes = [
                ClassRow(row.block_bytes, row.slabs, row.live, row.free, row.cached)
                for row in _rows(self._lib.sp_snapshot_next_class, taken, _library.ClassRow)
            ]
            cpus = [
                CpuRow(row.cpu, row.blocks, row.bytes)
                for row in _rows(self._lib.sp_snapshot_next_cpu, taken, _library.CpuRow)
            ]
            return Snapshot(tags, accounts, classes, cpus)
        finally:
            self._lib.sp_snapshot_free(taken)

    def _row(self, row: _library.Row) -> TagRow:
        adapter = self._adapters.get(row.extension)
        sums = row.allocs, row.frees, row.live, row.bytes, row.bytes_occupied
        return TagRow(row.tag, row.text.decode("latin-1"), adapter, *sums)

    # Saving.

    def save(self) -> bytes:
        """What the pool knows of its range, as bytes, for `restore`: kept together with the guest's memory. Raises
        `PoolError` while a callback of the pool runs, in whatever thread, and `NotSupported` where the library is too old
        (`can_save`)."""
        _check_saving(self._lib)
        self._outside("saved")
        needed = self._lib.sp_pool_save(self._pool, None, 0)
        self._settle()
        if needed:
            buffer = ctypes.create_string_buffer(needed)
            written = self._lib.sp_pool_save(self._pool, buffer, needed)
            self._settle()
            if 0 < written <= needed:
                return buffer.raw[:written]
        raise self._lib.error()

    def restore(self, image: "Union[Image, bytes]") -> None:
        """Makes the pool what it was when it was saved, or what another pool was with the same options. Bytes are read
        first, which `Image` does once for many.

        Adapters that were added since are refused from now on. Each of them has used up one of the pool's handles for
        good, and one of the process's 65535 extensions until the pool ends: a loop adds its adapters before it saves. Where the range begins elsewhere, addresses move with it. The host's callbacks stay as they are.

        Raises `PoolError` with the reason, and nothing has changed: bytes are no image, or the image is of a pool with other
        options (so give `cpus` if images go to other machines); or a callback of the pool runs, in whatever thread."""
        self._outside("restored")
        if not isinstance(image, Image):
            with Image(image, library=self._lib) as read:
                return self.restore(read)
        if image._lib is not self._lib:
            raise ValueError("the image was read by another library")
        done = self._lib.sp_pool_restore(self._pool, image._image)
        self._settle()
        if not done:
            raise self._lib.error()
        return None

    @property
    def can_save(self) -> bool:
        """Whether the library can save and restore."""
        return self._lib.can_save


def _check_saving(library: Library) -> None:
    if not library.can_save:
        raise NotSupported(f"{library.path} cannot save a pool: it has no sp_pool_save")


def _rows(next_row: Callable[..., int], taken: int, kind: Any) -> Iterator[Any]:
    row = kind()
    while next_row(taken, byref(row)):
        yield row


class Image:
    """What `Pool.save` gave, checked once, for any number of `Pool.restore`. Raises `PoolError`: it is no image."""

    def __init__(self, data: bytes, *, library: Union[None, str, "os.PathLike[str]", Library] = None) -> None:
        self._lib = _library.load(library)
        _check_saving(self._lib)
        data = bytes(data)
        image = self._lib.sp_image_read(data, len(data))
        if not image:
            raise self._lib.error()
        self._value: int = image
        # The bytes stay as long as the image, which may look at them.
        self._finalizer = weakref.finalize(self, _free_image, self._lib, image, data)

    @property
    def _image(self) -> int:
        if not self._finalizer.alive:
            raise PoolClosed("the image has been closed")
        return self._value

    def close(self) -> None:
        """Gives its memory back. A second time does nothing."""
        self._finalizer()

    def __enter__(self) -> "Image":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _free_image(library: Library, image: int, _data: bytes) -> None:
    library.sp_image_free(image)


_level = threading.local()


@contextlib.contextmanager
def irql(level: int, *, library: Union[None, str, "os.PathLike[str]", Library] = None) -> Iterator[None]:
    """Raises the calling thread's IRQL for the time of a `with`, as KeRaiseIrql. A lower level than the present one
    changes nothing. It counts for every pool; where a pool has an `irql` function, the higher of both does."""
    if not 0 <= level <= _HIGH:
        raise ValueError(f"an IRQL is 0 to 15: {level}")
    loaded = _library.load(library)
    before = getattr(_level, "now", 0)
    _level.now = max(level, before)
    loaded.sp_raise_irql(level)
    try:
        yield
    finally:
        _level.now = before
        loaded.sp_lower_irql(before)
