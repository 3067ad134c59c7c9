//! Where the tests of faults stop the process to kill it; a build without `fail`'s feature
//! `failpoints`, such as every release, has nothing here.

/// Stands still for ever where the test's `FAILPOINTS` names this point.
pub(super) fn fault_point(name: &'static str) {
    // Not read where points are compiled out.
    let _ = name;
    fail::fail_point!(name, |_| {
        // The test reads this, counts it, and sends SIGKILL.
        eprintln!("fault point {name} reached");
        loop {
            std::thread::park();
        }
    });
}
