//! The screen at some sizes, of a watch that is always the same.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};
use storport_pool::watch::{Picture, Process};

use super::draw::draw;
use super::keys::{Flow, HELP};
use super::state::{Panel, State};
use crate::poolmon::filter::Filter;
use crate::poolmon::growth::Growth;
use crate::poolmon::once::About;
use crate::poolmon::rows::Sort;

const WATCH: &[u8] = include_bytes!("../../../tests/poolmon/v1.watch");

/// The older picture of the file, and the newer one.
fn pictures() -> [Picture; 2] {
    let mut older = WATCH.to_vec();
    // Number 2 lies in the first slot; with this its checksum is wrong.
    older[4096 + 16] ^= 1;
    let pictures = [older, WATCH.to_vec()].map(|bytes| Picture::from_bytes(&bytes).unwrap());
    assert_eq!(pictures.each_ref().map(|picture| picture.number), [1, 2]);
    pictures
}

fn empty() -> State {
    State {
        about: About { pid: 4242, name: "golden".to_owned(), process: Process::Runs },
        now: None,
        before: None,
        growth: Growth::new(3),
        live: VecDeque::new(),
        rows: Vec::new(),
        filter: Filter::default(),
        sort: Sort::Tag,
        by_change: false,
        by_adapter: false,
        totals: true,
        highlight: true,
        color: true,
        panel: Panel::Sizes,
        help: false,
        paused: false,
        typed: None,
        note: String::new(),
        interval: Duration::from_secs(1),
        chosen: None,
        height: 0,
    }
}

/// Both pictures taken, and one more like the second in which VioS has grown on.
fn filled() -> State {
    let mut state = empty();
    let [older, newer] = pictures();
    state.take(Ok(older), Process::Runs);
    let mut third = newer.clone();
    state.take(Ok(newer), Process::Runs);
    third.number = 3;
    for row in &mut third.snapshot.tags {
        if row.tag == storport_pool::tag!("VioS") {
            (row.totals.allocs, row.totals.live) = (row.totals.allocs + 5, row.totals.live + 5);
            row.totals.bytes_requested += 500;
            third.totals.bytes_requested += 500;
        }
    }
    state.take(Ok(third), Process::Runs);
    state
}

fn terminal(state: &mut State, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let clock = pictures()[1].time + Duration::from_millis(400);
    terminal.draw(|frame| draw(frame, state, clock)).unwrap();
    terminal
}

fn shown(state: &mut State, width: u16, height: u16) -> String {
    let terminal = terminal(state, width, height);
    let cells = terminal.backend().buffer().content();
    let line = |line: &[ratatui::buffer::Cell]| {
        line.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned() + "\n"
    };
    cells.chunks(usize::from(width.max(1))).map(line).collect()
}

fn press(state: &mut State, keys: &str) -> Flow {
    let mut flow = Flow::On;
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\u{1b}' => KeyCode::Esc,
            'v' => KeyCode::Down,
            key => KeyCode::Char(key),
        };
        flow = state.key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    flow
}

/// As the program's other golden files: `STORPORT_POOL_WRITE_GOLDEN=1` writes them anew.
fn golden(file: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/poolmon").join(file);
    if std::env::var_os("STORPORT_POOL_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), made, "{file}");
}

#[test]
fn it_fits_each_width() {
    for (width, height) in [(40, 24), (80, 24), (140, 40)] {
        golden(&format!("screen-{width}.txt"), &shown(&mut filled(), width, height));
        let mut state = filled();
        press(&mut state, "o");
        golden(&format!("screen-{width}-adapters.txt"), &shown(&mut state, width, height));
    }
}

#[test]
fn each_panel_comes_by_tab() {
    let mut all = String::new();
    let mut state = filled();
    press(&mut state, "vvvvv");
    for _ in Panel::ALL {
        all += &shown(&mut state, 80, 24);
        press(&mut state, "\t");
    }
    golden("panels.txt", &all);
    for part in [
        "Allocations by size of VioS",
        " Adapters",
        "CPUs' caches",
        "Only risen in 3 pictures",
        "+10 (40 to 50)",
    ] {
        assert!(all.contains(part), "no {part} in {all}");
    }
}

#[test]
fn no_size_is_too_small() {
    for width in (0..60).chain([79, 119, 120, 121, 300]) {
        for height in [0, 1, 2, 3, 4, 5, 6, 7, 10, 17, 18, 19, 50] {
            for keys in ["", "h", "o\t", "/ab", "\t\t\t"] {
                let mut state = filled();
                press(&mut state, keys);
                shown(&mut state, width, height);
            }
            shown(&mut empty(), width, height);
        }
    }
}

/// The tags from above, as they are shown.
fn order(state: &State) -> Vec<&str> {
    state.rows.iter().map(|row| row.tag.trim_end()).collect()
}

#[test]
fn the_keys_are_poolmons() {
    let mut state = filled();
    let by_tag = ["\u{2e}", "Ab", "Left", "NVMe", "ReqT", "VioS", "a,b\""];
    assert_eq!(order(&state), by_tag);
    for (key, of) in [
        ("a", (|row| row.allocs.now) as fn(&crate::poolmon::rows::Row) -> u64),
        ("f", |row| row.frees.now),
        ("d", |row| row.diff.now),
        ("b", |row| row.bytes.now),
        ("m", |row| row.per_alloc.now),
        ("s", |row| row.diff.now),
    ] {
        press(&mut state, "t");
        assert_eq!(order(&state), by_tag);
        press(&mut state, key);
        assert!(state.rows.is_sorted_by_key(|row| std::cmp::Reverse(of(row))), "{key}: {:?}", order(&state));
        assert_ne!(order(&state), by_tag, "{key}");
    }
    // By change: only VioS has changed since the second picture.
    press(&mut state, "a");
    assert_eq!(order(&state)[0], "ReqT");
    press(&mut state, ")");
    assert_eq!(order(&state)[0], "VioS");
    press(&mut state, "(");
    assert_eq!(order(&state)[0], "ReqT");
    assert_eq!(shown(&mut state, 80, 24).matches("Total").count(), 1);
    press(&mut state, "e");
    assert_eq!(shown(&mut state, 80, 24).matches("Total").count(), 0);
    for key in ["h", "?"] {
        assert_eq!(press(&mut state, key), Flow::On);
        let help = shown(&mut state, 80, 30);
        assert!(HELP.iter().all(|(key, what)| help.contains(key) && help.contains(what)), "{help}");
        // It closes the help, not the program.
        assert_eq!(press(&mut state, "\u{1b}"), Flow::On);
        assert!(!state.help);
    }
    assert_eq!(press(&mut state, "q"), Flow::End);
    assert_eq!(press(&mut state, "\u{1b}"), Flow::End);
    let end = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state.key(end), Flow::End);
}

