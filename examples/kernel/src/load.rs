pub fn tick(_: u64, _: storport_pool::Irql) {}
pub fn run() {}
