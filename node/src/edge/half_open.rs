//! Connections that have not said hello: how many there are, of each address and in all. They cost a socket each and
//! nobody has vouched for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sectorbus::limits::HALF_OPEN_MAX;

use super::address::Address;

/// Told how many there are, at each change.
type Shown = Box<dyn Fn(usize) + Send + Sync>;

pub(super) struct HalfOpen {
    counts: Mutex<Counts>,
    shown: Shown,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_address: BTreeMap<Address, usize>,
}

/// One connection that has not said hello; counted until it is dropped.
pub struct Entering {
    half_open: Arc<HalfOpen>,
    /// `None`: a proxy's, which is not limited, or not yet known.
    address: Option<Address>,
}

impl HalfOpen {
    pub(super) fn new(shown: impl Fn(usize) + Send + Sync + 'static) -> Self {
        Self { counts: Mutex::default(), shown: Box::new(shown) }
    }

    pub(super) fn enter(this: &Arc<Self>) -> Option<Entering> {
        let mut counts = this.counts.lock();
        if counts.all >= HALF_OPEN_MAX {
            return None;
        }
        counts.all += 1;
        (this.shown)(counts.all);
        Some(Entering { half_open: this.clone(), address: None })
    }
}

impl Entering {
    /// From now on it counts as one of the address; false: there are `max` of it already. 0: as many as there are in all.
    pub(super) fn belongs_to(&mut self, address: Address, max: usize) -> bool {
        let mut counts = self.half_open.counts.lock();
        counts.remove(self.address.take());
        let added = counts.add(address, max);
        self.address = added.then_some(address);
        added
    }
}

impl Counts {
    fn add(&mut self, address: Address, max: usize) -> bool {
        let of_address = self.by_address.entry(address).or_default();
        if max > 0 && *of_address >= max {
            return false;
        }
        *of_address += 1;
        true
    }

    fn remove(&mut self, address: Option<Address>) {
        let Some(address) = address else { return };
        if let Some(of_address) = self.by_address.get_mut(&address) {
            *of_address -= 1;
            if *of_address == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Drop for Entering {
    fn drop(&mut self) {
        let mut counts = self.half_open.counts.lock();
        counts.remove(self.address);
        counts.all -= 1;
        (self.half_open.shown)(counts.all);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn enter(half_open: &Arc<HalfOpen>, last: u8) -> Option<Entering> {
        let mut entering = HalfOpen::enter(half_open)?;
        let address = Address::from(IpAddr::from(Ipv4Addr::new(192, 0, 2, last)));
        entering.belongs_to(address, 3).then_some(entering)
    }

    #[test]
    fn an_address_at_its_limit_does_not_keep_others_out_and_gets_in_again() {
        let half_open = Arc::new(HalfOpen::new(|_| {}));
        let mut entering: Vec<_> = (0..3).filter_map(|_| enter(&half_open, 1)).collect();
        assert_eq!(entering.len(), 3);
        assert!(enter(&half_open, 1).is_none());
        assert!(enter(&half_open, 2).is_some());
        assert!(HalfOpen::enter(&half_open).is_some(), "a proxy is not limited");
        entering.pop();
        assert!(enter(&half_open, 1).is_some());
        entering.clear();
        let counts = half_open.counts.lock();
        assert!(counts.all == 0 && counts.by_address.is_empty(), "nothing is kept of who is gone");
    }

    #[test]
    fn all_together_have_a_limit_too() {
        let half_open = Arc::new(HalfOpen::new(|_| {}));
        let entering: Vec<_> = (0..HALF_OPEN_MAX).filter_map(|_| HalfOpen::enter(&half_open)).collect();
        assert_eq!(entering.len(), HALF_OPEN_MAX);
        assert!(HalfOpen::enter(&half_open).is_none());
    }
}
