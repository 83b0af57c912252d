//! Whether the wall clock is kept right, as the kernel knows.

/// Whether a time service keeps the wall clock right: one has told the kernel so, and nobody has
/// set the clock since. `false` if the kernel cannot be asked.
pub fn is_wall_clock_kept() -> bool {
    // SAFETY: `timex` is integers only, for which zeroes are values.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes the one `timex` that this points to, which lives until the call returns;
    // `modes` is 0, so that nothing of the clock changes.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    state >= 0 && timex.status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests;
