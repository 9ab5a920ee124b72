//! Calls to workers, on nodes in this process and one memory log, in paused time: answered once, by whichever node, in
//! time or not at all. Aria of the demo is one of the workers; the others are the tests themselves.

use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::{Callee, RoomId};
use sectorbus::limits::{CALL_ANSWERED_WITHIN, CALL_BODY_BYTES_MAX, CALLS_OPEN_MAX};
use sectorbus::log::memory::{MemoryLog, MemoryRegion};
use sectorbus::log::{CallAnswered, Log, TakenCall, Workplace};
use sectorbus::protocol::{Body, Call, CallFailure, ClientFrame, Codec};
use sectorbus::value::{Field, Value};
use sectorbus_demo::aria;
use sectorbus_node::Node;
use sectorbus_tests::client::Client;
use sectorbus_tests::cluster::{Connected, config, region, start};

const SOON: Duration = Duration::from_secs(10);

/// Two nodes, and ann on the first.
struct Stage {
    region: MemoryRegion,
    a: Node<MemoryLog>,
    b: Node<MemoryLog>,
    ann: Connected,
    worker: MemoryLog,
}

impl Stage {
    async fn set() -> Self {
        let region = region(5);
        let (a, b) = tokio::join!(start(&region, config("a"), 1), start(&region, config("b"), 2));
        let ann = joined("ann", &a).await;
        let worker = region.handle();
        Self { region, a, b, ann, worker }
    }

    /// With a worker for `oracle`, which is this test.
    async fn with_oracle() -> Self {
        let stage = Self::set().await;
        stage.worker.join_workers(&oracle()).await.expect("a log");
        stage
    }

    async fn taken(&self) -> TakenCall {
        let mut taken = self.worker.take_calls(&oracle(), "w", Duration::from_secs(3600), SOON).await.expect("a log");
        assert_eq!(taken.len(), 1, "{taken:?}");
        taken.remove(0)
    }

    async fn nothing_to_do(&self) {
        let more = self.worker.take_calls(&oracle(), "w", Duration::from_secs(3600), Duration::from_secs(3)).await;
        assert_eq!(more, Ok(Vec::new()));
    }
}

fn oracle() -> Callee {
    Callee::new("oracle").expect("a name")
}

async fn joined(player: &str, node: &Node<MemoryLog>) -> Connected {
    let mut joined = Connected::new(player, Codec::Json);
    joined.connect(node);
    assert!(joined.until(SOON, Client::is_live).await, "{player} sees a sector");
    joined
}

fn ask(player: &mut Connected, service: &str, body: &str) -> u64 {
    let frame = player.client.call(service, Body::from(body), None);
    player.send(&frame);
    let ClientFrame::Call(call) = frame else { unreachable!("a call") };
    call.n
}

async fn ended(player: &mut Connected, n: u64, within: Duration) -> Result<Body, CallFailure> {
    assert!(player.until(within, |client| client.replies.contains_key(&n)).await, "call {n} has no end");
    player.client.replies[&n].clone().map(|(_, body)| body)
}

async fn asked_aria(player: &mut Connected, question: &str) -> String {
    let n = ask(player, aria::NAME, question);
    let body = ended(player, n, SOON).await.expect("an answer");
    body.get("text").and_then(Body::as_text).expect("a text").to_owned()
}

