//! A pub/sub connection's canary: published once a second over a request connection, and heard here if all is well.
//! Pure: time is given, publishing and replacing are the place's business.

use tokio::time::Instant;

use crate::limits::{CANARY_EVERY, CANARY_MISSING_AFTER};

pub(super) struct Canary {
    channel: String,
    next_number: u64,
    /// One is on its way to Redis.
    publishing: bool,
    published_at: Option<Instant>,
    /// The highest number heard.
    heard: u64,
    /// The oldest that Redis has answered and that was not heard: its number and when it was answered.
    unheard: Option<(u64, Instant)>,
}

impl Canary {
    pub(super) fn new(channel: String) -> Self {
        Self { channel, next_number: 1, publishing: false, published_at: None, heard: 0, unheard: None }
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    /// The number to publish now, if one is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u64> {
        let due = self.published_at.is_none_or(|at| now - at >= CANARY_EVERY);
        if !due || self.publishing {
            return None;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.publishing = true;
        self.published_at = Some(now);
        Some(number)
    }

    /// Of the next one: it is published after whatever was until now.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// The highest number heard.
    pub(super) fn heard(&self) -> u64 {
        self.heard
    }

    /// Redis answered the publishing of `number`; from now on it must be heard soon.
    pub(super) fn answered(&mut self, number: u64, now: Instant) {
        self.publishing = false;
        if self.heard < number && self.unheard.is_none() {
            self.unheard = Some((number, now));
        }
    }

    /// Redis did not answer: the request connection is the broken one, and notices by itself.
    pub(super) fn failed(&mut self) {
        self.publishing = false;
    }

    pub(super) fn hear(&mut self, payload: &[u8]) {
        let text = std::str::from_utf8(payload).ok();
        let number = text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        self.heard = self.heard.max(number);
        if self.unheard.is_some_and(|(unheard, _)| unheard <= number) {
            self.unheard = None;
        }
    }

    pub(super) fn is_missing(&self, now: Instant) -> bool {
        self.unheard.is_some_and(|(_, answered_at)| now - answered_at >= CANARY_MISSING_AFTER)
    }

    /// The connection was replaced: what it did not hear is no sign about the next one.
    pub(super) fn start_again(&mut self) {
        self.unheard = None;
    }

    /// Answers the old channel.
    pub(super) fn rename(&mut self, channel: String) -> String {
        self.unheard = None;
        std::mem::replace(&mut self.channel, channel)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_a_second_and_one_at_a_time() {
        let start = Instant::now();
        let mut canary = Canary::new("c".into());
        assert_eq!(canary.take_due(start), Some(1));
        assert_eq!(canary.take_due(start + CANARY_EVERY), None, "the first is on its way");
        canary.answered(1, start);
        assert_eq!(canary.take_due(start + CANARY_EVERY / 2), None);
        assert_eq!(canary.take_due(start + CANARY_EVERY), Some(2));
    }

    #[test]
    fn missing_is_answered_and_unheard() {
        let start = Instant::now();
        let late = start + CANARY_MISSING_AFTER;
        let mut canary = Canary::new("c".into());
        canary.take_due(start);
        canary.failed();
        assert!(!canary.is_missing(late), "never answered");
        canary.take_due(start + CANARY_EVERY);
        canary.answered(2, start);
        assert!(!canary.is_missing(late - Duration::from_millis(1)));
        assert!(canary.is_missing(late));
        canary.hear(b"2");
        assert!(!canary.is_missing(late));
        canary.hear(b"3");
        canary.answered(3, start);
        assert!(!canary.is_missing(late), "heard before its answer came");
    }
}
