//! Calls to workers: opened, queued and answered once; work and replies outlive whoever had them.

use std::time::Duration;

use sectorbus::ids::{ActorId, Callee, ConversationId, NodeName, PlayerId, RoomId};
use sectorbus::limits::{CALL_ANSWERED_WITHIN, CALLS_KEPT, CALLS_OPEN_MAX, CONVERSATIONS_KEPT};
use sectorbus::log::{
    CallAnswered, CallEnd, CallName, CallOpened, CallWork, Log, OpenCall, OpenedCall, Push, Queued, Reply, ReplyId,
    TakenCall, Workplace, WrittenReply,
};

use crate::stand::{Stand, rules};
use crate::support::*;

const NO_WAIT: Duration = Duration::from_millis(1);
/// Longer than any rule takes.
const NEVER: Duration = Duration::from_secs(3600);

rules! {
    a_call_sent_again_is_the_same_call_and_is_queued_once,
    an_answer_is_taken_once_and_told_to_the_players_followers,
    an_answered_call_is_answered_again_from_what_is_kept,
    a_wrong_reply_id_changes_nothing,
    a_call_that_timed_out_is_not_answered_any_more,
    ending_a_call_finds_the_answer_that_nobody_heard,
    a_callee_that_no_worker_joined_is_unknown_until_one_does,
    a_player_has_few_calls_open_and_others_are_not_held_up,
    only_the_newest_calls_that_are_over_are_known,
    a_conversation_is_continued_with_its_callee_and_by_its_player_only,
    only_the_newest_conversations_are_continued,
    work_is_given_to_one_worker_and_to_another_if_that_one_keeps_it,
    finished_work_is_nobodys,
    a_waiting_worker_wakes_when_work_comes,
    a_written_reply_is_given_to_one_node_and_to_another_if_that_one_keeps_it,
    an_unanswered_request_about_a_call_may_be_repeated,
    calls_and_replies_outlive_a_restart_of_the_server,
    what_went_with_a_lost_tail_is_unknown_and_may_be_called_again,
}

fn aria() -> Callee {
    Callee::new("aria").unwrap()
}

fn name_of(player: &str, n: u64) -> CallName {
    CallName { player: PlayerId::new(player).unwrap(), actor: ActorId(7), n }
}

/// A request whose secret and fresh conversation are its own: `try_no` makes them.
fn request(player: &str, n: u64, try_no: u32) -> OpenCall {
    let secret = u128::from(n) << 64 | u128::from(try_no);
    OpenCall {
        callee: aria(),
        conversation: None,
        fresh: ConversationId::new(&format!("{player}-{n}-{try_no}")).unwrap(),
        reply: ReplyId::new(name_of(player, n), secret),
    }
}

async fn open(log: &impl Log, request: OpenCall) -> CallOpened {
    answered(async || log.open_call(request.clone()).await).await
}

async fn opened(log: &impl Log, request: OpenCall) -> OpenedCall {
    match open(log, request).await {
        CallOpened::Open { call, left } => {
            assert!(left <= CALL_ANSWERED_WITHIN && left > CALL_ANSWERED_WITHIN / 2, "{left:?}");
            call
        }
        other => panic!("not open: {other:?}"),
    }
}

fn work_of(call: &OpenedCall) -> CallWork {
    CallWork { call: call.clone(), sector: "12".parse().unwrap(), body: bytes("{\"ask\":1}") }
}

async fn queue(log: &impl Log, call: &OpenedCall) -> Queued {
    answered(async || log.queue_call(work_of(call)).await).await
}

async fn answer(log: &impl Log, reply: &ReplyId, text: &str) -> CallAnswered {
    answered(async || log.answer_call(reply, bytes(text)).await).await
}

async fn end(log: &impl Log, call: &CallName, how: CallEnd) -> Option<Reply> {
    answered(async || log.end_call(call, how).await).await
}

async fn take(log: &impl Workplace, worker: &str, idle: Duration) -> Vec<TakenCall> {
    answered(async || log.take_calls(&aria(), worker, idle, NO_WAIT).await).await
}

async fn replies(log: &impl Log, node: &str) -> Vec<WrittenReply> {
    let node = NodeName::new(node).unwrap();
    answered(async || log.take_replies(&node, NO_WAIT).await).await
}