#[tokio::test(start_paused = true)]
async fn aria_answers_from_the_players_own_sector() {
    let mut stage = Stage::set().await;
    let log = Arc::new(stage.region.handle());
    let works = tokio::spawn(async move { aria::run(log, "here").await });
    // Unknown until she has joined.
    while asked_before_joined(&mut stage.ann).await {}
    let view = stage.ann.client.view.clone().expect("a view");
    assert_eq!(asked_aria(&mut stage.ann, "Where am I?").await, format!("You are in sector {}.", view.sector));
    assert_eq!(asked_aria(&mut stage.ann, "who is here").await, "You are alone here.");
    let _bob = joined("bob", &stage.b).await;
    assert!(stage.ann.until(SOON, |client| client.view.as_ref().is_some_and(|view| view.ship("bob").is_some())).await);
    assert_eq!(asked_aria(&mut stage.ann, "who is here").await, "Here with you: bob.");
    let warps = asked_aria(&mut stage.ann, "what warps are here?").await;
    for to in view.warps() {
        assert!(warps.contains(to.as_str()), "{to} is not in {warps}");
    }
    let ports = asked_aria(&mut stage.ann, "any ports?").await;
    let is_port =
        |fields: &&sectorbus_tests::client::Fields| fields.get(&Field::KIND).and_then(Value::as_text) == Some("port");
    let shown: Vec<_> =
        view.entities.values().filter(is_port).filter_map(|port| port.get(&Field::NAME)?.as_text()).collect();
    assert!(!shown.is_empty() && shown.iter().all(|name| ports.contains(name)), "{shown:?}: {ports}");
    assert!(asked_aria(&mut stage.ann, "help").await.starts_with("Ask me"));
    assert!(asked_aria(&mut stage.ann, "what is love").await.starts_with("I do not know"));
    assert_eq!(stage.ann.client.broken, Vec::<String>::new());
    works.abort();
}

async fn asked_before_joined(ann: &mut Connected) -> bool {
    let n = ask(ann, aria::NAME, "help");
    ended(ann, n, SOON).await == Err(CallFailure::UnknownService)
}

