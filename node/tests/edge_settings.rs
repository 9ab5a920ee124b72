//! A node whose settings differ from its region's is refused at join, and told which.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::{NodeName, RegionName};
use sectorbus::log::memory::{MemoryConfig, MemoryLog, MemoryRegion};
use sectorbus_node::admin::Readiness;
use sectorbus_node::config::{NodeConfig, Secret};
use sectorbus_node::node::{Node, NodeStart};

fn region() -> MemoryRegion {
    let region = RegionName::new("test").unwrap();
    MemoryRegion::new(MemoryConfig { region, seed: 3, start_ms: 1_790_000_000_000, keep_history: false })
}

fn config(name: &str) -> NodeConfig {
    let secret = |fill| Secret::new([fill; 32]).unwrap();
    NodeConfig::new(RegionName::new("test").unwrap(), NodeName::new(name).unwrap(), secret(1), secret(2))
}

async fn start(region: &MemoryRegion, config: NodeConfig) -> Node<MemoryLog> {
    let start = NodeStart {
        config,
        log: Arc::new(region.handle()),
        address: "127.0.0.1:1".to_owned(),
        seed: Some(1),
        simulated_ring: Some(8),
        readiness: Arc::new(Readiness::default()),
    };
    Node::start(start).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_node_with_other_settings_ends_and_names_exactly_them() {
    let region = region();
    let first = start(&region, config("a")).await;
    tokio::time::timeout(Duration::from_secs(5), async {
        while !first.core().view().members.contains(&first.core().me()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the first node joins");

    type Change = fn(&mut NodeConfig);
    let changes: [(Change, &str); 3] = [
        (|config| config.universe_seed = 77, "universe_seed"),
        (|config| config.universe_sectors = 40, "universe_sectors"),
        (
            |config| {
                config.universe_sectors = 40;
                config.resume_secret = Secret::new([7; 32]).unwrap();
            },
            "universe_sectors, resume_secret",
        ),
    ];
    for (change, named) in changes {
        let mut other = config("b");
        change(&mut other);
        let node = start(&region, other).await;
        let ended = tokio::time::timeout(Duration::from_secs(5), node.ended()).await.expect("it is refused");
        let said = ended.unwrap_err().to_string();
        let wanted = format!("the members of this region run with another {named}: it must be the same on all nodes");
        assert_eq!(said, wanted);
    }
    let alike = start(&region, config("b")).await;
    let joins = async {
        while !alike.core().view().members.contains(&alike.core().me()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), joins).await.expect("one with the same settings joins");
}
