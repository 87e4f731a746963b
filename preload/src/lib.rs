//! The malloc family over the pool, for `LD_PRELOAD`: a test bench, by which any program exercises the pool.
//!
//! A request of up to [`options`]' limit is a block of one pool; a larger one is a mapping of its own, and stands in a
//! table beside it. Nothing here asks for memory on the way to a block: no call of std that allocates, no lock, no
//! thread-local with a destructor. The report at exit alone needs some, and takes it from the pool.
//!
//! | file | what it holds |
//! |---|---|
//! | `family`, `aligned` | the C functions, and what glibc does in their corners |
//! | `heap` | allocate, release and resize, whoever serves |
//! | `range` | the pool, made at first use |
//! | `mapped` | what is too large for the pool |
//! | `process` | the library's start and end, and `vfork` |
//! | `misuse`, `report` | what is told, of a bad call and at exit |
//! | `own` | the memory that the report needs |
//! | `options`, `errno`, `text` | the environment, the error number, a line without memory |

#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod aligned;
mod errno;
mod family;
mod heap;
mod mapped;
mod misuse;
mod options;
mod own;
mod process;
mod range;
mod report;
mod text;
