//! The page's files, part of the binary. Knows nothing of what they do.

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};

const INDEX: &str = include_str!("../../assets/index.html");
/// Where the page's key goes.
const KEY_MARK: &str = "{{demo_key}}";

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, type, content.
const FILES: [(&str, &str, &str); 14] = [
    ("bell.js", JAVASCRIPT, include_str!("../../assets/bell.js")),
    ("bridge.js", JAVASCRIPT, include_str!("../../assets/bridge.js")),
    ("chat.js", JAVASCRIPT, include_str!("../../assets/chat.js")),
    ("client.js", JAVASCRIPT, sectorbus_node::assets::CLIENT_JS),
    ("cluster.js", JAVASCRIPT, include_str!("../../assets/cluster.js")),
    ("dom.js", JAVASCRIPT, include_str!("../../assets/dom.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
    ("main.js", JAVASCRIPT, include_str!("../../assets/main.js")),
    ("map.js", JAVASCRIPT, include_str!("../../assets/map.js")),
    ("pane.js", JAVASCRIPT, include_str!("../../assets/pane.js")),
    ("player.js", JAVASCRIPT, include_str!("../../assets/player.js")),
    ("roster.js", JAVASCRIPT, include_str!("../../assets/roster.js")),
    ("style.css", "text/css; charset=utf-8", include_str!("../../assets/style.css")),
    ("topics.js", JAVASCRIPT, include_str!("../../assets/topics.js")),
];

pub(super) fn index(key: &str) -> Response {
    Html(INDEX.replace(KEY_MARK, key)).into_response()
}

pub(super) fn file(name: &str) -> Option<Response> {
    let (_, kind, content) = FILES.iter().find(|(known, ..)| *known == name)?;
    Some(([(header::CONTENT_TYPE, *kind)], *content).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_has_one_place_for_its_key() {
        assert_eq!(INDEX.matches(KEY_MARK).count(), 1);
    }

    #[test]
    fn every_module_that_a_file_imports_is_served() {
        let imports = FILES.iter().flat_map(|(_, _, content)| content.split("from \"./").skip(1));
        for name in imports.filter_map(|rest| rest.split('"').next()) {
            assert!(file(name).is_some(), "{name}");
        }
    }
}
