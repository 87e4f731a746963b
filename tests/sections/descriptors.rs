//! The restartable sections of this executable: what their descriptors say, and what lies between the labels.

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind,
    Register,
};

/// uapi linux/rseq.h, `struct rseq_cs`.
#[repr(C, align(32))]
struct Descriptor {
    version: u32,
    flags: u32,
    start: u64,
    length: u64,
    abort: u64,
}

unsafe extern "C" {
    // The linker's: where the output section of that name begins and ends.
    static __start___rseq_cs: [Descriptor; 0];
    static __stop___rseq_cs: [Descriptor; 0];
}

/// What glibc registers with the kernel, `RSEQ_SIG` on x86-64.
const SIGNATURE: [u8; 4] = 0x5305_3053_u32.to_le_bytes();
/// `ud1 edi, [rip + SIGNATURE]`, without the operand: who runs into the signature is stopped.
const TRAP: [u8; 3] = [0x0f, 0xb9, 0x3d];

/// The sections of src/percpu/rseq.rs and bulk.rs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Free,
    Allocate,
    Push,
    Pop,
    Exchange,
    FreeRun,
    PopMany,
}

impl Kind {
    /// What this build has. With locked claims, free has a section for the push alone.
    pub fn all() -> impl Iterator<Item = Kind> {
        let by_claim = |kind| matches!(kind, Kind::Free | Kind::FreeRun);
        [Kind::Free, Kind::Allocate, Kind::Push, Kind::Pop, Kind::Exchange, Kind::FreeRun, Kind::PopMany]
            .into_iter()
            .filter(move |&kind| !(cfg!(feature = "checked") && by_claim(kind)))
    }
}

/// A section: from its first instruction to the one that commits.
pub struct Section {
    pub start: u64,
    pub end: u64,
    pub steps: Vec<Instruction>,
    /// What an abort runs, up to its last jump.
    pub handler: Vec<u64>,
}

fn bytes(from: u64, to: u64) -> &'static [u8] {
    // SAFETY: the caller's addresses lie in the text of this executable.
    unsafe { std::slice::from_raw_parts(from as *const u8, (to - from) as usize) }
}

/// All sections, each as its descriptor says.
pub fn sections() -> Vec<Section> {
    let (first, last) = (&raw const __start___rseq_cs, &raw const __stop___rseq_cs);
    let count = (last.addr() - first.addr()) / size_of::<Descriptor>();
    assert_eq!(first.addr() % align_of::<Descriptor>(), 0);
    // SAFETY: the linker's symbols enclose the descriptors, and nothing else has that section's name.
    let descriptors = unsafe { std::slice::from_raw_parts(first.cast::<Descriptor>(), count) };
    descriptors.iter().map(section).collect()
}

fn section(descriptor: &Descriptor) -> Section {
    let &Descriptor { version, flags, start, length, abort } = descriptor;
    assert_eq!((version, flags), (0, 0), "newer kernels refuse the flags of old");
    assert!((16..256).contains(&length), "{length} bytes");
    let end = start + length;
    assert!(!(start..end).contains(&abort), "an abort would abort again");
    assert_eq!(bytes(abort - 4, abort), SIGNATURE);
    assert_eq!(bytes(abort - 7, abort - 4), TRAP);
    let steps: Vec<_> = Decoder::with_ip(64, bytes(start, end), start, DecoderOptions::NONE).iter().collect();
    assert_eq!(steps.last().unwrap().next_ip(), end, "the end is no boundary");
    let mut handler = Vec::new();
    for instruction in &mut Decoder::with_ip(64, bytes(abort, abort + 64), abort, DecoderOptions::NONE) {
        handler.push(instruction.ip());
        if instruction.flow_control() == FlowControl::UnconditionalBranch {
            break;
        }
    }
    let section = Section { start, end, steps, handler };
    section.check_steps();
    section
}

impl Section {
    /// Nothing may leave the section but to miss, only the copy of many ids may loop, nothing may lock, and the store
    /// that commits comes last.
    fn check_steps(&self) {
        let mut factory = InstructionInfoFactory::new();
        for step in &self.steps {
            let at = format!("{:#x}: {step}", step.ip());
            match step.flow_control() {
                FlowControl::Next => {}
                FlowControl::ConditionalBranch => {
                    let to = step.near_branch_target();
                    let inside = (self.start..self.end).contains(&to);
                    let copies = self.kind() == Kind::PopMany && to < step.ip();
                    assert!(!inside || copies, "{at} loops, or skips");
                }
                other => panic!("{at}: {other:?}"),
            }
            assert!(!step.is_invalid() && !step.has_lock_prefix(), "{at}");
            let stores = factory
                .info(step)
                .used_memory()
                .iter()
                .any(|memory| matches!(memory.access(), OpAccess::Write | OpAccess::ReadWrite));
            assert!(stores || step.next_ip() != self.end, "{at} does not commit");
        }
    }

    /// What the section does. The compiler may have made several copies of one.
    pub fn kind(&self) -> Kind {
        let has = |mnemonic| self.steps.iter().any(|step| step.mnemonic() == mnemonic);
        let changes = |mnemonic| {
            let mut all = self.steps.iter().filter(|step| step.mnemonic() == mnemonic);
            all.any(|step| step.op0_kind() == OpKind::Memory)
        };
        if changes(Mnemonic::And) {
            // In a run, the span's register becomes its entry's.
            let in_place = |step: &Instruction| {
                step.memory_index() == Register::RCX && step.op0_register() == Register::RCX
            };
            if self.steps.iter().any(in_place) { Kind::FreeRun } else { Kind::Free }
        } else if changes(Mnemonic::Add) {
            if has(Mnemonic::Sub) {
                Kind::PopMany
            } else if has(Mnemonic::Shl) {
                Kind::Allocate
            } else {
                Kind::Pop
            }
        } else if has(Mnemonic::Lea) {
            Kind::Push
        } else {
            Kind::Exchange
        }
    }
}
