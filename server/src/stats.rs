//! One snapshot of everything that is counted, as JSON for the console and as Prometheus text.

use std::time::Duration;

use fanfare_engine::{HandlerInfo, JournalStats, Stats, TopicStats};
use serde_json::{Value, json};

use crate::app::App;
use crate::lane::LaneStats;
use crate::shared::Protocol;

/// Topics listed by `/stats`: the most recently active ones.
const LISTED_TOPICS: usize = 200;

/// The numbers of one moment.
pub(crate) struct Snapshot {
    pub(crate) engine: Stats,
    pub(crate) uptime_ms: u64,
    pub(crate) connections: u64,
    pub(crate) connections_limit: u64,
    pub(crate) refused: u64,
    pub(crate) streams_h1: u64,
    pub(crate) streams_h2: u64,
    pub(crate) streams_host: u64,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) gaps: u64,
    pub(crate) lapped: u64,
    pub(crate) stalled: u64,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) history_limit: u64,
    pub(crate) topics_limit: u32,
    pub(crate) lanes: Vec<LaneStats>,
    pub(crate) handlers: Vec<HandlerInfo>,
    /// History on disk.
    pub(crate) store: Option<JournalStats>,
}

impl Snapshot {
    pub(crate) fn take(app: &App) -> Snapshot {
        let counters = &app.shared.counters;
        let limits = &app.engine.config().limits;
        Snapshot {
            engine: app.engine.stats(),
            uptime_ms: app.now().0,
            connections: app.shared.connections.open(),
            connections_limit: app.shared.connections.limit(),
            refused: counters.refused.get(),
            streams_h1: counters.open(Protocol::Http1).get(),
            streams_h2: counters.open(Protocol::Http2).get(),
            streams_host: counters.open(Protocol::Host).get(),
            frames: counters.frames.get(),
            bytes: counters.bytes.get(),
            gaps: counters.gaps.get(),
            lapped: counters.lapped.get(),
            stalled: counters.stalled.get(),
            requests: counters.requests.get(),
            errors: counters.errors.get(),
            history_limit: limits.history_bytes,
            topics_limit: limits.topics,
            lanes: app.lanes.stats(),
            handlers: app.engine.handlers(),
            store: app.engine.journal_stats(),
        }
    }

    /// Open streams of all kinds.
    pub(crate) fn streams(&self) -> u64 {
        self.streams_h1 + self.streams_h2 + self.streams_host
    }
}

/// `GET /stats`
pub(crate) fn to_json(app: &App) -> String {
    let now = Snapshot::take(app);
    let topics: Vec<Value> = app.engine.topic_stats(LISTED_TOPICS).iter().map(topic).collect();
    let lane = |lane: &LaneStats| json!({"sockets": lane.sockets, "batches": lane.batches, "writes": lane.writes, "partial": lane.partial, "io_uring": lane.io_uring});
    let stats = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "epoch": app.engine.config().epoch.as_str(),
        "uptime_ms": now.uptime_ms,
        "connections": {"open": now.connections, "limit": now.connections_limit, "refused": now.refused},
        "streams": {"open": now.streams(), "h1": now.streams_h1, "h2": now.streams_h2, "host": now.streams_host},
        "events": {
            "published": now.engine.published,
            "bytes": now.engine.published_bytes,
            "refused": now.engine.refused,
            "dropped": now.engine.dropped,
        },
        "deliveries": {"frames": now.frames, "bytes": now.bytes, "gaps": now.gaps, "lapped": now.lapped},
        "history": {"events": now.engine.history_events, "bytes": now.engine.history_bytes, "limit_bytes": now.history_limit},
        "store": now.store.as_ref().map(|stats| store(app, stats)),
        "topics": {"count": now.engine.topics, "limit": now.topics_limit, "list": topics},
        "lanes": now.lanes.iter().map(lane).collect::<Vec<Value>>(),
        "handlers": now.handlers.iter().map(handler).collect::<Vec<Value>>(),
    });
    format!("{stats}\n")
}

fn store(app: &App, stats: &JournalStats) -> Value {
    json!({
        "events": stats.events,
        "bytes": stats.bytes,
        "files": stats.files,
        "oldest": (stats.oldest > 0).then(|| app.engine.id_of(stats.oldest).to_string()),
        "queue_bytes": stats.queue_bytes,
        "writes": stats.writes,
        "write_us": micros(stats.write_time),
        "longest_write_us": micros(stats.longest_write),
        "pages": stats.pages,
        "page_events": stats.page_events,
        "failing": stats.failing,
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn topic(topic: &TopicStats) -> Value {
    json!({
        "name": topic.name,
        "published": topic.published,
        "subscribers": topic.subscribers,
        "events": topic.events,
        "bytes": topic.bytes,
        "oldest": topic.oldest,
        "newest": topic.newest,
        "closed": topic.closed,
    })
}

fn handler(handler: &HandlerInfo) -> Value {
    let mut value =
        json!({"name": handler.name, "topics": handler.topics.to_string(), "events": handler.events});
    let Some(stats) = &handler.stats else { return value };
    let named = |counts: &[(&'static str, u64)]| -> Value { counts.iter().copied().collect() };
    value["calls"] = json!(stats.calls);
    value["time_us"] = json!(stats.time_ns / 1_000);
    value["outcomes"] = named(&stats.outcomes);
    value["faults"] = named(&stats.faults);
    value["rested"] = json!(stats.rested);
    value["instances"] = json!(stats.instances);
    value["recycled"] = json!(stats.recycled);
    value["memory_bytes"] = json!(stats.memory_bytes);
    value["state_bytes"] = json!(stats.state_bytes);
    value["reloads"] = json!({"done": stats.reloads, "failed": stats.failed_reloads});
    value
}
