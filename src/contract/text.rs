//! Texts that are cut where there is no room.

/// A text's beginning, of at most so many bytes, that ends between two characters.
pub(crate) fn beginning(text: &str, most: usize) -> &str {
    // (`str::floor_char_boundary` came with Rust 1.91.)
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
