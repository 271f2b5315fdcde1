//! One run: a freshly started server, its subscribers, what is done to it, and what that measured.
//!
//! Every run begins with one event to all subscribers, read and checked by each, and ends with a check that each has got
//! every event, once.

mod durable;
mod many;
mod rounds;
mod steady;
mod storm;

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::client::publisher::Publisher;
use crate::client::stuck::{Stuck, more_than_fits};
use crate::client::subscribers::{Subscribers, Target};
use crate::client::tally::Look;
use crate::figure::Figure;
use crate::plan::{Act, Case};
use crate::process::Process;
use crate::server::{Places, Server};

/// How long a server rests before its idle memory is read.
const SETTLE: Duration = Duration::from_secs(2);
/// Bytes of data in each event that fills the sockets of readers that never read.
const FILL_SIZE: usize = 64 << 10;
/// How long the readers wait for bytes before they look whether the publisher is done.
const TURN: Duration = Duration::from_millis(20);

/// A server with subscribers that have got the first event.
struct Bench<'a> {
    server: Server,
    case: &'a Case,
    process: Process,
    readers: Subscribers,
    publisher: Publisher,
    /// Each reader has a topic of its own.
    own_topics: bool,
    /// Look at every event of every reader.
    exact: bool,
}

/// Runs a case once.
pub(crate) fn run(server: Server, case: &Case, exact: bool, places: &Places) -> Result<Vec<Figure>> {
    let mut process = Process::start(server, places)?;
    if let Act::Durable { publishers, time } = case.act {
        return durable::run(server, &mut process, publishers, time, case.size);
    }
    // Memory is compared with that of a server that has served.
    if matches!(case.act, Act::Idle) && !server.is_floor() {
        Publisher::connect(process.address)?.publish(&server.body(0..1, case.size))?;
    }
    let before = process.memory()?;
    let own_topics = matches!(case.act, Act::Topics { .. }) && server.is_embedded();
    let stuck = match case.act {
        Act::Paced { stuck: Some(count), .. } => Some(fill(server, &process, count)?),
        _ => None,
    };
    let target = Target { own_topics, ..process.target() };
    let readers = Subscribers::open(&target, case.subscribers, 0, None)
        .context("subscribers did not get their streams")?;
    if let Act::Idle = case.act {
        sleep(SETTLE);
        let added = process.memory()?.saturating_sub(before) as f64;
        let value = added / case.subscribers as f64;
        return Ok(vec![Figure::new("memory of the server per subscriber", "B", value)]);
    }
    let publisher = Publisher::connect(process.address)?;
    let mut bench = Bench { server, case, process, readers, publisher, own_topics, exact };
    bench.warm_up()?;
    let queued = stuck.as_ref().map(Stuck::queued).transpose()?;
    let figures = match case.act {
        Act::Idle | Act::Durable { .. } => Vec::new(),
        Act::Burst { events } => bench.burst(events)?,
        Act::Paced { events, gap, times, .. } => bench.paced(events, gap, times)?,
        Act::Topics { events, gap } => bench.topics(events, gap)?,
        Act::PingPong { events } => bench.ping_pong(events)?,
        Act::Storm { missed } => bench.storm(missed)?,
        Act::Publishers { publishers, events } => bench.publishers(publishers, events)?,
    };
    if let (Some(stuck), Some(queued)) = (stuck, queued) {
        stuck.check(&queued)?;
    }
    Ok(figures)
}

/// Opens readers that never read, and publishes until nothing more goes into their sockets. Before there are others, so that those have
/// sockets like any other time; and with none of these the same is published, so that history is alike.
fn fill(server: Server, process: &Process, count: usize) -> Result<Stuck> {
    let stuck = Stuck::open(process.address, count)?;
    let mut publisher = Publisher::connect(process.address)?;
    let body = server.body(0..1, FILL_SIZE);
    for _ in 0..more_than_fits().div_ceil(FILL_SIZE) {
        publisher.publish(&body)?;
    }
    Ok(stuck)
}

/// Reads while `publish` runs on a thread of its own; returns when every reader has `events`.
fn read_during<T: Send>(
    readers: &mut Subscribers,
    events: usize,
    publish: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let published = std::thread::scope(|scope| {
        let publishing = scope.spawn(publish);
        while !publishing.is_finished() {
            readers.read_once(TURN)?;
        }
        publishing.join().map_err(|_| anyhow!("the publisher panicked"))?
    })?;
    readers.finish(events as u64)?;
    Ok(published)
}

impl Bench<'_> {
    /// The first event, numbered 0: whoever has it is subscribed.
    fn warm_up(&mut self) -> Result<()> {
        self.readers.begin(Look::Exact, None);
        if self.own_topics {
            self.ask_for(0, 1, Duration::ZERO)?;
        } else {
            self.publisher.publish(&self.server.body(0..1, self.case.size))?;
        }
        self.readers.finish(1).context("the first event")
    }

    /// How readers look at what comes, unless every event is to be looked at anyway.
    fn look(&self, look: Look) -> Look {
        if self.exact { Look::Exact } else { look }
    }

    /// Reads while `publish` runs on a thread of its own, so that a server that answers late does not keep the readers from
    /// reading; returns when every reader has `events`.
    fn read_while<T: Send>(
        &mut self,
        events: usize,
        publish: impl FnOnce(Server, &mut Publisher) -> Result<T> + Send,
    ) -> Result<T> {
        let (server, publisher) = (self.server, &mut self.publisher);
        read_during(&mut self.readers, events, move || publish(server, publisher))
    }

    /// CPU of the server and time that `body` took, in seconds.
    fn measured<T>(&mut self, body: impl FnOnce(&mut Self) -> Result<T>) -> Result<(T, f64, f64)> {
        let (cpu, started) = (self.process.cpu()?, Instant::now());
        let value = body(self)?;
        let seconds = started.elapsed().as_secs_f64();
        Ok((value, self.process.cpu()? - cpu, seconds))
    }

    fn deliveries(&self, events: usize) -> f64 {
        (events * self.case.subscribers) as f64
    }
}
