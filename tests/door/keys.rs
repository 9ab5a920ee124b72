//! Who may do what: keys and their scopes, tokens with the role `service`, and how a refusal reads.

use anyhow::{Result, ensure};
use sectorbus::ids::PlayerId;
use sectorbus_node::auth::{Claims, mint};
use sectorbus_tests::cluster::{FAR_S, JWT_SECRET, secret};
use sectorbus_tests::folder::Folder;
use sectorbus_tests::http::ask;
use sectorbus_tests::region::Region;
use sectorbus_tests::waiting;

use crate::{Key, SOON, expect_problem};

fn token(roles: &[&str]) -> Key {
    let claims = Claims {
        roles: roles.iter().map(|role| role.to_string()).collect(),
        ..Claims::new(PlayerId::new("game").expect("a name"), FAR_S)
    };
    Key { key: mint(&claims, &secret(JWT_SECRET)), entry: String::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_opens_what_its_scopes_name_and_nothing_else_on_redis() -> Result<()> {
    let (reader, moderator) = (Key::new("reader", "read"), Key::new("mod", "moderate"));
    let entries = format!("{},{}", reader.entry, moderator.entry);
    let region = Region::start_with(&["a"], |settings| settings.with("api_keys", &entries)).await?;
    let node = region.nodes[0].admin();

    for path in ["/api/v1/openapi.json", "/api/v1/docs"] {
        let (status, body) = region.nodes[0].get(path).await?;
        ensure!(status == 200 && body.contains("sectorbus"), "{path}: {status} {body}");
    }
    for headers in ["", "Authorization: Basic YTpi\r\n", "Authorization: Bearer \r\n"] {
        expect_problem(&ask(node, "GET", "/api/v1/rooms", headers, b"").await?, 401, "missing_key")?;
    }
    let wrong = Key { key: format!("{}x", reader.key), entry: String::new() };
    let refused = wrong.get(node, "/api/v1/rooms").await?;
    let problem = expect_problem(&refused, 401, "wrong_key")?;
    ensure!(problem["accepted"].as_str().is_some_and(|accepted| accepted.contains("Bearer")), "{problem}");
    ensure!(refused.head.to_lowercase().contains("www-authenticate: bearer"), "{}", refused.head);

    reader.done(node, "GET", "/api/v1/rooms", "").await?;
    expect_problem(&moderator.get(node, "/api/v1/rooms").await?, 403, "lacks_scope")?;
    expect_problem(&reader.get(node, "/api/v1/audit").await?, 403, "lacks_scope")?;
    for path in ["/api/v1/rooms/sector:1?private=true", "/api/v1/rooms/player:ann/feed", "/api/v1/rooms/team:red/feed"]
    {
        expect_problem(&reader.get(node, path).await?, 403, "lacks_scope")?;
    }
    let change = r#"{"key":"k","changes":[{"credits":{"player":"ann","delta":1}}]}"#;
    expect_problem(&reader.ask(node, "POST", "/api/v1/rooms/sector:1/changes", change).await?, 403, "lacks_scope")?;

    token(&["service"]).done(node, "GET", "/api/v1/rooms", "").await?;
    expect_problem(&token(&["service"]).get(node, "/api/v1/rooms/player:ann/feed").await?, 403, "lacks_scope")?;
    token(&["service", "read_private"]).done(node, "GET", "/api/v1/rooms/player:ann/feed", "").await?;
    expect_problem(&token(&["pilot"]).get(node, "/api/v1/rooms").await?, 401, "no_service")?;

    // Whoever tries keys is told to wait; a right one is let in all the same.
    let mut tried = 0;
    while wrong.get(node, "/api/v1/rooms").await?.status != 429 {
        tried += 1;
        ensure!(tried < 1_000, "keys can be tried for ever");
    }
    let late = wrong.get(node, "/api/v1/rooms").await?;
    if late.status == 429 {
        expect_problem(&late, 429, "too_many_failures")?;
        ensure!(late.head.to_lowercase().contains("retry-after: "), "{}", late.head);
    }
    reader.done(node, "GET", "/api/v1/rooms", "").await?;
    ensure!(region.metric("sectorbus_door_requests_total{result=\"unauthorized\"}").await? >= 5.0);

    let log = region.nodes[0].log_text();
    for key in [&reader, &moderator, &wrong, &token(&["service"])] {
        ensure!(!log.contains(&key.key), "a key is in the log");
    }
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_accepted_is_refused_with_what_is_on_redis() -> Result<()> {
    let key = Key::of_everything();
    let region = Region::start_with(&["a"], |settings| settings.with("api_keys", &key.entry)).await?;
    let node = region.nodes[0].admin();
    let changes = "/api/v1/rooms/sector:1/changes";
    let ban = "/api/v1/players/ann/ban";
    let huge = format!(r#"{{"for_s":1,"reason":"{}"}}"#, "x".repeat(64 * 1024));
    let many = format!(r#"{{"key":"k","changes":[{}]}}"#, [r#"{"remove":{"alias":1}}"#; 65].join(","));
    for (method, path, body, status, code) in [
        ("GET", "/api/v1/rooms?limit=0", "", 422, "bad_query"),
        ("GET", "/api/v1/rooms?limt=1", "", 422, "bad_query"),
        ("GET", "/api/v1/rooms/moon:1", "", 422, "bad_id"),
        ("GET", "/api/v1/rooms/sector:99999", "", 404, "not_found"),
        ("GET", "/api/v1/rooms/player:ann", "", 422, "no_state"),
        ("GET", "/api/v1/rooms/team:nobody", "", 404, "not_found"),
        ("GET", "/api/v1/players/a%20b", "", 422, "bad_id"),
        ("GET", "/api/v1/players/%ff", "", 422, "bad_path"),
        ("GET", "/api/v1/players/nobody", "", 404, "not_found"),
        ("PUT", ban, "{", 400, "not_json"),
        ("PUT", ban, r#"{"for_s":60,"resaon":"x"}"#, 422, "bad_field"),
        ("PUT", ban, r#"{"for_s":0}"#, 422, "bad_field"),
        ("PUT", ban, r#"{"for_s":-1}"#, 422, "bad_field"),
        ("PUT", ban, &huge, 413, "body_too_large"),
        ("POST", changes, r#"{"key":"a b","changes":[{"remove":{"alias":1}}]}"#, 422, "bad_field"),
        ("POST", changes, r#"{"key":"k","changes":[]}"#, 422, "bad_field"),
        ("POST", changes, r#"{"key":"k","changes":[{"create":{"fields":{"colour":1}}}]}"#, 422, "bad_field"),
        ("POST", changes, &many, 422, "bad_field"),
        ("POST", "/api/v1/players/nobody/disconnect", "", 404, "not_found"),
        ("POST", "/api/v1/tokens/revoke", r#"{"jti":""}"#, 422, "bad_field"),
        ("PUT", ban, "[60]", 422, "bad_field"),
        ("POST", "/api/v1/players/ann/logout", "[]", 422, "bad_field"),
        ("GET", "/api/v1/nothing", "", 404, "not_found"),
        ("GET", "/", "", 404, "not_found"),
        ("PATCH", ban, "", 405, "wrong_method"),
        ("DELETE", "/healthz", "", 405, "wrong_method"),
    ] {
        let answer = key.ask(node, method, path, body).await?;
        expect_problem(&answer, status, code).map_err(|why| why.context(format!("{method} {path} {body:.80}")))?;
    }
    // What would have been accepted is said.
    let deep = format!(r#"{{"body":{}{}}}"#, "[".repeat(13), "]".repeat(13));
    let call = "/api/v1/calls/00000000000000000000000000000abc.ann.7.3";
    let mute = "/api/v1/players/ann/mute";
    let text = |about: &str| {
        format!(r#"{{"key":"k","audience":"everyone","name":"n","level":"info","about":{{"cargo":{about}}}}}"#)
    };
    for (method, path, body, detail, accepted) in [
        ("POST", call, deep.as_str(), "nested deeper", "nested at most 12 deep"),
        ("POST", call, r#"{"body":{"__proto__":1}}"#, "body: a key __proto__", ""),
        ("PUT", mute, "{}", "until when is not said", "one of until_ms and for_s"),
        ("PUT", mute, r#"{"for_s":1,"until_ms":9}"#, "both until_ms and for_s", "one of until_ms and for_s"),
        ("PUT", ban, "[60]", "sequence", "one JSON object"),
        ("POST", "/api/v1/publish", &text("true"), "about.cargo: invalid type: boolean", "a whole number"),
        ("POST", "/api/v1/publish", &text("1.5"), "about.cargo: invalid type: floating point", "a whole number"),
        ("POST", "/api/v1/publish", &text("9007199254740992"), "about.cargo is too large", "2^53 - 1"),
    ] {
        let answer = key.ask(node, method, path, body).await?;
        let problem = expect_problem(&answer, 422, "bad_field")?;
        let said = |field: &str, part: &str| problem[field].as_str().unwrap_or_default().contains(part);
        ensure!(said("detail", detail) && said("accepted", accepted), "{path} {body:.80}: {problem}");
    }
    let no_method = key.ask(node, "PATCH", ban, "").await?;
    let allowed = no_method.head.to_lowercase();
    ensure!(allowed.contains("allow: ") && allowed.contains("put") && allowed.contains("delete"), "{}", no_method.head);
    let headers = format!("Authorization: Bearer {}\r\nContent-Type: text/plain\r\n", key.key);
    expect_problem(&ask(node, "PUT", ban, &headers, b"{\"for_s\":1}").await?, 415, "not_json")?;
    region.passed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_takes_new_keys_and_forgets_the_old_on_redis() -> Result<()> {
    let (old, new, folder) = (Key::new("old", "read"), Key::new("new", "read"), Folder::new("door-keys")?);
    let file = folder.write("node.toml", &format!("api_keys = [\"{}\"]\n", old.entry))?;
    let region = Region::start_with(&["a"], |settings| settings.with_file(&file, &[])).await?;
    let node = region.nodes[0].admin();
    old.done(node, "GET", "/api/v1/rooms", "").await?;
    expect_problem(&new.get(node, "/api/v1/rooms").await?, 401, "wrong_key")?;
    folder.write("node.toml", &format!("api_keys = [\"{}\"]\n", new.entry))?;
    region.nodes[0].hang_up()?;
    let is_let_in = async || Ok(new.get(node, "/api/v1/rooms").await?.status == 200);
    waiting::until_async(SOON, "the new key is known", is_let_in).await?;
    expect_problem(&old.get(node, "/api/v1/rooms").await?, 401, "wrong_key")?;
    // What is wrong changes nothing, and is said without the hash.
    folder.write("node.toml", &format!("api_keys = [\"{}0\"]\n", old.entry))?;
    region.nodes[0].hang_up()?;
    let said = || region.nodes[0].log_text().contains("the settings stay as they were");
    waiting::until(SOON, "the refusal of a wrong entry", said).await?;
    new.done(node, "GET", "/api/v1/rooms", "").await?;
    ensure!(!region.nodes[0].log_text().contains(&old.entry), "an entry is in the log");
    region.passed()
}