fn reply_to(call: &OpenedCall, text: &str) -> Reply {
    Reply { callee: call.callee.clone(), conversation: call.conversation.clone(), body: bytes(text) }
}

/// A region where aria has a worker.
async fn with_aria<L: Log + Workplace>(log: L) -> L {
    answered(async || log.join_workers(&aria()).await).await;
    log
}

async fn a_call_sent_again_is_the_same_call_and_is_queued_once(stand: impl Stand) {
    let (log, other) = (with_aria(stand.node().await).await, stand.node().await);
    let first = opened(&log, request("ann", 1, 0)).await;
    assert_eq!(first.reply, request("ann", 1, 0).reply);
    assert_eq!(first.conversation.as_str(), "ann-1-0");
    assert_eq!(opened(&other, request("ann", 1, 1)).await, first, "through another node, with its own secret");
    assert_eq!(queue(&log, &first).await, Queued::Ok);
    assert_eq!(queue(&other, &first).await, Queued::Ok);
    let taken = take(&log, "w1", NEVER).await;
    assert_eq!(taken.iter().map(|taken| &taken.work).collect::<Vec<_>>(), [&work_of(&first)]);
    let second = opened(&log, request("ann", 2, 0)).await;
    assert_ne!((&second.reply, &second.conversation), (&first.reply, &first.conversation));
}

async fn an_answer_is_taken_once_and_told_to_the_players_followers(stand: impl Stand) {
    let (log, other) = (stand.node().await, stand.node().await);
    let mut followed = followed(&other, &RoomId::Player(PlayerId::new("ann").unwrap())).await;
    let call = opened(&log, request("ann", 1, 0)).await;
    assert_eq!(answer(&log, &call.reply, "\"first\"").await, CallAnswered::Ok);
    assert_eq!(answer(&log, &call.reply, "\"second\"").await, CallAnswered::Already);
    let reply = reply_to(&call, "\"first\"");
    assert_eq!(next(&mut followed).await, Push::Replied { actor: ActorId(7), n: 1, reply });
    let call = opened(&log, request("ann", 2, 0)).await;
    assert_eq!(answer(&log, &call.reply, "\"third\"").await, CallAnswered::Ok);
    let reply = reply_to(&call, "\"third\"");
    assert_eq!(next(&mut followed).await, Push::Replied { actor: ActorId(7), n: 2, reply }, "the second is not told");
}

async fn an_answered_call_is_answered_again_from_what_is_kept(stand: impl Stand) {
    let log = with_aria(stand.node().await).await;
    let call = opened(&log, request("ann", 1, 0)).await;
    answer(&log, &call.reply, "[1]").await;
    for try_no in 1..3 {
        assert_eq!(open(&log, request("ann", 1, try_no)).await, CallOpened::Answered(reply_to(&call, "[1]")));
    }
}

async fn a_wrong_reply_id_changes_nothing(stand: impl Stand) {
    let log = stand.node().await;
    let call = opened(&log, request("ann", 1, 0)).await;
    let wrong = [
        request("ann", 1, 1).reply,
        request("ann", 2, 0).reply,
        request("bob", 1, 0).reply,
        ReplyId::new(CallName { actor: ActorId(8), ..name_of("ann", 1) }, 1 << 64),
    ];
    for reply in wrong {
        assert_eq!(answer(&log, &reply, "\"no\"").await, CallAnswered::Unknown, "{reply:?}");
    }
    assert_eq!(opened(&log, request("ann", 1, 2)).await, call, "still open");
    assert_eq!(answer(&log, &call.reply, "\"yes\"").await, CallAnswered::Ok);
    assert_eq!(answer(&log, &request("ann", 1, 1).reply, "\"no\"").await, CallAnswered::Unknown);
}

async fn a_call_that_timed_out_is_not_answered_any_more(stand: impl Stand) {
    let log = stand.node().await;
    let call = opened(&log, request("ann", 1, 0)).await;
    assert_eq!(end(&log, &call.reply.call, CallEnd::TimedOut).await, None);
    assert_eq!(end(&log, &call.reply.call, CallEnd::TimedOut).await, None);
    assert_eq!(answer(&log, &call.reply, "\"late\"").await, CallAnswered::TooLate);
    assert_eq!(open(&log, request("ann", 1, 1)).await, CallOpened::TimedOut);
}

