//! Where a run's files go: tried before the long work.

use std::fs;
use std::path::Path;

use crate::cli::Output;
use crate::out;
use crate::sink::{self, Sink};

/// Where the results go.
#[derive(Debug)]
pub(crate) struct Files {
    /// One that is made.
    folder: Option<&'static Path>,
    pub(crate) json: Option<Sink>,
    pub(crate) html: Option<Sink>,
}

/// Where results go that nobody wants elsewhere: a folder that version control leaves out, where there is one.
fn folder() -> &'static Path {
    let built_here = Path::new("Cargo.toml").exists();
    Path::new(if built_here { "target/storport-pool" } else { "storport-pool-results" })
}

impl Files {
    /// What is asked for, and nothing else.
    pub(crate) fn asked(output: Output) -> Files {
        Files { folder: None, json: output.json, html: output.html }
    }

    /// What is asked for; if nothing is, both in a folder that is made.
    pub(crate) fn or_default(output: Output, name: &str) -> Files {
        if output.json.is_some() || output.html.is_some() {
            return Files::asked(output);
        }
        let folder = folder();
        let file = |extension| Some(Sink::File(folder.join(name).with_extension(extension)));
        Files { folder: Some(folder), json: file("json"), html: file("html") }
    }

    /// Tries them, and what else is to be written, without changing what exists.
    ///
    /// # Errors
    /// A sentence, when one cannot be written, or two are one.
    pub(crate) fn check(&self, more: (&str, Option<&Sink>)) -> Result<(), String> {
        if let Some(folder) = self.folder {
            fs::create_dir_all(folder)
                .map_err(|error| format!("cannot make the folder '{}': {error}", out::name(folder)))?;
        }
        sink::check([("--json", self.json.as_ref()), ("--html", self.html.as_ref()), more])
    }
}
