//! A call that something overtakes at one of its atomic operations. Needs `--cfg storport_pool_steps`.

use std::cell::{Cell, RefCell};

use storport_pool::steps::{Step, install};

thread_local! {
    /// How many operations are left until the interruption.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    static WORK: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

fn on_step(_: Step, _: usize) {
    match LEFT.get() {
        None => {}
        Some(0) => {
            LEFT.set(None);
            if let Some(work) = WORK.take() {
                work();
            }
        }
        Some(left) => LEFT.set(Some(left - 1)),
    }
}

/// Makes `call`, with `work` before its operation number `at`; whether it has so many.
pub fn overtaken<R>(at: u32, work: impl FnOnce() + 'static, call: impl FnOnce() -> R) -> (R, bool) {
    install(on_step);
    WORK.set(Some(Box::new(work)));
    LEFT.set(Some(at));
    let result = call();
    let reached = LEFT.take().is_none();
    WORK.set(None);
    (result, reached)
}
