//! Names for call stacks: functions, files and lines, as far as the program has them.

use core::ffi::{CStr, c_void};
use core::fmt::{self, Write};
use std::path::Path;
use std::string::{String, ToString};

use crate::contract::verify::stack::{CallStack, StackKind};

/// Writes a call stack: for each frame a new line, the indent, `function  file:line`. Frames of the pool itself are left
/// out, those of the standard library above the program's first one, and those by which the standard library and the C
/// library start a program or a thread. A frame without a name is its address, the file that it lies in, and the reason. A
/// stack that was not taken is one line that says why.
///
/// PASSIVE, not for signal handlers: it reads files, asks the program's allocator for memory, and waits for other threads
/// that resolve names.
pub(crate) fn write_stack(f: &mut fmt::Formatter<'_>, stack: &CallStack, indent: &str) -> fmt::Result {
    if stack.kind() != StackKind::Taken {
        return write!(f, "\n{indent}({})", stack.kind().describe());
    }
    let mut told = Told { lines: String::new(), indent, over: false };
    for (n, &address) in stack.frames().iter().enumerate() {
        // Where a call returns to may be the next function's, or the next line's.
        let is_return = n > 0 || !stack.is_at_fault();
        told.frame(address, if is_return { address.saturating_sub(1) } else { address });
        if told.over {
            break;
        }
    }
    if told.lines.is_empty() {
        return write!(f, "\n{indent}(no frame outside the pool)");
    }
    f.write_str(&told.lines)
}

/// Whose a function is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whose {
    Program,
    /// The standard library's: above the program's first function, they are how that called the pool.
    Library,
    /// The pool's, or of closures' calls: not told.
    Glue,
    /// From here on, what starts programs and threads.
    Start,
}

/// A call stack's text as it grows, the innermost function first.
struct Told<'a> {
    lines: String,
    indent: &'a str,
    /// What follows starts programs and threads.
    over: bool,
}

impl Told<'_> {
    /// One frame, which is several functions where some were inlined. `at`: an address in the instruction that it stands for.
    fn frame(&mut self, address: u64, at: u64) {
        let mut named = false;
        // It subtracts one by itself.
        let behind = core::ptr::without_provenance_mut(at as usize + 1);
        backtrace::resolve(behind, |symbol| {
            let Some(name) = symbol.name() else { return };
            named = true;
            self.function(&name.to_string(), symbol.filename(), symbol.lineno());
        });
        if named {
            return;
        }
        let indent = self.indent;
        // A String takes all.
        let _ = match object_of(at) {
            Some((file, offset)) => write!(
                self.lines,
                "\n{indent}{address:#x}  {file}+{offset:#x}: no symbol there (built without, or stripped)"
            ),
            None => write!(self.lines, "\n{indent}{address:#x}  in no file that is loaded"),
        };
    }

    fn function(&mut self, name: &str, file: Option<&Path>, line: Option<u32>) {
        let name = without_hash(name);
        let whose = whose(name, file);
        self.over |= whose == Whose::Start;
        let is_told = whose == Whose::Program || whose == Whose::Library && !self.lines.is_empty();
        if self.over || !is_told {
            return;
        }
        // A String takes all.
        let _ = write!(self.lines, "\n{}{name}", self.indent);
        if let (Some(file), Some(line)) = (file, line) {
            let here = std::env::current_dir().ok();
            let file = here.and_then(|here| file.strip_prefix(here).ok()).unwrap_or(file);
            let _ = write!(self.lines, "  {}:{line}", file.display());
        }
    }
}

/// `path::function::h0123456789abcdef` without its last part.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => path,
        _ => name,
    }
}

fn whose(name: &str, file: Option<&Path>) -> Whose {
    if name.contains("__rust_begin_short_backtrace") || is_start(name) {
        return Whose::Start;
    }
    if is_of_c(name, file) || file.is_some_and(is_glue) {
        return Whose::Glue;
    }
    // `<Type as Trait>::function` is the type's, and the trait's if that is the program's.
    if trait_of(name).is_some_and(|of| !OTHERS.iter().any(|other| of.starts_with(other))) {
        return Whose::Program;
    }
    let owner = name.trim_start_matches(['<', '&', '*', ' ']);
    let owner = owner.strip_prefix("mut ").or(owner.strip_prefix("dyn ")).unwrap_or(owner);
    const GLUE: [&str; 7] = [
        "storport_pool::",
        "backtrace::",
        "core::ops::function::",
        "core::panic::",
        "std::panic",
        "__rust_try",
        "std::rt::",
    ];
    if GLUE.iter().any(|glue| owner.starts_with(glue)) {
        return Whose::Glue;
    }
    let library = ["core::", "alloc::", "std::"].iter().any(|library| owner.starts_with(library));
    if library || file.is_some_and(|file| file.starts_with("/rustc/")) {
        Whose::Library
    } else {
        Whose::Program
    }
}

