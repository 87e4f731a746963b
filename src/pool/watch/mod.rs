//! Watching a pool from another process.
//!
//! A host opts in: it has a file, the *watch*. A thread of its own writes a picture of the pool there from time to time.
//! Another program reads the file, such as `storport-pool poolmon`. It touches nothing of the host's and stops nothing. The
//! host never waits for it.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use storport_pool::{Pool, tag, watch::{Reader, Watch}};
//!
//! let pool = Arc::new(Pool::new(1 << 20)?);
//! let disk = pool.add_adapter("disk0")?;
//! let _ = pool.allocate(disk, 208, tag!("VioS"), Some(&mut 0));
//!
//! let mut watch = Watch::for_this_process()?; // `storport-pool poolmon --pid N` finds it
//! watch.publish(&pool)?; // now, or
//! let thread = watch.publish_every(Arc::clone(&pool), Duration::from_millis(100))?; // ten times a second
//!
//! // In another process:
//! let mut reader = Reader::of_process(std::process::id())?;
//! let picture = reader.read()?;
//! assert_eq!(picture.snapshot.tags[0].totals.live, 1);
//! drop(thread); // the file is gone
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it costs
//!
//! Nothing where no watch is. A publish is a [`Pool::snapshot`](crate::Pool::snapshot): it walks the states of all slabs in
//! use, and reads each CPU's words. Then one system call writes the picture to the file. A call that allocates or frees at
//! that moment is not stopped. It takes longer only by the cache lines that the walk has read: the CPU must fetch them again
//! for writing. docs/DEBUGGING.md has the numbers.
//!
//! # What does not hold
//!
//! * A picture is as exact as a snapshot: exact when no call is in flight.
//! * The area has a fixed size. Rows that find no room are left out, and the picture says how many
//!   ([`Picture::left_out`]). Its sums count them all the same.
//! * A forked child does not publish: [`WatchError::Forked`]. It is recognised by its process id. A child in another pid
//!   namespace may have its parent's id there. Such a child must not publish.
//! * A process that calls exec without dropping its watch leaves the file behind. Its readers see a process that runs and
//!   publishes no more. The next watch with that path replaces it, if the process still has that id and no forked child
//!   holds the file open. Otherwise it is [`WatchError::InUse`]. So it is where the file system has no locks (`flock`).
//! * The file is for the same user's eyes: its mode is 0600. It is no seal: whoever may write the file may write a picture
//!   that is not true. A reader never comes to harm by it.
//! * Linux only.
//!
//! # The file
//!
//! All numbers are little-endian. A header of 136 bytes, and from `first` on two slots. Publish number n goes into slot n
//! modulo 2, so the picture before it stays whole meanwhile. Each slot has a checksum over all of it: a reader that comes
//! in the middle of a write finds it wrong, and takes the other slot. No reader writes anything.
//!
//! | header: at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `SP-WATCH` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | bytes of the header that the checksum covers, with it: 128 |
//! | 16 | 4 | process id |
//! | 24 | 8 | when the process began, in clock ticks since the boot: a later process with its id has another one. 0: not known |
//! | 32 | 16 | the boot's id |
//! | 48 | 8 | the pid namespace's inode |
//! | 56, 64 | 8, 8 | `first`: where the first slot begins; bytes of a slot |
//! | 72 | 8 | when the watch was made, in nanoseconds since 1970 |
//! | 80 | 16 | the process's name, zeros behind it |
//! | 120 | 8 | checksum of the bytes before it |
//! | 128 | 8 | `-IN-USE-`, or `-CLOSED-` once the host has ended the watch |
//!
//! | slot: at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | number of the publish, from 1 |
//! | 8 | 8 | bytes of the slot in use, with its head |
//! | 16 | 8 | when, in nanoseconds since 1970 |
//! | 24 | 8 | publishes that failed so far |
//! | 32 | 4 | sections |
//! | 56 | 8 | checksum of the slot's bytes in use but these |
//! | 64 | any | the sections: kind, bytes of a row, rows, rows left out (4 bytes each), then the rows |
//!
//! The kinds: 1 sums, 2 tags, 3 accounts, 4 CPUs, 5 classes, 6 bars of histograms. A later version may add kinds, and may
//! make rows longer: a reader passes over kinds that it does not know and over what follows in a row. So the version is
//! counted up only when what was there changes. What no table names is 0.

mod decode;
mod encode;
mod error;
mod format;
mod picture;
mod place;
mod process;
mod publisher;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use error::{ReadError, WatchError};
pub use picture::{LeftOut, Picture};
pub use place::{path_of_process, watched_processes};
pub use process::Process;
pub use publisher::Publisher;
pub use reader::Reader;
pub use writer::{Watch, WatchOptions};
