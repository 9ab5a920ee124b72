//! The door without a region: it is closed until there is a node, and its description has exactly its endpoints.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use sectorbus_node::door::openapi::document;
use sectorbus_node::routes::{AdminEndpoint, DoorEndpoint, Endpoint, ROUTES};

#[test]
fn the_openapi_has_exactly_the_endpoints_of_the_table() {
    let document = serde_json::to_value(document()).unwrap();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            described.insert((method.to_uppercase(), path.clone()));
            for status in ["200", "401", "403", "503"] {
                assert!(operation["responses"][status].is_object(), "{method} {path} lacks {status}");
            }
            assert!(operation["security"][0]["key"].is_array(), "{method} {path} needs a key");
        }
    }
    let is_description = |endpoint| matches!(endpoint, DoorEndpoint::OpenApi | DoorEndpoint::Docs);
    let served: BTreeSet<_> = ROUTES
        .iter()
        .filter(|route| matches!(route.endpoint, Endpoint::Admin(AdminEndpoint::Door(of)) if !is_description(of)))
        .map(|route| (route.method.to_owned(), route.path.to_owned()))
        .collect();
    assert_eq!(described, served);
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = include_str!("../assets/door.html");
    for outside in ["http://", "https://", "src=", "innerHTML"] {
        assert!(!page.contains(outside), "{outside}");
    }
}
