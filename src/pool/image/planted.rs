//! Faults that are planted in a pool's metadata: each is found when the image is read.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::format;

use super::Image;
use super::dump::Dump;
use super::error::ImageError;
use super::parts::Scratch;
use super::{config_of, copy};
use crate::contract::adapter::AdapterId;
use crate::contract::finding::CheckReport;
use crate::contract::status::Status;
use crate::layout::block::{Account, BlockId};
use crate::layout::classes::{Class, LARGE};
use crate::layout::cursor::{Cursor, MAGAZINE_WORDS};
use crate::layout::meta::Meta;
use crate::layout::page_map::Entry;
use crate::layout::state::{LIVE, State};
use crate::percpu::portable::Portable;
use crate::pool::handle::{Pool, SingleCpu};
use crate::pool::source::PoolOptions;
use crate::sync::Ordering::Relaxed;
use crate::tag;

type Small = Pool<Portable<SingleCpu>>;

/// A pool with a live block of 1024 bytes, a free one behind it in the loaded magazine, and a live and a freed large run.
struct Plot {
    pool: Small,
    class: Class,
    block: BlockId,
    run: u32,
    freed: u32,
}

fn plot() -> Plot {
    let options = PoolOptions::new((1 << 20) + (64 << 10)).cpus(1).accounts(16).adapters(4);
    let pool = options.build_on(Portable::new(SingleCpu)).unwrap();
    let disk = pool.add_adapter("disk").unwrap();
    let allocate = |bytes| {
        let mut address = 0;
        assert_eq!(pool.allocate(disk, bytes, tag!("Test"), Some(&mut address)), Status::SUCCESS);
        address
    };
    let block = allocate(1024);
    let (run, freed) = (allocate(50_000), allocate(50_000));
    // SAFETY: nobody uses it.
    assert_eq!(unsafe { pool.free(disk, freed) }, Status::SUCCESS);
    let meta = pool.meta;
    let id = |address| meta.range().grain_of(address).unwrap();
    let (run, freed) = (meta.span_of(id(run)), meta.span_of(id(freed)));
    Plot { class: Class::for_slab_bytes(1024), block: id(block), run, freed, pool }
}

impl Plot {
    fn meta(&self) -> &Meta {
        &self.pool.meta
    }

    fn span(&self) -> u32 {
        self.meta().span_of(self.block)
    }

    fn state_index(&self) -> u64 {
        self.meta().state_index(self.class, self.block)
    }

    fn loaded(&self) -> Cursor {
        Cursor(self.meta().cursor(0, self.class).load(Relaxed))
    }

    /// A free block in the loaded magazine.
    fn cached(&self) -> BlockId {
        self.meta().get_id(self.loaded(), self.loaded().room())
    }
}

/// A fault: what is said of it, and how it is planted.
type Plant<'a> = (&'a str, &'a dyn Fn(&Plot));

/// What the reader says of such metadata.
fn found(plant: impl Fn(&Plot)) -> Result<u64, &'static str> {
    let mut plot = plot();
    plant(&plot);
    let live = plot.pool.check().unwrap();
    assert!(live.settled && live.owners_settled);
    let image = plot.pool.save();
    // The same rules, wherever the metadata is, and the same order of what they find.
    assert_eq!(*Dump::of_image(&image).unwrap().check(), live);
    assert_eq!(live.faults, live.findings.len() as u64);
    match Image::read(&image) {
        Ok(image) => {
            assert!(live.is_good(), "{:?}", live.findings);
            assert_eq!(live.places.in_hand, image.lost_blocks());
            Ok(image.lost_blocks())
        }
        Err(ImageError::Fault(fault)) => {
            assert_eq!(live.findings[0].fault(), fault);
            Err(fault.what)
        }
        Err(error) => panic!("{error}"),
    }
}

/// What a look at the pool itself says, line by line, of one that was changed so.
fn lines(plant: impl Fn(&Plot)) -> (Plot, Vec<String>) {
    let plot = plot();
    plant(&plot);
    let lines = plot.pool.check().unwrap().findings.iter().map(ToString::to_string).collect();
    (plot, lines)
}

