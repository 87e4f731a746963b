//! What the pool saw, at exit: PoolMon's columns, and a line of sums.

use core::fmt::{self, Write as _};
use core::sync::atomic::Ordering;

use crate::errno;
use crate::mapped;
use crate::options::Destination;
use crate::range::Range;
use crate::text::Text;

/// Writes the report where the options say. One write, so that of several processes that append to one file none comes
/// between another's lines.
pub(crate) fn write(range: &Range) {
    if matches!(range.options.report, Destination::Nowhere) {
        return;
    }
    let mut text = Text::<8192>::new();
    // A text takes what fits.
    let _ = describe(range, &mut text);
    errno::kept(|| match &range.options.report {
        Destination::Nowhere => {}
        Destination::Descriptor(descriptor) => text.write_to(*descriptor),
        Destination::Path(path) => {
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
            // SAFETY: the path has the zero byte at its end.
            let file = unsafe { libc::open(path.bytes().as_ptr().cast(), flags, 0o644) };
            if file >= 0 {
                text.write_to(file);
                // SAFETY: ours.
                unsafe { libc::close(file) };
            }
        }
    });
}

fn describe(range: &Range, text: &mut Text<8192>) -> fmt::Result {
    // The sums ask for no memory; the table's, the pool's own, comes after them.
    let usage = range.pool.usage();
    // SAFETY: asks the kernel.
    write!(text, "storport-preload: process {} ", unsafe { libc::getpid() })?;
    write_program(text)?;
    text.write_str("\n Tag  Type     Allocs            Frees      Diff     Bytes    Per Alloc\n")?;
    match range.pool.try_snapshot() {
        Ok(snapshot) => {
            for row in &snapshot.tags {
                let totals = &row.totals;
                writeln!(
                    text,
                    " {} Nonp {:>10} {:>16} {:>9} {:>9} {:>12}",
                    row.tag,
                    totals.allocs,
                    totals.frees,
                    totals.live,
                    totals.bytes_requested,
                    totals.average()
                )?;
            }
        }
        Err(_) => text.write_str(" (no memory for the table)\n")?,
    }
    write!(
        text,
        "pool: commit={} range={} allocs={} frees={} live={} bytes={} occupied={} free={} ",
        if range.pool.uses_rseq() { "rseq" } else { "twin" },
        usage.range_bytes,
        usage.allocs,
        usage.frees,
        usage.live,
        usage.bytes_requested,
        usage.bytes_occupied,
        usage.free_bytes
    )?;
    writeln!(
        text,
        "contended={} changing={} fence_refused={} violations={}",
        usage.contended,
        usage.changing,
        u32::from(range.pool.fence_refused()),
        usage.violations
    )?;
    if let Some(verifier) = range.pool.attached() {
        let done = verifier.stats();
        writeln!(
            text,
            "verifier: verified={} guarded={} unguarded={} refused={} notes_left_out={} stacks_left_out={}",
            done.verified,
            done.guarded,
            done.unguarded,
            done.refused,
            done.notes_left_out,
            done.stacks_left_out
        )?;
    }
    // ORDERING: Relaxed, all - statistics.
    let made = mapped::MADE.load(Ordering::Relaxed);
    let given_back = mapped::GIVEN_BACK.load(Ordering::Relaxed);
    let bytes = mapped::BYTES.load(Ordering::Relaxed);
    writeln!(text, "system: maps={made} unmaps={given_back} bytes={bytes}")
}

/// Where the program's file lies.
fn write_program(text: &mut Text<8192>) -> fmt::Result {
    let mut path = [0u8; 256];
    // SAFETY: a terminated path, and as much room as is said.
    let length = unsafe { libc::readlink(c"/proc/self/exe".as_ptr(), path.as_mut_ptr().cast(), path.len()) };
    match usize::try_from(length).ok().and_then(|length| path.get(..length)) {
        Some(path) => {
            text.push(path);
            Ok(())
        }
        None => text.write_str("(unknown)"),
    }
}