#[test]
fn a_filter_is_typed() {
    let mut state = filled();
    // Letters are no keys meanwhile.
    press(&mut state, "/?[qi");
    assert!(shown(&mut state, 80, 24).contains("filter: ?[qi_"));
    press(&mut state, "\u{1b}");
    press(&mut state, "/*e*\n");
    assert_eq!(order(&state), ["Left", "NVMe", "ReqT"]);
    press(&mut state, "xR*\n");
    assert_eq!(order(&state), ["Left", "NVMe"]);
    assert!(shown(&mut state, 80, 24).contains("only *e*, without R*"));
    press(&mut state, "/None\n");
    assert!(shown(&mut state, 80, 24).contains("no tag fits the filter"));
    press(&mut state, "c");
    assert_eq!(state.rows.len(), 7);
}

#[test]
fn the_choice_stays_with_its_row() {
    let mut state = filled();
    press(&mut state, "vvv");
    assert_eq!(state.chosen_row().unwrap().tag, "NVMe");
    press(&mut state, "b");
    assert_eq!(state.chosen_row().unwrap().tag, "NVMe");
    for _ in 0..20 {
        press(&mut state, "v");
    }
    assert_eq!(state.chosen_place(), Some(6));
}

/// What is said in colour is said in words or by weight, too.
#[test]
fn without_colour_nothing_is_lost() {
    for color in [true, false] {
        let mut state = filled();
        state.color = color;
        let terminal = terminal(&mut state, 80, 24);
        let cells = terminal.backend().buffer().content();
        let colored = cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        assert_eq!(colored, color);
        let bold = |tag: &str| {
            let lines = cells.chunks(80).find(|line| {
                line.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().starts_with(tag)
            });
            lines.unwrap().iter().skip(20).any(|cell| cell.modifier.contains(Modifier::BOLD))
        };
        assert!(bold("VioS") && !bold("NVMe"));
    }
}

#[test]
fn the_last_picture_stays() {
    for (process, words) in [(Process::Ended, " has ended"), (Process::Closed, " has ended its watch")] {
        let mut state = filled();
        state.take(Err("no picture in the watch is whole".to_owned()), process);
        let shown = shown(&mut state, 80, 24);
        assert!(shown.contains(&format!("4242 (golden){words}, last picture 3, 2026-")), "{shown}");
        assert!(shown.contains("VioS") && shown.contains("no picture in the watch is whole"), "{shown}");
    }
    // A host that does not publish any more.
    let mut state = filled();
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let clock = pictures()[1].time + Duration::from_secs(60);
    terminal.draw(|frame| draw(frame, &mut state, clock)).unwrap();
    assert!(terminal.backend().to_string().contains("60.0 s ago no new picture"));
}

/// No control character reaches the terminal.
#[test]
fn names_are_plain() {
    let mut state = filled();
    press(&mut state, "o");
    let shown = shown(&mut state, 140, 40);
    assert!(shown.contains("a\u{FFFD}[31mred") && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn a_tag_that_falls_once_is_no_suspect() {
    let [older, newer] = pictures();
    let suspects = |order: &[&Picture]| {
        let mut growth = Growth::new(3);
        order.iter().for_each(|picture| growth.add(picture));
        growth.suspects().len()
    };
    let mut third = newer.clone();
    let grown = third.snapshot.tags.iter_mut().find(|row| row.tag == storport_pool::tag!("VioS")).unwrap();
    grown.totals.live += 1;
    assert_eq!(suspects(&[&older, &newer, &third]), 1);
    assert_eq!(suspects(&[&older, &newer]), 0, "too few pictures");
    assert_eq!(suspects(&[&newer, &older, &third]), 0);
    assert_eq!(suspects(&[&older, &newer, &newer]), 0, "one step is no trend");
    assert_eq!(suspects(&[&third, &older, &newer, &third]), 1, "what was long ago does not count");
}
