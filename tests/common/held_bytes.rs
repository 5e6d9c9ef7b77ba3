//! The bytes of heap memory that work on this thread takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// What is allocated and not freed, and the most that was since the peak was last reset. Of this
    /// thread: tests run in parallel, each in its own.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// The bytes that are still held after some work, and the most that were held during it.
pub fn held_bytes<T>(work: impl FnOnce() -> T) -> (T, isize, isize) {
    let (before, _) = HELD.get();
    HELD.set((before, before));
    let done = work();
    let (after, peak) = HELD.get();
    (done, after - before, peak - before)
}

fn count(bytes: isize) {
    let (held, peak) = HELD.get();
    HELD.set((held + bytes, peak.max(held + bytes)));
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call is the system allocator's, with its arguments unchanged; the counter neither
// allocates nor has a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}