/// What, where, and the numbers. One fault is told once.
#[test]
fn a_finding_says_what_and_where() {
    let (plot, told) = lines(|plot| {
        let (account, state) = (plot.meta().record(plot.class, plot.block).account, plot.state_index());
        let live = State(plot.meta().state_at(state).load(Relaxed));
        plot.meta().make_live(plot.class, plot.block, live, account, 1025);
    });
    let (block, address) = (plot.block.0, plot.meta().range().address(plot.block));
    assert_eq!(
        told,
        [format!(
            "a block has fewer bytes than were asked for: block {block} at {address:#x}, found 0x401, expected 0x400"
        )]
    );
    let (plot, told) = lines(|plot| plot.meta().put_loose(plot.class, plot.cached()));
    let (block, address) = (plot.cached().0, plot.meta().range().address(plot.cached()));
    let second = "the second one is cached: loaded by CPU 0";
    assert_eq!(told, [format!("a block is in two places: block {block} at {address:#x}, {second}")]);
    let (plot, told) = lines(|plot| {
        plot.meta().span_entry(plot.span()).fetch_add(1 << 30, Relaxed);
    });
    let (span, entry) = (plot.span(), plot.meta().read_span(plot.span()).0);
    let address = plot.meta().range().address(plot.meta().first_of(span));
    let what = "a span's page-map entry is none that a pool writes";
    assert_eq!(told, [format!("{what}: span {span} at {address:#x}, found {entry:#x}")]);
}

/// Faults that have nothing to do with each other are all told, and a list that is full goes on counting.
#[test]
fn all_faults_are_told() {
    let (_, told) = lines(|plot| {
        plot.meta().put_loose(plot.class, plot.cached());
        plot.meta().other_cell(plot.meta().gone_other(), Class(0)).store(1 << 47, Relaxed);
        plot.meta().cursor(0, Class(0)).store(0, Relaxed);
    });
    let begin = [
        "an account's count is below zero: account ",
        "a CPU has loaded what is no magazine: CPU 0, found 0x0",
        "a block is in two places: block ",
    ];
    assert!(
        told.len() == 3 && told.iter().zip(begin).all(|(told, begin)| told.starts_with(begin)),
        "{told:?}"
    );

    let options = PoolOptions::new(8 << 20).cpus(1).accounts(16).adapters(4);
    let pool = options.build_on(Portable::new(SingleCpu)).unwrap();
    let spans = u64::from(pool.meta.control().geometry.spans);
    let small = PoolOptions::new((8 << 20) - (64 << 10)).cpus(1).accounts(16).adapters(4);
    let small = small.build_on(Portable::new(SingleCpu)).unwrap();
    let many = small.meta.control().geometry.spans;
    assert!(spans == 128 && many > 1000);
    (0..many).for_each(|span| small.meta.span_entry(span).store(3 << 8, Relaxed));
    let report = small.check().unwrap();
    // Each is free, too.
    assert_eq!((report.findings.len(), report.faults), (CheckReport::MOST, 2 * u64::from(many)));
    assert_eq!(report.places.spans_in_hand, u64::from(many));
}

/// While the pool does not stand still, a fault is told if one word proves it; and adapters are judged at rest alone.
#[test]
fn what_moves_is_judged_by_single_words() {
    let report = |plant: &dyn Fn(&Plot)| {
        let plot = plot();
        plant(&plot);
        let scratch = Scratch::new(&config_of(plot.meta().control())).unwrap();
        assert!(copy::until_settled(&scratch.meta(), plot.meta()));
        super::report(&scratch.meta(), false).unwrap()
    };
    let moving: [&dyn Fn(&Plot); 4] = [
        &|plot| plot.meta().put_loose(plot.class, plot.cached()),
        &|plot| plot.meta().spare(0, plot.class).store(plot.loaded().0, Relaxed),
        &|plot| _ = plot.meta().state_at(plot.state_index()).fetch_add(1, Relaxed),
        &|plot| plot.meta().other_cell(plot.meta().gone_other(), Class(0)).store(1 << 47, Relaxed),
    ];
    for plant in moving {
        let report = report(plant);
        assert_eq!((report.faults, report.settled, report.owners_settled), (0, false, false));
    }
    let proved: [Plant; 4] = [
        ("a CPU has loaded what is no magazine", &|plot| plot.meta().cursor(0, plot.class).store(0, Relaxed)),
        ("a magazine is where none was given out", &|plot| {
            let end = plot.meta().control().geometry.arena_end;
            plot.meta().spare(0, plot.class).store(end, Relaxed);
        }),
        ("a span's page-map entry is none that a pool writes", &|plot| {
            plot.meta().span_entry(plot.span()).fetch_add(1 << 30, Relaxed);
        }),
        ("an account's word is none that a pool writes", &|plot| {
            plot.meta().account_word(Account(-1)).store(3 << 20, Relaxed);
        }),
    ];
    for (what, plant) in proved {
        let report = report(plant);
        assert_eq!(report.findings.iter().map(|finding| finding.what).collect::<Vec<_>>(), [what]);
    }
}

