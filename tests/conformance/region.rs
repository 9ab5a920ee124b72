//! What a node asks of its region before anything else: whose it is, its time, whether it is safe.

use sectorbus::log::{Log, Opened};

use crate::stand::{Stand, rules};

rules! {
    the_first_node_names_the_region_and_others_are_told,
    time_only_grows,
    a_region_with_the_right_settings_is_safe,
}

async fn the_first_node_names_the_region_and_others_are_told(stand: impl Stand) {
    let (a, b) = (stand.node().await, stand.node().await);
    assert_eq!(a.open().await, Ok(Opened::Ok));
    assert_eq!(b.open().await, Ok(Opened::Ok));
    let stranger = stand.node_configured_for("elsewhere").await;
    assert_eq!(stranger.open().await, Ok(Opened::OtherRegion { found: "test".to_owned() }));
    assert_eq!(a.open().await, Ok(Opened::Ok));
}

async fn time_only_grows(stand: impl Stand) {
    let log = stand.node().await;
    let mut last = 1_600_000_000_000;
    for _ in 0..20 {
        let now = log.time_ms().await.unwrap();
        assert!(now >= last, "{now} after {last}");
        last = now;
    }
}

async fn a_region_with_the_right_settings_is_safe(stand: impl Stand) {
    let log = stand.node().await;
    assert_eq!(log.check_safety().await, Ok(Vec::new()));
}
