//! What a piece of work takes: the most memory that it holds at once, and the processor's time.
//! Both are this thread's own, so that a busy machine changes neither.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

thread_local! {
    /// Bytes that this thread has allocated and not freed; below zero where it frees another's.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, counting.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn change(by: isize) {
    let live = LIVE.get() + by;
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

fn size(layout: Layout) -> isize {
    layout.size() as isize
}

// SAFETY: all of it is the system's allocator; counting allocates nothing and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        change(size(layout));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        change(size(layout));
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new: usize) -> *mut u8 {
        change(new as isize - size(layout));
        // SAFETY: as the caller promises.
        unsafe { System.realloc(block, layout, new) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        change(-size(layout));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

/// What work may take.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub bytes: usize,
    pub time: Duration,
}

/// Does the work.
///
/// # Panics
/// Where it takes more than is allowed.
pub fn within<T>(allowed: Cost, work: impl FnOnce() -> T) -> T {
    let (before, since) = (LIVE.get(), processor_time());
    PEAK.set(before);
    let result = work();
    let bytes = usize::try_from(PEAK.get() - before).unwrap_or(0);
    let time = processor_time().saturating_sub(since);
    assert!(
        bytes <= allowed.bytes,
        "{bytes} bytes, at most {}",
        allowed.bytes
    );
    assert!(time <= allowed.time, "{time:?}, at most {:?}", allowed.time);
    result
}

fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the place is ours and lives until the call returns.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0, "no clock of the thread's");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
