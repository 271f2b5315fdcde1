//! What a handler's code can reach: its limits, and the four interfaces that it may import.
//!
//! Every import is bounded on its own, for the time limit does not see time spent here: arguments are bounded before they are copied
//! (`Store::set_hostcall_fuel`), keys by their length, values by the store's limit, and log lines by a budget per call and
//! one per second.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use wasmtime::component::{Linker, LinkerInstance};
use wasmtime::{ResourceLimiter, Result, StoreContextMut};

use crate::budget::Budget;
use crate::contract::{Found, INTERFACES, KV, KvError, LogLevel, interface};
use crate::kv::Kv;

/// How many times the log budget of a call a handler may log in a second.
const LOG_CALLS_PER_SECOND: usize = 16;

/// What all instances of a handler share, over all reloads.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The handler's name, for the log.
    pub(crate) name: String,
    pub(crate) kv: Arc<Kv>,
    /// What the operator has set for it.
    pub(crate) values: HashMap<String, String>,
    log: Mutex<LogWindow>,
    log_bytes: usize,
}

/// What has been logged in one second.
#[derive(Debug, Default)]
struct LogWindow {
    second: u64,
    bytes: usize,
}

impl Shared {
    pub(crate) fn new(name: &str, values: Vec<(String, String)>, state_bytes: u64, log_bytes: u64) -> Self {
        Self {
            name: name.to_owned(),
            kv: Arc::new(Kv::new(state_bytes)),
            values: values.into_iter().collect(),
            log: Mutex::default(),
            log_bytes: usize::try_from(log_bytes).unwrap_or(usize::MAX),
        }
    }

    /// The same with this store.
    pub(crate) fn keeping(self, kv: Arc<Kv>) -> Self {
        Self { kv, ..self }
    }

    /// How much of `wanted` bytes may be logged now.
    fn grant(&self, wanted: usize, now: u64) -> usize {
        let mut window = self.log.lock();
        if window.second != now / 1_000 {
            *window = LogWindow { second: now / 1_000, bytes: 0 };
        }
        let granted = wanted.min(self.log_bytes.saturating_mul(LOG_CALLS_PER_SECOND) - window.bytes);
        window.bytes += granted;
        granted
    }
}

/// The state of one instance, as wasmtime keeps it.
pub(crate) struct State {
    shared: Arc<Shared>,
    /// Whether the caller has opened the key-value store.
    pub(crate) has_kv: bool,
    pub(crate) memory: Memory,
    pub(crate) budget: Budget,
    /// What a script has exported, once it has run.
    pub(crate) found: Found,
    /// What is left of the log budget of this call.
    log_left: usize,
    /// Whether this call has been told that its lines are cut.
    log_cut: bool,
}

/// What an instance holds and may hold.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    /// Bytes of all its memories and tables.
    pub(crate) used: usize,
    /// Whether it was refused more in this call.
    pub(crate) refused: bool,
}

impl State {
    /// The state of a new instance, which has `limit` to get ready.
    pub(crate) fn new(shared: Arc<Shared>, has_kv: bool, memory_bytes: u64, limit: Duration) -> Self {
        let most = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
        let log_left = shared.log_bytes;
        Self {
            shared,
            has_kv,
            memory: Memory { limit: most, used: 0, refused: false },
            budget: Budget::new(limit),
            found: Found::default(),
            log_left,
            log_cut: false,
        }
    }

    /// Gives the budgets of a new call.
    pub(crate) fn begin(&mut self, limit: Duration) {
        self.budget = Budget::new(limit);
        self.memory.refused = false;
        self.log_left = self.shared.log_bytes;
        self.log_cut = false;
    }

    /// The key-value store. A call whose caller has not opened it ends here, and begins anew with it open.
    fn kv(&self) -> Result<&Kv> {
        if self.has_kv {
            return Ok(&self.shared.kv);
        }
        self.shared.kv.want();
        Err(wasmtime::Error::msg("its key-value store is not open"))
    }

    fn log(&mut self, level: LogLevel, message: &str) {
        let granted = match self.log_left {
            0 => 0,
            left => self.shared.grant(message.len().min(left), now()),
        };
        self.log_left = self.log_left.saturating_sub(message.len());
        if granted > 0 || message.is_empty() && self.log_left > 0 {
            let text = printable(&message[..message.floor_char_boundary(granted)]);
            let handler = self.shared.name.as_str();
            match level {
                LogLevel::Debug => tracing::debug!(handler, "{text}"),
                LogLevel::Info => tracing::info!(handler, "{text}"),
                LogLevel::Warn => tracing::warn!(handler, "{text}"),
                LogLevel::Error => tracing::error!(handler, "{text}"),
            }
        }
        if granted < message.len() && !self.log_cut {
            self.log_cut = true;
            // The budget is used up; more than a trace of it would be what the budget is there to prevent.
            tracing::trace!(
                handler = self.shared.name.as_str(),
                "log lines cut at the limit (handler.log_bytes)"
            );
        }
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(size_of::<usize>() * 2)))
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        16
    }
}

