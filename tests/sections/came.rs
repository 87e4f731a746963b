//! What came of a call that stops until its adapter is gone.

/// Of one call, or of many.
#[derive(Default, Clone, Copy)]
pub struct Came {
    /// It stopped, and was overtaken by the removal.
    pub reached: u64,
    /// It was refused for that.
    pub undone: u64,
}

impl Came {
    pub fn add(&mut self, other: Came) {
        self.reached += other.reached;
        self.undone += other.undone;
    }
}
