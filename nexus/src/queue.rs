//! What is to be carried in one direction of a link: each thing by one carrier at a time, critical things first, the others in
//! turns. `Queue` decides and is pure; `Carriers` are the tasks.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::rules::Class;

/// Things that are carried at the same time: also what bounds memory, each holds one page.
const AT_ONCE: usize = 16;

/// Whether a thing has more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    All,
    /// What follows gets its turn.
    Part,
}

/// Who carries.
pub(crate) trait Carry<T>: Sync {
    /// A page of it, or all.
    fn carry(&self, what: &T) -> impl Future<Output = Carried> + Send;
}

struct Known {
    class: Class,
    /// Of the first addition that is not carried yet.
    number: u64,
    is_running: bool,
    /// Added again while it was being carried.
    is_again: bool,
}

pub(crate) struct Queue<T> {
    critical: VecDeque<T>,
    normal: VecDeque<T>,
    known: HashMap<T, Known>,
    /// Those of `known`.
    numbers: BTreeSet<u64>,
    next_number: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            critical: VecDeque::new(),
            normal: VecDeque::new(),
            known: HashMap::new(),
            numbers: BTreeSet::new(),
            next_number: 0,
        }
    }
}

impl<T: Clone + Eq + Hash> Queue<T> {
    /// True: it waits now and did not before.
    fn add(&mut self, what: T, class: Class) -> bool {
        if let Some(known) = self.known.get_mut(&what) {
            known.is_again |= known.is_running;
            return false;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.numbers.insert(number);
        self.known.insert(what.clone(), Known { class, number, is_running: false, is_again: false });
        self.waiting(class).push_back(what);
        true
    }

    fn next(&mut self) -> Option<T> {
        let what = self.critical.pop_front().or_else(|| self.normal.pop_front())?;
        if let Some(known) = self.known.get_mut(&what) {
            known.is_running = true;
        }
        Some(what)
    }

    fn done(&mut self, what: T, carried: Carried) {
        let Some(known) = self.known.get_mut(&what) else { return };
        let is_again = std::mem::take(&mut known.is_again);
        known.is_running = false;
        if carried == Carried::Part || is_again {
            let class = known.class;
            self.waiting(class).push_back(what);
        } else if let Some(known) = self.known.remove(&what) {
            self.numbers.remove(&known.number);
        }
    }

    /// Whatever was added before this is carried.
    fn carried_below(&self) -> u64 {
        self.numbers.first().copied().unwrap_or(self.next_number)
    }

    fn waiting(&mut self, class: Class) -> &mut VecDeque<T> {
        match class {
            Class::Critical => &mut self.critical,
            Class::Normal => &mut self.normal,
        }
    }
}

/// A queue, who works on it, and up to where all of it is done.
pub(crate) struct Carriers<T, P> {
    inside: Mutex<Inside<T, P>>,
    bell: Notify,
}

struct Inside<T, P> {
    queue: Queue<T>,
    /// Places that are reached when all that was added before is carried.
    places: VecDeque<(u64, P)>,
    reached: P,
}

impl<T: Clone + Eq + Hash, P: Copy> Carriers<T, P> {
    pub(crate) fn new(reached: P) -> Self {
        let inside = Inside { queue: Queue::default(), places: VecDeque::new(), reached };
        Self { inside: Mutex::new(inside), bell: Notify::new() }
    }

    pub(crate) fn add(&self, what: T, class: Class) {
        if self.inside.lock().queue.add(what, class) {
            self.bell.notify_one();
        }
    }

    /// All up to this place was added.
    pub(crate) fn passes(&self, place: P) {
        let inside = &mut *self.inside.lock();
        let number = inside.queue.next_number;
        inside.places.retain(|(before, _)| *before != number);
        inside.places.push_back((number, place));
    }

    /// Up to where all is carried.
    pub(crate) fn reached(&self) -> P {
        let inside = &mut *self.inside.lock();
        let carried = inside.queue.carried_below();
        while let Some((_, place)) = inside.places.pop_front_if(|(number, _)| *number <= carried) {
            inside.reached = place;
        }
        inside.reached
    }

    /// How many were, ever; those that waited already do not count.
    pub(crate) fn added(&self) -> u64 {
        self.inside.lock().queue.next_number
    }

    /// Whether so many are.
    pub(crate) fn are_carried(&self, added: u64) -> bool {
        self.inside.lock().queue.carried_below() >= added
    }

    /// Things that wait or are carried now.
    pub(crate) fn len(&self) -> usize {
        self.inside.lock().queue.known.len()
    }

    /// For ever.
    pub(crate) async fn run(&self, by: &impl Carry<T>) {
        join_all((0..AT_ONCE).map(|_| self.work(by))).await;
    }

    async fn work(&self, by: &impl Carry<T>) {
        loop {
            let next = self.inside.lock().queue.next();
            let Some(what) = next else {
                self.bell.notified().await;
                continue;
            };
            let carried = by.carry(&what).await;
            self.inside.lock().queue.done(what, carried);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.next()).collect()
    }

    #[test]
    fn critical_things_go_first_and_the_others_in_turns() {
        let mut queue = Queue::default();
        for (what, class) in [("a", Class::Normal), ("b", Class::Normal), ("c", Class::Critical), ("a", Class::Normal)]
        {
            queue.add(what, class);
        }
        assert_eq!(queue.next(), Some("c"));
        assert_eq!(queue.next(), Some("a"));
        queue.done("a", Carried::Part);
        queue.done("c", Carried::Part);
        assert_eq!(drain(&mut queue), ["c", "b", "a"]);
    }

    #[test]
    fn what_is_added_while_it_is_carried_is_carried_again_and_by_nobody_else_meanwhile() {
        let mut queue = Queue::default();
        assert!(queue.add("a", Class::Normal));
        assert_eq!(queue.next(), Some("a"));
        assert!(!queue.add("a", Class::Normal));
        assert_eq!(queue.next(), None);
        queue.done("a", Carried::All);
        assert_eq!(queue.next(), Some("a"));
        queue.done("a", Carried::All);
        assert_eq!((queue.next(), queue.known.len()), (None, 0));
    }

    #[test]
    fn a_place_is_reached_when_all_that_was_added_before_is_carried() {
        let carriers = Carriers::new(0);
        carriers.passes(1);
        assert_eq!(carriers.reached(), 1, "nothing was to be carried");
        carriers.add("a", Class::Normal);
        carriers.add("b", Class::Critical);
        carriers.passes(2);
        carriers.add("c", Class::Normal);
        carriers.passes(3);
        let take = || carriers.inside.lock().queue.next().expect("one more");
        let done = |what, carried| carriers.inside.lock().queue.done(what, carried);
        assert_eq!((take(), take(), take()), ("b", "a", "c"));
        done("c", Carried::All);
        done("b", Carried::All);
        assert_eq!(carriers.reached(), 1);
        done("a", Carried::Part);
        assert_eq!((carriers.reached(), take()), (1, "a"));
        let added = carriers.added();
        carriers.add("d", Class::Normal);
        assert!(!carriers.are_carried(added));
        done("a", Carried::All);
        assert_eq!(carriers.reached(), 3);
        assert!(carriers.are_carried(added) && !carriers.are_carried(carriers.added()), "others may go on and on");
    }
}
