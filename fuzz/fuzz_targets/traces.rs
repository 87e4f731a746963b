//! A trace's file is written, its bytes are changed, with the checksums right or not, or it is made of the input alone.
//! Whatever is read makes up nothing that was not written, unless the checksums say so, and never panics.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use storport_pool::{
    AdapterId, Irql, PoolTag, Status, TraceEnding, TraceEvent, TraceHeader, TraceItem, TraceKind,
    TraceReader, TraceWriter,
};

#[derive(Arbitrary, Debug)]
enum Op {
    Call { kind: u8, status: u8, step: i32, place: u32, tag: u8, bytes: u16, address: u32 },
    Far { time: u64, address: u64, adapter: u32 },
    Dropped(u32, u64),
    Flush,
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    ops: Vec<Op>,
    changes: Vec<(u16, u8)>,
    seal: bool,
    /// In the place of what was written, from the header on.
    instead: Option<&'a [u8]>,
}

const KINDS: [TraceKind; 5] = [
    TraceKind::Allocate,
    TraceKind::Free,
    TraceKind::Resize,
    TraceKind::AddAdapter,
    TraceKind::RemoveAdapter,
];

/// What a file gives, and whether it is whole. `None`: not even its header is.
fn read(bytes: &[u8]) -> Option<(Vec<TraceItem>, bool)> {
    let mut reader = TraceReader::new(bytes).ok()?;
    let items = reader.by_ref().collect();
    Some((items, matches!(reader.ending(), Some(TraceEnding::Whole(_)))))
}

fuzz_target!(|input: Input<'_>| {
    let header = TraceHeader { pool: "fuzz".into(), what: "ä".into(), ..TraceHeader::default() };
    let mut writer = TraceWriter::new(Vec::new(), &header).unwrap();
    let empty = TraceWriter::new(Vec::new(), &header).unwrap().finish().unwrap().0;
    let (mut items, mut time) = (Vec::new(), 0_u64);
    for op in &input.ops {
        let item = match *op {
            Op::Call { kind, status, step, place, tag, bytes, address } => {
                time = time.wrapping_add_signed(step.into());
                TraceItem::Event(TraceEvent {
                    kind: KINDS[usize::from(kind) % 5],
                    status: Status::from_code(
                        [0, 0xC100_0000 | (u32::from(status) % 12 + 1)][usize::from(status) % 2],
                    ),
                    time,
                    thread: place % 8,
                    cpu: place >> 8 & 0xF,
                    irql: Irql::new((place >> 16 & 0xF) as u8).unwrap(),
                    adapter: AdapterId::from_raw(place >> 20),
                    tag: PoolTag::from_raw(tag.into()),
                    bytes: bytes.into(),
                    address: u64::from(address) << 3,
                })
            }
            Op::Far { time, address, adapter } => TraceItem::Event(TraceEvent {
                time,
                address,
                adapter: AdapterId::from_raw(adapter),
                ..TraceEvent::new(TraceKind::Free)
            }),
            Op::Dropped(lane, events) => TraceItem::Dropped { lane, events },
            Op::Flush => {
                writer.flush().unwrap();
                continue;
            }
        };
        writer.push(&item).unwrap();
        items.push(item);
    }
    let whole = writer.finish().unwrap().0;
    assert_eq!(read(&whole), Some((items.clone(), true)), "what goes in comes out");
    let mut file = whole.clone();
    if let Some(instead) = input.instead {
        file.truncate(empty.len() - 44);
        file.extend_from_slice(instead);
    }
    for &(at, change) in &input.changes {
        let at = usize::from(at) % file.len().max(1);
        if let Some(byte) = file.get_mut(at) {
            *byte ^= change;
        }
    }
    if input.seal {
        TraceHeader::seal(&mut file);
        let _ = read(&file);
    } else if let Some((found, is_whole)) = read(&file) {
        assert!(items.starts_with(&found), "made up");
        assert!(!is_whole || file == whole);
    }
    let _ = read(input.instead.unwrap_or_default());
});
