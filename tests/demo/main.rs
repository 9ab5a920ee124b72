//! The demo as its user runs it: the binary, headless on both logs, and its page over HTTP.

mod http;
mod process;

mod command_line;
mod headless;
mod headless_redis;
mod page;
mod regions;