async fn ending_a_call_finds_the_answer_that_nobody_heard(stand: impl Stand) {
    let log = stand.node().await;
    for how in [CallEnd::TimedOut, CallEnd::Withdrawn] {
        let n = how as u64 + 1;
        let call = opened(&log, request("ann", n, 0)).await;
        answer(&log, &call.reply, "\"there\"").await;
        let reply = reply_to(&call, "\"there\"");
        assert_eq!(end(&log, &call.reply.call, how).await, Some(reply.clone()));
        assert_eq!(open(&log, request("ann", n, 1)).await, CallOpened::Answered(reply));
    }
    assert_eq!(end(&log, &name_of("nobody", 1), CallEnd::TimedOut).await, None);
}

async fn a_callee_that_no_worker_joined_is_unknown_until_one_does(stand: impl Stand) {
    let log = stand.node().await;
    let call = opened(&log, request("ann", 1, 0)).await;
    assert_eq!(queue(&log, &call).await, Queued::UnknownCallee);
    assert_eq!(end(&log, &call.reply.call, CallEnd::Withdrawn).await, None);
    assert_eq!(answer(&log, &call.reply, "\"what?\"").await, CallAnswered::Unknown);
    let log = with_aria(log).await;
    with_aria(stand.node().await).await;
    let again = opened(&log, request("ann", 1, 1)).await;
    assert_ne!(again.reply, call.reply, "as if it had not been opened");
    assert_eq!(queue(&log, &again).await, Queued::Ok);
}

async fn a_player_has_few_calls_open_and_others_are_not_held_up(stand: impl Stand) {
    let log = stand.node().await;
    let most = CALLS_OPEN_MAX as u64;
    let mut calls = Vec::new();
    for n in 1..=most {
        calls.push(opened(&log, request("ann", n, 0)).await);
    }
    assert_eq!(open(&log, request("ann", most + 1, 0)).await, CallOpened::TooMany);
    let other_device = OpenCall {
        reply: ReplyId::new(CallName { actor: ActorId(8), ..name_of("ann", 1) }, 5),
        ..request("ann", 1, 0)
    };
    assert_eq!(open(&log, other_device.clone()).await, CallOpened::TooMany, "over all devices");
    assert_eq!(opened(&log, request("ann", 1, 3)).await, calls[0], "one of those");
    opened(&log, request("bob", 1, 0)).await;
    answer(&log, &calls[0].reply, "1").await;
    opened(&log, request("ann", most + 1, 0)).await;
    assert_eq!(open(&log, other_device.clone()).await, CallOpened::TooMany);
    end(&log, &calls[1].reply.call, CallEnd::TimedOut).await;
    opened(&log, other_device).await;
}

async fn only_the_newest_calls_that_are_over_are_known(stand: impl Stand) {
    let log = stand.node().await;
    let many = CALLS_KEPT as u64 + 4;
    for n in 1..=many {
        let call = opened(&log, request("ann", n, 0)).await;
        answer(&log, &call.reply, "1").await;
        // Which is older is told by the millisecond.
        let before = answered(async || log.time_ms().await).await;
        eventually("the next millisecond", async || (log.time_ms().await.ok()? > before).then_some(())).await;
    }
    assert!(matches!(open(&log, request("ann", many, 1)).await, CallOpened::Answered(_)));
    assert!(matches!(open(&log, request("ann", 5, 1)).await, CallOpened::Answered(_)));
    assert!(matches!(open(&log, request("ann", 1, 1)).await, CallOpened::Open { .. }), "a new call");
}

