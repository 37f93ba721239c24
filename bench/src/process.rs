//! What the system says of this process.

/// Starts a new measurement of the largest resident set.
pub(crate) fn reset_peak_memory() {
    // Without the permission, the peak is that of the whole run so far.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Seconds on processors so far, all threads together; 0 where the system does not say.
pub(crate) fn cpu_seconds() -> f64 {
    let tasks = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in parentheses: state is field 3, user and system ticks of 10 ms are fields 14 and 15.
    let fields = tasks.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Nanoseconds on processors so far, of the threads that live; 0 where the system does not say.
pub(crate) fn threads_cpu_ns() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let on_cpu = |path: std::path::PathBuf| -> Option<u64> {
        std::fs::read_to_string(path.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
    };
    threads.filter_map(|thread| on_cpu(thread.path())).sum()
}

/// Processors that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
