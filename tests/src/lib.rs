//! What the end-to-end tests share: clients that hold the server to its word, clusters, servers, faults.

pub mod client;
pub mod cluster;
pub mod redis_server;