async fn a_conversation_is_continued_with_its_callee_and_by_its_player_only(stand: impl Stand) {
    let log = stand.node().await;
    let first = opened(&log, request("ann", 1, 0)).await;
    let begun = first.conversation;
    let continued = |player: &str, n| OpenCall { conversation: Some(begun.clone()), ..request(player, n, 0) };
    assert_eq!(open(&log, continued("ann", 2)).await, CallOpened::UnknownConversation, "nobody has answered");
    answer(&log, &first.reply, "1").await;
    assert_eq!(opened(&log, continued("ann", 2)).await.conversation, begun);
    assert_eq!(open(&log, continued("bob", 1)).await, CallOpened::UnknownConversation);
    let elsewhere = OpenCall { callee: Callee::new("other").unwrap(), ..continued("ann", 3) };
    assert_eq!(open(&log, elsewhere).await, CallOpened::UnknownConversation);
    let made_up = OpenCall { conversation: Some("made-up".parse().unwrap()), ..request("ann", 3, 0) };
    assert_eq!(open(&log, made_up).await, CallOpened::UnknownConversation);
    opened(&log, continued("ann", 3)).await;
}

async fn only_the_newest_conversations_are_continued(stand: impl Stand) {
    let log = stand.node().await;
    let many = CONVERSATIONS_KEPT as u64 + 1;
    let mut begun = Vec::new();
    for n in 1..=many {
        let call = opened(&log, request("ann", n, 0)).await;
        answer(&log, &call.reply, "1").await;
        begun.push(call.conversation);
        // What nobody answers pushes none out.
        let unanswered = opened(&log, request("ann", 1_000 + n, 0)).await;
        assert_eq!(end(&log, &unanswered.reply.call, CallEnd::Withdrawn).await, None);
        let before = answered(async || log.time_ms().await).await;
        eventually("the next millisecond", async || (log.time_ms().await.ok()? > before).then_some(())).await;
    }
    let continued = |at: usize, n| OpenCall { conversation: Some(begun[at].clone()), ..request("ann", n, 0) };
    assert_eq!(open(&log, continued(0, many + 1)).await, CallOpened::UnknownConversation);
    opened(&log, continued(1, many + 1)).await;
}

async fn work_is_given_to_one_worker_and_to_another_if_that_one_keeps_it(stand: impl Stand) {
    let (log, other) = (with_aria(stand.node().await).await, stand.node().await);
    let call = opened(&log, request("ann", 1, 0)).await;
    queue(&log, &call).await;
    let taken = take(&log, "w1", NEVER).await;
    assert_eq!(taken.len(), 1);
    assert!(take(&log, "w1", NEVER).await.is_empty());
    assert!(take(&other, "w2", NEVER).await.is_empty());
    // The first worker is silent for as long as the second waits for it to be.
    let idle = Duration::from_millis(50);
    let claimed = eventually("the work", async || {
        let claimed = take(&other, "w2", idle).await;
        (!claimed.is_empty()).then_some(claimed)
    });
    assert_eq!(claimed.await, taken);
    assert!(take(&log, "w1", NEVER).await.is_empty(), "it is the second's now");
}

async fn finished_work_is_nobodys(stand: impl Stand) {
    let log = with_aria(stand.node().await).await;
    let call = opened(&log, request("ann", 1, 0)).await;
    queue(&log, &call).await;
    let taken = take(&log, "w1", NEVER).await;
    answered(async || log.finish_call(&taken[0], bytes("\"done\"")).await).await;
    assert!(take(&log, "w2", Duration::ZERO).await.is_empty());
    let written = eventually("the reply", async || replies(&log, "n1").await.into_iter().next()).await;
    assert_eq!((written.reply.as_ref(), &written.body), (Some(&call.reply), &bytes("\"done\"")));
}

async fn a_waiting_worker_wakes_when_work_comes(stand: impl Stand) {
    let (worker, log) = (with_aria(stand.node().await).await, stand.node().await);
    let call = opened(&log, request("ann", 1, 0)).await;
    let callee = aria();
    let waiting = worker.take_calls(&callee, "w1", NEVER, SOON);
    let coming = async {
        stand.until_a_reader_waits().await;
        queue(&log, &call).await
    };
    let (taken, queued) = tokio::join!(waiting, coming);
    assert_eq!(queued, Queued::Ok);
    assert_eq!(taken.unwrap()[0].work.call, call);
}

