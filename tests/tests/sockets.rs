//! The players' listener with a real socket: one client joins over WebSocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sectorbus::protocol::{Codec, ServerFrame};
use sectorbus_tests::client::Client;
use sectorbus_tests::cluster::{config, region, start, token};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

#[tokio::test]
async fn a_client_joins_over_a_real_socket() {
    let region = region(3);
    let node = start(&region, config("a"), 1).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("ws://{}/ws", listener.local_addr().expect("an address"));
    node.serve_players(listener);
    for codec in Codec::ALL {
        let mut request = url.as_str().into_client_request().expect("a URL");
        request.headers_mut().insert("sec-websocket-protocol", codec.subprotocol().parse().expect("a header"));
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await.expect("connected");
        let mut client = Client::new("ann", token("ann"));
        let hello = client.hello().encode(codec);
        let hello = match codec {
            Codec::Msgpack => Message::Binary(hello),
            Codec::Json => Message::Text(String::from_utf8(hello.to_vec()).expect("text").into()),
        };
        socket.send(hello).await.expect("sent");
        while !client.is_live() {
            let next = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.expect("in time");
            let message = next.expect("not closed").expect("a message");
            assert_eq!(message.is_binary(), codec.is_binary());
            client.take(ServerFrame::decode(codec, &message.into_data()).expect("a frame"));
        }
        assert_eq!(client.broken, Vec::<String>::new());
    }
}
