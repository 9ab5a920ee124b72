//! Where something was seen to have come: what is remembered saves a question, and is corrected by the next step.

use std::collections::HashMap;
use std::hash::Hash;

use parking_lot::Mutex;

/// More are forgotten, all of them: they cost a question each.
const KEPT: usize = 20_000;

pub(crate) struct Places<K, P>(Mutex<HashMap<K, P>>);

impl<K, P> Default for Places<K, P> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, P: Copy> Places<K, P> {
    pub(crate) fn get(&self, of: &K) -> Option<P> {
        self.0.lock().get(of).copied()
    }

    /// It is to be asked for again.
    pub(crate) fn forget(&self, of: &K) -> bool {
        self.0.lock().remove(of).is_some()
    }

    pub(crate) fn set(&self, of: K, place: P) {
        let mut places = self.0.lock();
        if places.len() >= KEPT {
            places.clear();
        }
        places.insert(of, place);
    }
}
