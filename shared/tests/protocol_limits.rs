//! PROTOCOL.md is true about limits: its table is the code's.

use sectorbus::limits;

const PAGE: &str = include_str!("../PROTOCOL.md");

#[test]
fn the_table_of_limits_is_the_code() {
    let ms = |period: std::time::Duration| period.as_millis() as u64;
    let limits = [
        ("client frame", limits::FRAME_BYTES_MAX as u64),
        ("client message, all fragments", limits::MESSAGE_BYTES_MAX as u64),
        ("maps and arrays within each other", limits::FRAME_DEPTH_MAX as u64),
        ("integer, either sign", limits::INT_ABS_MAX as u64),
        ("id of a player, sector, team, session", limits::NAME_BYTES_MAX as u64),
        ("text value", limits::TEXT_BYTES_MAX as u64),
        ("token", limits::TOKEN_BYTES_MAX as u64),
        ("resume token", limits::RESUME_TOKEN_BYTES_MAX as u64),
        ("device", limits::DEVICE_BYTES_MAX as u64),
        ("features in hello", limits::FEATURES_MAX as u64),
        ("time to hello", ms(limits::HELLO_WITHIN)),
        ("errors", limits::ERRORS_MAX as u64),
        ("errors are counted over", ms(limits::ERRORS_WINDOW)),
        ("frames of a player, all sessions on a node", u64::from(limits::FRAMES_PER_S)),
        ("actions of a player and class", u64::from(limits::ACTIONS_PER_S)),
        ("seconds with `rate_limited`", u64::from(limits::VIOLATIONS_MAX)),
        ("such seconds are counted over", ms(limits::VIOLATIONS_WINDOW)),
        ("frames of an address", u64::from(limits::ADDRESS_FRAMES_PER_S)),
        ("messages and pings before hello", limits::STRANGER_FRAMES_MAX as u64),
        ("connections of an address", u64::from(limits::ADDRESS_HANDSHAKES_PER_S)),
        ("connections of an address before hello", limits::ADDRESS_HALF_OPEN_MAX as u64),
        ("connection to the end of its request", ms(limits::REQUEST_WITHIN)),
        ("time between resyncs", ms(limits::RESYNC_EVERY)),
        ("heartbeat", ms(limits::HEARTBEAT)),
        ("resume window", ms(limits::RESUME_WINDOW)),
        ("seq window", limits::DEDUPE_BITMAP_BITS),
        ("answers in marks, per actor", limits::DEDUPE_ANSWERS_KEPT as u64),
        ("actors kept per player", limits::ACTORS_KEPT as u64),
        ("players watched", limits::WATCHED_PLAYERS_MAX as u64),
        ("sessions per player", limits::SESSIONS_PER_PLAYER_MAX as u64),
        ("body of a call, as JSON", limits::CALL_BODY_BYTES_MAX as u64),
        ("maps and arrays within each other in a body", limits::CALL_BODY_DEPTH_MAX as u64),
        ("body of a reply, as JSON", limits::REPLY_BODY_BYTES_MAX as u64),
        ("calls open per player", limits::CALLS_OPEN_MAX as u64),
        ("time to answer a call", ms(limits::CALL_ANSWERED_WITHIN)),
        ("entities per room", limits::ENTITIES_PER_ROOM_MAX as u64),
        ("fields per entity", limits::FIELDS_PER_ENTITY_MAX as u64),
        ("text of `say`", limits::SAY_CHARS_MAX as u64),
        ("topics of a session", limits::TOPICS_PER_SESSION_MAX as u64),
        ("rooms of other regions observed", limits::OBSERVED_ROOMS_MAX as u64),
        ("feeds in hello", limits::HELLO_FEEDS_MAX as u64),
        ("items of a page", limits::HISTORY_PAGE_ITEMS_MAX as u64),
        ("items that history goes back", limits::HISTORY_ITEMS as u64),
        ("a player's own feed is kept", ms(limits::PLAYER_FEED_KEPT_FOR)),
        ("players blocked", limits::BLOCKS_MAX as u64),
        ("read marks", limits::MARKS_MAX as u64),
        ("requests about feeds waiting", limits::REQUESTS_WAITING_MAX as u64),
        ("items unread", limits::FEED_BACKLOG_BYTES_MAX as u64),
        ("acks and the like unread", limits::CRITICAL_BACKLOG_BYTES_MAX as u64),
        ("deltas unread", limits::STATE_BACKLOG_BYTES_MAX as u64),
    ];
    for (name, value) in limits {
        let row = format!("| {name} | {value} | ");
        assert!(PAGE.lines().any(|line| line.starts_with(&row)), "the page lacks {row}");
    }
}
