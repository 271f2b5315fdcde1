//! CPU time of this process, by thread, from `/proc` (proc_pid_stat(5)). Absent on systems without it.

use std::time::Duration;

/// Name of the readers' thread; at most 15 bytes, as the kernel keeps them.
pub(super) const READERS: &str = "bench-readers";

/// The kernel's unit for these figures, 1/100 s on every Linux that is in use.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// CPU time used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// By the readers.
    pub(super) readers: Duration,
    /// By all other threads.
    pub(super) others: Duration,
}

/// CPU time used since each thread began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Snapshot(Used);

impl Snapshot {
    /// Reads it, where the system tells it.
    pub(super) fn take() -> Option<Self> {
        let mut used = Used::default();
        for task in std::fs::read_dir("/proc/self/task").ok()? {
            // A thread may end between being listed and being read.
            let Ok(stat) = std::fs::read_to_string(task.ok()?.path().join("stat")) else { continue };
            let (name, time) = parse(&stat)?;
            if name == READERS { used.readers += time } else { used.others += time }
        }
        Some(Self(used))
    }

    /// What was used between `earlier` and this.
    pub(super) fn since(&self, earlier: &Self) -> Used {
        Used {
            readers: self.0.readers.saturating_sub(earlier.0.readers),
            others: self.0.others.saturating_sub(earlier.0.others),
        }
    }
}

/// Name and CPU time out of a `stat` line. The name is in parentheses and may hold any character.
fn parse(stat: &str) -> Option<(&str, Duration)> {
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
    // After the name, utime and stime are the 12th and 13th field.
    let mut ticks = rest.split(' ').skip(11).map(|field| field.parse::<u32>().ok());
    let ticks = ticks.next()??.checked_add(ticks.next()??)?;
    Some((name, TICK.saturating_mul(ticks)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read() {
        let line = "17 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 9\n";
        assert_eq!(parse(line), Some(("a) b (c", Duration::from_secs(2))));
        assert_eq!(parse("nonsense"), None);
    }
}
