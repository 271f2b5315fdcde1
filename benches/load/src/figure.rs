//! What runs measured.

use std::time::{Duration, Instant};

/// One measured value.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    /// Written behind the value.
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
}

impl Figure {
    pub(crate) fn new(name: &'static str, unit: &'static str, value: f64) -> Self {
        Self { name, unit, value }
    }
}

/// Median and spread of one figure over all runs of a case on a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` without values.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { least, median: f64::midpoint(low, high), most })
    }
}

/// How late things were, in milliseconds, at the given parts of all of them (nearest rank).
pub(crate) fn percentiles<const N: usize>(due: &[Instant], arrived: &[Instant], parts: [f64; N]) -> [f64; N] {
    let mut late: Vec<Duration> =
        due.iter().zip(arrived).map(|(due, arrived)| arrived.saturating_duration_since(*due)).collect();
    late.sort_unstable();
    parts.map(|part| {
        let rank = (part * late.len() as f64).ceil() as usize;
        late.get(rank.saturating_sub(1)).map_or(f64::NAN, |late| late.as_secs_f64() * 1e3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_takes_the_middle() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.least, spread.median, spread.most), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of(vec![4.0, 2.0]).unwrap().median, 3.0);
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn percentiles_are_of_the_plan() {
        let start = Instant::now();
        let due = vec![start; 100];
        let arrived: Vec<Instant> = (1..=100).map(|ms| start + Duration::from_millis(ms)).collect();
        let [p50, p99, p999] = percentiles(&due, &arrived, [0.5, 0.99, 0.999]);
        assert!((p50 - 50.0).abs() < 1e-9 && (p99 - 99.0).abs() < 1e-9 && (p999 - 100.0).abs() < 1e-9);
    }
}
