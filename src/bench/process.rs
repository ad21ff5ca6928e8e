//! What a process has used, as the kernel counts it.

/// The kernel counts processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used; zeros where the kernel does not tell.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Used {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    /// Of these, what is no file: the rest is shared by all processes of the same program.
    pub own_bytes: u64,
    /// Bytes that it had written to files and devices.
    pub written_bytes: u64,
    /// How often its thread `sqlite-writer` went to sleep after work.
    pub database_wakes: u64,
}

impl Used {
    /// So far.
    pub fn of(pid: u32) -> Self {
        let read = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
        let number = |text: &str, label: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(label)).unwrap_or_default();
            line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or_default()
        };
        let (stat, status) = (read("stat"), read("status"));
        // Behind the name, which may hold anything, user and system time are the 12th and 13th field.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let ticks =
            after.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum::<f64>();
        Self {
            cpu_seconds: ticks / TICKS_PER_SECOND,
            resident_bytes: number(&status, "VmRSS:") * 1024,
            own_bytes: number(&status, "RssAnon:") * 1024,
            written_bytes: number(&read("io"), "write_bytes:"),
            database_wakes: database_wakes(pid),
        }
    }
}

fn database_wakes(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_thread = |thread: std::fs::DirEntry| {
        let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
        let is_writer = status.lines().next()?.ends_with("sqlite-writer");
        let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        is_writer.then(|| switches.trim().parse::<u64>().ok()).flatten()
    };
    threads.filter_map(of_thread).sum()
}
