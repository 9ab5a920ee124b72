//! The nexus's binary: real processes that join real redis-servers, as operators run and see them.

mod commands;
mod exit_codes;
mod kinds;
mod processes;
mod rights;
mod support;