/// An adapter that is being removed is no fault, though its accounts are open yet.
#[test]
fn a_removal_is_no_fault() {
    let plot = plot();
    let disk = plot.pool.adapters()[0].0;
    let removing = plot.meta().begin_removal(disk).unwrap();
    let report = plot.pool.check().unwrap();
    assert!(report.is_good() && report.settled && !report.owners_settled, "{:?}", report.findings);
    plot.meta().end_removal(removing);
    let report = plot.pool.check().unwrap();
    assert!(report.owners_settled && !report.is_good(), "it ended without closing them");
}

/// A run that is being put together, or given back, is in a hand at every step.
#[test]
fn a_run_in_hand_is_no_fault() {
    let told = |change: &dyn Fn(&Plot)| lines(change).1;
    let none: [String; 0] = [];
    let claim = |plot: &Plot| {
        let first = plot.meta().first_of(plot.run);
        plot.meta().state_word(LARGE, first).fetch_and(!LIVE, Relaxed);
        plot.meta().run_spans(first)
    };
    assert_eq!(told(&|plot| _ = claim(plot)), none);
    // Its first spans have their entries, the others not yet.
    assert_eq!(
        told(&|plot| {
            let len = claim(plot);
            (plot.run + 2..plot.run + len)
                .for_each(|span| plot.meta().span_entry(span).store(Entry::NONE.0, Relaxed));
        }),
        none
    );
    // Its first spans have lost them; the next one has lost its word alone.
    for gone in 0..3 {
        assert_eq!(
            told(&|plot| {
                claim(plot);
                for span in plot.run..plot.run + gone {
                    plot.meta().span_word(span).store(0, Relaxed);
                    plot.meta().span_entry(span).store(Entry::NONE.0, Relaxed);
                }
                plot.meta().span_word(plot.run + gone).store(0, Relaxed);
            }),
            none,
            "{gone} spans gone"
        );
    }
    // While it is live, neither is so.
    assert!(!told(&|plot| plot.meta().span_entry(plot.run + 2).store(Entry::NONE.0, Relaxed)).is_empty());
}

#[test]
fn nothing_is_found_where_nothing_is_planted() {
    assert_eq!(found(|_| ()), Ok(0));
}

