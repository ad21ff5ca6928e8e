//! Access to the operator's LiveKit server: tokens as its documentation describes them (HS256, claim `video`).

use crate::clock::Clock;
use crate::room::world::{CallAccess, Calls, RoomRef};
use crate::vault::Secret;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use std::sync::Arc;

/// How long a token lets its bearer join, seconds; who has joined may stay.
const TOKEN_SECONDS: i64 = 6 * 60 * 60;

/// A LiveKit server and the key that signs tokens for it.
#[derive(Debug, Clone)]
pub struct LiveKitServer {
    /// `ws(s)://…`
    pub url: String,
    pub api_key: String,
    pub api_secret: Secret,
}

/// Makes tokens.
pub(super) struct LiveKitCalls {
    pub server: LiveKitServer,
    pub clock: Arc<dyn Clock>,
}

impl Calls for LiveKitCalls {
    fn join(&self, room: &RoomRef, name: &str, breakout_room: Option<&str>) -> Result<CallAccess, String> {
        let now = self.clock.now().timestamp();
        // Room names repeat across projects; identifiers do not.
        let call = match breakout_room {
            Some(breakout) => format!("{}.{breakout}", room.id.uuid()),
            None => room.id.uuid().to_string(),
        };
        let claims = json!({
            "iss": self.server.api_key,
            "sub": name,
            "name": name,
            "nbf": now,
            "exp": now + TOKEN_SECONDS,
            "video": {"roomJoin": true, "room": call, "canPublish": true, "canSubscribe": true, "canPublishData": true},
        });
        let key = EncodingKey::from_secret(self.server.api_secret.expose());
        let token = jsonwebtoken::encode(&Header::default(), &claims, &key)
            .map_err(|error| format!("cannot sign a LiveKit token: {error}"))?;
        Ok(CallAccess { url: self.server.url.clone(), token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::System;
    use crate::id::{ProjectId, RoomId};
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use uuid::Uuid;

    #[test]
    fn a_token_lets_its_bearer_into_one_call() {
        let server = LiveKitServer {
            url: "wss://calls.example".into(),
            api_key: "key".into(),
            api_secret: Secret::from("a secret of the livekit server".to_owned()),
        };
        let calls = LiveKitCalls { server, clock: Arc::new(System) };
        let id = RoomId::new(
            "00000000-0000-0000-0000-000000000001".parse::<ProjectId>().unwrap(),
            Uuid::from_u128(2),
        );
        let room =
            RoomRef { id, name: "lobby".into(), url: String::new(), limits: crate::room::Limits::default() };
        let access = calls.join(&room, "anna", Some("b1")).unwrap();
        assert_eq!(access.url, "wss://calls.example");
        let key = DecodingKey::from_secret(b"a secret of the livekit server");
        let claims = jsonwebtoken::decode::<serde_json::Value>(
            &access.token,
            &key,
            &Validation::new(Algorithm::HS256),
        )
        .unwrap()
        .claims;
        assert_eq!(claims["sub"], "anna");
        assert_eq!(claims["video"]["room"], format!("{}.b1", Uuid::from_u128(2)));
    }
}
