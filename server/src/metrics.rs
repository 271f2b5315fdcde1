//! `GET /metrics`: the snapshot in Prometheus' text format (version 0.0.4).

use std::fmt::{self, Write};
use std::time::Duration;

use fanfare_engine::{HandlerInfo, HandlerStats, JournalStats};

use crate::app::App;
use crate::lane::LaneStats;
use crate::stats::Snapshot;

/// The Content-Type of the format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every metric with its help and type. Topics have no metrics of their own: their names come from outside and are unlimited in number.
pub(crate) fn render(app: &App) -> String {
    let now = Snapshot::take(app);
    let mut out = Exposition(String::with_capacity(4096));
    out.one("fanfare_connections", "gauge", "Connections open.", now.connections);
    out.one(
        "fanfare_connections_limit",
        "gauge",
        "Connections that may be open at once.",
        now.connections_limit,
    );
    out.one("fanfare_connections_refused_total", "counter", "Connections refused at a limit.", now.refused);
    out.many(
        "fanfare_streams",
        "gauge",
        "Event streams open, by protocol; host: written by the embedding application.",
        "protocol",
        [("h1", now.streams_h1), ("h2", now.streams_h2), ("host", now.streams_host)],
    );
    out.one(
        "fanfare_http_requests_total",
        "counter",
        "HTTP requests answered, streams included.",
        now.requests,
    );
    out.one("fanfare_http_errors_total", "counter", "HTTP requests answered with a 4xx or 5xx.", now.errors);
    out.one("fanfare_events_published_total", "counter", "Events published.", now.engine.published);
    out.one(
        "fanfare_events_published_bytes_total",
        "counter",
        "Bytes of published events, as they go to readers.",
        now.engine.published_bytes,
    );
    out.one("fanfare_events_refused_total", "counter", "Events refused.", now.engine.refused);
    out.one("fanfare_events_dropped_total", "counter", "Events that a handler dropped.", now.engine.dropped);
    out.one("fanfare_deliveries_total", "counter", "Events written to readers over the network.", now.frames);
    out.one(
        "fanfare_delivered_bytes_total",
        "counter",
        "Bytes of events written to readers over the network.",
        now.bytes,
    );
    out.one("fanfare_gaps_total", "counter", "Gap notices written to readers over the network.", now.gaps);
    out.one(
        "fanfare_readers_lapped_total",
        "counter",
        "Streams ended because history moved past their reader.",
        now.lapped,
    );
    out.one(
        "fanfare_readers_stalled_total",
        "counter",
        "Streams ended because their reader took nothing for timeouts.write.",
        now.stalled,
    );
    out.one("fanfare_history_events", "gauge", "Events retained.", now.engine.history_events);
    out.one("fanfare_history_bytes", "gauge", "Bytes of history retained.", now.engine.history_bytes);
    out.one(
        "fanfare_history_limit_bytes",
        "gauge",
        "Bytes of history that may be retained.",
        now.history_limit,
    );
    out.one("fanfare_topics", "gauge", "Topics.", now.engine.topics as u64);
    out.one("fanfare_topics_limit", "gauge", "Topics that may exist at once.", u64::from(now.topics_limit));
    out.one(
        "fanfare_subscriptions",
        "gauge",
        "Cursors of readers, in process and over the network; identical readers share one.",
        now.engine.subscriptions as u64,
    );
    let names: Vec<String> = (0..now.lanes.len()).map(|index| index.to_string()).collect();
    let mut column = |name: &str, kind: &str, help: &str, value: fn(&LaneStats) -> u64| {
        let values = names.iter().zip(&now.lanes).map(|(index, lane)| (index.as_str(), value(lane)));
        out.many(name, kind, help, "lane", values);
    };
    column("fanfare_lane_sockets", "gauge", "Sockets of each lane.", |lane| lane.sockets);
    column("fanfare_lane_batches_total", "counter", "Batches pulled by each lane.", |lane| lane.batches);
    column("fanfare_lane_writes_total", "counter", "Writes to sockets by each lane.", |lane| lane.writes);
    let help = "Writes that a full socket cut short.";
    column("fanfare_lane_partial_writes_total", "counter", help, |lane| lane.partial);
    let help = "1 for a lane that sends by io_uring.";
    column("fanfare_lane_io_uring", "gauge", help, |lane| u64::from(lane.io_uring));
    if let Some(stats) = &now.store {
        store(&mut out, stats);
    }
    handlers(&mut out, &now.handlers);
    out.head("fanfare_uptime_seconds", "gauge", "Seconds since the start.");
    let _ = writeln!(out.0, "fanfare_uptime_seconds {}.{:03}", now.uptime_ms / 1_000, now.uptime_ms % 1_000);
    out.head("fanfare_build_info", "gauge", "Version, as a label.");
    let _ = writeln!(out.0, "fanfare_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    out.0
}

/// History on disk.
fn store(out: &mut Exposition, stats: &JournalStats) {
    let nanos = |time: Duration| Seconds(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    out.one("fanfare_store_events", "gauge", "Events on disk.", stats.events);
    out.one("fanfare_store_bytes", "gauge", "Bytes of events on disk.", stats.bytes);
    out.one("fanfare_store_files", "gauge", "Files of the log on disk.", stats.files);
    out.one(
        "fanfare_store_oldest",
        "gauge",
        "Position of the oldest event on disk, 0 if there is none.",
        stats.oldest,
    );
    out.one("fanfare_store_queue_bytes", "gauge", "Bytes that wait to be written.", stats.queue_bytes);
    out.one("fanfare_store_failing", "gauge", "1 while writing fails.", u64::from(stats.failing.is_some()));
    out.head("fanfare_store_write_seconds", "summary", "Writes, each with its sync if it had one.");
    let _ = writeln!(out.0, "fanfare_store_write_seconds_sum {}", nanos(stats.write_time));
    let _ = writeln!(out.0, "fanfare_store_write_seconds_count {}", stats.writes);
    out.head("fanfare_store_longest_write_seconds", "gauge", "The longest write.");
    let _ = writeln!(out.0, "fanfare_store_longest_write_seconds {}", nanos(stats.longest_write));
    out.one("fanfare_store_pages_total", "counter", "Pages that readers got from disk.", stats.pages);
    out.one("fanfare_store_page_events_total", "counter", "Events in these pages.", stats.page_events);
}

/// The handlers, each under its name: they come from the configuration and are few.
fn handlers(out: &mut Exposition, handlers: &[HandlerInfo]) {
    let counted: Vec<(String, &HandlerStats)> = handlers
        .iter()
        .filter_map(|handler| {
            Some((format!("handler=\"{}\"", label(&handler.name)), handler.stats.as_ref()?))
        })
        .collect();
    if counted.is_empty() {
        return;
    }
    let mut sums = |name: &str, kind: &str, help: &str, value: fn(&HandlerStats) -> u64| {
        out.head(name, kind, help);
        for (labels, stats) in &counted {
            out.line(name, labels, value(stats));
        }
    };
    sums(
        "fanfare_handler_recycled_total",
        "counter",
        "Instances of each handler that were replaced.",
        |stats| stats.recycled,
    );
    sums(
        "fanfare_handler_rested_total",
        "counter",
        "Events decided without a call, after many faults.",
        |stats| stats.rested,
    );
    sums("fanfare_handler_instances", "gauge", "Instances of each handler.", |stats| stats.instances);
    sums("fanfare_handler_memory_bytes", "gauge", "The most memory that an instance has held.", |stats| {
        stats.memory_bytes
    });
    sums("fanfare_handler_state_bytes", "gauge", "State that each handler keeps.", |stats| stats.state_bytes);
    sums("fanfare_handler_reloads_total", "counter", "Exchanges of each handler's code.", |stats| {
        stats.reloads
    });
    sums("fanfare_handler_failed_reloads_total", "counter", "New code that was refused.", |stats| {
        stats.failed_reloads
    });
    let mut parts =
        |name: &str, help: &str, part: &str, value: fn(&HandlerStats) -> &[(&'static str, u64)]| {
            out.head(name, "counter", help);
            for (labels, stats) in &counted {
                for (text, count) in value(stats) {
                    out.line(name, &format!("{labels},{part}=\"{text}\""), *count);
                }
            }
        };
    parts("fanfare_handler_outcomes_total", "What each handler answered.", "outcome", |stats| {
        &stats.outcomes
    });
    parts("fanfare_handler_faults_total", "How each handler failed.", "kind", |stats| &stats.faults);
    out.head("fanfare_handler_seconds", "histogram", "How long each handler took for an event.");
    for (labels, stats) in &counted {
        for (us, count) in &stats.times_us {
            let bound = Seconds(us * 1_000);
            out.line("fanfare_handler_seconds_bucket", &format!("{labels},le=\"{bound}\""), *count);
        }
        out.line("fanfare_handler_seconds_bucket", &format!("{labels},le=\"+Inf\""), stats.calls);
        let _ = writeln!(out.0, "fanfare_handler_seconds_sum{{{labels}}} {}", Seconds(stats.time_ns));
        out.line("fanfare_handler_seconds_count", labels, stats.calls);
    }
}

/// Nanoseconds, shown as seconds.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// A text as a label's value.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Text under way. Writing to a String cannot fail.
struct Exposition(String);

impl Exposition {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn line(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "{name}{{{labels}}} {value}");
    }

    fn many<'a>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        self.head(name, kind, help);
        for (text, value) in values {
            let _ = writeln!(self.0, "{name}{{{label}=\"{text}\"}} {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfare_engine::{
        Config, Draft, Engine, Epoch, Fault, Handler, HandlerSpec, OnFault, Timestamp, TopicPattern, Turn,
        Verdict,
    };

    use super::*;

    struct Counting;

    impl Handler for Counting {
        fn handle(&self, _: &Draft<'_>, _: Timestamp, _: &mut Turn) -> Result<Verdict, Fault> {
            Ok(Verdict::Pass)
        }

        fn stats(&self) -> Option<HandlerStats> {
            Some(HandlerStats {
                calls: 3,
                outcomes: vec![("pass", 2)],
                faults: vec![("trap", 1)],
                time_ns: 1_500_000_000,
                times_us: vec![(1, 1), (500_000, 2)],
                ..HandlerStats::default()
            })
        }
    }

    #[test]
    fn handlers_are_told_by_escaped_names() {
        let engine = Engine::new(Config::new(Epoch::parse("abc").expect("sound"))).expect("sound");
        let mut out = Exposition(String::new());
        handlers(&mut out, &engine.handlers());
        assert_eq!(out.0, "", "no handlers, no metrics of theirs");
        engine.add_handler(HandlerSpec {
            name: "a\"b\\c\nd".into(),
            topics: TopicPattern::parse("*"),
            events: Box::default(),
            on_fault: OnFault::Closed,
            handler: std::sync::Arc::new(Counting),
        });
        handlers(&mut out, &engine.handlers());
        for line in [
            r#"fanfare_handler_outcomes_total{handler="a\"b\\c\nd",outcome="pass"} 2"#,
            r#"fanfare_handler_faults_total{handler="a\"b\\c\nd",kind="trap"} 1"#,
            r#"fanfare_handler_seconds_bucket{handler="a\"b\\c\nd",le="0.000001000"} 1"#,
            r#"fanfare_handler_seconds_bucket{handler="a\"b\\c\nd",le="0.500000000"} 2"#,
            r#"fanfare_handler_seconds_bucket{handler="a\"b\\c\nd",le="+Inf"} 3"#,
            r#"fanfare_handler_seconds_sum{handler="a\"b\\c\nd"} 1.500000000"#,
            r#"fanfare_handler_seconds_count{handler="a\"b\\c\nd"} 3"#,
        ] {
            assert!(out.0.lines().any(|found| found == line), "{line} in\n{}", out.0);
        }
    }
}
