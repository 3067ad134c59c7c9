//! Where the tests of faults stop the process to kill or freeze it; a build without `fail`'s
//! feature `failpoints`, such as every release, has nothing here.

/// Stands still where the test's `FAILPOINTS` names this point: `return` for ever, `return(FILE)`
/// until that file is there.
pub(super) fn fault_point(name: &'static str) {
    // Not read where points are compiled out.
    let _ = name;
    fail::fail_point!(name, |until: Option<String>| {
        let goes_on = || {
            let file = until.as_deref().map(std::path::Path::new);
            file.is_some_and(std::path::Path::exists)
        };
        if goes_on() {
            return;
        }
        // The test reads this, counts it, and sends SIGKILL or SIGSTOP.
        eprintln!("fault point {name} reached");
        while !goes_on() {
            std::thread::park_timeout(std::time::Duration::from_millis(10));
        }
    });
}
