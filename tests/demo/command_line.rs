//! What a wrong command line is answered.

use std::net::TcpListener;

use anyhow::Result;

use crate::process::run;

fn refusal(arguments: &[&str]) -> Result<String> {
    let output = run(arguments)?;
    assert!(!output.status.success(), "{arguments:?} is accepted");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_taken_port_is_an_error_that_names_the_option() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let said = refusal(&["--port", &port])?;
    assert!(said.contains(&port) && said.contains("taken") && said.contains("--port"), "{said}");
    Ok(())
}

#[test]
fn options_that_contradict_each_other_or_make_no_sense_are_refused() -> Result<()> {
    assert!(refusal(&["--seconds", "30"])?.contains("--headless"));
    assert!(refusal(&["--headless", "--port", "7701"])?.contains("--port"));
    assert!(refusal(&["--headless", "--seconds", "5"])?.contains("21"));
    let (good, bad) = ("redis://localhost:6379", "localhost:6379");
    assert!(refusal(&["--redis", bad, good, good])?.contains("redis[s]://"));
    let too_few = refusal(&["--redis", good])?;
    assert!(too_few.contains("<EU> <US> <NEXUS>") && too_few.contains('3'), "{too_few}");
    Ok(())
}
