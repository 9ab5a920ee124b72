//! The time of a token and what ends it early: expiry, refresh, logout and revocation, on two nodes of one region.

use std::time::Duration;

use sectorbus::ids::PlayerId;
use sectorbus::log::{Log, Revoked};
use sectorbus::protocol::{ClientFrame, Codec, ErrorCode, Hello, Refresh, ServerFrame};
use sectorbus_node::auth::{Claims, mint};
use sectorbus_tests::cluster::{FAR_S, JWT_SECRET, secret};
use tokio::time::Instant;

use crate::raw::{Raw, Seen};
use crate::serving::{Server, Speaking, serve, serve_beside};

/// Ten times the second within which a revocation is to take effect.
const REVOKED_WITHIN: Duration = Duration::from_secs(10);

fn now_s(server: &Server) -> u64 {
    server.region.time_ms() / 1000
}

fn minted(player: &str, exp: u64, jti: Option<&str>, iat: Option<u64>) -> String {
    let player = PlayerId::new(player).expect("a name");
    mint(&Claims { jti: jti.map(str::to_owned), iat, ..Claims::new(player, exp) }, &secret(JWT_SECRET))
}

fn refresh(token: String) -> ClientFrame {
    ClientFrame::Refresh(Refresh { token: token.into() })
}

