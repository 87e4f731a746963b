//! Names for call stacks: functions, files and lines, as far as the program has them.

use core::ffi::{CStr, c_void};
use core::fmt::{self, Write};
use std::string::{String, ToString};

use crate::contract::verify::stack::{CallStack, StackKind};

/// Writes a call stack: for each frame a new line, the indent, `function  file:line`. Frames of the pool itself are left
/// out, and those by which the standard library and the C library start a program or a thread. A frame without a name is
/// its address, the file that it lies in, and the reason. A stack that was not taken is one line that says why.
///
/// PASSIVE, not for signal handlers: it reads files, asks the program's allocator for memory, and waits for other threads
/// that resolve names.
pub(crate) fn write_stack(f: &mut fmt::Formatter<'_>, stack: &CallStack, indent: &str) -> fmt::Result {
    if stack.kind() != StackKind::Taken {
        return write!(f, "\n{indent}({})", stack.kind().describe());
    }
    let mut lines = String::new();
    // Start-up and its glue are told only behind a frame of the program's; `kept` is the text up to that one.
    let mut kept = 0;
    for &address in stack.frames() {
        match write_frame(&mut lines, address, indent)? {
            Whose::Program => kept = lines.len(),
            Whose::Glue => {}
            Whose::Start => break,
        }
    }
    if kept == 0 {
        return write!(f, "\n{indent}(no frame outside the pool)");
    }
    f.write_str(&lines[..kept])
}

/// Whose a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whose {
    Program,
    /// The pool's, or of closures' calls: told only if the program's follows, or not at all.
    Glue,
    /// From here on, what starts programs and threads.
    Start,
}

/// One frame, which is several functions where some were inlined.
fn write_frame(lines: &mut String, address: u64, indent: &str) -> Result<Whose, fmt::Error> {
    let mut named = false;
    let mut result = Ok(Whose::Glue);
    // Subtracts one by itself: what returns there is the instruction before.
    backtrace::resolve(core::ptr::without_provenance_mut(address as usize), |symbol| {
        let (Some(name), Ok(Whose::Program | Whose::Glue)) = (symbol.name(), result) else { return };
        named = true;
        let name = without_hash(&name.to_string()).to_string();
        result = match whose(&name) {
            Whose::Program => write_symbol(lines, &name, symbol, indent).map(|()| Whose::Program),
            Whose::Glue => result,
            Whose::Start => Ok(Whose::Start),
        };
    });
    if named {
        return result;
    }
    match object_of(address) {
        Some((file, offset)) => {
            write!(
                lines,
                "\n{indent}{address:#x}  {file}+{offset:#x}: no symbol there (built without, or stripped)"
            )?;
        }
        None => write!(lines, "\n{indent}{address:#x}  in no file that is loaded")?,
    }
    Ok(Whose::Program)
}

fn write_symbol(lines: &mut String, name: &str, symbol: &backtrace::Symbol, indent: &str) -> fmt::Result {
    write!(lines, "\n{indent}{name}")?;
    if let (Some(file), Some(line)) = (symbol.filename(), symbol.lineno()) {
        let here = std::env::current_dir().ok();
        let file = here.and_then(|here| file.strip_prefix(here).ok()).unwrap_or(file);
        write!(lines, "  {}:{line}", file.display())?;
    }
    Ok(())
}

/// `path::function::h0123456789abcdef` without its last part.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => path,
        _ => name,
    }
}

fn whose(name: &str) -> Whose {
    const START: [&str; 6] =
        ["__libc_start_call_main", "__libc_start_main", "_start", "start_thread", "clone3", "__clone"];
    if name.contains("__rust_begin_short_backtrace") || START.iter().any(|start| name.starts_with(start)) {
        return Whose::Start;
    }
    // `<Type as Trait>::function` is the type's.
    let owner = name.trim_start_matches(['<', '&', '*', ' ']);
    let owner = owner.strip_prefix("mut ").or(owner.strip_prefix("dyn ")).unwrap_or(owner);
    const GLUE: [&str; 7] = [
        "storport_pool",
        "backtrace::",
        "core::ops::function::",
        "core::panic::",
        "std::panic",
        "__rust_try",
        "std::rt::",
    ];
    let glue = GLUE.iter().any(|glue| owner.starts_with(glue));
    if glue { Whose::Glue } else { Whose::Program }
}

/// The loaded file that an address lies in, and how far from its start.
fn object_of(address: u64) -> Option<(String, u64)> {
    // SAFETY: plain pointers and numbers.
    let mut found: libc::Dl_info = unsafe { core::mem::zeroed() };
    let at = core::ptr::without_provenance::<c_void>(address as usize);
    // SAFETY: it looks the address up, and reads nothing there.
    if unsafe { libc::dladdr(at, &mut found) } == 0 || found.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the loader's own text.
    let path = unsafe { CStr::from_ptr(found.dli_fname) }.to_string_lossy();
    let file = path.rsplit('/').next().unwrap_or(&path).to_string();
    Some((file, address - found.dli_fbase.addr() as u64))
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::vec::Vec;

    use super::*;
    use crate::contract::verify::stack::FRAMES;

    struct Shown(CallStack);

    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_stack(f, &self.0, "  ")
        }
    }

    fn stack(addresses: &[u64]) -> CallStack {
        let mut frames = [0; FRAMES];
        frames[..addresses.len()].copy_from_slice(addresses);
        CallStack::taken(frames, addresses.len())
    }

    #[test]
    fn functions_of_others_have_names_and_what_has_none_says_why() {
        // A function of the C library, exported, and no address of anything.
        let shown = format!("{}", Shown(stack(&[libc::getpid as *const () as u64 + 2, 16])));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "{shown}");
        assert!(lines[1].starts_with("  ") && lines[1].contains("getpid"), "{shown}");
        assert_eq!(lines[2], "  0x10  in no file that is loaded");
        let untaken = format!("{}", Shown(CallStack::none(StackKind::TableFull)));
        assert_eq!(untaken, "\n  (left out: the table of call stacks is full)");
    }

    #[test]
    fn the_pools_own_frames_and_start_up_are_left_out() {
        let own = write_stack as *const () as u64 + 1;
        assert_eq!(format!("{}", Shown(stack(&[own]))), "\n  (no frame outside the pool)");
        assert_eq!(whose("<storport_pool::pool::handle::Pool<P>>::allocate"), Whose::Glue);
        assert_eq!(whose("<ramdisk::Disk as storport_pool::Host>::read"), Whose::Program);
        assert_eq!(whose("storport::start"), Whose::Program);
        let caught =
            "<core::panic::unwind_safe::AssertUnwindSafe<F> as core::ops::function::FnOnce<()>>::call_once";
        assert_eq!(whose(caught), Whose::Glue);
        assert_eq!(whose("std::sys::backtrace::__rust_begin_short_backtrace"), Whose::Start);
        assert_eq!(without_hash("a::b::h0123456789abcdef"), "a::b");
        assert_eq!(without_hash("a::hello"), "a::hello");
    }
}