async fn a_written_reply_is_given_to_one_node_and_to_another_if_that_one_keeps_it(stand: impl Stand) {
    let (log, other) = (with_aria(stand.node().await).await, stand.node().await);
    let call = opened(&log, request("ann", 1, 0)).await;
    queue(&log, &call).await;
    let taken = take(&log, "w1", NEVER).await;
    answered(async || log.finish_call(&taken[0], bytes("1")).await).await;
    // The first take of a region makes the group.
    let written = eventually("the reply", async || replies(&log, "n1").await.into_iter().next()).await;
    assert!(replies(&other, "n2").await.is_empty(), "n1 has it");
    let again = eventually("the reply again", async || replies(&other, "n2").await.into_iter().next()).await;
    assert_eq!(again, written);
    answered(async || other.drop_replies(&[written.at]).await).await;
    answered(async || other.drop_replies(&[written.at]).await).await;
    answered(async || other.drop_replies(&[]).await).await;
    assert!(replies(&log, "n1").await.is_empty());
}

async fn an_unanswered_request_about_a_call_may_be_repeated(stand: impl Stand) {
    let log = with_aria(stand.fragile_node().await).await;
    // Made before: the server knows the scripts.
    let known = opened(&log, request("bob", 1, 0)).await;
    queue(&log, &known).await;
    answer(&log, &known.reply, "1").await;

    stand.unanswered(&log, "ann", log.open_call(request("ann", 1, 0))).await;
    let call = opened(&log, request("ann", 1, 1)).await;
    assert_eq!(call.reply, request("ann", 1, 0).reply, "it was done the first time");
    stand.unanswered(&log, "ann", log.queue_call(work_of(&call))).await;
    assert_eq!(queue(&log, &call).await, Queued::Ok);
    let taken = take(&log, "w1", NEVER).await;
    assert_eq!(taken.iter().filter(|taken| taken.work.call == call).count(), 1);
    stand.unanswered(&log, "ann", log.answer_call(&call.reply, bytes("2"))).await;
    assert_eq!(answer(&log, &call.reply, "2").await, CallAnswered::Already);
}

async fn calls_and_replies_outlive_a_restart_of_the_server(mut stand: impl Stand) {
    let log = with_aria(stand.node().await).await;
    let (first, second) = (opened(&log, request("ann", 1, 0)).await, opened(&log, request("ann", 2, 0)).await);
    queue(&log, &first).await;
    queue(&log, &second).await;
    let taken = take(&log, "w1", NEVER).await;
    answered(async || log.finish_call(&taken[0], bytes("1")).await).await;
    eventually("the reply", async || replies(&log, "n1").await.into_iter().next()).await;
    stand.restart().await;
    assert_eq!(opened(&log, request("ann", 2, 1)).await, second);
    assert_eq!(queue(&log, &second).await, Queued::Ok);
    let claimed = eventually("what the first worker had", async || {
        take(&log, "w2", Duration::from_millis(1)).await.into_iter().next()
    });
    assert_eq!(claimed.await.work.call, second);
    let again = eventually("the reply again", async || replies(&log, "n2").await.into_iter().next()).await;
    assert_eq!(again.reply, Some(first.reply.clone()));
    assert_eq!(answer(&log, &first.reply, "1").await, CallAnswered::Ok);
}

async fn what_went_with_a_lost_tail_is_unknown_and_may_be_called_again(mut stand: impl Stand) {
    let log = stand.node().await;
    stand.mark().await;
    let log = with_aria(log).await;
    let call = opened(&log, request("ann", 1, 0)).await;
    queue(&log, &call).await;
    let taken = take(&log, "w1", NEVER).await;
    answered(async || log.finish_call(&taken[0], bytes("1")).await).await;
    eventually("the reply", async || replies(&log, "n1").await.into_iter().next()).await;
    stand.lose_tail().await;
    assert_eq!(answer(&log, &call.reply, "1").await, CallAnswered::Unknown);
    assert!(replies(&log, "n1").await.is_empty());
    let again = opened(&log, request("ann", 1, 1)).await;
    assert_ne!(again.reply, call.reply);
    // A worker that reads on makes its group again.
    assert!(take(&log, "w1", NEVER).await.is_empty());
    assert_eq!(queue(&log, &again).await, Queued::Ok);
    let taken = eventually("the work", async || take(&log, "w1", NEVER).await.into_iter().next()).await;
    assert_eq!(taken.work.call, again);
}
