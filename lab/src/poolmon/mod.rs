//! `storport-pool poolmon`: PoolMon for a pool of another process, which opted in by a watch. Each file uses only those
//! before it: `filter`, `rows`, `growth`, `once`, `screen`; `options`, which is the command line; `demo`.

pub(crate) mod demo;
mod filter;
mod growth;
mod once;
pub(crate) mod options;
mod rows;
mod screen;

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use storport_pool::watch::{Picture, Process, ReadError, Reader, watched_processes};

use self::demo::PATIENCE;
use self::filter::Filter;
use self::growth::Growth;
use self::once::About;
use self::options::Poolmon;
use self::screen::state::{Panel, State};
use crate::out::{self, plain};

/// Watches, in the way that the options say.
///
/// # Errors
/// A sentence, for bad input.
pub(crate) fn run(options: &Poolmon) -> Result<(), String> {
    let json = options.json.as_ref();
    if let Some(json) = json {
        json.check()?;
    }
    let live = !options.once && !options.csv && json.is_none();
    if live && !std::io::stdout().is_terminal() {
        return Err("the output is no terminal: --once, --csv or --json prints one picture".to_owned());
    }
    // Ends with the program, at the latest.
    let demo = if options.demo { Some(demo::Demo::start()?) } else { None };
    let mut reader = match &demo {
        Some(demo) => demo.reader()?,
        None => reader(options)?,
    };
    if live {
        let state = state(options, &reader);
        return screen::run(&mut reader, state);
    }
    if demo.is_some() {
        // Its first pictures have little to show.
        std::thread::sleep(Duration::from_millis(1500));
    }
    let picture = first_picture(&mut reader)?;
    let about = about(&reader);
    let text = printed(options, &about, &picture);
    match json {
        Some(json) => json.put(&text),
        None => {
            out::print(&text);
            Ok(())
        }
    }
}

/// The watch that is meant: of a file, of a process, or of the only process that has one.
fn reader(options: &Poolmon) -> Result<Reader, String> {
    if let Some(file) = &options.file {
        return Reader::open(file).map_err(|error| format!("'{}': {error}", out::name(file)));
    }
    if let Some(pid) = options.pid {
        return Reader::of_process(pid).map_err(|error| match error {
            ReadError::NotWatched(_) => error.to_string(),
            error => format!("the watch of process {pid}: {error}"),
        });
    }
    let mut running: Vec<Reader> = watched_processes()
        .into_iter()
        .filter_map(|pid| Reader::of_process(pid).ok())
        .filter(|reader| matches!(reader.process(), Process::Runs | Process::Unknown))
        .collect();
    match running.len() {
        1 => Ok(running.remove(0)),
        0 => Err(
            "no process of yours watches a pool; `storport-pool poolmon --demo` shows one that does, and \
                  `storport-pool replay --watch` is one"
                .to_owned(),
        ),
        _ => {
            let names: Vec<_> = running
                .iter()
                .map(|reader| format!("{} ({})", reader.pid(), plain(&reader.name())))
                .collect();
            Err(format!("several processes watch a pool, --pid says which: {}", names.join(", ")))
        }
    }
}

/// The first picture may take a moment.
fn first_picture(reader: &mut Reader) -> Result<Picture, String> {
    let since = Instant::now();
    loop {
        match reader.read() {
            Err(ReadError::NoPicture) if since.elapsed() < PATIENCE && reader.process() == Process::Runs => {
                std::thread::sleep(Duration::from_millis(20));
            }
            read => return read.map_err(|error| error.to_string()),
        }
    }
}

fn about(reader: &Reader) -> About {
    About { pid: reader.pid(), name: plain(&reader.name()), process: reader.process() }
}

fn filter(options: &Poolmon) -> Filter {
    Filter { include: options.include.clone(), exclude: options.exclude.clone() }
}

/// One picture, printed.
fn printed(options: &Poolmon, about: &About, picture: &Picture) -> String {
    let filter = filter(options);
    let arranged = |mut rows| {
        rows::arrange(&mut rows, &filter, options.sort, false);
        rows
    };
    let (tags, accounts) = (arranged(rows::tags(picture, None)), arranged(rows::accounts(picture, None)));
    if options.json.is_some() {
        return once::json(about, picture, &tags, &accounts);
    }
    let rows = if options.adapters { accounts } else { tags };
    if options.csv {
        return once::csv(&rows);
    }
    let total = options.totals.then(|| rows::total(picture, None));
    once::text(about, picture, &rows, total.as_ref())
}

fn state(options: &Poolmon, reader: &Reader) -> State {
    // An empty NO_COLOR counts as none: https://no-color.org.
    let color = !options.no_color && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    State {
        about: about(reader),
        now: None,
        before: None,
        growth: Growth::new(options.suspects),
        live: VecDeque::new(),
        rows: Vec::new(),
        filter: filter(options),
        sort: options.sort,
        by_change: options.by_change,
        by_adapter: options.adapters,
        totals: options.totals,
        highlight: options.highlight,
        color,
        panel: Panel::Sizes,
        help: false,
        paused: false,
        typed: None,
        note: String::new(),
        interval: Duration::from_secs_f64(options.interval),
        chosen: None,
        height: 0,
    }
}
