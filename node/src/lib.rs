//! The gateway node: sessions, rooms, relays, membership.

pub mod admin;
pub mod auth;
pub mod config;
pub mod resume_token;
pub mod routes;
