//! What bad input gets, over real sockets: every error code, close code and HTTP refusal of PROTOCOL.md that a client
//! can provoke. A bystander who is connected meanwhile must notice nothing.

mod actions;
mod bystander;
mod ends;
mod errors;
mod frames;
mod hello;
mod limits;
mod passes;
mod proxies;
mod raw;
mod secrecy;
mod serving;
mod tls;
mod tokens;
mod upgrade;