impl Memory {
    fn grow(&mut self, bytes: usize) -> bool {
        match self.used.checked_add(bytes).filter(|used| *used <= self.limit) {
            Some(used) => {
                self.used = used;
                true
            }
            None => {
                self.refused = true;
                false
            }
        }
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A line of a handler as the log takes it: a line stays one line.
fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            let _ = write!(safe, "{}", c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Provides the interfaces.
pub(crate) fn provide(linker: &mut Linker<State>) -> Result<()> {
    type Cx<'a> = StoreContextMut<'a, State>;

    for name in INTERFACES {
        let mut at: LinkerInstance<'_, State> = linker.instance(&interface(name))?;
        match name {
            "log" => at.func_wrap("log", |mut cx: Cx<'_>, (level, text): (LogLevel, String)| {
                cx.data_mut().log(level, &text);
                Ok(())
            })?,
            "config" => at.func_wrap("get", |cx: Cx<'_>, (key,): (String,)| {
                Ok((cx.data().shared.values.get(&key).cloned(),))
            })?,
            "clock" => at.func_wrap("now", |_: Cx<'_>, (): ()| Ok((now(),)))?,
            KV => provide_kv(&mut at)?,
            _ => {}
        }
    }
    Ok(())
}

fn provide_kv(at: &mut LinkerInstance<'_, State>) -> Result<()> {
    type Cx<'a> = StoreContextMut<'a, State>;
    type Ttl = Option<u64>;

    at.func_wrap("get", |cx: Cx<'_>, (key,): (String,)| Ok((cx.data().kv()?.get(&key, now()),)))?;
    at.func_wrap("set", |cx: Cx<'_>, (key, value, ttl): (String, String, Ttl)| {
        Ok((cx.data().kv()?.set(&key, &value, ttl, now()).map_err(KvError::from),))
    })?;
    at.func_wrap("delete", |cx: Cx<'_>, (key,): (String,)| Ok((cx.data().kv()?.delete(&key, now()),)))?;
    at.func_wrap("increment", |cx: Cx<'_>, (key, by, ttl): (String, i64, Ttl)| {
        Ok((cx.data().kv()?.increment(&key, by, ttl, now()).map_err(KvError::from),))
    })?;
    at.func_wrap(
        "compare-and-set",
        |cx: Cx<'_>, (key, expected, value, ttl): (String, Option<String>, String, Ttl)| {
            let kv = cx.data().kv()?;
            let done = kv.compare_and_set(&key, expected.as_deref(), &value, ttl, now());
            Ok((done.map_err(KvError::from),))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_stay_lines() {
        assert_eq!(printable("a\n\u{1b}[31mb\u{9b}é"), "a\\n\\u{1b}[31mb\\u{9b}é");
    }

    #[test]
    fn the_log_has_a_budget_for_each_call_and_each_second() {
        let shared = Arc::new(Shared::new("h", Vec::new(), 0, 10));
        assert_eq!(shared.grant(100, 1_000), 100);
        assert_eq!(shared.grant(100, 1_999), 60, "sixteen calls' worth in a second");
        assert_eq!(shared.grant(100, 2_000), 100);
        let mut state = State::new(shared, true, 0, Duration::ZERO);
        state.begin(Duration::ZERO);
        state.log(LogLevel::Info, "1234");
        assert_eq!(state.log_left, 6);
        state.log(LogLevel::Info, &"x".repeat(7));
        assert_eq!((state.log_left, state.log_cut), (0, true));
        state.begin(Duration::ZERO);
        assert_eq!((state.log_left, state.log_cut), (10, false));
    }

    #[test]
    fn memory_is_counted_over_all_memories_and_tables() {
        let mut memory = Memory { limit: 100_000, used: 0, refused: false };
        assert!(memory.memory_growing(0, 65_536, None).expect("no error"));
        assert!(memory.table_growing(0, 100, None).expect("no error"));
        assert!(!memory.memory_growing(0, 65_536, None).expect("no error"), "a second memory is too much");
        assert!(memory.refused);
        assert_eq!(memory.used, 65_536 + 1_600);
    }
}