/// Whose traits are no program's.
const OTHERS: [&str; 5] = ["storport_pool::", "backtrace::", "core::", "alloc::", "std::"];

/// Whether it is the C library's, and starts programs or threads. A program's own function may begin with such a name.
fn is_start(name: &str) -> bool {
    const START: [&str; 6] = ["_start", "start_thread", "clone3", "__clone3", "__clone", "__GI___clone3"];
    let name = name.split('@').next().unwrap_or(name);
    name.starts_with("__libc_start_") || START.contains(&name)
}

/// The trait of `<Type as Trait>::function`.
fn trait_of(name: &str) -> Option<&str> {
    let mut depth = 0;
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'<' => depth += 1,
            // Not of an arrow.
            b'>' if !name[..at].ends_with('-') => depth -= 1,
            b' ' if depth == 1 => {
                if let Some(of) = name[at..].strip_prefix(" as ") {
                    return Some(of);
                }
            }
            _ if at == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Whether a file has the pool's functions, or those of closures' calls. A program that was built with line tables alone has
/// no paths in its functions' names.
fn is_glue(file: &Path) -> bool {
    // As cargo calls the folder, and as the compiler does, which may write paths otherwise.
    let as_compiled = file!().strip_suffix("/src/pool/symbols.rs");
    let own = [option_env!("CARGO_MANIFEST_DIR"), as_compiled].into_iter().flatten().any(|pool| {
        Path::new(pool).is_absolute() && file.strip_prefix(pool).is_ok_and(|file| file.starts_with("src"))
    });
    const GLUE: [&str; 4] = ["core/src/ops/function.rs", "core/src/panic/", "std/src/panic", "std/src/rt.rs"];
    let library = file.to_str().filter(|file| file.starts_with("/rustc/"));
    own || library.is_some_and(|file| GLUE.iter().any(|glue| file.contains(glue))) || is_walker(file)
}

/// Each folder of a path, and what follows it there.
fn pairs(file: &Path) -> impl Iterator<Item = (&str, &str)> {
    let parts = file.iter().filter_map(|part| part.to_str());
    parts.clone().zip(parts.skip(1))
}

/// Whether it is of the crate that walks the stack: `backtrace-0.3.77/src/..`.
fn is_walker(file: &Path) -> bool {
    let is_version = |version: &str| {
        version.split('.').count() == 3 && version.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit())
    };
    pairs(file)
        .any(|(folder, next)| next == "src" && folder.strip_prefix("backtrace-").is_some_and(is_version))
}