async fn expiring(speaking: &mut Speaking) -> u64 {
    let told = |frame| if let ServerFrame::Expiring(told) = frame { Some(told.expires_ms) } else { None };
    speaking.until(told).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_expires_is_told_refreshed_in_place_and_else_the_end() {
    let server = serve().await;
    let exp = now_s(&server) + 30;
    let mut ann = server.joined_by(&minted("ann", exp, None, None), Hello::default()).await;
    assert_eq!(expiring(&mut ann).await, 1000 * exp, "less than a minute is left: at once");
    for (bad, check) in [
        (minted("bob", FAR_S, None, None), "wrong_player"),
        (minted("ann", 1_700_000_000, None, None), "expired"),
        ("no token".to_owned(), "malformed"),
    ] {
        ann.send(&refresh(bad)).await;
        let error = ann.error().await;
        assert_eq!((error.code, error.detail.as_str(), error.retry), (ErrorCode::BadToken, check, false));
    }
    // A short one: told again at once, and closed when it is over.
    let exp = now_s(&server) + 1;
    ann.send(&refresh(minted("ann", exp, None, None))).await;
    let refreshed = |frame| if let ServerFrame::Refreshed(told) = frame { Some(told.expires_ms) } else { None };
    assert_eq!(ann.until(refreshed).await, 1000 * exp);
    assert_eq!(expiring(&mut ann).await, 1000 * exp);
    // One that was refreshed for long stays.
    let mut bob = server.joined_by(&minted("bob", exp + 1, None, None), Hello::default()).await;
    expiring(&mut bob).await;
    bob.send(&refresh(minted("bob", FAR_S, None, None))).await;
    assert_eq!(bob.until(refreshed).await, 1000 * FAR_S);
    assert_eq!(ann.raw.closed().await, (4008, "expired".to_owned()));
    assert!(server.region.time_ms() >= 1000 * exp, "not before its time");
    bob.still_serves().await;
}

/// How often a player is shown, and whether `at` knows a session of theirs.
async fn is_anywhere(server: &Server, player: &str) -> (bool, usize) {
    let mut watcher = server.joined("watcher", Codec::Json).await;
    let snapshot = watcher.snapshot.take().expect("a first state");
    let shown = serde_json::to_string(&snapshot).expect("JSON").contains(&format!("\"player\":\"{player}\""));
    watcher.send(&ClientFrame::Bye {}).await;
    watcher.raw.closed().await;
    let at = server.region.handle().at(&PlayerId::new(player).expect("a name")).await.expect("answered");
    (shown, at.map_or(0, |at| at.sessions.len()))
}

async fn until_gone(server: &Server, player: &str) {
    let deadline = Instant::now() + REVOKED_WITHIN;
    while is_anywhere(server, player).await != (false, 0) {
        assert!(Instant::now() < deadline, "{player} is still there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_logs_out_is_nowhere_and_cannot_resume_on_another_node() {
    let first = serve().await;
    let second = serve_beside(&first).await;
    let mut ann = first.joined("ann", Codec::Json).await;
    assert_eq!(is_anywhere(&second, "ann").await, (true, 1));
    ann.send(&ClientFrame::Logout {}).await;
    assert_eq!(ann.raw.closed().await, (4010, "logged_out".to_owned()));
    until_gone(&second, "ann").await;
    let old = ann.welcome.expect("welcomed");
    let resume = Some(old.resume);
    for server in [&second, &first] {
        let again = server.joined_with("ann", Codec::Json, Hello { resume: resume.clone(), ..Hello::default() }).await;
        assert_ne!(again.welcome.expect("welcomed").session, old.session, "the session is over");
    }
}

async fn refused(server: &Server, token: &str) -> String {
    let bearer = format!("Bearer {token}");
    match Raw::connect(server.address, "/ws", &[("Authorization", &*bearer)]).await {
        Err(refused) => format!("{} {}", refused.status, refused.body),
        Ok(_) => "upgraded".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_ends_its_session_on_another_node_and_is_refused_everywhere() {
    let first = serve().await;
    let second = serve_beside(&first).await;
    let (stolen, own) = (minted("ann", FAR_S, Some("stolen"), None), minted("ann", FAR_S, Some("own"), None));
    let mut thief = second.joined_by(&stolen, Hello::default()).await;
    let mut ann = second.joined_by(&own, Hello::default()).await;
    let revoked = Instant::now();
    let until_ms = first.region.time_ms() + 60_000;
    let made = first.region.handle().revoke(&Revoked::Token("stolen".to_owned()), until_ms).await;
    assert!(made.expect("answered").is_some());
    assert_eq!(thief.raw.closed().await, (4009, "revoked".to_owned()));
    println!("closed {:?} after the revocation", revoked.elapsed());
    assert!(revoked.elapsed() < REVOKED_WITHIN);
    while refused(&first, &stolen).await != "401 revoked" {
        assert!(revoked.elapsed() < REVOKED_WITHIN);
    }
    assert_eq!(refused(&second, &stolen).await, "401 revoked");
    ann.send(&refresh(stolen)).await;
    let error = ann.error().await;
    assert_eq!((error.code, error.detail.as_str()), (ErrorCode::BadToken, "revoked"));
    ann.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_player_is_out_on_every_node_and_comes_back_only_by_a_newer_token_in_a_new_session() {
    let first = serve().await;
    let second = serve_beside(&first).await;
    let old = minted("ann", FAR_S, None, Some(now_s(&first)));
    let mut on_both = [first.joined_by(&old, Hello::default()).await, second.joined_by(&old, Hello::default()).await];
    let mut bob = second.joined("bob", Codec::Json).await;
    let what = Revoked::Player(PlayerId::new("ann").expect("a name"));
    let revoked = Instant::now();
    let until_ms = first.region.time_ms() + 60_000;
    first.region.handle().revoke(&what, until_ms).await.expect("answered").expect("revoked");
    for session in &mut on_both {
        assert_eq!(session.raw.closed().await, (4009, "revoked".to_owned()));
    }
    println!("closed on both nodes {:?} after the revocation", revoked.elapsed());
    assert!(revoked.elapsed() < REVOKED_WITHIN);
    until_gone(&second, "ann").await;
    for token in [&old, &minted("ann", FAR_S, None, None)] {
        assert_eq!(refused(&first, token).await, "401 revoked");
        assert_eq!(refused(&second, token).await, "401 revoked");
    }
    let ended = on_both.map(|session| session.welcome.expect("welcomed"));
    let resume = Some(ended[0].resume.clone());
    let newer = minted("ann", FAR_S, None, Some(now_s(&first) + 2));
    let back = second.joined_by(&newer, Hello { resume, ..Hello::default() }).await;
    let session = back.welcome.expect("welcomed").session;
    assert!(ended.iter().all(|ended| ended.session != session), "its resume token was worth nothing");
    bob.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fifth_session_of_a_player_supersedes_the_oldest_on_another_node() {
    let first = serve().await;
    let second = serve_beside(&first).await;
    let mut oldest = first.joined("ann", Codec::Json).await;
    let mut others = Vec::new();
    for server in [&first, &second, &first, &second] {
        others.push(server.joined("ann", Codec::Json).await);
    }
    assert_eq!(oldest.raw.closed().await, (4005, "superseded".to_owned()));
    for session in &mut others {
        session.still_serves().await;
    }
    assert_eq!(oldest.raw.seen().await, Seen::End);
}
