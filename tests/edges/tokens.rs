//! Tokens: each of the four ways in, every check a bad one fails, and never a word of the token itself.

use sectorbus::ids::{PlayerId, RegionName};
use sectorbus::protocol::{Codec, ServerFrame};
use sectorbus_node::auth::{Claims, mint};
use sectorbus_tests::cluster::{FAR_S, JWT_SECRET, secret, token};

use crate::bystander::Bystander;
use crate::raw::{BINARY, Raw, Refused, Seen, TEXT, frame};
use crate::secrecy::assert_not_repeated;
use crate::serving::{Server, Speaking, serve};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Header,
    Subprotocol,
    Query,
    Hello,
}

const WAYS: [Way; 4] = [Way::Header, Way::Subprotocol, Way::Query, Way::Hello];

/// Connects with the tokens, each in its way, and says hello.
async fn come(server: &Server, codec: Codec, tokens: &[(Way, &str)]) -> Result<Speaking, Refused> {
    let (mut target, mut headers) = ("/ws".to_owned(), Vec::new());
    let mut subprotocols = vec![codec.subprotocol().to_owned()];
    let mut in_hello = None;
    for (way, token) in tokens {
        match way {
            Way::Header => headers.push(format!("Bearer {token}")),
            Way::Subprotocol => subprotocols.push(format!("sectorbus.token.{token}")),
            Way::Query => target = format!("/ws?token={token}"),
            Way::Hello => in_hello = Some(*token),
        }
    }
    let subprotocols = subprotocols.join(", ");
    let mut all = vec![("Sec-WebSocket-Protocol", &*subprotocols)];
    all.extend(headers.iter().map(|bearer| ("Authorization", bearer.as_str())));
    let mut raw = Raw::connect(server.address, &target, &all).await?;
    assert_eq!(raw.subprotocol.as_deref(), Some(codec.subprotocol()), "the token is no subprotocol to choose");
    let hello = serde_json::json!({ "hello": { "features": [], "token": in_hello } });
    match codec {
        Codec::Json => raw.text(&hello.to_string()).await,
        Codec::Msgpack => raw.write(&frame(BINARY, &rmp_serde::to_vec_named(&hello).expect("msgpack"))).await,
    }
    Ok(Speaking { raw, codec, welcome: None, snapshot: None })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_token_works_in_each_of_the_four_ways_in_both_codecs() {
    let server = serve().await;
    for codec in Codec::ALL {
        for way in WAYS {
            let token = token("ann");
            let mut speaking = come(&server, codec, &[(way, &token)]).await.expect("upgraded");
            assert_eq!(speaking.welcome().await.player.as_str(), "ann", "{way:?}");
            speaking.snapshot().await;
            speaking.still_serves().await;
            assert_not_repeated(&token, "");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_in_several_places_is_one_and_different_ones_are_refused() {
    let server = serve().await;
    let (ann, bob) = (token("ann"), token("bob"));
    for first in WAYS {
        for second in WAYS.into_iter().filter(|way| *way != first) {
            let mut same = come(&server, Codec::Json, &[(first, &ann), (second, &ann)]).await.expect("upgraded");
            assert_eq!(same.welcome().await.player.as_str(), "ann", "{first:?} {second:?}");
            let outcome = come(&server, Codec::Json, &[(first, &ann), (second, &bob)]).await;
            let said = refusal(outcome).await;
            let expected =
                if first == Way::Hello || second == Way::Hello { "4003 bad_token: ambiguous" } else { "401 ambiguous" };
            assert_eq!(said, expected, "{first:?} {second:?}");
        }
    }
    assert_not_repeated(&ann, "");
    assert_not_repeated(&bob, "");
}

/// Status and body, or close code and reason.
async fn refusal(outcome: Result<Speaking, Refused>) -> String {
    match outcome {
        Err(refused) => format!("{} {}", refused.status, refused.body),
        Ok(mut speaking) => {
            let (code, reason) = speaking.raw.closed().await;
            format!("{code} {reason}")
        }
    }
}

fn claims() -> Claims {
    Claims::new(PlayerId::new("mallory").expect("a name"), FAR_S)
}

/// Tokens of which each fails one check.
fn bad_tokens() -> Vec<(String, &'static str)> {
    let key = secret(JWT_SECRET);
    let foreign = secret(b"somebody else's key of 32 bytes or more");
    let elsewhere = Claims { region: Some(RegionName::new("elsewhere").expect("a name")), ..claims() };
    let expired = Claims { exp: 1_700_000_000, ..claims() };
    let good = mint(&claims(), &key);
    let (unsigned, signature) = good.rsplit_once('.').expect("three parts");
    let mut other_signature: Vec<char> = signature.chars().collect();
    other_signature.swap(3, 4);
    other_signature[5] = if other_signature[5] == 'A' { 'B' } else { 'A' };
    let other_signature: String = other_signature.into_iter().collect();
    // {"alg":"none"}, {"alg":"HS512","typ":"JWT"}: the payload stays.
    let payload = unsigned.split_once('.').map(|(_, payload)| payload).expect("two parts");
    vec![
        (mint(&claims(), &foreign), "bad_signature"),
        (format!("{unsigned}.{other_signature}"), "bad_signature"),
        (mint(&expired, &key), "expired"),
        (mint(&elsewhere, &key), "wrong_region"),
        (format!("eyJhbGciOiJub25lIn0.{payload}."), "wrong_algorithm"),
        (format!("eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.{payload}.{signature}"), "wrong_algorithm"),
        ("not-a-token-of-any-kind".to_owned(), "malformed"),
        (format!("{unsigned}.{signature}.{signature}"), "malformed"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_token_is_refused_by_the_check_it_fails_and_never_repeated() {
    let server = serve().await;
    let mut bystander = Bystander::at(&server).await;
    for (bad, check) in bad_tokens() {
        for way in WAYS {
            let said = refusal(come(&server, Codec::Json, &[(way, &bad)]).await).await;
            let expected = if way == Way::Hello { format!("4003 bad_token: {check}") } else { format!("401 {check}") };
            assert_eq!(said, expected, "{way:?} {bad}");
            assert_not_repeated(&bad, &said);
        }
    }
    bystander.noticed_nothing().await;
}

/// A client that puts its token where it does not belong hears what is wrong without hearing its token again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_in_a_wrong_place_is_not_repeated_either() {
    let server = serve().await;
    let token = token("clumsy");
    let places = [
        format!(r#"{{"hello":"{token}"}}"#),
        format!(r#"{{"hello":{{"features":"{token}"}}}}"#),
        format!(r#"{{"hello":{{"cursor":"{token}","sector":"1"}}}}"#),
        format!(r#"{{"hello":{{"sector":"{token}","cursor":"1-1"}}}}"#),
        format!(r#"{{"hello":{{"actor":"{token}"}}}}"#),
        format!(r#"{{"hello":{{"{token}":1}}}}"#),
        format!(r#"{{"hello":{{"device":"{token}"}}}}"#),
        format!(r#"{{"hello":{{"token":["{token}"]}}}}"#),
        format!(r#"{{"{token}":{{}}}}"#),
        format!(r#"{{"{token}":1}}"#),
        format!(r#""{token}""#),
        token.clone(),
        format!(r#"{{"hello":{{"token":"{token}""#),
        format!(r#"{{"hello":{{"token":"{token}","token":"{token}"}}}}"#),
        format!(r#"{{"hello":{{"token":"{token}"}},"{token}":1}}"#),
        format!(r#"{{"act":{{"seq":1,"action":{{"{token}":{{}}}}}}}}"#),
        format!(r#"{{"act":{{"seq":1,"action":"{token}"}}}}"#),
    ];
    for message in places {
        let mut early = Raw::connect(server.address, "/ws", &[("Sec-WebSocket-Protocol", "sectorbus.v1.json")])
            .await
            .expect("upgraded");
        early.text(&message).await;
        // Ends every connection that is still open.
        early.text(r#"{"bye":{}}"#).await;
        let said = format!("{:?}", early.until_the_end().await.iter().map(shown).collect::<Vec<_>>());
        assert_not_repeated(&token, &said);
    }
}

fn shown(seen: &Seen) -> String {
    match seen {
        Seen::Message { payload, .. } => String::from_utf8_lossy(payload).into_owned(),
        other => format!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_resume_token_is_not_logged() {
    let server = serve().await;
    let mut ann = server.joined("ann", Codec::Json).await;
    let resume = ann.welcome.as_ref().expect("welcomed").resume.clone();
    ann.raw.write(&frame(TEXT, b"{")).await;
    let (_, reason) = ann.raw.closed().await;
    assert_not_repeated(resume.reveal(), &reason);
    let hello = sectorbus::protocol::Hello { resume: Some(resume.clone()), ..Default::default() };
    let mut again = server.said_hello("ann", Codec::Json, hello).await;
    again.until(|frame| matches!(frame, ServerFrame::Welcome(_)).then_some(())).await;
    assert_not_repeated(resume.reveal(), "");
}
