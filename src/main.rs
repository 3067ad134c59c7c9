use std::process::ExitCode;

// Records are allocated on one thread and freed on another, where glibc's allocator waits and
// keeps what was freed.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // In the tests' build only: elsewhere a stray FAILPOINTS must not matter.
    let _faults = fail::has_failpoints().then(fail::FailScenario::setup);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("sluice: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(sluice::cli::run()) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => {
            eprintln!("sluice: {error:#}");
            ExitCode::FAILURE
        }
    }
}
