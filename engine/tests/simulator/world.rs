//! What really happened, and the run of the world in virtual time.

use fanfare_engine::{
    Draft, Engine, Key, LagPolicy, PublishError, Pulled, Start, SubscribeError, SubscribeOptions, Timestamp,
    Watcher,
};

use crate::client::{Accounts, Client, Read, position};
use crate::support::{Random, engine};

const TOPICS: usize = 60;
const LANES: usize = 4;
const TICK_MS: u64 = 50;
const KINDS: [&str; 3] = ["x", "y", "z"];
const NAMES: [&str; 3] = ["ann", "bob", "eve"];

/// An event as it was published.
pub(crate) struct Event {
    pub(crate) topic: usize,
    kind: &'static str,
    except: Option<&'static str>,
    key: u64,
}

/// Everything that was published.
#[derive(Default)]
pub(crate) struct Truth {
    events: Vec<Event>,
    by_topic: Vec<Vec<u64>>,
}

impl Truth {
    pub(crate) fn event(&self, seq: u64) -> &Event {
        &self.events[seq as usize - 1]
    }

    fn newest(&self) -> u64 {
        self.events.len() as u64
    }

    pub(crate) fn of_topic(&self, topic: usize, after: u64, through: u64) -> impl Iterator<Item = u64> {
        let from = self.by_topic[topic].partition_point(|seq| *seq <= after);
        self.by_topic[topic][from..].iter().copied().take_while(move |seq| *seq <= through)
    }

    pub(crate) fn passes(&self, client: &Client, seq: u64) -> bool {
        let event = self.event(seq);
        client.kind.is_none_or(|kind| kind == event.kind)
            && (event.except.is_none() || event.except != client.name)
    }

    pub(crate) fn has_newer_value(&self, seq: u64) -> bool {
        let event = self.event(seq);
        self.of_topic(event.topic, seq, u64::MAX).any(|later| self.event(later).key == event.key)
    }
}

pub(crate) struct World {
    engine: Engine,
    random: Random,
    truth: Truth,
    tick: u64,
    lanes: Vec<Watcher>,
    clients: Vec<Client>,
    accounts: Accounts,
    pub(crate) lapped: u64,
    pub(crate) returned: u64,
    pub(crate) ended: u64,
}

