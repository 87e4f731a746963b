//! See the library.

fn main() -> std::process::ExitCode {
    storport_pool_lab::main()
}
