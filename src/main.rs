use std::process::ExitCode;

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