impl World {
    pub(crate) fn new(seed: u64, clients: usize) -> Self {
        let engine = engine(|config| {
            config.history.events = 32;
            config.history.age_ms = 6_000;
            config.topic.idle_ms = 500;
            config.limits.event_bytes = 4096;
        });
        let lanes = (0..LANES).map(|_| engine.watcher()).collect();
        let truth = Truth { by_topic: vec![Vec::new(); TOPICS], ..Truth::default() };
        let mut world = Self {
            engine,
            random: Random::new(seed),
            truth,
            tick: 0,
            lanes,
            clients: Vec::new(),
            accounts: Accounts::default(),
            lapped: 0,
            returned: 0,
            ended: 0,
        };
        for _ in 0..clients {
            world.arrive();
        }
        world
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.tick * TICK_MS)
    }

    /// Busy topics have low numbers.
    fn some_topic(&mut self) -> usize {
        (self.random.below(TOPICS as u64 + 1) * self.random.below(TOPICS as u64) / TOPICS as u64) as usize
    }

    fn arrive(&mut self) {
        let mut topics: Vec<usize> = (0..1 + self.random.below(3)).map(|_| self.some_topic()).collect();
        topics.sort_unstable();
        topics.dedup();
        let back = [0, 0, 10, 500][self.random.below(4) as usize];
        let lag =
            [LagPolicy::Disconnect, LagPolicy::Skip, LagPolicy::Conflate][self.random.below(3) as usize];
        let mut client = Client::new(topics, self.truth.newest().saturating_sub(back), lag);
        client.kind = KINDS.get(self.random.below(12) as usize).copied();
        client.name = NAMES.get(self.random.below(9) as usize).copied();
        client.period = [0, 0, 1, 3, 20, 90][self.random.below(6) as usize];
        client.lane = self.random.below(LANES as u64) as usize;
        client.back_at = self.tick;
        self.clients.push(client);
    }

    /// One step of time.
    pub(crate) fn tick(&mut self) {
        self.tick += 1;
        for _ in 0..self.random.below(40) {
            self.publish();
        }
        if self.random.below(10) == 0 {
            let topic = self.some_topic();
            self.engine.close_topic(&topic.to_string(), self.now()).expect("a good name");
        }
        if self.tick.is_multiple_of(20) {
            self.engine.handle_timeout(self.now());
        }
        let mut dirty: Vec<Vec<Key>> = vec![Vec::new(); LANES];
        for (lane, dirty) in self.lanes.iter().zip(&mut dirty) {
            lane.take_dirty(dirty);
            dirty.sort_unstable();
        }
        let mut at = 0;
        while at < self.clients.len() {
            if self.step(at, &dirty) {
                at += 1;
            } else {
                self.clients.swap_remove(at);
                self.arrive();
            }
        }
    }

    fn publish(&mut self) {
        let topic = self.some_topic();
        let kind = KINDS[self.random.below(3) as usize];
        let except = NAMES.get(self.random.below(20) as usize).copied();
        let key = self.random.below(6);
        let data = "x".repeat(self.random.below(100) as usize);
        let draft = Draft {
            event: Some(kind.into()),
            except: except.map(Into::into),
            key: Some(format!("k{key}").into()),
            ..Draft::new(topic.to_string(), data)
        };
        match self.engine.publish(draft, self.now()) {
            Ok(published) => {
                self.truth.events.push(Event { topic, kind, except, key });
                assert_eq!(published.seq, self.truth.newest());
                self.truth.by_topic[topic].push(published.seq);
            }
            Err(error) => assert_eq!(error, PublishError::TopicClosed),
        }
    }

    /// Lets a client do something; false if it goes for good.
    fn step(&mut self, at: usize, dirty: &[Vec<Key>]) -> bool {
        if self.clients[at].subscription.is_none() {
            return self.clients[at].back_at > self.tick || self.connect(at);
        }
        let client = &self.clients[at];
        let due = match client.period {
            0 => {
                let mut keys = Vec::new();
                client.subscription.as_ref().expect("connected").topic_keys(&mut keys);
                keys.iter().any(|key| dirty[client.lane].binary_search(key).is_ok())
            }
            period => self.tick % period == at as u64 % period,
        };
        if due && !self.read(at) {
            return false;
        }
        let connected = self.clients[at].subscription.is_some();
        if connected && self.random.below(300) == 0 && self.clients[at].topics.len() < 5 {
            self.add_topic(at);
        }
        if self.random.below(1000) == 0 {
            let client = &self.clients[at];
            client.settle(position(&client.last_id), &self.truth, &mut self.accounts);
            return false;
        }
        true
    }

    fn connect(&mut self, at: usize) -> bool {
        let now = self.now();
        let client = &mut self.clients[at];
        let options = SubscribeOptions {
            topics: client.topics.iter().map(|read| read.topic.to_string().into()).collect(),
            start: Start::After(client.last_id.clone().into()),
            client: client.name.map(Into::into),
            events: client.kind.map(Into::into).into_iter().collect(),
            lag: client.lag,
        };
        match self.engine.subscribe(&self.lanes[client.lane], &options, now) {
            Ok(subscription) => {
                client.subscription = Some(subscription);
                self.returned += 1;
                // What was there before is not announced.
                self.read(at)
            }
            Err(error) => {
                assert_eq!(error, SubscribeError::Closed);
                self.end(at)
            }
        }
    }

    /// Reads; some connections are cut in the middle of it. False if the client goes for good.
    fn read(&mut self, at: usize) -> bool {
        let client = &mut self.clients[at];
        let subscription = client.subscription.as_ref().expect("connected");
        let mut frames = Vec::new();
        // Who is fast takes everything; others a part.
        let budget = if client.period == 0 { usize::MAX } else { self.random.below(4000) as usize };
        let pulled = subscription.pull(&mut frames, budget);
        if self.random.below(100) == 0 {
            let arrived = self.random.below(frames.len() as u64 + 1) as usize;
            client.receive(&frames[..arrived], &self.truth);
            client.cut(self.tick + self.random.below(40));
            return true;
        }
        client.receive(&frames, &self.truth);
        match pulled {
            Pulled::More | Pulled::Idle => true,
            Pulled::Lapped => {
                self.lapped += 1;
                client.cut(self.tick + self.random.below(10));
                true
            }
            Pulled::Ended => self.end(at),
        }
    }

    fn end(&mut self, at: usize) -> bool {
        self.ended += 1;
        self.clients[at].settle(self.truth.newest(), &self.truth, &mut self.accounts);
        false
    }

    fn add_topic(&mut self, at: usize) {
        let (topic, now) = (self.some_topic(), self.now());
        let client = &mut self.clients[at];
        let subscription = client.subscription.as_ref().expect("connected");
        match subscription.add_topic(&topic.to_string(), now) {
            Ok(true) => client.topics.push(Read { topic, after: self.truth.newest() }),
            Ok(false) => {}
            Err(error) => assert_eq!(error, SubscribeError::Closed),
        }
    }

    /// Lets every client read to the end, and settles all accounts.
    pub(crate) fn finish(mut self) -> Accounts {
        let prompt = self.lanes.iter().map(|lane| {
            let mut dirty = Vec::new();
            lane.take_dirty(&mut dirty);
            dirty.len()
        });
        assert_eq!(prompt.sum::<usize>(), 0, "the last tick has read everything that was announced");
        for at in 0..self.clients.len() {
            let newest = self.truth.newest();
            let client = &self.clients[at];
            if client.period == 0
                && let Some(subscription) = &client.subscription
            {
                let mut frames = Vec::new();
                let left = subscription.pull(&mut frames, usize::MAX);
                assert!(frames.is_empty() && left == Pulled::Idle, "a wake-up was lost: {left:?} {frames:?}");
            }
            self.random = Random::new(at as u64);
            loop {
                let gone = match self.clients[at].subscription {
                    None => !self.connect(at),
                    Some(_) => !self.read(at),
                };
                if gone {
                    break;
                }
                let client = &self.clients[at];
                if client.subscription.as_ref().is_some_and(|subscription| subscription.cursor() == newest) {
                    client.settle(newest, &self.truth, &mut self.accounts);
                    break;
                }
            }
        }
        self.clients.clear();
        let stats = self.engine.stats();
        assert_eq!((stats.subscriptions, stats.published), (0, self.truth.newest()));
        assert!(self.engine.topic_stats(TOPICS).iter().all(|topic| topic.subscribers == 0));
        self.accounts
    }
}
