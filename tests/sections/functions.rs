//! The pool's functions in this executable, instruction by instruction.

use iced_x86::{Decoder, DecoderOptions};
use object::{Object, ObjectSymbol, SymbolKind};

unsafe extern "C" {
    // The linker's; the same address in the file's symbols and in memory, but for where the file was loaded.
    static __start___rseq_cs: u8;
}

/// Where the pool's instructions lie.
pub fn instructions() -> Vec<u64> {
    let file = std::fs::read("/proc/self/exe").unwrap();
    let file = object::File::parse(&*file).unwrap();
    let known = file.symbols().find(|symbol| symbol.name() == Ok("__start___rseq_cs")).unwrap();
    let loaded = (&raw const __start___rseq_cs).addr() as u64 - known.address();
    let mut functions: Vec<_> = file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
        .filter(|symbol| symbol.name().is_ok_and(|name| name.contains("storport_pool")))
        .map(|symbol| (loaded + symbol.address(), symbol.size()))
        .collect();
    functions.sort_unstable();
    functions.dedup();
    functions.into_iter().flat_map(|(start, size)| instructions_of(start, size)).collect()
}

fn instructions_of(start: u64, size: u64) -> Vec<u64> {
    // SAFETY: the text of this executable.
    let bytes = unsafe { std::slice::from_raw_parts(start as *const u8, size as usize) };
    let mut decoder = Decoder::with_ip(64, bytes, start, DecoderOptions::NONE);
    decoder.iter().map(|instruction| instruction.ip()).collect()
}