/// Whether it is the pool's for C: of its header, or one of its names, which a program with a file of its own may have too.
fn is_of_c(name: &str, file: Option<&Path>) -> bool {
    let Some(file) = file else { return name.starts_with("sp_") };
    let is_own = |(folder, next)| folder == "capi" && (next == "src" || next == "c");
    file.ends_with("storport_pool.h") || name.starts_with("sp_") && pairs(file).any(is_own)
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

    struct Shown(CallStack);

    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_stack(f, &self.0, "  ")
        }
    }

    fn stack(addresses: &[u64]) -> CallStack {
        CallStack::from_frames(addresses, false)
    }

    /// The text of these functions of one frame.
    fn told(functions: &[(&str, &str)]) -> String {
        let mut told = Told { lines: String::new(), indent: "  ", over: false };
        for (name, file) in functions {
            told.function(name, (!file.is_empty()).then(|| Path::new(file)), Some(7));
        }
        told.lines
    }

    const OPTION: (&str, &str) = ("core::option::Option<T>::map", "/rustc/0123/library/core/src/option.rs");

    #[test]
    fn what_is_inlined_into_a_threads_start_is_told() {
        let start = ("std::sys::backtrace::__rust_begin_short_backtrace", "/rustc/0123/backtrace.rs");
        let behind = ("disk::never", "disk.rs");
        let lines = told(&[("disk::start::{{closure}}", "disk.rs"), start, behind]);
        assert_eq!(lines, "\n  disk::start::{{closure}}  disk.rs:7");
    }

    #[test]
    fn the_standard_librarys_frames_are_told_behind_the_programs_first_alone() {
        let lines = told(&[OPTION, ("<alloc::vec::Vec<T>>::push", ""), ("disk::start", "disk.rs"), OPTION]);
        let option = "core::option::Option<T>::map  /rustc/0123/library/core/src/option.rs:7";
        assert_eq!(lines, format!("\n  disk::start  disk.rs:7\n  {option}"));
        // By its file alone, and nothing of the program's.
        assert_eq!(told(&[("map<T>", "/rustc/0123/library/core/src/option.rs")]), "");
    }

    #[test]
    fn names_of_the_interface_for_c_are_the_pools_own() {
        let header = ("StorPortFreePool", "/usr/include/storport_pool.h");
        let own = [header, ("sp_free", "capi/src/storport.rs"), ("sp_free", "")];
        assert_eq!(told(&own), "");
        assert_eq!(told(&[("sp_mine", "disk.c")]), "\n  sp_mine  disk.c:7");
    }

    #[test]
    fn the_instruction_of_a_fault_is_no_return_address() {
        // A function's first instruction: what lies before is another's.
        let first = libc::getpid as *const () as u64;
        let fault = format!("{}", Shown(CallStack::from_frames(&[first], true)));
        assert!(fault.contains("getpid"), "{fault}");
        let call = format!("{}", Shown(stack(&[first])));
        assert!(!call.contains("getpid"), "{call}");
        // The frames below are return addresses.
        let below = format!("{}", Shown(CallStack::from_frames(&[first, first], true)));
        assert_eq!(below.matches("getpid").count(), 1, "{below}");
        // What lies above is cut off.
        let cut = CallStack::from_frames(&[1, 2, 3], false).below(2);
        assert_eq!((cut.frames(), cut.is_at_fault()), (&[2, 3][..], true));
        assert!(!CallStack::from_frames(&[1, 2, 3], false).below(9).is_at_fault());
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
        assert_eq!(whose("<storport_pool::pool::handle::Pool<P>>::allocate", None), Whose::Glue);
        assert_eq!(whose("<ramdisk::Disk as storport_pool::Host>::read", None), Whose::Program);
        assert_eq!(whose("storport::start", None), Whose::Program);
        assert_eq!(whose("storport_pool_demo::main", None), Whose::Program);
        for (name, of) in [("Pool", "prog::Ext"), ("Pool<P>", "prog::Ext<Q>"), ("Pool", "core::ops::Drop")] {
            let name = format!("<storport_pool::pool::handle::{name} as {of}>::get");
            let theirs = if of.starts_with("prog") { Whose::Program } else { Whose::Glue };
            assert_eq!(whose(&name, None), theirs, "{name}");
        }
        assert_eq!(whose("<alloc::sync::Arc<storport_pool::Pool> as prog::Ext>::get", None), Whose::Program);
        for start in ["_start", "start_thread", "clone3", "__clone3", "__libc_start_main@@GLIBC_2.34"] {
            assert_eq!(whose(start, None), Whose::Start);
        }
        for own in ["_start_io", "start_thread_worker", "clone3d_copy", "start_threads"] {
            assert_eq!(whose(own, Some(Path::new("disk.c"))), Whose::Program);
        }
        assert_eq!(whose("sp_mine", Some(Path::new("/home/me/capi/st.c"))), Whose::Program);
        assert_eq!(
            whose("sp_free", Some(Path::new("/home/me/storport-pool/capi/src/block.rs"))),
            Whose::Glue
        );
        let caught =
            "<core::panic::unwind_safe::AssertUnwindSafe<F> as core::ops::function::FnOnce<()>>::call_once";
        assert_eq!(whose(caught, None), Whose::Glue);
        assert_eq!(whose("std::sys::backtrace::__rust_begin_short_backtrace", None), Whose::Start);
        // Line tables alone.
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/src/pool/handle.rs");
        let call = "/rustc/0123/library/core/src/ops/function.rs";
        assert_eq!(whose("allocate<P>", Some(Path::new(own))), Whose::Glue);
        assert_eq!(whose("call_once<ramdisk::start::{closure}>", Some(Path::new(call))), Whose::Glue);
        for program in
            [concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ramdisk.rs"), "/home/me/ramdisk/src/pool/handle.rs"]
        {
            assert_eq!(whose("read", Some(Path::new(program))), Whose::Program);
        }
        assert_eq!(without_hash("a::b::h0123456789abcdef"), "a::b");
        assert_eq!(without_hash("a::hello"), "a::hello");
    }
}
