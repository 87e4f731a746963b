"""The shared library: where it is, its functions, and its structures as C lays them out.

All functions are called with the interpreter's lock held (`PyDLL`): they take well under a microsecond, except the few
that walk a pool, and so no other Python thread is inside the library but one that is in a callback.
"""

from __future__ import annotations

import ctypes
import os
import pathlib
from ctypes import POINTER, Structure, c_char, c_char_p, c_size_t, c_uint8, c_uint32, c_uint64
from typing import TYPE_CHECKING, Any, Optional, Union

ENVIRONMENT = "STORPORT_POOL_LIBRARY"
NAME = "libstorport_pool.so"

# Addresses are numbers, never `None`.
Address = c_uint64


class PoolError(Exception):
    """The library refused a call; the text says why, with its figures."""


class LibraryNotFound(PoolError, OSError):
    """There is no shared library, or one without the functions that are called."""


class NotSupported(PoolError, NotImplementedError):
    """The library that was found is too old for this."""


class Options(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("range_bytes", c_size_t),
        ("range", c_uint64),
        ("metadata", Address),
        ("metadata_bytes", c_size_t),
        ("cpus", c_uint32),
        ("accounts", c_uint32),
        ("adapters", c_uint32),
        ("min_block", c_uint32),
        ("strict_tags", c_uint8),
        ("resident", c_uint8),
        ("portable", c_uint8),
        ("range_is_addressable", c_uint8),
        ("cpu", ctypes.c_void_p),
        ("irql", ctypes.c_void_p),
        ("mask", ctypes.c_void_p),
        ("unmask", ctypes.c_void_p),
        ("fence", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
        ("magazines", c_uint32),
        ("reserved", c_uint32),
    ]


class Row(Structure):
    _fields_ = [
        ("tag", c_uint32),
        ("text", c_char * 5),
        ("extension", Address),
        ("allocs", c_uint64),
        ("frees", c_uint64),
        ("live", c_uint64),
        ("bytes", c_uint64),
        ("bytes_occupied", c_uint64),
    ]


class ClassRow(Structure):
    _fields_ = [
        ("block_bytes", c_uint32),
        ("slabs", c_uint32),
        ("live", c_uint64),
        ("free", c_uint64),
        ("cached", c_uint64),
    ]


class CpuRow(Structure):
    _fields_ = [("cpu", c_uint32), ("reserved", c_uint32), ("blocks", c_uint64), ("bytes", c_uint64)]


class TrimmedRow(Structure):
    _fields_ = [("slabs", c_uint64), ("bytes", c_uint64)]


class UsageRow(Structure):
    _fields_ = [
        ("allocs", c_uint64),
        ("frees", c_uint64),
        ("live", c_uint64),
        ("bytes", c_uint64),
        ("bytes_occupied", c_uint64),
        ("free_bytes", c_uint64),
        ("range", c_uint64),
        ("range_bytes", c_uint64),
        ("changing", c_uint64),
        ("contended", c_uint64),
        ("violations", c_uint64),
        ("uses_rseq", c_uint8),
        ("fence_refused", c_uint8),
    ]


class BlockRow(Structure):
    _fields_ = [
        ("address", Address),
        ("owner", Address),
        ("bytes", c_uint64),
        ("capacity", c_uint64),
        ("tag", c_uint32),
        ("live", c_uint8),
    ]


class ViolationRow(Structure):
    _fields_ = [
        ("kind", c_uint32),
        ("irql", c_uint8),
        ("tag", c_uint32),
        ("given_tag", c_uint32),
        ("address", Address),
        ("bytes", c_uint64),
        ("blocks", c_uint64),
        ("owner", Address),
        ("caller", Address),
        ("bug_check", c_uint32),
        ("parameters", c_uint64 * 4),
        ("description", c_char_p),
        ("text", c_char_p),
    ]


CpuCallback = ctypes.PYFUNCTYPE(c_uint32, ctypes.c_void_p)
IrqlCallback = ctypes.PYFUNCTYPE(c_uint8, ctypes.c_void_p)
ViolationCallback = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, POINTER(ViolationRow))
LeakCallback = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, c_uint32, c_uint64, c_uint64)

