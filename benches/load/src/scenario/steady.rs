//! Events back to back, and events at a rate.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Bench, read_during};
use crate::client::tally::Look;
use crate::figure::{Figure, percentiles};

const PER_DELIVERY: &str = "CPU of the server per delivery";
/// Bytes of data in one publish: below what every server takes as it comes.
const BODY_BYTES: usize = 512 << 10;

impl Bench<'_> {
    /// As fast as the server takes them, in bodies of many.
    pub(super) fn burst(&mut self, events: usize) -> Result<Vec<Figure>> {
        let size = self.case.size;
        let look = self.look(Look::Bytes);
        self.readers.begin(look, None);
        let ((), cpu, seconds) = self.measured(|bench| {
            bench.read_while(events, |server, publisher| {
                let (mut done, most) = (0, server.burst_body().min(BODY_BYTES / size.max(1)).max(1));
                while done < events {
                    let count = (events - done).min(most);
                    publisher.publish(&server.body(1 + done..1 + done + count, size))?;
                    done += count;
                }
                Ok(())
            })
        })?;
        let deliveries = self.deliveries(events);
        Ok(vec![
            Figure::new("deliveries per second", "", deliveries / seconds),
            Figure::new(PER_DELIVERY, "us", cpu * 1e6 / deliveries),
            Figure::new("data delivered", "MB/s", deliveries * size as f64 / seconds / 1e6),
        ])
    }

    /// One event every `gap`. With `times`, how late each reached the readers, counted from when it was due: a server that
    /// stalls is charged for what waits meanwhile.
    pub(super) fn paced(&mut self, events: usize, gap: Duration, times: bool) -> Result<Vec<Figure>> {
        if self.server.is_embedded() {
            return self.paced_inside(events, gap, Look::Bytes);
        }
        self.paced_by(events, gap, if times { Look::Events } else { Look::Bytes }, times)
    }

    fn paced_by(&mut self, events: usize, gap: Duration, look: Look, times: bool) -> Result<Vec<Figure>> {
        let (size, look) = (self.case.size, self.look(look));
        self.readers.begin(look, times.then_some(events));
        let memory = self.process.memory()?;
        let (due, cpu, _) = self.measured(|bench| {
            bench.read_while(events, |server, publisher| {
                let start = Instant::now();
                let mut all_due = Vec::with_capacity(events);
                for n in 0..events {
                    let body = server.body(1 + n..2 + n, size);
                    // By the plan, not by the last answer: a stall does not slow the publisher down for good.
                    let due = start + gap * u32::try_from(n)?;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    publisher.publish(&body)?;
                    all_due.push(due);
                }
                Ok(all_due)
            })
        })?;
        let grown = self.process.memory()?.saturating_sub(memory) as f64;
        let per_delivery = cpu * 1e6 / self.deliveries(events);
        let mut figures = vec![Figure::new(PER_DELIVERY, "us", per_delivery)];
        if times {
            let (median, last) = self.readers.arrivals()?;
            let [p50, p99, p999] = percentiles(&due, &last, [0.5, 0.99, 0.999]);
            figures.push(Figure::new("publish to the last subscriber, p50", "ms", p50));
            figures.push(Figure::new("publish to the last subscriber, p99", "ms", p99));
            figures.push(Figure::new("publish to the last subscriber, p99.9", "ms", p999));
            let [p50, p99, p999] = percentiles(&due, &median, [0.5, 0.99, 0.999]);
            figures.push(Figure::new("publish to the median subscriber, p50", "ms", p50));
            figures.push(Figure::new("publish to the median subscriber, p99", "ms", p99));
            figures.push(Figure::new("publish to the median subscriber, p99.9", "ms", p999));
            figures.push(Figure::new("memory that the server grew by", "KiB", grown / 1024.0));
        }
        Ok(figures)
    }

    /// An event to each subscriber's own topic, every `gap`; a floor, which has no topics, sends the same to the same sockets.
    pub(super) fn topics(&mut self, events: usize, gap: Duration) -> Result<Vec<Figure>> {
        if self.own_topics {
            // Ids differ from topic to topic, and so do the lengths of frames.
            return self.paced_inside(events, gap, Look::Events);
        }
        self.paced_by(events, gap, Look::Events, false)
    }

    /// Lets a thread of the server publish, and waits until it has.
    pub(super) fn ask_for(&mut self, first: usize, events: usize, gap: Duration) -> Result<()> {
        let command = self.command(first, events, gap);
        waited(&self.process.ask(&command)?, events).map(drop)
    }

    fn command(&self, first: usize, events: usize, gap: Duration) -> String {
        let topics = if self.own_topics { self.case.subscribers } else { 0 };
        format!("pace {first} {events} {} {} {topics}", gap.as_nanos(), self.case.size)
    }

    /// The same, published by a thread of the server itself. What it costs that thread to wait for the next event's time is the bench's and not counted, as
    /// it is not where the publisher is another process.
    fn paced_inside(&mut self, events: usize, gap: Duration, look: Look) -> Result<Vec<Figure>> {
        let look = self.look(look);
        self.readers.begin(look, None);
        let command = self.command(1, events, gap);
        let (waited, cpu, _) = self.measured(|bench| {
            let process = &mut bench.process;
            let answer = read_during(&mut bench.readers, events, move || process.ask(&command))?;
            waited(&answer, events)
        })?;
        let deliveries = self.deliveries(events);
        Ok(vec![Figure::new(PER_DELIVERY, "us", (cpu - waited) * 1e6 / deliveries)])
    }
}

/// What an application says that was asked for `events`: seconds of processor time between them.
fn waited(answer: &str, events: usize) -> Result<f64> {
    let words = answer.trim_end().split_once(' ');
    let numbers = words.and_then(|(published, nanoseconds)| {
        Some((published.parse::<usize>().ok()?, nanoseconds.parse::<f64>().ok()?))
    });
    match numbers {
        Some((published, nanoseconds)) if published == events => Ok(nanoseconds / 1e9),
        _ => bail!("it was to publish {events} events and says {answer:?}"),
    }
}