#[test]
fn each_fault_is_found() {
    let plants: [Plant; 22] = [
        ("a block is in two places", &|plot| {
            let entry = plot.meta().magazine_entry(plot.loaded().magazine(), plot.loaded().room());
            entry.store(plot.block.0, Relaxed);
        }),
        ("a block is in two places", &|plot| plot.meta().put_loose(plot.class, plot.cached())),
        ("what is free is no block of its size", &|plot| {
            let entry = plot.meta().magazine_entry(plot.loaded().magazine(), plot.loaded().room());
            entry.store(u32::MAX, Relaxed);
        }),
        ("a magazine is in two places", &|plot| {
            plot.meta().spare(0, plot.class).store(plot.loaded().0, Relaxed);
        }),
        ("a magazine is where none was given out", &|plot| {
            plot.meta().spare(0, plot.class).store(plot.loaded().0 + 90 * MAGAZINE_WORDS, Relaxed);
        }),
        ("a magazine has more room than its size", &|plot| {
            let full = plot.loaded().with_room(plot.meta().capacity(plot.class) + 1);
            plot.meta().cursor(0, plot.class).store(full.0, Relaxed);
        }),
        ("a CPU has loaded what is no magazine", &|plot| plot.meta().cursor(0, plot.class).store(0, Relaxed)),
        ("a magazine is where none was given out", &|plot| {
            plot.meta().control().empties.store(u64::from(MAGAZINE_WORDS), Relaxed);
        }),
        ("a span is free and in use", &|plot| {
            plot.meta().free_spans(plot.span() as usize / 64).fetch_or(1 << (plot.span() % 64), Relaxed);
        }),
        ("a bitmap has bits behind the range's last span", &|plot| {
            plot.meta()
                .touched_spans(plot.meta().control().geometry.spans as usize / 64)
                .fetch_or(1 << 63, Relaxed);
        }),
        ("a span's page-map entry is none that a pool writes", &|plot| {
            plot.meta().span_entry(plot.span()).fetch_add(1 << 30, Relaxed);
        }),
        ("a span in use says that its area is not", &|plot| plot.meta().set_used_areas(plot.span(), 0)),
        ("a large run is longer than the range", &|plot| {
            plot.meta().span_word(plot.run).store(1 << 20, Relaxed)
        }),
        ("a span of a large run does not lead to its first one", &|plot| {
            plot.meta().span_word(plot.run + 1).store(plot.freed, Relaxed);
        }),
        ("a live large run has other bytes than its spans", &|plot| {
            plot.meta().span_word(plot.run).fetch_sub(1, Relaxed);
            let last = plot.run + plot.meta().span_word(plot.run).load(Relaxed);
            plot.meta().span_entry(last).store(Entry::NONE.0, Relaxed);
        }),
        ("a large run is live and freed", &|plot| {
            plot.meta().loose_spans(LARGE, plot.run as usize / 64).fetch_or(1 << (plot.run % 64), Relaxed);
        }),
        ("a span is marked as a freed run that is none", &|plot| {
            plot.meta()
                .loose_spans(LARGE, plot.span() as usize / 64)
                .fetch_or(1 << (plot.span() % 64), Relaxed);
        }),
        ("a state is live where no block begins", &|plot| {
            plot.meta().state_at(plot.state_index()).fetch_add(1, Relaxed);
        }),
        ("a block has fewer bytes than were asked for", &|plot| {
            let live = State(plot.meta().state_at(plot.state_index()).load(Relaxed));
            let account = plot.meta().record(plot.class, plot.block).account;
            plot.meta().make_live(plot.class, plot.block, live, account, 1025);
        }),
        ("an account has more blocks than it counted", &|plot| {
            let account = plot.meta().record(plot.class, plot.block).account;
            for class in 0..LARGE.0 + 1 {
                plot.meta().cell(0, account, Class(class)).store(0, Relaxed);
                plot.meta().shared_cell(account, Class(class)).store(0, Relaxed);
            }
        }),
        ("an account's count is below zero", &|plot| {
            plot.meta().other_cell(plot.meta().gone_other(), Class(0)).store(1 << 47, Relaxed);
        }),
        ("an account's word is none that a pool writes", &|plot| {
            let account = plot.meta().record(plot.class, plot.block).account;
            plot.meta().account_word(account).fetch_or(1, Relaxed);
        }),
    ];
    for (n, (what, plant)) in plants.into_iter().enumerate() {
        assert_eq!(found(plant), Err(what), "plant {n}");
    }
}

/// A block whose owner never lived is nobody's: it stays where it is, and is counted as lost.
#[test]
fn a_block_of_nobody_is_lost() {
    let nobody = |owner: AdapterId| {
        found(|plot| {
            let word = plot.meta().state_at(plot.state_index());
            let live = State(word.load(Relaxed));
            assert!(live.0 & LIVE != 0);
            word.store(live.owned_by(owner).0, Relaxed);
        })
    };
    for owner in [AdapterId::NOBODY, AdapterId::ORPHANS, AdapterId::GONE, AdapterId::from_raw(0x3_FFFF)] {
        assert_eq!(nobody(owner), Ok(1), "{owner}");
        assert_eq!(nobody(owner.left()), Ok(1), "what {owner} left");
    }
}
