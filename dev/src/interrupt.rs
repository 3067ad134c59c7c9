//! Ctrl-C, SIGTERM and SIGHUP: the children are stopped in order, the youngest first, then we exit with 130. A
//! second one exits at once, and the watchdog kills what is left.

use std::io::Read;
use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use sluice_dev::watchdog;

/// Long enough for the pipeline to drain.
const PATIENCE: Duration = Duration::from_secs(35);
const STATUS: i32 = 130;

static PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_signal(_: i32) {
    // SAFETY: write is async-signal-safe, and the pipe is never closed.
    unsafe {
        libc::write(PIPE.load(Ordering::Relaxed), b"!".as_ptr().cast(), 1);
    }
}

/// Begins to watch. A signal that was ignored when we were started (nohup) stays ignored.
pub fn watch() {
    let Ok((mut reader, writer)) = std::io::pipe() else {
        return;
    };
    PIPE.store(writer.into_raw_fd(), Ordering::Relaxed);
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only writes to a pipe; both structures are valid.
        unsafe {
            let mut before: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &mut before);
            if before.sa_sigaction != libc::SIG_IGN {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = on_signal as extern "C" fn(i32) as usize;
                action.sa_flags = libc::SA_RESTART;
                libc::sigaction(signal, &action, std::ptr::null_mut());
            }
        }
    }
    std::thread::spawn(move || {
        let mut byte = [0];
        if reader.read_exact(&mut byte).is_ok() {
            std::thread::spawn(|| {
                eprintln!("\nstopping …");
                watchdog::stop_all(PATIENCE);
                std::process::exit(STATUS);
            });
            let _ = reader.read_exact(&mut byte);
            std::process::exit(STATUS);
        }
    });
}

/// While the children are being stopped, what fails here is its consequence: leave the exit to [`watch`].
pub fn wait_if_stopping() {
    while watchdog::is_stopping() {
        std::thread::park();
    }
}