#[tokio::test(start_paused = true)]
async fn a_service_without_workers_is_unknown_and_may_be_called_again_when_it_has_one() {
    let mut stage = Stage::set().await;
    let n = ask(&mut stage.ann, "oracle", "?");
    assert_eq!(ended(&mut stage.ann, n, SOON).await, Err(CallFailure::UnknownService));
    stage.worker.join_workers(&oracle()).await.expect("a log");
    let call = Call { n, service: oracle(), body: Body::from("?"), conversation: None };
    stage.ann.client.calls.insert(n, call.clone());
    stage.ann.client.replies.clear();
    stage.ann.send(&ClientFrame::Call(call));
    // The frame is taken while ann listens.
    stage.ann.until(Duration::from_millis(100), |_| false).await;
    let taken = stage.taken().await;
    assert_eq!(
        (&taken.work.body[..], taken.work.sector.clone()),
        (&b"\"?\""[..], stage.ann.client.view.as_ref().expect("a view").sector.clone())
    );
    stage.worker.finish_call(&taken, "{\"yes\":[1,null,true]}".into()).await.expect("a log");
    let body = ended(&mut stage.ann, n, SOON).await.expect("an answer");
    assert_eq!(body.to_json(), b"{\"yes\":[1,null,true]}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_answers_times_out_and_a_late_answer_changes_nothing() {
    let mut stage = Stage::with_oracle().await;
    let n = ask(&mut stage.ann, "oracle", "?");
    let began = tokio::time::Instant::now();
    assert_eq!(ended(&mut stage.ann, n, 2 * CALL_ANSWERED_WITHIN).await, Err(CallFailure::Timeout));
    let waited = began.elapsed();
    assert!(waited >= CALL_ANSWERED_WITHIN && waited < CALL_ANSWERED_WITHIN + SOON, "{waited:?}");
    let taken = stage.taken().await;
    let reply = &taken.work.call.reply;
    assert_eq!(stage.worker.answer_call(reply, "1".into()).await, Ok(CallAnswered::TooLate));
    stage.worker.finish_call(&taken, "1".into()).await.expect("a log");
    assert!(!stage.ann.until(SOON, |client| client.replies.values().any(Result::is_ok)).await);
    assert_eq!(stage.ann.client.broken, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_fifth_open_call_is_too_many_on_any_device() {
    let mut stage = Stage::with_oracle().await;
    let mut calls: Vec<u64> = (0..CALLS_OPEN_MAX).map(|_| ask(&mut stage.ann, "oracle", "?")).collect();
    let fifth = ask(&mut stage.ann, "oracle", "?");
    assert_eq!(ended(&mut stage.ann, fifth, SOON).await, Err(CallFailure::TooMany));
    stage.ann.until(Duration::from_millis(100), |_| false).await;
    let mut phone = joined("ann", &stage.b).await;
    let n = ask(&mut phone, "oracle", "?");
    assert_eq!(ended(&mut phone, n, SOON).await, Err(CallFailure::TooMany));
    let taken = stage.worker.take_calls(&oracle(), "w", SOON, SOON).await.expect("a log");
    assert_eq!(taken.len(), CALLS_OPEN_MAX);
    for taken in taken {
        stage.worker.finish_call(&taken, "0".into()).await.expect("a log");
    }
    for n in calls.drain(..) {
        assert_eq!(ended(&mut stage.ann, n, SOON).await, Ok(Body::Int(0)));
    }
    // Sent again under its number: it was not taken before.
    let call = phone.client.call("oracle", Body::from("?"), None);
    phone.send(&call);
    phone.until(Duration::from_millis(100), |_| false).await;
    stage.taken().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_on_another_node_when_its_node_is_killed() {
    let mut stage = Stage::with_oracle().await;
    let n = ask(&mut stage.ann, "oracle", "?");
    stage.ann.until(Duration::from_millis(100), |_| false).await;
    let taken = stage.taken().await;
    stage.a.kill();
    stage.ann.connect(&stage.b);
    assert!(stage.ann.until(SOON, Client::is_live).await);
    // The client has sent it again: no second piece of work.
    stage.nothing_to_do().await;
    stage.worker.finish_call(&taken, "\"here\"".into()).await.expect("a log");
    assert_eq!(ended(&mut stage.ann, n, SOON).await, Ok(Body::from("here")));
    assert_eq!(stage.ann.client.broken, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_came_while_the_player_was_away_is_there_when_the_call_is_sent_again() {
    let mut stage = Stage::with_oracle().await;
    let n = ask(&mut stage.ann, "oracle", "?");
    stage.ann.until(Duration::from_millis(100), |_| false).await;
    let taken = stage.taken().await;
    stage.a.kill();
    stage.worker.finish_call(&taken, "\"kept\"".into()).await.expect("a log");
    tokio::time::advance(SOON).await;
    stage.ann.connect(&stage.b);
    assert_eq!(ended(&mut stage.ann, n, SOON).await, Ok(Body::from("kept")));
    stage.nothing_to_do().await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_whose_publish_was_lost_is_found_at_the_latest_when_the_call_would_time_out() {
    let mut stage = Stage::with_oracle().await;
    let n = ask(&mut stage.ann, "oracle", "?");
    stage.ann.until(Duration::from_millis(100), |_| false).await;
    let taken = stage.taken().await;
    stage.region.drop_publishes(&RoomId::Player("ann".parse().expect("a name")), 1);
    stage.worker.finish_call(&taken, "\"found\"".into()).await.expect("a log");
    assert_eq!(ended(&mut stage.ann, n, CALL_ANSWERED_WITHIN + SOON).await, Ok(Body::from("found")));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_no_client_can_read_is_refused_and_the_call_stays_open() {
    let mut stage = Stage::with_oracle().await;
    let n = ask(&mut stage.ann, "oracle", "?");
    stage.ann.until(Duration::from_millis(100), |_| false).await;
    let taken = stage.taken().await;
    for bad in ["", "{", "1.5", "9007199254740993", "[1] 2", r#"{"a":[{"__proto__":1}]}"#] {
        stage.worker.finish_call(&taken, bad.into()).await.expect("a log");
    }
    let long = format!("\"{}\"", "x".repeat(20_000));
    stage.worker.finish_call(&taken, long.into()).await.expect("a log");
    stage.worker.finish_call(&taken, "\"good\"".into()).await.expect("a log");
    stage.worker.finish_call(&taken, "\"second\"".into()).await.expect("a log");
    assert_eq!(ended(&mut stage.ann, n, SOON).await, Ok(Body::from("good")));
    assert!(!stage.ann.until(SOON, |client| !client.broken.is_empty()).await, "{:?}", stage.ann.client.broken);
}

#[tokio::test(start_paused = true)]
async fn a_conversation_goes_on_under_its_id_for_its_player_only() {
    let mut stage = Stage::with_oracle().await;
    let n = ask(&mut stage.ann, "oracle", "hello");
    stage.ann.until(Duration::from_millis(100), |_| false).await;
    let first = stage.taken().await;
    stage.worker.finish_call(&first, "1".into()).await.expect("a log");
    assert_eq!(ended(&mut stage.ann, n, SOON).await, Ok(Body::Int(1)));
    let conversation = stage.ann.client.replies[&n].clone().expect("an answer").0;
    assert_eq!(conversation, first.work.call.conversation);
    let frame = stage.ann.client.call("oracle", Body::from("and?"), Some(conversation.clone()));
    stage.ann.send(&frame);
    stage.ann.until(Duration::from_millis(100), |_| false).await;
    assert_eq!(stage.taken().await.work.call.conversation, conversation);
    let mut bob = joined("bob", &stage.b).await;
    let frame = bob.client.call("oracle", Body::from("and?"), Some(conversation));
    bob.send(&frame);
    assert_eq!(ended(&mut bob, 1, SOON).await, Err(CallFailure::UnknownConversation));
}

#[tokio::test(start_paused = true)]
async fn calls_have_a_class_of_their_own_and_too_many_in_a_second_are_told_when_to_come_again() {
    let region = region(6);
    let mut limited = config("a");
    limited.actions_per_s = 1;
    let node = start(&region, limited, 1).await;
    let mut ann = joined("ann", &node).await;
    let calls: Vec<u64> = (0..3).map(|_| ask(&mut ann, "nobody", "?")).collect();
    let mut ends = Vec::new();
    for n in calls {
        ends.push(ended(&mut ann, n, SOON).await);
    }
    ends.sort_by_key(|end| end.as_ref().err().copied());
    let (many, unknown) = (CallFailure::TooMany, CallFailure::UnknownService);
    assert_eq!(ends, [Err(many), Err(unknown), Err(unknown)], "twice the limit at once");
}

#[tokio::test(start_paused = true)]
async fn a_call_before_the_first_state_or_beyond_its_limits_is_an_error() {
    let region = region(7);
    let node = start(&region, config("a"), 1).await;
    let mut ann = Connected::new("ann", Codec::Json);
    ann.connect(&node);
    let call = |n, body| ClientFrame::Call(Call { n, service: oracle(), body, conversation: None });
    ann.send(&call(1, Body::Null));
    assert!(ann.until(SOON, |client| !client.errors.is_empty()).await);
    assert!(ann.client.errors[0].starts_with("NotInSector"), "{:?}", ann.client.errors);
    assert!(ann.until(SOON, Client::is_live).await);
    ann.send(&call(0, Body::Null));
    ann.send(&call(1, Body::Text("x".repeat(CALL_BODY_BYTES_MAX - 1))));
    assert!(ann.until(SOON, |client| client.errors.len() == 3).await, "{:?}", ann.client.errors);
    assert!(ann.client.errors[1..].iter().all(|error| error.starts_with("InvalidField")), "{:?}", ann.client.errors);
}

#[tokio::test(start_paused = true)]
async fn while_the_log_is_away_a_call_is_unavailable() {
    let mut stage = Stage::with_oracle().await;
    stage.region.unavailable(Duration::from_secs(20));
    let n = ask(&mut stage.ann, "oracle", "?");
    assert_eq!(ended(&mut stage.ann, n, 2 * SOON).await, Err(CallFailure::Unavailable));
}
