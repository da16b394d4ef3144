//! Memory that this process has freed, given back to the group that is charged.
//!
//! Owns one call. glibc gives back what lies at the end of a heap and keeps free pages between
//! others, so that a process which was large for minutes stays so for good. Knows not when: who
//! frees much at once says so. Source: malloc_trim(3), glibc 2.36 malloc/malloc.c.
#![cfg_attr(
    target_env = "gnu",
    expect(unsafe_code, reason = "malloc_trim(3) has no safe wrapper")
)]

/// Gives all free pages of the heap back to the kernel. Costs milliseconds for each 100 MiB, in
/// which other threads may wait for memory; does nothing where the allocator is not glibc's.
pub fn give_back_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer and touches free chunks alone, each arena under its lock.
    unsafe {
        libc::malloc_trim(0)
    };
}
