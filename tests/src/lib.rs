//! What the end-to-end tests share. Knows no single test.

pub mod redis_server;
