//! The counters that the compiler put in, one byte for each edge, as the linker gathered them.
//!
//! Owns the view of them as words. libFuzzer knows them by itself and clears them before an input.

#![expect(unsafe_code, reason = "the linker knows where the counters are")]

use std::sync::atomic::AtomicU64;

unsafe extern "C" {
    #[link_name = "__start___sancov_cntrs"]
    static START: u8;
    #[link_name = "__stop___sancov_cntrs"]
    static STOP: u8;
}

/// All whole words of them: up to seven edges at either end have none.
pub(crate) fn words() -> &'static [AtomicU64] {
    let (start, stop) = (&raw const START, &raw const STOP);
    let skipped = start.align_offset(size_of::<AtomicU64>());
    let count = (stop.addr() - start.addr()).saturating_sub(skipped) / size_of::<AtomicU64>();
    // SAFETY: between the two symbols lies the linker's section of counters, writable and there as
    // long as the process. Instrumented code writes it, one byte at a time; where another thread
    // does so at the same time, a count is off by one.
    unsafe { std::slice::from_raw_parts(start.add(skipped).cast(), count) }
}
