//! What the end-to-end tests share: clients that hold the server to its word, clusters, servers, faults.

pub mod binaries;
pub mod certificate;
pub mod cluster;
pub mod folder;
pub mod http;
pub mod load;
pub mod metrics_page;
pub mod mirrored;
pub mod nexuses;
pub mod oracle;
pub mod pals;
pub mod processes;
pub mod prometheus;
pub mod proxy;
pub mod redis_server;
pub mod region;
pub mod skewed_clock;
pub mod traffic;
pub mod universe;
pub mod waiting;
pub mod wire;
pub mod yaml;

pub use sectorbus_demo::client;
