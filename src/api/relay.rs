//! Messages of a socket that is passed on: the caller's side speaks axum's types, the other side tungstenite's.

use axum::extract::ws::{CloseFrame, Message};
use tokio_tungstenite::tungstenite as ws;

/// From the caller to the other side.
pub fn onward(message: Message) -> ws::Message {
    match message {
        Message::Text(text) => ws::Message::text(text.as_str()),
        Message::Binary(data) => ws::Message::Binary(data),
        Message::Ping(data) => ws::Message::Ping(data),
        Message::Pong(data) => ws::Message::Pong(data),
        Message::Close(frame) => ws::Message::Close(frame.map(|frame| ws::protocol::CloseFrame {
            code: frame.code.into(),
            reason: frame.reason.as_str().into(),
        })),
    }
}

/// From the other side to the caller; none of what has no meaning there.
pub fn back(message: ws::Message) -> Option<Message> {
    Some(match message {
        ws::Message::Text(text) => Message::text(text.as_str()),
        ws::Message::Binary(data) => Message::Binary(data),
        ws::Message::Ping(data) => Message::Ping(data),
        ws::Message::Pong(data) => Message::Pong(data),
        ws::Message::Close(frame) => Message::Close(
            frame.map(|frame| CloseFrame { code: frame.code.into(), reason: frame.reason.as_str().into() }),
        ),
        ws::Message::Frame(_) => return None,
    })
}
