//! Hosts, a receiver, and the hour in which it is away. Time is in milliseconds from when it goes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::backoff::Pace;
use crate::waits::Waits;

const HOSTS: usize = 100_000;
const OWED: u32 = 4;
const ROOM_A_SECOND: u64 = 2_000;
const ROOM_MOST: u64 = ROOM_A_SECOND / 10;
const NOTICED_MS: u64 = 1_000;
const ROUND_TRIP_MS: std::ops::Range<u64> = 5..100;
const SEED: u64 = 20_261_124;

pub(crate) const AWAY: Duration = Duration::from_secs(3_600);

/// After the return: what is not done by then is not waited for.
pub(crate) const AFTERWARDS: Duration = Duration::from_secs(6 * 3_600);

const BACK_MS: u64 = AWAY.as_millis() as u64;
const END_MS: u64 = BACK_MS + AFTERWARDS.as_millis() as u64;

/// A request is one number, so that millions of them are sorted soon: its time, some random bits, its host.
const HOST_BITS: u32 = 17;
const HOST_MASK: u32 = (1 << HOST_BITS) - 1;
const TIME_SHIFT: u32 = 39;

#[derive(Clone)]
struct Host<W> {
    waits: W,
    owed: u32,
    round_trip_ms: u64,
}

pub(crate) fn simulate<W: Waits>(away: Pace, waits: W) -> Outcome {
    let mut random = Random(SEED);
    let mut hosts = Vec::with_capacity(HOSTS);
    let mut requests = BinaryHeap::with_capacity(HOSTS);
    for host in 0..HOSTS as u32 {
        let round_trip_ms = random.within(ROUND_TRIP_MS);
        hosts.push(Host { waits: waits.clone(), owed: OWED, round_trip_ms });
        requests.push(request(random.within(0..NOTICED_MS), host, &mut random));
    }
    let mut outcome =
        Outcome { requests: vec![0; (END_MS / 1_000) as usize + 1], done: vec![END_MS - BACK_MS; HOSTS] };
    let (mut room, mut room_at) = (ROOM_MOST, BACK_MS);

    while let Some(Reverse(request)) = requests.pop()
        && request >> TIME_SHIFT < END_MS
    {
        let (now, number) = (request >> TIME_SHIFT, request as u32 & HOST_MASK);
        let host = &mut hosts[number as usize];
        outcome.requests[(now / 1_000) as usize] += 1;
        let wait = if now < BACK_MS {
            host.waits.failed(away, random.next())
        } else {
            room = (room + (now - room_at) * ROOM_A_SECOND / 1_000).min(ROOM_MOST);
            room_at = now;
            if room == 0 {
                host.waits.failed(Pace::Refused, random.next())
            } else {
                room -= 1;
                host.owed -= 1;
                host.waits.passed();
                if host.owed == 0 {
                    outcome.done[number as usize] = now - BACK_MS;
                    continue;
                }
                Duration::ZERO
            }
        };
        let next = now + host.round_trip_ms + wait.as_millis() as u64;
        requests.push(self::request(next, number, &mut random));
    }
    outcome
}

/// In the order of time; whose comes first in a millisecond is drawn, so that no host is always the first.
fn request(time: u64, host: u32, random: &mut Random) -> Reverse<u64> {
    let drawn = random.next() << HOST_BITS & !(u64::MAX << TIME_SHIFT);
    Reverse(time << TIME_SHIFT | drawn & !u64::from(HOST_MASK) | u64::from(host))
}

pub(crate) struct Outcome {
    /// In each second.
    pub(crate) requests: Vec<u32>,
    /// When each host had nothing to deliver any more, in milliseconds from the receiver's return.
    pub(crate) done: Vec<u64>,
}

impl Outcome {
    /// When this share of the hosts was done.
    pub(crate) fn done_by(&self, share: f64) -> Option<Duration> {
        let mut done = self.done.clone();
        done.sort_unstable();
        let last = done[((HOSTS as f64 * share) as usize).min(HOSTS) - 1];
        (last < END_MS - BACK_MS).then_some(Duration::from_millis(last))
    }

    pub(crate) fn jain(&self) -> f64 {
        let sum: f64 = self.done.iter().map(|&time| time as f64).sum();
        let squares: f64 = self.done.iter().map(|&time| (time as f64).powi(2)).sum();
        sum * sum / (squares * HOSTS as f64)
    }

    /// In the last half of the time that the receiver is away.
    pub(crate) fn mean_away(&self) -> f64 {
        let away = &self.requests[AWAY.as_secs() as usize / 2..AWAY.as_secs() as usize];
        away.iter().map(|&requests| f64::from(requests)).sum::<f64>() / away.len() as f64
    }

    pub(crate) fn most_back(&self) -> u32 {
        self.requests[AWAY.as_secs() as usize..].iter().copied().max().unwrap_or_default()
    }

    /// Requests that came after the return, for each that was taken.
    pub(crate) fn tries_for_one(&self) -> f64 {
        let came: f64 =
            self.requests[AWAY.as_secs() as usize..].iter().map(|&requests| f64::from(requests)).sum();
        came / (HOSTS as f64 * f64::from(OWED))
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }
}
