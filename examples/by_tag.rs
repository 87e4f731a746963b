//! A program that reads a text, indexes it and renders a page, and then says which phase took which memory.
//!
//! `cargo run --example by_tag`

use std::collections::BTreeMap;

use storport_pool::{TaggedAlloc, tag, with_tag};

#[global_allocator]
static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 1 << 30);

fn main() {
    let text = include_str!("../LICENSE-APACHE");
    let words: Vec<String> = with_tag(tag!("Pars"), || text.split_whitespace().map(str::to_owned).collect());
    let mut index: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    with_tag(tag!("Indx"), || {
        for (n, word) in words.iter().enumerate() {
            index.entry(word).or_default().push(n);
        }
    });
    let page: String = with_tag(tag!("Rend"), || {
        index.iter().map(|(word, places)| format!("<li>{word}: {places:?}\n")).collect()
    });
    println!("{} words, {} different ones, a page of {} bytes\n", words.len(), index.len(), page.len());
    println!("Tag     Allocs    Frees   Live      Bytes");
    // A snapshot would ask for memory, and find itself in the table.
    GLOBAL.pool().expect("it allocates already").for_each_tag(|row| {
        println!(
            "{} {:>9} {:>8} {:>6} {:>10}",
            row.tag, row.allocs, row.frees, row.live, row.bytes_requested
        );
    });
}
