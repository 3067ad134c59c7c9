use std::process::ExitCode;

fn main() -> ExitCode {
    // Nothing but in the tests' build; see stream/fault_point.rs.
    let _faults = fail::FailScenario::setup();
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
