//! The door against requests made from its own OpenAPI by schemathesis: whatever comes, no 5xx, and every answer is one
//! that the description has.

use anyhow::{Context, Result, ensure};
use sectorbus_tests::region::Region;
use sectorbus_tests::wire::{Player, PlayerOptions};
use tokio::process::Command;

use crate::{Key, SOON};

const WITHIN: std::time::Duration = std::time::Duration::from_secs(600);
/// Requests made for each operation and kind of test.
const EXAMPLES: &str = "60";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_made_from_the_openapi_breaks_a_node_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let region = Region::start_with(&["a", "b"], |settings| settings.with("api_keys", &key.entry)).await?;
    let ann = Player::start("ann", &region.addresses(), PlayerOptions::default());
    ann.settled(SOON).await?;
    let python = std::env::var_os("SECTORBUS_PYTHON").unwrap_or_else(|| "python3".into());
    let folder = sectorbus_tests::folder::Folder::new("fuzz")?;
    let mut fuzz = Command::new(python);
    fuzz.args(["-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"])
        .arg(format!("http://{}/api/v1/openapi.json", region.nodes[0].admin()))
        .args(["--header", &format!("Authorization: Bearer {}", key.key)])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"])
        .args(["--checks", "response_schema_conformance"])
        .args(["--max-examples", EXAMPLES, "--seed", "17", "--no-color", "--generation-database", "none"])
        .current_dir(folder.path())
        .kill_on_drop(true);
    let output = tokio::time::timeout(WITHIN, fuzz.output()).await.context("the fuzzer does not end")??;
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).join("\n");
    ensure!(output.status.success(), "a Python with schemathesis (SECTORBUS_PYTHON) says {}:\n{said}", output.status);
    for result in ["ok", "refused"] {
        let asked = region.metric(&format!("sectorbus_door_requests_total{{result=\"{result}\"}}")).await?;
        ensure!(asked >= 50.0, "only {asked} {result}:\n{said}");
    }
    ensure!(region.metric("sectorbus_door_requests_total{result=\"failed\"}").await? == 0.0, "{said}");
    region.passed()
}