# Result, and arguments. Pools, extensions, blocks, snapshots and images are addresses.
FUNCTIONS: "dict[str, tuple[Any, ...]]" = {
    "sp_last_error": (c_char_p,),
    "sp_pool_create_with": (Address, POINTER(Options)),
    "sp_metadata_bytes": (c_size_t, POINTER(Options)),
    "sp_pool_destroy": (None, Address),
    "sp_on_violation": (None, Address, ctypes.c_void_p, ctypes.c_void_p),
    "sp_set_not_implemented": (None, Address, c_uint8),
    "sp_adapter_create": (Address, Address, c_char_p, c_size_t),
    "sp_adapter_remove": (c_size_t, Address, ctypes.c_void_p, ctypes.c_void_p),
    "sp_adapter_release": (c_size_t, Address, ctypes.c_void_p, ctypes.c_void_p),
    "sp_allocate": (c_uint32, Address, c_uint32, c_uint32, POINTER(Address)),
    "sp_allocate_aligned": (c_uint32, Address, c_uint32, c_uint32, c_uint32, POINTER(Address)),
    "sp_free": (c_uint32, Address, Address),
    "sp_free_with_tag": (c_uint32, Address, Address, c_uint32),
    "sp_resize": (c_uint32, Address, Address, c_uint32),
    "sp_block_at": (c_uint8, Address, Address, POINTER(BlockRow)),
    "sp_pool_trim": (c_uint8, Address, POINTER(TrimmedRow)),
    "sp_pool_usage": (c_uint8, Address, POINTER(UsageRow)),
    "sp_raise_irql": (c_uint8, c_uint8),
    "sp_lower_irql": (None, c_uint8),
    "sp_snapshot_take": (Address, Address),
    "sp_snapshot_next_tag": (c_uint8, Address, POINTER(Row)),
    "sp_snapshot_next_account": (c_uint8, Address, POINTER(Row)),
    "sp_snapshot_next_class": (c_uint8, Address, POINTER(ClassRow)),
    "sp_snapshot_next_cpu": (c_uint8, Address, POINTER(CpuRow)),
    "sp_snapshot_free": (None, Address),
}
# An older library lacks these.
SAVING: "dict[str, tuple[Any, ...]]" = {
    "sp_pool_save": (c_size_t, Address, ctypes.c_void_p, c_size_t),
    "sp_image_read": (Address, c_char_p, c_size_t),
    "sp_image_free": (None, Address),
    "sp_pool_restore": (c_uint8, Address, Address),
    "sp_adapter_restored": (Address, Address, c_char_p, c_size_t),
}


class Library:
    """The shared library's functions, as attributes. `can_save`: whether it has those that save and restore."""

    path: str
    can_save: bool

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            # Stays loaded for ever, as the library asks.
            library = ctypes.PyDLL(path)
            self._bind(library, FUNCTIONS)
        except (OSError, AttributeError) as error:
            raise LibraryNotFound(f"{path} cannot be used: {error}") from error
        self.can_save = all(hasattr(library, name) for name in SAVING)
        if self.can_save:
            self._bind(library, SAVING)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """A function of the library."""

    def _bind(self, library: ctypes.PyDLL, functions: "dict[str, tuple[Any, ...]]") -> None:
        for name, (result, *arguments) in functions.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def last_error(self) -> str:
        """Why the calling thread's last call failed; empty if it did not."""
        text: bytes = self.sp_last_error()
        return text.decode("utf-8", "replace")

    def error(self) -> PoolError:
        return PoolError(self.last_error() or "the library does not say why")


def candidates() -> "list[str]":
    """Where the library may be when no argument says it: the first that exists is taken."""
    given = os.environ.get(ENVIRONMENT)
    if given:
        # Whoever says where it is does not want another one.
        return [given]
    here = pathlib.Path(__file__).resolve().parent
    return [str(here / NAME), str(here.parents[1] / "target" / "release" / NAME)]


_loaded: "dict[str, Library]" = {}


def load(library: Optional[Union[str, "os.PathLike[str]", Library]] = None) -> Library:
    """The shared library at this path. Without one: where the environment variable STORPORT_POOL_LIBRARY says; else
    beside this module; else in target/release of the checkout that the module lies in; else where the system's loader
    finds it. Raises `LibraryNotFound`."""
    if isinstance(library, Library):
        return library
    paths = [os.fspath(library)] if library is not None else candidates()
    sure = library is not None or len(paths) == 1
    path = next((path for path in paths if sure or os.path.exists(path)), NAME)
    if path != NAME:
        path = os.path.abspath(path)
    if path not in _loaded:
        try:
            _loaded[path] = Library(path)
        except LibraryNotFound as error:
            if path != NAME:
                raise
            looked = ", ".join(paths)
            raise LibraryNotFound(
                f"there is no {NAME}: not at {looked}, nor where the system looks ({error}). Build it by `cargo build"
                f" --release -p storport-pool-capi`, and say where it is: {ENVIRONMENT}=.../target/release/{NAME}"
            ) from error
    return _loaded[path]
