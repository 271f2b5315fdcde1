//! Rules for single topics: how safe their events are, and how many of them are kept.

use fanfare_engine::options::{Kind, OptionError, Value};
use fanfare_engine::{TopicPattern, check_topic};

use crate::durability::Durability;

const KEY: &str = "history.topics";
const EXPECTED: &str =
    "TOPIC and, behind spaces, durability=none|os|interval|always, events=N, bytes=SIZE or age=TIME";
const COUNT: Kind = Kind::Count { min: 1, max: u64::MAX };
const SIZE: Kind = Kind::Bytes { min: 1, max: 1 << 50 };
const TIME: Kind = Kind::Duration { min: 1, max: 10 * 366 * 86_400_000 };

/// All rules. The first that fits a topic is its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules(Vec<Rule>);

/// What holds for some topics. Limits that are 0 are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    topics: TopicPattern,
    durability: Option<Durability>,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) age_ms: u64,
}

impl Rules {
    /// Reads `TOPIC NAME=VALUE ..` of each item.
    ///
    /// # Errors
    /// Names the option and shows the item that is wrong.
    pub(crate) fn parse(items: &[String]) -> Result<Self, OptionError> {
        items.iter().map(|item| Rule::parse(item)).collect::<Result<_, _>>().map(Self)
    }

    fn of(&self, topic: &str) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.topics.matches(topic))
    }

    /// How safe events of a topic are, if it has a rule about that.
    pub(crate) fn durability(&self, topic: &str) -> Option<Durability> {
        self.of(topic).and_then(|rule| rule.durability)
    }

    /// The least safe of all, if there is any.
    pub(crate) fn weakest(&self) -> Option<Durability> {
        self.0.iter().filter_map(|rule| rule.durability).min()
    }

    /// The safest of all, if there is any.
    pub(crate) fn strongest(&self) -> Option<Durability> {
        self.0.iter().filter_map(|rule| rule.durability).max()
    }

    /// The number of a topic's rule, if that lets events go.
    pub(crate) fn limit_of(&self, topic: &str) -> Option<usize> {
        self.0.iter().position(|rule| rule.topics.matches(topic)).filter(|at| self.0[*at].limits())
    }

    /// The rule of a number.
    pub(crate) fn get(&self, number: usize) -> Option<&Rule> {
        self.0.get(number)
    }

    /// Whether any rule lets events go for their age.
    pub(crate) fn age(&self) -> bool {
        self.0.iter().any(|rule| rule.age_ms != 0)
    }

    /// Whether any rule lets events go.
    pub(crate) fn limit(&self) -> bool {
        self.0.iter().any(Rule::limits)
    }
}

impl Rule {
    fn parse(item: &str) -> Result<Self, OptionError> {
        let refused = |reason| OptionError::new(KEY, item, reason, EXPECTED);
        let mut words = item.split_whitespace();
        let topics = words.next().and_then(decode).ok_or_else(|| refused("has no topic that is text"))?;
        if topics != "*" && check_topic(topics.strip_suffix('*').unwrap_or(&topics)).is_err() {
            return Err(refused("names no topic"));
        }
        let topics = TopicPattern::parse(&topics);
        let mut rule = Self { topics, durability: None, events: 0, bytes: 0, age_ms: 0 };
        let mut seen = Vec::new();
        for word in words {
            let (name, text) = word.split_once('=').ok_or_else(|| refused("has a word without a ="))?;
            if seen.contains(&name) {
                return Err(refused("says something twice"));
            }
            seen.push(name);
            let number = |kind: Kind| match kind.parse(text) {
                Ok(Value::Number(number)) => Ok(number),
                _ => Err(refused("has a limit that is none")),
            };
            match name {
                "durability" => {
                    rule.durability =
                        Some(text.parse().map_err(|_| refused("has a durability that is none"))?);
                }
                "events" => rule.events = number(COUNT)?,
                "bytes" => rule.bytes = number(SIZE)?,
                "age" => rule.age_ms = number(TIME)?,
                _ => return Err(refused("has a name that means nothing")),
            }
        }
        if seen.is_empty() { Err(refused("says nothing about its topics")) } else { Ok(rule) }
    }

    fn limits(&self) -> bool {
        self.events != 0 || self.bytes != 0 || self.age_ms != 0
    }
}

/// A topic as in a path of a URL: `%2C` is a comma, `%20` a space.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = str::from_utf8(digits).ok().filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(items: &[&str]) -> Result<Rules, OptionError> {
        Rules::parse(&items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_first_that_fits_counts() {
        let rules = rules(&[
            "orders/eu durability=os",
            "orders/* durability=always events=1000",
            "a%2Cb%20c%25 age=1h",
            "*   bytes=1MiB  durability=none",
        ])
        .expect("valid");
        assert_eq!(rules.durability("orders/eu"), Some(Durability::Os));
        assert_eq!(rules.durability("orders/us"), Some(Durability::Always));
        assert_eq!(rules.of("orders/us").map(|rule| rule.events), Some(1000));
        assert_eq!(rules.of("orders/eu").map(Rule::limits), Some(false));
        assert_eq!(rules.of("a,b c%").map(|rule| rule.age_ms), Some(3_600_000));
        assert_eq!(rules.durability("a,b c%"), None, "the hub's");
        assert_eq!(rules.of("other").map(|rule| rule.bytes), Some(1 << 20));
        assert_eq!(rules.weakest(), Some(Durability::None));
        assert!(rules.limit() && !Rules::default().limit());
    }

    #[test]
    fn what_is_no_rule_is_named() {
        for bad in [
            "",
            "topic",
            "durability=always",
            "t durability",
            "t durability=sometimes",
            "t events=0",
            "t events=-1",
            "t bytes=much",
            "t age=0",
            "t events=1 events=2",
            "t colour=red",
            "%zz events=1",
            "%f events=1",
            "%ff events=1",
            "%0a events=1",
        ] {
            let error = rules(&["good events=1", bad]).expect_err(bad);
            assert!(error.key == KEY && error.value == bad, "{error}");
        }
    }
}
