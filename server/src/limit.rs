//! How many events per second one address may publish: a token bucket for each, in a table that cannot grow without bound.
//!
//! A bucket holds at most one second's events. A batch is admitted when the bucket holds any token that its size needs up to a full
//! bucket; what it takes beyond becomes a debt, so a large batch is possible and paid for afterwards.

use std::collections::HashMap;
use std::net::IpAddr;

use fanfare_engine::{Code, Timestamp};
use parking_lot::Mutex;

use crate::reply::Refusal;
use crate::shared::address_key;

/// Addresses remembered at once. When as many are active in one second, further ones share a bucket.
const MAX_ADDRESSES: usize = 16_384;

/// The publish limiter of one server.
pub(crate) struct PublishRate {
    /// Events per second; 0 = no limit.
    rate: u64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    buckets: HashMap<IpAddr, Bucket, ahash::RandomState>,
    shared: Option<Bucket>,
}

/// Thousandths of an event: `rate` of them come back each millisecond.
#[derive(Clone, Copy)]
struct Bucket {
    level: i64,
    at: Timestamp,
}

impl PublishRate {
    pub(crate) fn new(rate: u32) -> PublishRate {
        PublishRate { rate: u64::from(rate), table: Mutex::default() }
    }

    /// Takes `events` from the bucket of `address`, or says when to come again.
    pub(crate) fn take(&self, address: IpAddr, events: u64, now: Timestamp) -> Result<(), Refusal> {
        if self.rate == 0 || events == 0 {
            return Ok(());
        }
        let rate = i64::try_from(self.rate).unwrap_or(i64::MAX / 1_000);
        let full = rate.saturating_mul(1_000);
        let key = address_key(address);
        let mut table = self.table.lock();
        let table = &mut *table;
        if table.buckets.len() >= MAX_ADDRESSES && !table.buckets.contains_key(&key) {
            // A bucket that is full again is the same as none.
            table.buckets.retain(|_, bucket| bucket.refilled(rate, full, now).level < full);
        }
        let fresh = Bucket { level: full, at: now };
        let bucket = if table.buckets.len() >= MAX_ADDRESSES && !table.buckets.contains_key(&key) {
            table.shared.get_or_insert(fresh)
        } else {
            table.buckets.entry(key).or_insert(fresh)
        };
        *bucket = bucket.refilled(rate, full, now);
        let cost = i64::try_from(events).unwrap_or(i64::MAX).saturating_mul(1_000);
        let needed = cost.min(full);
        if bucket.level < needed {
            let wait_ms = (needed - bucket.level).div_ceil_by(rate);
            let seconds = u32::try_from(wait_ms.div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
            let message =
                format!("this address may publish {} events per second (`limits.publish_rate`)", self.rate);
            return Err(Refusal::new(Code::RateLimited, message).limit(self.rate).retry_after(seconds));
        }
        bucket.level -= cost;
        Ok(())
    }
}

impl Bucket {
    fn refilled(self, rate: i64, full: i64, now: Timestamp) -> Bucket {
        let elapsed = i64::try_from(now.0.saturating_sub(self.at.0)).unwrap_or(i64::MAX);
        Bucket {
            level: self.level.saturating_add(elapsed.saturating_mul(rate)).min(full),
            at: Timestamp(now.0.max(self.at.0)),
        }
    }
}

trait DivCeil {
    fn div_ceil_by(self, by: i64) -> u64;
}

impl DivCeil for i64 {
    /// Of two positive numbers.
    fn div_ceil_by(self, by: i64) -> u64 {
        self.unsigned_abs().div_ceil(by.unsigned_abs().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn the_bucket_empties_and_fills() {
        let rate = PublishRate::new(10);
        for _ in 0..10 {
            assert!(rate.take(HERE, 1, Timestamp(5)).is_ok());
        }
        let refusal = rate.take(HERE, 1, Timestamp(5)).expect_err("the eleventh");
        assert_eq!(refusal.code, Code::RateLimited);
        assert!(rate.take(HERE, 1, Timestamp(104)).is_err());
        assert!(rate.take(HERE, 1, Timestamp(105)).is_ok());
        assert!(rate.take(HERE, 11, Timestamp(5_000)).is_ok(), "a batch beyond the bucket goes into debt");
        assert!(rate.take(HERE, 1, Timestamp(5_100)).is_err(), "the debt is paid first");
        assert!(rate.take(HERE, 1, Timestamp(5_200)).is_ok());
        assert!(PublishRate::new(0).take(HERE, u64::MAX, Timestamp(0)).is_ok());
        assert!(rate.take(HERE, u64::MAX, Timestamp(u64::MAX)).is_ok());
    }

    #[test]
    fn the_table_is_bounded() {
        let rate = PublishRate::new(1);
        for n in 0..(MAX_ADDRESSES as u32 + 10) {
            let _ = rate.take(IpAddr::V4(n.into()), 1, Timestamp(1));
        }
        assert_eq!(rate.table.lock().buckets.len(), MAX_ADDRESSES);
        assert!(
            rate.take(IpAddr::V4(u32::MAX.into()), 1, Timestamp(1)).is_err(),
            "the shared bucket is empty"
        );
        assert!(rate.take(IpAddr::V4(u32::MAX.into()), 1, Timestamp(1_001)).is_ok());
        assert_eq!(rate.table.lock().buckets.len(), 1, "full buckets were forgotten");
    }
}
